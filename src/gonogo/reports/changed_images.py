"""A picture of how a change affected one category: scores before and after, and the images whose verdict changed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageDraw, ImageFont

from gonogo.errors import GonogoError
from gonogo.evaluation.accuracy.paired import PairedImage, changed_verdicts
from gonogo.images.colours import FAINT, INK, PAPER, RULE
from gonogo.images.dataset import Dataset, Record
from gonogo.reports.drawing import Size, image_tile, tile_size
from gonogo.reports.sheet_layout import GAP, HEADER, Sheet, verdict_text

SIDE, PLOT, MARGIN = 112, 360, 44  # pixels: of a square tile, of the plot's sides, around the plot
COLUMNS, ROWS = 6, 2
GOOD_DOT, DEFECT_DOT = (66, 132, 178), (178, 24, 43)


def write_picture(path: Path, judged: Sequence[PairedImage], dataset: Dataset | None, *, title: str) -> None:
    """Draw the scores of all test images, relative to their thresholds, and beside them those whose verdict changed.

    Args:
        path: of the PNG.
        judged: the test images that both sides scored, at least one.
        dataset: of the images; None, or one that cannot be read, leaves an image blank.
        title: written above.
    """
    changed = changed_verdicts(judged)[: COLUMNS * ROWS]
    records = {} if dataset is None else {record.path: record for record in dataset.records}
    shown = [records[one.image] for one in changed if one.image in records]
    sheet = Sheet(
        title=title,
        tile=tile_size(((record.width, record.height) for record in shown), SIDE),
        lines=3,
        columns=max(2, min(len(changed), COLUMNS)) if changed else 0,
        rows=-(-len(changed) // COLUMNS),
        left=MARGIN + PLOT + GAP,
        least=(0, HEADER + PLOT + MARGIN),
    )
    _draw_scores(sheet.draw, judged)
    if changed:
        sheet.note("verdict changed; the wrong ones first")
    for number, one in enumerate(changed):
        row, column = divmod(number, COLUMNS)
        sheet.put(row, column, _tile(dataset, records.get(one.image), sheet.tile))
        sheet.caption(row, column, 0, one.defect_type)
        for line, (when, rejected, relative) in enumerate(
            (("was", one.was_rejected, one.old_relative), ("now", one.is_rejected, one.new_relative)), start=1
        ):
            word, colour = verdict_text(rejected)
            sheet.caption(row, column, line, f"{when} {word} {relative:.3f}", colour)
    sheet.save(path)


def _tile(dataset: Dataset | None, record: Record | None, tile: Size) -> np.ndarray:
    """The image with the outline of its mask; grey paper where there is no record of it or it cannot be read."""
    try:
        if dataset is not None and record is not None:
            return image_tile(dataset.pixels_of(record), tile, dataset.mask_of(record) if record.label else None)
    except GonogoError:
        pass
    return np.full((tile[1], tile[0], 3), 240, dtype=np.uint8)


def _draw_scores(draw: ImageDraw.ImageDraw, judged: Sequence[PairedImage]) -> None:
    """Draw a dot for each image, score over threshold before and after; the two shaded fields hold changed verdicts."""
    small = ImageFont.load_default(12)
    before = np.array([one.old_relative for one in judged])
    after = np.array([one.new_relative for one in judged])
    low = min(float(before.min()), float(after.min()), 0.9)
    high = max(float(before.max()), float(after.max()), 1.1)

    def place(x: float, y: float) -> tuple[float, float]:
        scale = PLOT / (high - low)
        return MARGIN + (x - low) * scale, HEADER + PLOT - (y - low) * scale

    for field in ((low, 1.0, 1.0, high), (1.0, low, high, 1.0)):
        (left, bottom), (right, top) = place(*field[:2]), place(*field[2:])
        draw.rectangle((left, top, right, bottom), fill=(246, 243, 236))
    draw.rectangle((MARGIN, HEADER, MARGIN + PLOT, HEADER + PLOT), outline=RULE)
    draw.line((*place(low, low), *place(high, high)), fill=RULE)
    draw.line((*place(1, low), *place(1, high)), fill=INK)
    draw.line((*place(low, 1), *place(high, 1)), fill=INK)
    for one, x, y in zip(judged, before.tolist(), after.tolist(), strict=True):
        column, row = place(x, y)
        colour = DEFECT_DOT if one.label else GOOD_DOT
        draw.ellipse((column - 3, row - 3, column + 3, row + 3), fill=colour, outline=PAPER)
    draw.text((MARGIN, HEADER + PLOT + 4), "score / threshold before", fill=FAINT, font=small)
    x, y = place(1, low)
    draw.text((x + 3, y - 16), "reject", fill=FAINT, font=small)
    draw.text((x - 3 - draw.textlength("pass", font=small), y - 16), "pass", fill=FAINT, font=small)
    x, y = place(low, 1)
    draw.text((4, HEADER), "after", fill=FAINT, font=small)
    draw.text((4, y - 16), "reject", fill=FAINT, font=small)
    draw.text((4, y + 2), "pass", fill=FAINT, font=small)
    right = MARGIN + PLOT
    for text, colour, offset in (("good", GOOD_DOT, 110), ("defective", DEFECT_DOT, 58)):
        draw.ellipse((right - offset - 10, HEADER + PLOT + 8, right - offset - 4, HEADER + PLOT + 14), fill=colour)
        draw.text((right - offset, HEADER + PLOT + 4), text, fill=FAINT, font=small)
