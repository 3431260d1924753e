"""The page of the worst cases by class: the defects that a gauge missed, and the boxes it found where no defect is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.calibration.boxes import HIT
from gonogo.images.colours import FOUND_BOX, LABELLED_BOX
from gonogo.images.dataset import Dataset
from gonogo.images.draw_boxes import DrawnBox, with_boxes
from gonogo.reports.drawing import image_tile, jpeg_uri
from gonogo.reports.pages import render

MOST = 8  # cases of a kind that a class shows
AROUND, LEAST_SIDE = 4.0, 48.0  # side of a cut-out, in sides of its box and in pixels of the image
ROOM = (220, 220)  # of a cut-out's picture


@dataclass(frozen=True)
class BoxCase:
    """A box of the records: image, class, corners x0, y0, x1, y1 in its pixels, score, and largest overlap."""

    image: str
    label: str
    labelled: bool
    corners: tuple[float, float, float, float]
    score: float
    overlap: float

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> "BoxCase":
        """The box of a row that the stage `evaluate` wrote."""
        x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
        corners = (x, y, x + width, y + height)
        return cls(
            row["image"], row["label"], row["kind"] == "labelled", corners, float(row["score"]), float(row["overlaps"])
        )

    @property
    def area(self) -> float:
        """In pixels of the image."""
        x0, y0, x1, y1 = self.corners
        return (x1 - x0) * (y1 - y0)


@dataclass(frozen=True)
class ClassCases:
    """The cases of one class: labelled boxes that no found one covers by half, and found ones that cover none by half.

    Attributes:
        missed: the largest first.
        wrong: those with the highest score first.
        n_labelled, n_found: all boxes of the class.
    """

    label: str
    missed: list[BoxCase]
    wrong: list[BoxCase]
    n_labelled: int
    n_found: int


def cases_by_class(boxes: Sequence[BoxCase]) -> list[ClassCases]:
    """The cases of every class, in the order of the alphabet."""
    found = []
    for label in sorted({box.label for box in boxes}):
        of_class = [box for box in boxes if box.label == label]
        off = [box for box in of_class if box.overlap < HIT]
        n_labelled = sum(box.labelled for box in of_class)
        found.append(
            ClassCases(
                label,
                sorted((box for box in off if box.labelled), key=lambda box: (-box.area, box.image, box.corners)),
                sorted((box for box in off if not box.labelled), key=lambda box: (-box.score, box.image, box.corners)),
                n_labelled,
                len(of_class) - n_labelled,
            )
        )
    return found


def cut_out(pixels: np.ndarray, case: BoxCase, boxes: Sequence[BoxCase]) -> np.ndarray:
    """The image (h, w, 3) around a box, with all boxes of the image: labelled ones in green, found ones in orange.

    The box itself has its class beside it.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = case.corners
    side = max(AROUND * max(x1 - x0, y1 - y0), LEAST_SIDE)
    left, top = (
        round(min(max(centre - side / 2, 0), max(length - side, 0)))
        for centre, length in (((x0 + x1) / 2, width), ((y0 + y1) / 2, height))
    )
    seen = pixels[top : top + round(side), left : left + round(side)]
    tile = image_tile(seen, ROOM)
    drawn = [
        DrawnBox(
            (box.corners[0] - left, box.corners[1] - top, box.corners[2] - left, box.corners[3] - top),
            box.label if box is case else "",
            LABELLED_BOX if box.labelled else FOUND_BOX,
        )
        for box in sorted(boxes, key=lambda box: (box is case, not box.labelled))
    ]
    return with_boxes(tile, drawn, scale=tile.shape[1] / seen.shape[1])


def write_worst_boxes(path: Path, rows: Sequence[Mapping[str, str]], dataset: Dataset, *, category: str) -> None:
    """Write the page from the rows of boxes that the stage `evaluate` wrote."""
    boxes = [BoxCase.from_row(row) for row in rows]
    records = {record.path: record for record in dataset.records}

    def shown(cases: Sequence[BoxCase]) -> list[tuple[str, BoxCase]]:
        pictures = []
        for case in cases[:MOST]:
            pixels = dataset.pixels_of(records[case.image])
            pictures.append((jpeg_uri(cut_out(pixels, case, [box for box in boxes if box.image == case.image])), case))
        return pictures

    found: list[dict[str, Any]] = [
        {"cases": one, "missed": shown(one.missed), "wrong": shown(one.wrong)} for one in cases_by_class(boxes)
    ]
    render(path, "worst_boxes.html.j2", category=category, classes=found, hit=HIT)
