"""The mask of an image: found, read, turned like its image, and held against the other masks of the category."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from gonogo.data.sample import Sample
from gonogo.errors import DataError
from gonogo.files import sha256_of
from gonogo.images.dataset import RAW, located
from gonogo.images.masks import Background, read_mask, turn_of, turned_like
from gonogo.images.reading import write_png

MaskFault = Literal["missing", "unreadable", "size", "background", "good", "empty"]

LONGEST_NAME = 255  # bytes, of a file on common file systems
EVERY_PIXEL = "marking every pixel"
TURNED = "turned as the image is by its EXIF"
SAME_SIZE = (
    "of an image that its EXIF turns or mirrors, where both ways fit; taken as drawn on the upright image (if the tool "
    "that drew it does not look at EXIF, turn the mask as the EXIF says)"
)
INVERTED = "white along the whole border, so that black was taken as the defect"
UNCLEAR = "most of it and of its border is marked, and no other mask tells what is good"
MOSTLY_WHITE = "marking more than half of the image; black was taken as good, as in the other masks"


@dataclass(frozen=True, kw_only=True)
class SeenMask:
    """What became of a sample's mask.

    Attributes:
        name: of the file, below the manifest's folder, `raw/` for the raw folder; None where there is none to use.
        sha256: of that file's bytes.
        fault: what is wrong with it, and `detail` in words.
        remark: how it was read where that is no matter of course, to follow "3 masks".
        background: of a file that marks some pixels and not all.
    """

    name: str | None = None
    sha256: str | None = None
    fault: MaskFault | None = None
    detail: str = ""
    remark: str = ""
    background: Background | None = None

    @property
    def usable(self) -> bool:
        """Whether there is a mask, and nothing is wrong with it."""
        return self.name is not None and self.fault is None


def see_mask(sample: Sample, data: bytes | None, folder: Path, raw: Path, shape: tuple[int, int]) -> SeenMask:
    """Read or draw the mask of a sample whose upright image has this (h, w) `shape`; write what has no file yet.

    Args:
        data: the image's file; None where the image has none.
    """
    if sample.mask is None:
        return SeenMask()
    if sample.size is not None and sample.size != shape[::-1]:
        turn = "; its EXIF turns it" if sample.size == shape else ""
        return SeenMask(
            fault="size", detail=f"annotated at {_size(sample.size)}, its image is {_size(shape[::-1])}{turn}"
        )
    try:
        if isinstance(sample.mask, Path):
            return _seen_file(sample, sample.mask, data, folder, raw, shape)
        drawn = sample.mask if isinstance(sample.mask, np.ndarray) else sample.mask(*shape)
        name = _written(sample, drawn, folder)
        return replace(_checked(sample, name, drawn, shape), sha256=sha256_of(folder / name))
    except DataError as error:  # a file that cannot be read, or an annotation that cannot be drawn
        return SeenMask(fault="unreadable", detail=str(error))


def settled(masks: Sequence[SeenMask], samples: Sequence[Sample], folder: Path, raw: Path) -> list[SeenMask]:
    """The masks of a category after all have been seen: whether black or white is their background.

    Black is, unless a mask is white along its whole border and over more than half of the image. Where the masks of one
    category contradict each other, the fewer are at fault; where none says it, those that leave it open are.
    """
    files = [i for i, mask in enumerate(masks) if mask.usable and isinstance(samples[i].mask, Path)]
    by_background: dict[Background, list[int]] = {"black": [], "white": [], "unclear": []}
    for i in files:
        if (background := masks[i].background) is not None:
            by_background[background].append(i)
    black, white, unclear = by_background.values()
    found = list(masks)
    if white and black:
        fewer, others = (white, "black") if len(white) <= len(black) else (black, "white")
        detail = f"its background is {'white' if others == 'black' else 'black'}, that of most others {others}"
        for i in fewer:
            found[i] = replace(masks[i], fault="background", detail=detail)
    elif white:
        for i in files:
            found[i] = _inverted(masks[i], samples[i], folder, raw)
    elif black:
        for i in unclear:
            found[i] = replace(masks[i], remark=MOSTLY_WHITE)
    else:
        for i in unclear:
            found[i] = replace(masks[i], fault="background", detail=UNCLEAR)
    return found


def _seen_file(
    sample: Sample, path: Path, data: bytes | None, folder: Path, raw: Path, shape: tuple[int, int]
) -> SeenMask:
    if not path.exists():
        return SeenMask(fault="missing", detail=f"{path} is missing")
    read = read_mask(path)
    name, marked, remark = RAW + path.relative_to(raw).as_posix(), read.marked, read.remark
    orientation = turn_of(data, path) if data is not None and not read.turned else 1
    if orientation != 1:
        stored = shape[::-1] if orientation > 4 else shape
        if marked.shape == shape == stored:
            remark = remark or SAME_SIZE
        elif marked.shape == stored:
            marked, remark = turned_like(marked, orientation), remark or TURNED
            name = _written(sample, marked, folder)
    uniform = marked.all() or not marked.any()
    seen = _checked(sample, name, marked, shape)
    if marked.all():
        remark = remark or EVERY_PIXEL
    return replace(
        seen,
        sha256=sha256_of(located(name, folder, raw)),
        remark=remark,
        background=None if uniform else read.background,
    )


def _checked(sample: Sample, name: str, marked: np.ndarray, shape: tuple[int, int]) -> SeenMask:
    fault: MaskFault | None = None
    detail = ""
    if marked.shape != shape:
        fault, detail = "size", f"the mask is {_size(marked.shape[::-1])}, its image {_size(shape[::-1])}"
    elif sample.label == 0:
        fault, detail = ("good", f"{name} marks {marked.sum()} pixels") if marked.any() else (None, "")
    elif not marked.any():
        fault, detail = "empty", f"{name} marks no pixel"
    return SeenMask(name=name, fault=fault, detail=detail)


def _inverted(mask: SeenMask, sample: Sample, folder: Path, raw: Path) -> SeenMask:
    """The mask with white as its background, as a file of its own."""
    read = read_mask(located(str(mask.name), folder, raw))
    name = _written(sample, ~read.marked, folder)
    checked = _checked(sample, name, ~read.marked, read.marked.shape)
    return replace(checked, sha256=sha256_of(folder / name), remark=INVERTED)


def _written(sample: Sample, marked: np.ndarray, folder: Path) -> str:
    name = f"masks/{sample.name}.png"
    if len(Path(name).name.encode()) > LONGEST_NAME:
        name = f"masks/{hashlib.sha256(sample.name.encode()).hexdigest()}.png"
    write_png(folder / name, marked)
    return name


def _size(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"
