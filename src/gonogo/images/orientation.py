"""Turning an image upright by the orientation that its EXIF data tell, and by nothing else of them."""

import struct

from PIL.Image import Image, Transpose
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from gonogo.images.tiff import ORIENTATION, SIGNATURES, first_directory

TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
EXCHANGING = (5, 6, 7, 8)  # of these, those by which height and width change places
PREFIX = b"Exif\0\0"
AS_TEXT = "Raw profile type exif"  # of a PNG: three lines of title, and hexadecimal digits


def upright(image: ImageFile) -> Image:
    """A decoded image as a viewer shows it. Data that are no EXIF turn nothing.

    Raises:
        ValueError: the EXIF data have more tags than any.
    """
    if isinstance(image, TiffImageFile):  # Pillow has turned it
        return image
    turn = TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def upright_size(image: ImageFile) -> tuple[int, int]:
    """Width and height of an image that is opened and not decoded, as it will stand upright.

    Raises:
        ValueError: the EXIF data have more tags than any.
    """
    width, height = image.size
    if isinstance(image, TiffImageFile) or orientation_of(image) not in EXCHANGING:  # of a TIFF, Pillow has seen to it
        return width, height
    return height, width


def orientation_of(image: ImageFile) -> int:
    """The orientation by EXIF of an image that is opened and not decoded; 1 where nothing says it.

    Raises:
        ValueError: the EXIF data have more tags than any.
    """
    if isinstance(image, TiffImageFile):
        return int(image.tag_v2.get(ORIENTATION, 1))
    return _orientation(_exif_of(image))


def _exif_of(image: ImageFile) -> bytes:
    exif = image.info.get("exif", b"")
    if not exif and AS_TEXT in image.info:
        exif = bytes.fromhex("".join(str(image.info[AS_TEXT]).split("\n")[3:]))
    return exif if isinstance(exif, bytes) else b""


def _orientation(exif: bytes) -> int:
    stream = exif.removeprefix(PREFIX).removeprefix(PREFIX)
    if not stream.startswith(SIGNATURES):
        return 1
    try:
        return first_directory(stream).value(ORIENTATION, 1)
    except (struct.error, IndexError):
        return 1
