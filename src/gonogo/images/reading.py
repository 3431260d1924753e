"""Reading and writing images. Needs only numpy and Pillow: the scorer and the pipeline read through this one door."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from gonogo.errors import ImageError, ShapeError
from gonogo.files import read_regular
from gonogo.images.bitmap import greys_of
from gonogo.images.header import DAMAGE as DAMAGE
from gonogo.images.header import Header, header_of, opened
from gonogo.images.levels import levels_of, rgb_of, rgb_of_pillow
from gonogo.images.limits import MAX_BYTES, Clock
from gonogo.images.orientation import upright, upright_size
from gonogo.images.portable import samples_of

QUICK = 2  # level of compression of a PNG that shows an image of a camera; see `write_png`
SUFFIXES = frozenset(  # lower case
    {".png", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".pbm", ".pgm", ".ppm", ".pnm"}
)


def read_image(path: Path) -> np.ndarray:
    """Decode `path` to (h, w, 3) uint8 RGB, upright by its EXIF orientation; see `decode`.

    Raises:
        ImageError: the file is missing, damaged, too large, not an image, or cannot be read as a person would expect;
            the message names it.
    """
    return decode(file_bytes(path), path)[0]


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the image that `read_image` would give, from the file's header.

    Raises:
        ImageError: the file is missing, damaged, too large or not an image.
    """
    with opened(file_bytes(path), path) as image:
        return upright_size(image)


def file_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The whole file.

    Raises:
        ImageError: as `read_file`.
    """
    return read_file(path, max_bytes=max_bytes)[0]


def read_file(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[bytes, os.stat_result]:
    """The whole file, and what the system says of the file that was read, after it was read.

    Raises:
        ImageError: it is missing, is not a regular file, as a folder, a pipe and a device are, has more than
            `max_bytes`, or is otherwise out of reach.
    """
    try:
        return read_regular(path, max_bytes=max_bytes)
    except (OSError, ValueError, MemoryError) as error:  # ValueError: of a name that no file can have
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{path} cannot be read as an image: {reason}") from error


def decode(
    data: bytes, where: Path | str, *, clock: Clock = time.thread_time, most_seconds: float = math.inf
) -> tuple[np.ndarray, str]:
    """Pixels (h, w, 3) uint8 RGB of an encoded image, upright, and Pillow's name for the file's mode.

    Grey is repeated over the channels, 16 bits are scaled to 8, an alpha channel is dropped, a palette is looked up,
    CMYK is converted. docs/data.md has a table of what is read, how, and of what is refused.

    Args:
        data: the whole file.
        where: where it came from, for the message.
        clock, most_seconds: of the time that decoding may take; see `TimedReader`.

    Raises:
        ImageError: as `opened`, or it has several frames, or cannot be read as a person would expect.
    """
    pixels, header = decode_checked(data, where, lambda _: None, clock=clock, most_seconds=most_seconds)
    return pixels, header.mode


def decode_checked(
    data: bytes,
    where: Path | str,
    check: Callable[[Header], None],
    *,
    clock: Clock = time.thread_time,
    most_seconds: float = math.inf,
) -> tuple[np.ndarray, Header]:
    """As `decode`, with the file's header, which `check` has seen before anything was decoded.

    What `check` raises is raised here, but for what Pillow raises on a damaged file too (DAMAGE).
    """
    with opened(data, where, clock=clock, most_seconds=most_seconds) as image:
        header = header_of(image)
        check(header)
        return pixels_of(image, data, header), header


def pixels_of(image: ImageFile, data: bytes, header: Header) -> np.ndarray:
    """The pixels (h, w, 3) uint8 RGB of an opened image, upright; `data` is the whole file.

    Raises:
        ImageError: it cannot be read as a person would expect.
        DAMAGE: it has several frames or is damaged.
    """
    if header.n_frames > 1:
        raise ValueError(f"{header.n_frames} frames in one file; save each as an image of its own")
    levels = levels_of(image)
    if header.format == "PPM":
        return rgb_of(*samples_of(data))
    if (greys := greys_of(image, data)) is not None:
        return rgb_of(greys, 255)
    image.load()
    return rgb_of_pillow(upright(image), levels)


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
        compress_level: 0 to 9. On images of a camera, whose noise hardly compresses, QUICK is six times as fast as 6,
            and the file 12 % larger.
    """
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG", compress_level=compress_level)
