"""Pixels in arrays: what their numbers mean is named, as `bgr8`, since nothing in an array tells it."""

import io
import math
import re
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from gonogo.errors import ConfigError, ImageError, ShapeError
from gonogo.images.levels import rgb_of
from gonogo.images.limits import require_size
from gonogo.text import meant

CHANNELS = {"grey": None, "rgb": (0, 1, 2), "bgr": (2, 1, 0), "rgba": (0, 1, 2), "bgra": (2, 1, 0)}
BITS: dict[str, type[np.generic]] = {
    "8": np.uint8,
    "10": np.uint16,
    "12": np.uint16,
    "14": np.uint16,
    "16": np.uint16,
    "32f": np.float32,
}
NAMES = tuple(channels + bits for channels in CHANNELS for bits in BITS)
NUMPY = b"\x93NUMPY"  # begins a file of one array


class PixelFormat(NamedTuple):
    """What the numbers of an array are.

    name: one of NAMES: the channels in their order, and the bits of each.
    channels: the places of red, green and blue among the channels; None of grey. Alpha is dropped.
    dtype: of the array; 10, 12 and 14 bits lie in 16, unshifted, as cameras give them.
    white: the number that is white; 0 is black.
    """

    name: str
    channels: tuple[int, ...] | None
    dtype: type[np.generic]
    white: float

    @classmethod
    def of(cls, name: str) -> Self:
        """The format of this name.

        Raises:
            ConfigError: there is none.
        """
        found = re.fullmatch(r"([a-z]+)(\d+f?)", name)
        if found is None or found[1] not in CHANNELS or found[2] not in BITS:
            question = meant(name, NAMES)
            raise ConfigError(
                f"{name!r} is no format of pixels; {question and f'{question} '}write the channels, one of "
                f"{', '.join(CHANNELS)}, and the bits of each, one of {', '.join(BITS)}, as bgr8"
            )
        white = 1.0 if found[2] == "32f" else float((1 << int(found[2])) - 1)
        return cls(name, CHANNELS[found[1]], BITS[found[2]], white)

    @property
    def n_channels(self) -> int:
        """How many numbers a pixel has."""
        return 1 if self.channels is None else len(self.name.rstrip("0123456789f"))


def rgb_of_pixels(pixels: np.ndarray, pixel_format: str) -> np.ndarray:
    """(h, w, 3) uint8 RGB of an array whose format is named.

    Args:
        pixels: (h, w) or (h, w, 1) of grey, otherwise (h, w, 3) or (h, w, 4), of the format's dtype.
        pixel_format: one of NAMES.

    Raises:
        ConfigError: the format has another name.
        ShapeError: the array has another shape or dtype than the format.
        ImageError: a number is none, below black or above white, or the image is too large.
    """
    known = PixelFormat.of(pixel_format)
    shape = pixels.shape[:2] if known.channels is None and pixels.shape[2:] == (1,) else pixels.shape
    expected = "(h, w)" if known.channels is None else f"(h, w, {known.n_channels})"
    fits = len(shape) == 2 if known.channels is None else pixels.ndim == 3 and shape[2] == known.n_channels
    if not fits or pixels.dtype != known.dtype:
        raise ShapeError(
            f"pixels of {pixel_format}: expected {expected} {np.dtype(known.dtype)}, got {pixels.shape} {pixels.dtype}"
        )
    require_size(shape[1], shape[0], "the array")
    samples = pixels.reshape(shape) if known.channels is None else pixels[..., list(known.channels)]
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= known.white):
        raise ImageError(f"pixels of {pixel_format} from {low} to {high}; expected 0 to {known.white:g}")
    if known.dtype == np.float32:
        samples = np.rint(samples * np.float32(255)).astype(np.uint8)
        return rgb_of(samples, 255)
    return rgb_of(samples, int(known.white))


def rgb_of_file(data: bytes, where: Path | str, pixel_format: str) -> np.ndarray:
    """(h, w, 3) uint8 RGB of the bytes of an .npy file, whose format is named; nothing in it is executed.

    Raises:
        ConfigError: the format has another name.
        ImageError: the file is damaged, or holds another array than the format says; the message names it.
    """
    stream = io.BytesIO(data)
    try:
        if not data.startswith(NUMPY):
            raise ValueError("it is no .npy file; an image needs no format of its pixels")
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, is_fortran, dtype = read[np.lib.format.read_magic(stream)](stream)
        if dtype.hasobject:
            raise ValueError("it holds objects of Python and not numbers")
        if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
            raise ValueError("the array has another length than its header says")
        flat = np.frombuffer(data, dtype, offset=stream.tell())
        pixels = flat.reshape(shape, order="F" if is_fortran else "C")
        return rgb_of_pixels(pixels.astype(dtype.newbyteorder("=")), pixel_format)
    except (ValueError, KeyError, TypeError, EOFError, OverflowError, ShapeError, ImageError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ImageError(f"{where} cannot be read as an array of pixels: {error}") from error
