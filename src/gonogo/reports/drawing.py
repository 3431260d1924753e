"""Tiles: an image, its mask and its anomaly map drawn at the size that a sheet or a page has room for."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes

from gonogo.calibration.boxes import FoundBox
from gonogo.images.colours import FOUND_BOX, LABELLED_BOX, OUTLINE, PAPER, map_colours
from gonogo.images.draw_boxes import DrawnBox, with_boxes

Size = tuple[int, int]  # width and height in pixels

LONGEST = 3.0  # a tile is at most so many times as wide as it is high, or as high as it is wide
PIXELATED = 4  # an image that is enlarged so many times or more shows its pixels as squares
REGION_LINE = (0, 0, 0)  # stands out from every colour that a map has near its threshold


def tile_size(sizes: Iterable[Size], side: int) -> Size:
    """The size of a tile for images of these sizes: the area of a square of `side` pixels, in the shape of the images.

    Where the images differ in shape, the tile has the shape in the middle.
    """
    shapes = sorted(width / height for width, height in sizes)
    shape = min(max(shapes[len(shapes) // 2], 1 / LONGEST), LONGEST) if shapes else 1.0
    return round(side * shape**0.5), round(side / shape**0.5)


def fitted_size(size: Size, room: Size) -> Size:
    """The largest size with the proportions of `size` that fits into `room`."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def image_tile(pixels: np.ndarray, room: Size, mask: np.ndarray | None = None) -> np.ndarray:
    """The image (h, w, 3) uint8 scaled to fit into `room`, with the outline of its mask (h, w) where there is one."""
    height, width = pixels.shape[:2]
    size = fitted_size((width, height), room)
    scale = size[0] / width
    method = Image.Resampling.NEAREST if scale >= PIXELATED else Image.Resampling.LANCZOS
    tile = np.array(Image.fromarray(pixels).resize(size, method))
    if mask is not None and mask.any():
        marked = marked_cells(mask, size)
        tile[binary_dilation(marked) & ~binary_erosion(marked)] = OUTLINE
    return tile


def box_tile(
    pixels: np.ndarray, labelled: Sequence[Mapping[str, Any]], found: Sequence[FoundBox], room: Size
) -> np.ndarray:
    """The image scaled to fit into `room`, with its labelled boxes in green and those found in orange."""
    tile = image_tile(pixels, room)
    truth = [DrawnBox((b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]), "", LABELLED_BOX) for b in labelled]
    ours = [DrawnBox((b.x, b.y, b.x + b.width, b.y + b.height), "", FOUND_BOX) for b in reversed(found)]
    return with_boxes(tile, [*truth, *ours], scale=tile.shape[1] / pixels.shape[1])


def mask_tile(pixels: np.ndarray, mask: np.ndarray | None, room: Size) -> np.ndarray:
    """The image in pale grey with its mask (h, w) filled and outlined; grey paper where the mask is unknown."""
    size = fitted_size((pixels.shape[1], pixels.shape[0]), room)
    if mask is None:
        return np.full((size[1], size[0], 3), 240, dtype=np.uint8)
    grey = image_tile(pixels, room).mean(axis=2, keepdims=True)
    pale = np.repeat((200 + grey / 5).astype(np.uint8), 3, axis=2)
    if mask.any():
        marked = marked_cells(mask, size)
        pale[marked] = (pale[marked] * 0.5 + np.array(OUTLINE) * 0.2).astype(np.uint8)
        pale[marked & ~binary_erosion(binary_fill_holes(marked))] = OUTLINE
    return pale


def map_tile(anomaly_map: np.ndarray, threshold: float, room: Size, regions: np.ndarray | None = None) -> np.ndarray:
    """The colours of a map (h, w) scaled to fit into `room`, with a thin line around each region of a mask (h, w)."""
    tile = image_tile(map_colours(anomaly_map, threshold), room)
    if regions is not None:
        tile[region_lines(regions, (tile.shape[1], tile.shape[0]))] = REGION_LINE
    return tile


def region_lines(regions: np.ndarray, size: Size) -> np.ndarray:
    """(h, w) bool at `size`: a line of one pixel around each region of a mask, none where the image ends."""
    marked = marked_cells(regions, size)
    return np.asarray(binary_dilation(marked) & ~marked)


def marked_cells(mask: np.ndarray, size: Size) -> np.ndarray:
    """(h, w) bool at `size`: the cells that a pixel of the mask touches, so that a region of one pixel never vanishes.

    Where the mask is enlarged, a cell is marked by the pixel at its centre.
    """
    image = Image.fromarray(mask.astype(np.float32))
    shrinks = size[0] < image.width
    return np.asarray(image.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST)) > 0


def on_paper(tile: np.ndarray, room: Size, paper: tuple[int, int, int] = PAPER) -> Image.Image:
    """The tile in the middle of a sheet of paper of that size."""
    sheet = Image.new("RGB", room, paper)
    height, width = tile.shape[:2]
    sheet.paste(Image.fromarray(tile), ((room[0] - width) // 2, (room[1] - height) // 2))
    return sheet


def jpeg_uri(tile: np.ndarray) -> str:
    """The tile as a data URI that a page can hold."""
    encoded = io.BytesIO()
    Image.fromarray(tile).save(encoded, format="JPEG", quality=86)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
