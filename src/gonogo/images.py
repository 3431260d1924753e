"""Reading and writing images. Needs only numpy and Pillow: the scorer and the pipeline read through this one door."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gonogo.errors import ImageError, ShapeError

WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_image(path: Path) -> np.ndarray:
    """Decode `path` to (h, w, 3) uint8 RGB, upright by its EXIF orientation.

    Grey is repeated over the channels, 16 bits are scaled to 8, an alpha channel is dropped.

    Raises:
        ImageError: the file is missing, truncated, too large or not an image; the message names it.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode in WIDE_MODES:
                wide = np.asarray(upright, dtype=np.float64)
                return np.repeat(np.clip(np.rint(wide / 257), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
            return np.array(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be read as an image: {error}") from error


def read_mask(path: Path) -> np.ndarray:
    """Decode a mask to (h, w) bool; any non-zero pixel is anomalous.

    Raises:
        ImageError: the file cannot be read as an image.
    """
    return np.asarray(read_image(path).any(axis=2))


def require_pixels(pixels: np.ndarray) -> None:
    """Do nothing, or refuse what is no batch of images.

    Raises:
        ShapeError: `pixels` is not (n, h, w, 3) uint8.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ShapeError(f"pixels: expected (n, h, w, 3) uint8, got {pixels.shape} {pixels.dtype}")


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write (h, w, 3) or (h, w) uint8, or (h, w) bool as 0 and 255, as a PNG without metadata."""
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")
