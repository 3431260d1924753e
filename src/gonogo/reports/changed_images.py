"""A picture of what a change did to one category: scores before and after, and the images whose verdict changed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gonogo.errors import GonogoError
from gonogo.evaluation.accuracy.paired import PairedImage, changed_verdicts
from gonogo.images.colours import FAINT, INK, PAPER, PASS, REJECT, RULE
from gonogo.images.dataset import Dataset
from gonogo.reports.drawing import GAP, TILE, fitted_text, outlined, scaled

HEADER, CAPTION = 46, 48
PLOT, MARGIN = 360, 44
COLUMNS, ROWS = 6, 2
GOOD_DOT, DEFECT_DOT = (66, 132, 178), (178, 24, 43)


def write_picture(path: Path, judged: Sequence[PairedImage], dataset: Dataset | None, *, title: str) -> None:
    """Draw the scores of all test images, over their thresholds, and beside them those whose verdict changed.

    Args:
        path: of the PNG.
        judged: the test images that both sides scored, at least one.
        dataset: of the images; None, or one that cannot be read, leaves an image blank.
        title: written above.
    """
    changed = changed_verdicts(judged)[: COLUMNS * ROWS]
    width = MARGIN + PLOT + 2 * GAP + (max(2, min(len(changed), COLUMNS)) * (TILE + GAP) + GAP if changed else GAP)
    height = HEADER + max(PLOT + MARGIN, ROWS * (TILE + CAPTION + GAP))
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, 5), title, fill=INK, font=ImageFont.load_default(15))
    _draw_scores(draw, judged)
    if changed:
        left = MARGIN + PLOT + 2 * GAP
        draw.text((left, 27), "verdict changed; the wrong ones first", fill=FAINT, font=ImageFont.load_default(12))
        for number, one in enumerate(changed):
            row, column = divmod(number, COLUMNS)
            corner = (left + column * (TILE + GAP), HEADER + row * (TILE + CAPTION + GAP))
            _draw_image(canvas, draw, corner, one, dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, format="PNG", optimize=True)


def _draw_scores(draw: ImageDraw.ImageDraw, judged: Sequence[PairedImage]) -> None:
    """A dot for each image, score over threshold before and after; what changed sides lies in the two marked fields."""
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


def _draw_image(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], one: PairedImage, dataset: Dataset | None
) -> None:
    left, top = corner
    small = ImageFont.load_default(12)
    canvas.paste(_tile(one, dataset), (left, top))
    draw.text((left, top + TILE + 2), fitted_text(draw, one.defect_type, small, TILE), fill=INK, font=small)
    for line, (word, rejected, relative) in enumerate(
        (("was", one.was_rejected, one.old_relative), ("now", one.is_rejected, one.new_relative))
    ):
        verdict, colour = ("reject", REJECT) if rejected else ("pass", PASS)
        text = f"{word} {verdict} {relative:.3f}"
        draw.text((left, top + TILE + 16 + 14 * line), text, fill=colour, font=small)


def _tile(one: PairedImage, dataset: Dataset | None) -> Image.Image:
    records = [] if dataset is None else [record for record in dataset.records if record.path == one.image]
    try:
        if dataset is None or not records:
            raise LookupError
        mask = dataset.mask_of(records[0]) if one.label else None
        return scaled(outlined(dataset.pixels_of(records[0]), mask, TILE))
    except (GonogoError, LookupError):
        return scaled(np.full((TILE, TILE, 3), 240, dtype=np.uint8))
