"""Masks: which pixels of an image a file marks as anomalous. docs/data.md lists how each format is read.

A mask is no photograph: its values are labels. 0 is good and any other value is a defect, however dark it looks.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from gonogo.images.bitmap import greys_of
from gonogo.images.header import header_of, opened
from gonogo.images.levels import BITS, COMPRESSION, JPEG_FORMATS, PHOTOMETRIC, WHITE_IS_ZERO, WIDE_MODES, levels_of
from gonogo.images.orientation import TURNS, orientation_of, upright
from gonogo.images.portable import samples_of
from gonogo.images.reading import file_bytes
from gonogo.images.tiff import JPEG

Background = Literal["black", "white", "unclear"]

MOST_COLOURS = 64  # of a mask in colours, or of one whose values change everywhere; a picture has more
LEAST_SOFT = 8  # a mask whose values are all smaller has labels, even where one lies between others
NEARLY_GREY, NEARLY_BLACK = 48, 32  # of 255: the difference of channels, and a border, that compression leaves
LEAST_LOSSY = 64  # the largest value of a compressed mask; what is darker may be compression's own noise
SOFT = "with soft edges, cut at half of the largest value (save masks as PNG, without smoothing)"

NO_ZERO = "without 0 or black; the value of the whole border was taken as good"


@dataclass(frozen=True)
class MaskFile:
    """What the file of a mask shows.

    Attributes:
        marked: (h, w) bool, upright by the file's own EXIF; True where the value is not 0.
        background: black; white where more than half of the image and its whole border are marked, so that the rest is
            the defect; unclear where more than half of the image is marked, but only the larger part of its border.
        turned: whether the file says by EXIF how it stands.
        remark: how it was read where that is no matter of course, to follow "3 masks"; empty otherwise.
    """

    marked: np.ndarray
    background: Background
    turned: bool
    remark: str = ""


def read_mask(path: Path) -> MaskFile:
    """Read a mask.

    Grey levels, palette indices and labels of 1 to 32 bits mark where they are not 0, and colours where they are not
    black. Where all that is visible has one colour, whatever is visible is marked. Soft edges, and those of a JPEG, are
    cut at half of the largest value.

    Raises:
        ImageError: the file cannot be read as an image, or is no mask; the message names it.
    """
    data = file_bytes(path)
    with opened(data, path) as image:
        if (n_frames := header_of(image).n_frames) > 1:
            raise ValueError(f"a mask of {n_frames} images; save one")
        if image.mode != "F" and levels_of(image).cut:  # Pillow keeps the upper 8 of 16 bits: small labels would vanish
            raise ValueError("a mask of more than 8 bits per colour; save it as grey, or with 8 bits")
        turned = orientation_of(image) in TURNS
        lossy = (
            image.format in JPEG_FORMATS or _is_jpeg_in_tiff(image) or (image.format == "WEBP" and b"VP8 " in data[:64])
        )
        marked, border, remark = _marked(_labels(image, data), lossy=lossy)
        return MaskFile(marked, _background(marked, border), turned, remark)


def _is_jpeg_in_tiff(image: ImageFile) -> bool:
    return isinstance(image, TiffImageFile) and image.tag_v2.get(COMPRESSION) in JPEG


def turn_of(data: bytes, path: Path) -> int:
    """The EXIF orientation by which an encoded image is turned or mirrored, 2 to 8; 1 where it is not.

    Raises:
        ImageError: it is no image; `path` names it.
    """
    with opened(data, path) as image:
        orientation = orientation_of(image)
    return orientation if orientation in TURNS else 1


def turned_like(mask: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w) bool, turned and mirrored as an image of this EXIF orientation is to stand upright."""
    if orientation not in TURNS:
        return mask
    turned = Image.fromarray(mask.astype(np.uint8)).transpose(TURNS[orientation])
    return np.asarray(turned).astype(bool)


def _labels(image: ImageFile, data: bytes) -> np.ndarray:
    """(h, w) numbers or, of a mask in colours, (h, w, 3) uint8; 0 where the image is transparent or black."""
    if image.format == "PPM":
        return _without_equal_channels(samples_of(data)[0])
    if (greys := greys_of(image, data)) is not None:
        return greys
    image.load()
    stands = upright(image)
    if stands.mode in WIDE_MODES:
        return _wide(np.asarray(stands), image)
    if stands.mode == "F":
        return _whole_numbers(np.asarray(stands))
    if image.has_transparency_data and (visible := _visible(stands)) is not None:
        return visible
    if stands.mode in ("1", "L") or (stands.mode == "P" and _has_index_of_good(stands)):
        return np.asarray(stands).astype(np.uint8)
    return _without_equal_channels(np.asarray(stands.convert("RGB")))


def _has_index_of_good(stands: Image.Image) -> bool:
    """Whether index 0 of a palette is good: not where it has a colour, and another index that is used is black."""
    used = np.unique(np.asarray(stands))
    colours = np.array(stands.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    black = [index for index in used.tolist() if index >= len(colours) or not colours[index].any()]
    return 0 not in used or 0 in black or not black


def _visible(stands: Image.Image) -> np.ndarray | None:
    """The labels of an image with transparency; None where nothing of it is transparent."""
    pixels = np.asarray(stands.convert("RGBA"))
    alpha, colours = pixels[..., 3], pixels[..., :3]
    if alpha.min() == 255:
        return None
    if alpha.max() == 0:
        raise ValueError("a mask that is transparent everywhere; save it without transparency")
    seen = colours[alpha > 0].astype(np.int64) @ (1 << 16, 1 << 8, 1)
    if (n_colours := len(np.unique(seen))) == 1 or n_colours > MOST_COLOURS:  # one colour, or the picture cut out
        return alpha
    return _without_equal_channels(colours * (alpha > 0)[..., None])


def _wide(values: np.ndarray, image: Image.Image) -> np.ndarray:
    """Labels of 16 or 32 bits, which Pillow leaves as they are stored even where white is stored as 0."""
    if values.min() < 0:
        raise ValueError(f"a mask with values from {values.min()} to {values.max()}; expected 0 for good, none below")
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        white = (1 << int(image.tag_v2[BITS][0])) - 1
        return white - values.astype(np.int64)
    return values


def _whole_numbers(values: np.ndarray) -> np.ndarray:
    """Labels that were saved as floating-point numbers; those between 0 and 1 in steps of 1/255."""
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("a mask with floating-point values that are negative or no numbers; save it with 8 bits")
    if (values == np.rint(values)).all():
        return values.astype(np.int64)
    return np.asarray(np.rint(values * (255 / values.max()))).astype(np.int64)


def _without_equal_channels(colours: np.ndarray) -> np.ndarray:
    """(h, w) of grey, which has one channel or three equal ones; (h, w, 3) as it is otherwise."""
    if colours.ndim == 2:
        return colours
    return colours[..., 0] if (colours == colours[..., :1]).all() else colours


def _marked(labels: np.ndarray, *, lossy: bool) -> tuple[np.ndarray, np.ndarray, str]:
    """(h, w) bool, the values of the border by which its background is told, and a remark."""
    if labels.ndim == 3:
        codes = labels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
        if not lossy and len(np.unique(codes)) <= MOST_COLOURS:
            return _unlike_background(codes)
        brightest = labels.max(axis=2)
        if int((brightest - labels.min(axis=2)).max()) > NEARLY_GREY and _border(brightest).max() > NEARLY_BLACK:
            raise ValueError("a picture in colours, or a mask in colours that are blurred; save 0 for good, as PNG")
        labels = brightest
    noisy = lossy or _changes_everywhere(labels)
    if noisy or _has_soft_edges(labels):
        marked = _cut(labels, noisy=noisy)
        return marked, _border(marked), SOFT if marked.any() else ""
    return _unlike_background(labels)


def _unlike_background(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """As `_marked`, of (h, w) labels: what is not 0 or, in a mask without 0, not of the border's one value."""
    border = _border(labels)
    if not labels.all() or (labels == labels[0, 0]).all():
        return labels != 0, border, ""
    others = labels != border[0]
    if (border != border[0]).any() or others.mean() > 0.5:
        raise ValueError("a mask without 0, in which nothing tells what is good; save 0 for good")
    return others, _border(others), NO_ZERO


def _has_soft_edges(labels: np.ndarray) -> bool:
    """Whether most pixels that are neither 0 nor of the largest value lie on a slope between the two."""
    top = int(labels.max())
    between = (labels > 0) & (labels < top)
    if top < LEAST_SOFT or not between.any():
        return False
    low, high = _around(labels)
    grey = _grey(labels)
    slope = (low < grey) & (grey < high)
    return bool(np.count_nonzero(slope & between) > np.count_nonzero(between) / 2)


def _changes_everywhere(labels: np.ndarray) -> bool:
    """Whether the values change from pixel to pixel, as those of noise do, or have many levels, as a picture has."""
    beside = (labels[:, 1:] > 0) & (labels[:, :-1] > 0)
    share = float(np.mean((labels[:, 1:] != labels[:, :-1])[beside])) if beside.any() else 0.0
    n_values = len(np.unique(labels))
    return bool((share > 0.1 and n_values > MOST_COLOURS) or (share > 0.3 and n_values > 3))


def _cut(labels: np.ndarray, *, noisy: bool) -> np.ndarray:
    """(h, w) bool: at least half of the largest value.

    Raises:
        ValueError: the largest value is too small to tell it from noise, or there are levels between.
    """
    top = int(labels.max())
    if noisy and 0 < top < LEAST_LOSSY:
        raise ValueError(f"a mask whose largest value is {top}, which may be noise of compression; save it as PNG")
    grey = _grey(labels)
    low, high = _around(labels)
    between = (grey > 64) & (grey < 191)
    level = between & (high.astype(np.int16) - low < 8)  # no edge: a level of its own, or a gradual change
    has_no_black = bool(grey.min() > 64 and between.any())
    if (
        has_no_black
        or np.count_nonzero(between) > grey.size / 5
        or np.count_nonzero(level) > np.count_nonzero(grey >= 191) / 10
    ):
        raise ValueError("a picture with grey levels and no mask; save 0 for good and one value for each defect")
    return labels >= (top + 1) // 2 if top else np.zeros(labels.shape, dtype=bool)


def _grey(labels: np.ndarray) -> np.ndarray:
    """(h, w) uint8: the labels from 0 to 255 for the largest."""
    return np.rint(labels * (255 / max(int(labels.max()), 1))).astype(np.uint8)


def _around(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest grey level in the 3 x 3 pixels around each."""
    image = Image.fromarray(_grey(labels))
    low, high = image.filter(ImageFilter.MinFilter(3)), image.filter(ImageFilter.MaxFilter(3))
    return np.asarray(low), np.asarray(high)


def _border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _background(marked: np.ndarray, border: np.ndarray) -> Background:
    if marked.mean() <= 0.5 or marked.all():
        return "black"
    share = np.count_nonzero(border) / border.size
    if share == 1 and (border == border[0]).all():
        return "white"
    return "black" if share <= 0.5 else "unclear"
