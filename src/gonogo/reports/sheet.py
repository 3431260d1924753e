"""The picture sheet: for each defect type the worst and the best judged images, with mask, map and regions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gonogo.reports.drawing import box_tile, image_tile, map_tile, mask_tile, tile_size
from gonogo.reports.parts import Part, PartImages
from gonogo.reports.sheet_layout import Sheet, verdict_text

SIDE, LABEL = 112, 90  # pixels: of a square tile, and of the names of the rows


@dataclass(frozen=True)
class ReportParams:
    """The `report` section."""

    sheet_cases: Annotated[int, Field(ge=1)]


def write_sheet(
    path: Path, parts: Sequence[Part], images: PartImages, *, category: str, cases: int, finds_boxes: bool = False
) -> None:
    """Draw, per defect type and for good parts, the `cases` worst and best test images as image, mask and map.

    Worst are the good parts that score highest and the defects that score lowest. All maps share one colour scale,
    anchored at the threshold; black lines on them enclose the regions found. Of a gauge that finds boxes, the image
    with the labelled boxes in green and those found in orange takes the mask's place. Types stand in alphabetical
    order, good parts first.
    """
    types = sorted({part.defect_type for part in parts}, key=lambda name: (name != "good", name))
    tile = tile_size((images.size_of(part) for part in parts), SIDE)
    sheet = Sheet(
        title=f"{category}: image, {'boxes labelled and found' if finds_boxes else 'mask'}, anomaly map"
        + ("" if finds_boxes else " with regions"),
        tile=tile,
        tiles_per_cell=3,
        lines=1,
        columns=2 * cases,
        rows=len(types),
        left=LABEL,
    )
    sheet.draw_scale(images.gauge.threshold)
    for column in range(2 * cases):
        sheet.note(f"worst {column + 1}" if column < cases else f"best {column - cases + 1}", column=column)
    for row, defect_type in enumerate(types):
        sheet.start_row(row, defect_type)
        of_type = [part for part in parts if part.defect_type == defect_type]
        ordered = sorted(of_type, key=lambda part: part.score, reverse=defect_type == "good")
        for column, part in enumerate(_ends(ordered, cases)):
            if part is not None:
                _draw_part(sheet, row, column, part, images)
    sheet.save(path)


def _ends(ordered: Sequence[Part], cases: int) -> list[Part | None]:
    """Of parts from the worst to the best: the `cases` worst, then the `cases` best, the best first; none twice."""
    worst = list(ordered[:cases])
    best = list(reversed(ordered[max(cases, len(ordered) - cases) :]))
    return worst + [None] * (cases - len(worst)) + best + [None] * (cases - len(best))


def _draw_part(sheet: Sheet, row: int, column: int, part: Part, images: PartImages) -> None:
    pixels, verdict = images.pixels_of(part), images.verdict_of(part)
    second = mask_tile(pixels, images.mask_of(part), sheet.tile)
    if verdict.boxes is not None:
        second = box_tile(pixels, images.boxes_of(part), verdict.boxes, sheet.tile)
    sheet.put(
        row,
        column,
        image_tile(pixels, sheet.tile),
        second,
        map_tile(verdict.anomaly_map, images.gauge.threshold, sheet.tile, verdict.defect_mask),
    )
    word, colour = verdict_text(part.rejected)
    times = f" ({part.score / part.threshold:.2f} x threshold)" if part.threshold > 0 else ""
    sheet.caption(row, column, 0, f"{word}  {part.score:.4g}{times}", colour)
