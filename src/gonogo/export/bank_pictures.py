"""Pictures of the good patches in a gauge's memory bank, cut from the images that they come from."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gonogo.detectors.contract import HasMemoryBank
from gonogo.errors import DataError
from gonogo.images.dataset import Dataset
from gonogo.inference.good_patches import MOSAIC, TABLE, as_jpeg, box_around, picture_around
from gonogo.model.inspector import Inspector
from gonogo.model.saved import Model

SIDES = (128, 96, 64, 48, 32, 16)  # pixels of a picture; whole blocks of JPEG, so that none colours its neighbour
MOSAIC_PIXELS = 4_200_000  # at most; the largest of the sides is chosen with which all pictures fit
QUALITY = 80  # of the JPEG
CELLS_SHOWN = 6  # along a picture, its own in the middle; more where the image has too few pixels for that

Pair = tuple[float, float]  # x, y


@dataclass(frozen=True)
class Views:
    """The views of each fit image that the detector was fitted on, in order: rotated images, or tiles of them.

    of_tile: rows and columns of the detector's grid.
    of_image: those of the cells that cover an image, as `Inspector.score_with_nearest` has them.
    """

    inspector: Inspector
    rotations: int
    of_tile: tuple[int, int]
    of_image: tuple[int, int]

    @property
    def of_record(self) -> int:
        """The number of views of each image."""
        return self.rotations * (1 if self.inspector.tiles is None else len(self.inspector.tiles))

    def place(self, view: int, cell: int, size: tuple[int, int]) -> tuple[Pair, Pair, float]:
        """Centre and size of a cell in pixels of its fit image, and by how many degrees against the clock it turned.

        Where a turned view or a tile reaches over the image it shows a mirror image, and the place is what is mirrored.

        Args:
            view: its number among all.
            cell: its number in the grid.
            size: width and height of the fit image.
        """
        tiles, seen = self.inspector.tiles, self.inspector.detector.image_size
        step, tile = divmod(view % self.of_record, self.of_record // self.rotations)
        row, column = divmod(cell, self.of_tile[1])
        high, wide = (length / n for length, n in zip(seen, self.of_tile, strict=True))
        y, x = (row + 0.5) * high, (column + 0.5) * wide
        canvas_height, canvas_width = self.inspector.input_size
        if tiles is not None:
            down, across = divmod(tile, len(tiles.columns))
            y, x = y + tiles.row_starts[down], x + tiles.column_starts[across]
            y, x = min(y, 2 * canvas_height - 1 - y), min(x, 2 * canvas_width - 1 - x)
        to_x, to_y = size[0] / canvas_width, size[1] / canvas_height
        right, below = x * to_x - size[0] / 2, y * to_y - size[1] / 2  # of the middle
        angle = 2 * math.pi * step / self.rotations
        x = right * math.cos(angle) - below * math.sin(angle) + size[0] / 2
        y = right * math.sin(angle) + below * math.cos(angle) + size[1] / 2
        centre = (_mirrored(x, size[0]), _mirrored(y, size[1]))
        return centre, (wide * to_x, high * to_y), math.degrees(angle)


def bank_files(model: Model, dataset: Dataset) -> dict[str, bytes]:
    """The table and the mosaic of `gonogo.inference.good_patches`, by name; none where the detector does not remember.

    Raises:
        DataError: a fit image of the model is not in the dataset.
        ImageError: one cannot be read.
    """
    detector = model.inspector.detector
    if not isinstance(detector, HasMemoryBank):
        return {}
    fitted_on = model.manifest["fitted_on"]
    views = views_of(model.inspector, fitted_on["rotations"])
    names: Sequence[str] = [*fitted_on["images"], *fitted_on.get("grown_by", [])]
    known = {record.path: record for record in dataset.records}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(f"the model was fitted on {unknown[0]}, which {dataset.folder} does not have; run dvc repro")
    places: list[tuple[int, int]] = [(view, cell) for view, cell in detector.bank_places().tolist()]
    of_image: dict[int, list[int]] = defaultdict(list)  # entries, by the number of the fit image
    for entry, (view, _) in enumerate(places):
        of_image[view // views.of_record].append(entry)
    side = next((side for side in SIDES if side**2 * len(places) <= MOSAIC_PIXELS), SIDES[-1])
    longest = float(np.median([max(known[names[number]].width, known[names[number]].height) for number in of_image]))
    share = min(1.0, max(CELLS_SHOWN / max(views.of_image), side / longest))
    columns = math.ceil(math.sqrt(len(places)))
    mosaic = np.full((math.ceil(len(places) / columns) * side, columns * side, 3), 255, np.uint8)
    rows: dict[int, list[float]] = {}
    for listed, (number, entries) in enumerate(sorted(of_image.items())):
        pixels = dataset.pixels_of(known[names[number]])  # once for all of its patches
        size = (pixels.shape[1], pixels.shape[0])
        for entry in entries:
            centre, cell, turned = views.place(*places[entry], size)
            rows[entry] = [listed, *box_around(centre, cell, size), round(turned, 3)]
            top, left = (side * at for at in divmod(entry, columns))
            picture = picture_around(pixels, centre, share=share, side=side, turned=turned)
            mosaic[top : top + side, left : left + side] = picture
    table = {
        "cells": views.of_image,
        "share": share,
        "side": side,
        "columns": columns,
        "images": [names[number] for number in sorted(of_image)],
        "entries": [rows[entry] for entry in range(len(places))],
    }
    return {TABLE: json.dumps(table, separators=(",", ":")).encode() + b"\n", MOSAIC: as_jpeg(mosaic, QUALITY)}


@torch.inference_mode()
def views_of(inspector: Inspector, rotations: int) -> Views:
    """The views of a fit with `rotations` views of each image; the detector must be one that `HasMemoryBank`."""
    detector = inspector.detector
    assert isinstance(detector, HasMemoryBank)
    nearest = detector.score_with_nearest(torch.zeros(1, 3, *detector.image_size))[2]  # (1, gh, gw)
    tiles, (gh, gw) = inspector.tiles, nearest.shape[1:]
    ch, cw = (gh, gw) if tiles is None else tiles.assembled(nearest.expand(len(tiles), 1, gh, gw)).shape[1:]
    return Views(inspector, rotations, (gh, gw), (ch, cw))


def _mirrored(at: float, length: int) -> float:
    at = abs(at) % (2 * length)
    return min(at, 2 * length - at)
