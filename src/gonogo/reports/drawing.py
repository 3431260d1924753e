"""What every picture sheet is drawn with: its colours, tiles of images and maps, and the scale of the maps."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion

from gonogo.images.colours import FAINT, OUTLINE, PAPER, map_colours

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

TILE, GAP = 112, 6


def scaled(tile: np.ndarray, side: int = TILE) -> Image.Image:
    """The tile on a square canvas of `side` pixels, its proportions kept."""
    method = Image.Resampling.NEAREST if max(tile.shape) < side else Image.Resampling.LANCZOS
    return on_square(Image.fromarray(tile), method, paper=PAPER, side=side)


def outlined(pixels: np.ndarray, mask: np.ndarray | None, side: int) -> np.ndarray:
    """The image scaled to `side` pixels at its longer side, its mask's outline drawn in one colour; (h, w, 3) uint8."""
    image = Image.fromarray(pixels)
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = np.array(image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS))
    if mask is not None and mask.any():
        if scale > 1:
            rows, columns = (np.arange(s) * n // s for n, s in zip(mask.shape, size[::-1], strict=True))
            marked = mask[rows[:, None], columns]
        else:  # the largest value of each cell: a defect of one pixel must not vanish
            rows, columns = np.nonzero(mask)
            marked = np.zeros(size[::-1], dtype=bool)
            marked[rows * size[1] // mask.shape[0], columns * size[0] // mask.shape[1]] = True
        small[binary_dilation(marked) & ~binary_erosion(marked)] = OUTLINE
    return small


def on_square(
    image: Image.Image, method: Image.Resampling, *, paper: tuple[int, int, int] | int, side: int = TILE
) -> Image.Image:
    """The image on a square of `side` pixels of `paper`, its proportions kept."""
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    square = Image.new(image.mode, (side, side), paper)
    square.paste(image.resize(size, method), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def draw_scale(canvas: Image.Image, draw: ImageDraw.ImageDraw, font: Font, width: int, threshold: float) -> None:
    """The colour scale of the maps, at the top right of a canvas of this width."""
    bar = np.tile(np.linspace(0, 2 * threshold, 160), (10, 1))
    left = width - 160 - 40
    canvas.paste(Image.fromarray(map_colours(bar, threshold)), (left, 5))
    for fraction, label in ((0.0, "0"), (0.5, f"threshold {threshold:.4g}"), (1.0, "2 x")):
        x = left + fraction * 160
        draw.text((x - draw.textlength(label, font=font) / 2, 17), label, fill=FAINT, font=font)


def fitted_text(draw: ImageDraw.ImageDraw, text: str, font: Font, width: int, *, keep_end: bool = False) -> str:
    """The text, or as much of its beginning, or of its end, as is no wider than `width` pixels."""
    while len(text) > 2 and draw.textlength(text, font=font) > width:
        text = "…" + text[2:] if keep_end else text[:-2] + "…"
    return text
