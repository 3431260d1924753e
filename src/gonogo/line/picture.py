"""The picture of an explanation: the image, its map, and its highest places, each beside the nearest good patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gonogo.images.colours import FAINT, INK, OUTLINE, PAPER, PASS, REJECT
from gonogo.images.draw_boxes import DrawnBox, with_boxes
from gonogo.images.reading import write_png
from gonogo.inference.good_patches import Box, GoodPatch
from gonogo.inference.scorer import Verdict
from gonogo.line.outputs import coloured, drawn_boxes
from gonogo.text import printable

PANEL, TILE, GAP, HEADER, CAPTION = 420, 150, 14, 62, 20  # pixels
NAMES = 300  # pixels, width of the text beside a pair
MOST_PAIRS = 12


@dataclass(frozen=True)
class Pair:
    """A place of the image and the good patch nearest to it.

    box: (x, y, width, height) of the place in pixels of the image.
    peak: the highest value of the anomaly map there.
    picture: (s, s, 3) uint8, the place and its surroundings, on the scale of the picture of the good patch.
    """

    box: Box
    peak: float
    picture: np.ndarray
    good: GoodPatch


def write_picture(path: Path, name: str, pixels: np.ndarray, verdict: Verdict, pairs: Sequence[Pair]) -> None:
    """Write a PNG: the image (h, w, 3) with numbered places, the map, regions and boxes, and up to MOST_PAIRS pairs.

    Where boxes decide, they are drawn over the image in place of the map.
    """
    pairs = pairs[:MOST_PAIRS]
    scale = PANEL / max(pixels.shape[:2])
    width, height = (max(1, round(n * scale)) for n in (pixels.shape[1], pixels.shape[0]))
    beside = height > 0.75 * width and not pairs  # whether the panels stand side by side
    column = 2 * (CAPTION + height + GAP)
    rows = len(pairs) * (TILE + GAP) + CAPTION
    right = 2 * (TILE + GAP) + NAMES if pairs else (PANEL if beside else 0)
    tall = max(rows if pairs else 0, CAPTION + height + GAP if beside else column)
    canvas = Image.new("RGB", (GAP + PANEL + GAP + right + GAP, HEADER + tall), PAPER)
    draw = ImageDraw.Draw(canvas)
    small, bold = ImageFont.load_default(13), ImageFont.load_default(19)
    draw.text((GAP, 8), verdict.label.upper(), fill=REJECT if verdict.anomalous else PASS, font=bold)
    draw.text((GAP + 90, 12), printable(name), fill=INK, font=small)
    sign = ">=" if verdict.anomalous else "<"
    comparison = f"score {verdict.score:.4g} {sign} threshold {verdict.threshold:.4g}"
    draw.text((GAP, 36), comparison, fill=FAINT, font=small)

    def panel(image: np.ndarray, title: str, at: tuple[int, int], boxes: Sequence[DrawnBox] = ()) -> None:
        draw.text(at, title, fill=INK, font=small)
        method = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
        resized = np.asarray(Image.fromarray(image).resize((width, height), method))
        canvas.paste(Image.fromarray(with_boxes(resized, boxes, scale=scale)), (at[0], at[1] + CAPTION))

    panel(pixels, "the part" + (", and the places compared" if pairs else ""), (GAP, HEADER))
    at = (GAP + PANEL + GAP, HEADER) if beside else (GAP, HEADER + CAPTION + height + GAP)
    panel(coloured(pixels, verdict), _title(verdict), at, drawn_boxes(verdict.boxes or ()))
    for number, pair in enumerate(pairs, start=1):
        x, y, wide, high = (scale * value for value in pair.box)
        left, top = GAP + x, HEADER + CAPTION + y
        draw.rectangle((left - 2, top - 2, left + wide + 1, top + high + 1), outline=OUTLINE, width=2)
        _number(draw, number, min(left + wide + 3, GAP + width - 18), max(top - 8, HEADER + CAPTION), small)
    left = GAP + PANEL + GAP
    if pairs:
        draw.text((left, HEADER), "this part", fill=INK, font=small)
        draw.text((left + TILE + GAP, HEADER), "nearest good patch", fill=INK, font=small)
    for number, pair in enumerate(pairs, start=1):
        top = HEADER + CAPTION + (number - 1) * (TILE + GAP)
        for step, picture in enumerate((pair.picture, pair.good.picture)):
            tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.BICUBIC)
            canvas.paste(tile, (left + step * (TILE + GAP), top))
        _number(draw, number, left + 3, top + 3, small)
        text = left + 2 * (TILE + GAP)
        times = f" = {pair.peak / verdict.threshold:.2f} x threshold" if verdict.threshold > 0 else ""
        lines = [f"differs by {pair.peak:.4g}{times}", f"from {printable(Path(pair.good.image).name)}"]
        bx, by, bw, bh = pair.good.box
        lines.append(
            f"{bw} x {bh} pixels at ({bx}, {by})" + (f", turned by {pair.good.turned:g}°" if pair.good.turned else "")
        )
        for row, line in enumerate(lines):
            ink = REJECT if row == 0 and pair.peak >= verdict.threshold else INK if row < 2 else FAINT
            draw.text((text, top + 4 + 18 * row), line, fill=ink, font=small)
    write_png(path, np.asarray(canvas))


def _title(verdict: Verdict) -> str:
    """What the panel with the map shows, or the one with the boxes."""
    found = "" if verdict.boxes is None else "the boxes found" if verdict.boxes else "no box found"
    if verdict.boxes_decide:
        return found
    return "where it differs: red is beyond the threshold" + (f"; {found}" if found else "")


def _number(
    draw: ImageDraw.ImageDraw, number: int, left: float, top: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    draw.ellipse((left, top, left + 18, top + 18), fill=PAPER, outline=INK)
    draw.text((left + 9, top + 9), str(number), fill=INK, font=font, anchor="mm")
