"""Reading and writing images. Needs only numpy and Pillow: the scorer and the pipeline read through this one door."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from gonogo.errors import ImageError, ShapeError
from gonogo.images.header import DAMAGE as DAMAGE
from gonogo.images.header import opened

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".pgm", ".ppm", ".pbm", ".pnm"}
)  # lower case
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_image(path: Path) -> np.ndarray:
    """Decode `path` to (h, w, 3) uint8 RGB, upright by its EXIF orientation.

    Grey is repeated over the channels, 16 bits are scaled to 8, an alpha channel is dropped, CMYK is converted.

    Raises:
        ImageError: the file is missing, truncated, too large or not an image; the message names it.
    """
    return decode(file_bytes(path), path)[0]


def file_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        ImageError: it is missing, a directory or otherwise out of reach.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read as an image: {error.strerror or error}") from error


def decode(data: bytes, path: Path) -> tuple[np.ndarray, str]:
    """Pixels as in `read_image`, and Pillow's name for the file's mode, of an encoded image.

    Args:
        data: the whole file.
        path: where it came from, for the message.

    Raises:
        ImageError: it cannot be decoded.
    """
    with opened(data, path) as image:
        mode = image.mode
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _require_interleaved(image)
        upright = ImageOps.exif_transpose(image)
        if upright.mode in WIDE_MODES:
            return _eight_bits(np.asarray(upright)), mode
        if upright.mode == "F":
            raise ValueError("pixels are floating-point numbers without a known range; save 8 or 16 bits")
        return np.array(upright.convert("RGB")), mode


def require_pixels(pixels: np.ndarray) -> None:
    """Do nothing, or refuse what is no batch of images.

    Raises:
        ShapeError: `pixels` is not (n, h, w, 3) uint8.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ShapeError(f"pixels: expected (n, h, w, 3) uint8, got {pixels.shape} {pixels.dtype}")


def write_png(path: Path, pixels: np.ndarray, *, compress_level: int = 6) -> None:
    """Write (h, w, 3) uint8, (h, w) uint8 or uint16, or (h, w) bool as 0 and 255, as a PNG without metadata.

    Args:
        compress_level: 0 to 9. On images of a camera, whose noise hardly compresses, 2 is six times as fast as 6, and
            the file 12 % larger.
    """
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG", compress_level=compress_level)


def _require_interleaved(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse planes of 16 bits, which Pillow decodes to other values without a word."""
    tags = image.tag_v2
    planar = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2
    if planar and max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8:
        raise ValueError("a TIFF of separate 16 bit planes; save it interleaved or as PNG")


def _eight_bits(wide: np.ndarray) -> np.ndarray:
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError(f"pixel values from {wide.min()} to {wide.max()}; expected 8 or 16 bits")
    grey = np.rint(wide.astype(np.float32) / 257).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
