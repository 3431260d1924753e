"""CutPaste: a piece of an image pasted elsewhere in it, in place of a defect, of which there is no image yet.

Source: Li et al. 2021, "CutPaste: Self-Supervised Learning for Anomaly Detection and Localization" (CVPR).
Deviations: pieces keep their colours, where the authors may jitter them, and the image around them is unchanged,
where they move it and jitter its colours; a scar's sizes, given in pixels of 256 x 256 images, scale with the image.
"""

import math

import torch
from torch import Tensor

AREA = (0.02, 0.15)  # of a patch, as a share of the image's
LARGEST_ASPECT = 10 / 3  # of a patch, either way; the authors' (0.3, 1) and (1, 3.3)
SCAR_WIDTH, SCAR_LENGTH = (2, 16), (10, 25)  # pixels of an image of SCAR_IMAGE x SCAR_IMAGE
SCAR_IMAGE = 256
SCAR_DEGREES = (-45, 45)
SMALLEST_SCAR = 2  # pixels, so that a rotated scar covers some pixels of a small image


def paste_patch(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(3, h, w) with a rectangle of pixels (3, h, w) copied to another place in it, unturned.

    In an oblong image, the rectangle is as large as in a square of the shorter side. The randomness is `generator`'s
    alone, on the CPU, whatever the device of the pixels.
    """
    image = pixels.shape[-2:]
    side = min(image)
    aspect = _between(1, LARGEST_ASPECT, generator)
    if _between(0, 1, generator) < 0.5:
        aspect = 1 / aspect
    area = _between(*AREA, generator) * side**2
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    y, x = _place(image, height, width, generator)
    top, left = _place(image, height, width, generator, other_than=(y, x))
    pasted = pixels.clone()
    pasted[:, top : top + height, left : left + width] = pixels[:, y : y + height, x : x + width]
    return pasted


def paste_scar(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(3, h, w) with a thin rectangle of pixels (3, h, w) turned and put down at another place in it.

    Every pixel keeps one of the rectangle's values: the turn takes the nearest. Randomness as in `paste_patch`.
    """
    image = pixels.shape[-2:]
    side = min(image)
    width, length = (
        max(SMALLEST_SCAR, round(_between(*sizes, generator) * side / SCAR_IMAGE))
        for sizes in (SCAR_WIDTH, SCAR_LENGTH)
    )
    place = _place(image, length, width, generator)
    angle = math.radians(_between(*SCAR_DEGREES, generator))
    cos, sin = math.cos(angle), math.sin(angle)
    box = (math.ceil(length * cos + width * abs(sin)), math.ceil(length * abs(sin) + width * cos))
    top, left = _place(image, *box, generator, other_than=place)
    y, x = (torch.arange(extent) + 0.5 - extent / 2 for extent in box)
    # Where each pixel of the box around the turned rectangle comes from.
    row = (y[:, None] * cos + x * sin + length / 2).floor().long()
    column = (x * cos - y[:, None] * sin + width / 2).floor().long()
    inside = (row >= 0) & (row < length) & (column >= 0) & (column < width)
    to_row, to_column = inside.nonzero(as_tuple=True)
    pasted = pixels.clone()
    pasted[:, top + to_row, left + to_column] = pixels[:, place[0] + row[inside], place[1] + column[inside]]
    return pasted


def _place(
    image: torch.Size,
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    other_than: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Top and left of a rectangle that lies within an image (h, w), any of its places as likely as another."""
    while True:
        top, left = (
            int(torch.randint(side - extent + 1, (), generator=generator))
            for side, extent in zip(image, (height, width), strict=True)
        )
        if (top, left) != other_than:
            return top, left


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
