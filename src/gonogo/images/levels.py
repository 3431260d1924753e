"""What the numbers in an image file mean: which one is black, which one white.

Eight bits need no word. More bits are often fewer than the container has: a camera's 12 bits in 16 look black where
they are scaled as 16. What the file says is followed; where nothing tells, the image is refused rather than guessed.
"""

from dataclasses import dataclass

import numpy as np
from PIL.Image import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
SIXTEEN_BITS = 65_535
TOO_DARK = 4_095  # 16 bits of which no pixel is above leave 16 levels of grey, and are a camera's 12 bits most likely
REFUSED = {  # Pillow's modes that it does not convert to RGB, or not as a person would
    "La": "grey that is multiplied by alpha; save it without transparency",
    "LAB": "colours of CIELAB; save it as RGB",
}
JPEG_FORMATS = ("JPEG", "MPO")
# Tags of TIFF, and values of some.
BITS, COMPRESSION, PHOTOMETRIC, PLANES, FORMAT, SUBSAMPLING = 258, 259, 262, 284, 339, 530
MAX_SAMPLE, MAX_SAMPLE_OF_ANY_TYPE, WHITE_LEVEL = 281, 341, 50_717  # the last is of DNG
WHITE_IS_ZERO, YCBCR, SEPARATE, SIGNED, NOT_COMPRESSED = 0, 6, 2, 2, 1


@dataclass(frozen=True)
class Levels:
    """The meaning of the numbers.

    white: the number that is white; None where the file has more than 16 bits and does not say it.
    told: whether the file says so; otherwise it is the largest number that the container can hold.
    cut: whether Pillow drops the lower 8 of 16 bits when it decodes the image.
    inverted: whether white and black are exchanged.
    """

    white: int | None
    told: bool
    cut: bool
    inverted: bool = False


def levels_of(image: ImageFile) -> Levels:
    """What an image, opened and not decoded, says of its numbers.

    Raises:
        ValueError: they cannot be read as a person would expect.
    """
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers without a known range; save 8 or 16 bits")
    if image.format in JPEG_FORMATS and image.mode == "CMYK" and "adobe" not in image.info:
        raise ValueError("a CMYK JPEG without Adobe's marker does not say whether 0 is ink or paper; save it as RGB")
    if isinstance(image, TiffImageFile):
        return _levels_of_tiff(image)
    return Levels(SIXTEEN_BITS, told=False, cut=_is_cut(image))


def rgb_of_pillow(image: Image, levels: Levels) -> np.ndarray:
    """(h, w, 3) uint8 RGB of a decoded image.

    Raises:
        ValueError: the numbers do not fit what the file says, or Pillow cannot convert them.
    """
    if image.mode in WIDE_MODES:
        samples = np.asarray(image)
        if levels.white is None:
            raise ValueError(
                f"whole numbers of 32 bits, or with a sign, from {samples.min()} to {samples.max()}, without a word of "
                "which is white; save 8 or 16 bits"
            )
        if samples.min() < 0 or samples.max() > levels.white:
            raise ValueError(f"pixel values from {samples.min()} to {samples.max()}; expected 0 to {levels.white}")
        if levels.white == SIXTEEN_BITS and not levels.told:
            _require_light(int(samples.max()))
        return rgb_of(levels.white - samples if levels.inverted else samples, levels.white)
    if image.mode in REFUSED:
        raise ValueError(REFUSED[image.mode])
    pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    if levels.cut and not (levels.white == SIXTEEN_BITS and levels.told):
        _require_light(int(pixels.max()) << 8)
    return pixels


def rgb_of(samples: np.ndarray, white: int) -> np.ndarray:
    """(h, w, 3) uint8 of samples (h, w) or (h, w, 3), whole numbers from 0 to `white`."""
    pixels = samples.astype(np.float32) if white != 255 else samples
    if white != 255:
        pixels *= np.float32(255 / white)
        np.rint(pixels, out=pixels)
    eight = pixels.astype(np.uint8)
    return eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=2)


def _levels_of_tiff(image: TiffImageFile) -> Levels:
    tags = image.tag_v2
    bits = max(tags.get(BITS, (1,)))
    if PHOTOMETRIC not in tags:
        raise ValueError("a TIFF that does not say whether 0 is black or white; save it again, or as PNG")
    if tags.get(PLANES, 1) == SEPARATE and bits > 8:  # Pillow decodes them to other values without a word
        raise ValueError("a TIFF of separate 16 bit planes; save it interleaved or as PNG")
    if SIGNED in tags.get(FORMAT, (1,)) and bits == 8:
        raise ValueError("a TIFF of numbers with a sign; save 8 or 16 bits without one")
    compression, photometric = tags.get(COMPRESSION, NOT_COMPRESSED), tags[PHOTOMETRIC]
    if (photometric, compression) == (YCBCR, NOT_COMPRESSED) and tags.get(SUBSAMPLING, (2, 2)) != (1, 1):
        raise ValueError("a TIFF of YCbCr with fewer samples of colour than of light; save it as RGB or as PNG")
    inverted = photometric == WHITE_IS_ZERO and image.mode in WIDE_MODES  # Pillow inverts up to 8 bits
    told = _white_of_tiff(image)
    white = told or (None if image.mode == "I" else SIXTEEN_BITS)
    return Levels(white, told=told is not None, cut=_is_cut(image), inverted=inverted)


def _white_of_tiff(image: TiffImageFile) -> int | None:
    """The white level that a TIFF tells, by its number of bits or by a tag.

    The largest sample is a statistic of the image by TIFF 6.0, and the range of the camera by many writers: it is
    taken where it is the largest number of 8 to 16 bits.
    """
    ranges = [(1 << n_bits) - 1 for n_bits in range(8, 17)]
    for tag in (WHITE_LEVEL, MAX_SAMPLE, MAX_SAMPLE_OF_ANY_TYPE):
        told = image.tag_v2.get(tag, 0)
        level = int(max(told) if isinstance(told, tuple) else told)
        if level in ranges or (tag == WHITE_LEVEL and level > 0):
            return level
    bits = max(image.tag_v2.get(BITS, (1,)))
    return (1 << bits) - 1 if 8 < bits < 16 else None


def _is_cut(image: ImageFile) -> bool:
    return image.mode not in WIDE_MODES and any(";16" in str(tile[3]) for tile in image.tile[:1])


def _require_light(brightest: int) -> None:
    if 0 < brightest <= TOO_DARK:
        raise ValueError(
            f"16 bits of which no pixel is above {brightest} of {SIXTEEN_BITS}: fewer bits in a file of 16, as cameras "
            "give them, or nearly black; save them shifted to 16 bits, as 8 bits, or as a TIFF with MaxSampleValue"
        )
