"""Looking at every image before anything runs: what it is, what it shows, and what is wrong with it."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from gonogo.data.sample import Sample
from gonogo.errors import DataError, ImageError
from gonogo.files import sha256_of
from gonogo.images.dataset import RAW, located
from gonogo.images.reading import decode, file_bytes, read_mask, write_png

MaskFault = Literal["missing", "unreadable", "size", "empty"]

HASH_SIDE = 16  # of the perceptual hash, which has HASH_SIDE ** 2 bits
NEARLY_BITS, NEARLY_LEVELS = 10, 2.0  # of 256 bits and of 255 grey levels; at most so much apart, two look alike


@dataclass(frozen=True, kw_only=True)
class Examined:
    """An image that can be read.

    Attributes:
        path: of the image, below the manifest's folder; `raw/` stands for the raw folder.
        sha256: of the raw file's bytes, or of the pixels that prepare wrote.
        content: SHA-256 of size and decoded pixels, by which two files are the same image.
        mode: Pillow's name for the file's pixel format.
        look: (16, 17) uint8, as in `look_of`.
        mask: like `path`; None where there is none or it is at fault.
        mask_fault: what is wrong with the mask, and `mask_detail` in words.
    """

    sample: Sample
    path: str
    sha256: str
    content: str
    width: int
    height: int
    mode: str
    look: np.ndarray
    mask: str | None
    mask_sha256: str | None
    mask_fault: MaskFault | None
    mask_detail: str


@dataclass(frozen=True)
class Reject:
    """An image that cannot be read, and why."""

    sample: Sample
    reason: str


def examine_all(
    samples: Sequence[Sample], folder: Path, raw: Path, progress: Callable[[int, int], None]
) -> Iterator[Examined | Reject]:
    """Examine the samples in their order, in as many threads as there are cores.

    Pixels and masks that lie in no raw file are written below `folder`; raw files stay where they are.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, seen in enumerate(pool.map(lambda sample: examine(sample, folder, raw), samples)):
            progress(number + 1, len(samples))
            yield seen


def examine(sample: Sample, folder: Path, raw: Path) -> Examined | Reject:
    """Decode one sample's image and mask, hash them, and write what has no file yet."""
    try:
        if isinstance(sample.image, Path):
            path, data = RAW + sample.name, file_bytes(sample.image)
            pixels, mode = decode(data, sample.image)
            sha256 = hashlib.sha256(data).hexdigest()
            if sample.sha256 not in (None, sha256):
                raise ImageError(f"{sample.image} is another file than the one recorded: its SHA-256 differs")
        else:
            path, pixels, mode = f"images/{sample.name}.png", sample.image, "RGB"
            write_png(folder / path, pixels, compress_level=2)
            sha256 = content_of(pixels)
    except ImageError as error:
        return Reject(sample, str(error))
    height, width = pixels.shape[:2]
    mask, fault, detail = _mask_of(sample, folder, raw, (height, width))
    return Examined(
        sample=sample,
        path=path,
        sha256=sha256,
        content=content_of(pixels),
        width=width,
        height=height,
        mode=mode,
        look=look_of(pixels),
        mask=mask if fault is None else None,
        mask_sha256=sha256_of(located(mask, folder, raw)) if mask and fault is None else None,
        mask_fault=fault,
        mask_detail=detail,
    )


def content_of(pixels: np.ndarray) -> str:
    """Hex SHA-256 of size and pixels, by which two files are the same image."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def look_of(pixels: np.ndarray) -> np.ndarray:
    """(16, 17) uint8: the image's grey levels, averaged over the cells of a coarse grid."""
    small = Image.fromarray(pixels).convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
    return np.array(small)


def look_alikes(looks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of `looks` (n, 16, 17) the number of the one of `others` (m, 16, 17) that it looks like, or -1.

    Two images look alike when at most `NEARLY_BITS` of their difference hashes differ and their grey levels do by
    `NEARLY_LEVELS` on average. Where both are the same array, an image is not compared with itself.

    Source: "dHash" of N. Krawetz, 2013, at twice its usual side, since parts of one kind look alike anyway.
    """
    nearest = np.full(len(looks), -1)
    if not len(others):
        return nearest
    ours, theirs = _signs(looks), _signs(others).T
    for start in range(0, len(looks), 512):
        # The product of signs is the number of equal bits minus that of different ones.
        distance = (HASH_SIDE**2 - ours[start : start + 512] @ theirs) / 2
        if looks is others:
            rows = np.arange(len(distance))
            distance[rows, rows + start] = np.inf
        for row in np.flatnonzero(distance.min(axis=1) <= NEARLY_BITS):
            near = np.flatnonzero(distance[row] <= NEARLY_BITS)
            levels = np.abs(others[near].astype(np.int16) - looks[start + row]).mean(axis=(1, 2))
            if levels.min() <= NEARLY_LEVELS:
                nearest[start + row] = near[levels.argmin()]
    return nearest


def _signs(looks: np.ndarray) -> np.ndarray:
    """(n, 256) float32: 1 where the next cell to the right is brighter, -1 elsewhere."""
    rises = np.diff(looks.astype(np.int16), axis=2) > 0
    return np.where(rises, np.float32(1), np.float32(-1)).reshape(len(looks), -1)


def _mask_of(
    sample: Sample, folder: Path, raw: Path, shape: tuple[int, int]
) -> tuple[str | None, MaskFault | None, str]:
    """The mask's name in the manifest and what is wrong with it, in a word and in full."""
    if sample.mask is None or sample.label == 0:
        return None, None, ""
    if sample.size is not None and sample.size != shape[::-1]:
        return None, "size", f"annotated at {_size(sample.size)}, its image is {_size(shape[::-1])}"
    try:
        if isinstance(sample.mask, Path):
            if not sample.mask.exists():
                return None, "missing", f"{sample.mask} is missing"
            name, mask = RAW + sample.mask.relative_to(raw).as_posix(), read_mask(sample.mask)
        else:
            mask = sample.mask if isinstance(sample.mask, np.ndarray) else sample.mask(*shape)
            name = f"masks/{sample.name}.png"
            write_png(folder / name, mask)
    except DataError as error:  # a file that cannot be read, or an annotation that cannot be drawn
        return None, "unreadable", str(error)
    if mask.shape != shape:
        return None, "size", f"the mask is {_size(mask.shape[::-1])}, its image {_size(shape[::-1])}"
    return name, None if mask.any() else "empty", f"{name} marks no pixel"


def _size(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"
