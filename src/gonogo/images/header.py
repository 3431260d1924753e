"""What the header of an encoded image says, before anything is decoded."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from gonogo.errors import ImageError
from gonogo.images.limits import require_size

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")

# What Pillow's parsers raise on a damaged file, beside their own errors.
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, RuntimeError,
          ArithmeticError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """The facts of an image file.

    format: one of FORMATS.
    mode: Pillow's name of what a pixel has.
    width, height: in pixels, as they are stored; an EXIF orientation may exchange them.
    n_frames: images that a viewer would show one after another. A phone's JPEG with a preview beside it has one.
    """

    format: str
    mode: str
    width: int
    height: int
    n_frames: int


def read_header(data: bytes, where: Path | str) -> Header:
    """What the header of an encoded image says; its size is one that `require_size` allows. Nothing is decoded.

    Args:
        data: the whole file.
        where: where it came from, for the message.

    Raises:
        ImageError: it is not an image of FORMATS, is damaged, or is too large.
    """
    with opened(data, where) as image:
        return header_of(image)


@contextmanager
def opened(data: bytes, where: Path | str) -> Iterator[Image.Image]:
    """The image, opened but not decoded, for a context in which whatever Pillow raises becomes an ImageError.

    Raises:
        ImageError: as `read_header`, or for what is raised inside of the context.
    """
    if not data:
        raise ImageError(f"{where} cannot be read as an image: the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            require_size(*image.size, where)
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{where} cannot be read as an image: not one of {', '.join(FORMATS)}") from error
    except DAMAGE as error:
        raise ImageError(f"{where} cannot be read as an image: {error or type(error).__name__}") from error


def header_of(image: Image.Image) -> Header:
    """The facts of an opened image."""
    with_preview = image.format == "MPO"
    name = "JPEG" if with_preview else str(image.format)
    return Header(name, image.mode, *image.size, 1 if with_preview else getattr(image, "n_frames", 1))
