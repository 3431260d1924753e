"""What the header of an encoded image says, before anything is decoded."""

import math
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from gonogo.errors import ImageError, SlowImageError
from gonogo.images.foreign import SAVE, foreign
from gonogo.images.limits import Clock, TimedReader, TimeIsOverError, require_size
from gonogo.images.structure import name_of, require_structure

NEW_SUBFILE_TYPE, COPY_OR_MASK = 254, 0b101  # a tag of TIFF, and two bits of its value
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


@contextmanager
def opened(
    data: bytes, where: Path | str, *, clock: Clock = time.thread_time, most_seconds: float = math.inf
) -> Iterator[ImageFile]:
    """The image, opened but not decoded, for a context in which whatever Pillow raises becomes an ImageError.

    Args:
        data: the whole file.
        where: where it came from, for the message.
        clock, most_seconds: of the time that reading and decoding may take; see `TimedReader`.

    Raises:
        SlowImageError: it takes longer.
        ImageError: it is not an image of FORMATS, is damaged, cut or still being written, has other content after its
            end, is too large by `require_size` or by its number of parts, or Pillow raises inside of the context.
    """
    try:
        if not data:
            raise ValueError("the file is empty")
        require_structure(data, where)
        reader = TimedReader(data, clock, most_seconds)
        with Image.open(reader, formats=FORMATS) as image:
            require_size(*image.size, where)
            reader.allow(*image.size)
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{where} cannot be read as an image: {_not_opened(data)}") from error
    except TimeIsOverError as error:
        raise SlowImageError(f"{where} cannot be read as an image: {error}") from error
    except DAMAGE as error:
        raise ImageError(f"{where} cannot be read as an image: {error or type(error).__name__}") from error


def _not_opened(data: bytes) -> str:
    """What a file is that Pillow does not open as one of FORMATS, and what to do."""
    name, found = name_of(data), foreign(data)
    if found is not None:
        return f"not one of {', '.join(FORMATS)}, but {found[0]}; {found[1]}"
    if name is not None:
        return f"a {name} that is damaged or of a rare kind; {SAVE}"
    return f"not one of {', '.join(FORMATS)}; {SAVE}"


def header_of(image: ImageFile) -> Header:
    """The facts of an opened image.

    Raises:
        RuntimeError: a TIFF has too many directories to look at in time.
    """
    with_preview = image.format == "MPO"
    name = "JPEG" if with_preview else str(image.format)
    return Header(name, image.mode, *image.size, 1 if with_preview else _n_frames(image))


def _n_frames(image: ImageFile) -> int:
    """Images in the file; pages of a TIFF that are a smaller copy or a mask of another one do not count."""
    n_frames = int(getattr(image, "n_frames", 1))
    if n_frames == 1 or not isinstance(image, TiffImageFile):
        return n_frames
    n_copies = 0
    for number in range(1, n_frames):
        image.seek(number)
        n_copies += int(image.tag_v2.get(NEW_SUBFILE_TYPE, 0)) & COPY_OR_MASK != 0
    image.seek(0)
    return n_frames - n_copies
