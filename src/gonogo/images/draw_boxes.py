"""Boxes drawn into a picture: a line around each, and its name and score where there is room. numpy and Pillow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gonogo.images.colours import INK

LEAST_LETTERS, MOST_LETTERS, LETTERS_IN_A_LINE = 11, 24, 32  # height of the text in pixels, and in widths of a picture
WIDE_ENOUGH = 160  # pixels, of a picture that text is written into


@dataclass(frozen=True)
class DrawnBox:
    """A box in pixels of the image: x0, y0, x1, y1, what is written above or `below` it, and the colour of both."""

    corners: tuple[float, float, float, float]
    text: str
    colour: tuple[int, int, int]
    below: bool = False


def whole_steps(picture: np.ndarray, side: int) -> int:
    """How often a picture (h, w, ...) can be enlarged so that its longer side has at most `side` pixels; 1 at least."""
    return max(1, side // int(max(picture.shape[:2])))


def enlarged(picture: np.ndarray, factor: int) -> np.ndarray:
    """The picture with each pixel as a square of `factor` pixels, so that the classes of boxes can be read."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else picture


def with_boxes(picture: np.ndarray, boxes: Sequence[DrawnBox], *, scale: float = 1.0) -> np.ndarray:
    """The picture with the boxes, whose lines lie just outside of what they enclose, so that a small defect is seen.

    Args:
        picture: (h, w, 3) uint8 RGB, or (h, w, 4) RGBA, in which lines are opaque.
        boxes: the last ones are drawn over the others.
        scale: pixels of the picture for each pixel of the image.
    """
    image = Image.fromarray(picture)
    letters = min(max(image.width // LETTERS_IN_A_LINE, LEAST_LETTERS), MOST_LETTERS)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(letters)
    opaque = (255,) if picture.shape[2] == 4 else ()
    width = 1 + max(image.size) // 768
    for box in boxes:
        x0, y0, x1, y1 = (scale * value for value in box.corners)
        colour = (*box.colour, *opaque)
        is_wide = image.width >= WIDE_ENOUGH
        if is_wide:  # a dark edge, since a map has colours near those of boxes
            draw.rectangle((x0 - width - 1, y0 - width - 1, x1 + width, y1 + width), outline=(*INK, *opaque))
        draw.rectangle((x0 - width, y0 - width, x1 + width - 1, y1 + width - 1), outline=colour, width=width)
        if box.text and is_wide:
            length, high = draw.textlength(box.text, font=font), letters + 4
            left = min(max(0.0, x0 - width), max(0.0, image.width - length - 4))
            is_below = box.below if min(y0, image.height - y1) > high else y0 <= high
            top = min(max(0.0, y1 + width if is_below else y0 - width - high), image.height - high)
            draw.rectangle((left, top, left + length + 3, top + letters + 3), fill=colour)
            draw.text((left + 2, top + letters / 2 + 2), box.text, fill=(*INK, *opaque), font=font, anchor="lm")
    return np.asarray(image)
