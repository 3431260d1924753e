"""Looking at every image before anything runs: what it is, what it shows, and what is wrong with it."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from gonogo.data.prepare.seen_mask import SeenMask, see_mask, settled
from gonogo.data.sample import Sample
from gonogo.errors import ImageError
from gonogo.images.dataset import RAW
from gonogo.images.reading import decode, file_bytes, write_png

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
        mask: the image's mask, and what is wrong with it.
    """

    sample: Sample
    path: str
    sha256: str
    content: str
    width: int
    height: int
    mode: str
    look: np.ndarray
    mask: SeenMask


@dataclass(frozen=True)
class Reject:
    """An image that cannot be read, and why."""

    sample: Sample
    reason: str


def examine_all(
    samples: Sequence[Sample], folder: Path, raw: Path, progress: Callable[[int, int], None]
) -> list[Examined | Reject]:
    """Examine the samples in their order, in as many threads as there are cores.

    Pixels and masks that lie in no raw file are written below `folder`; raw files stay where they are.
    """
    seen: list[Examined | Reject] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for one in pool.map(lambda sample: examine(sample, folder, raw), samples):
            seen.append(one)
            progress(len(seen), len(samples))
    images = [one for one in seen if isinstance(one, Examined)]
    masks = iter(settled([one.mask for one in images], [one.sample for one in images], folder, raw))
    return [replace(one, mask=next(masks)) if isinstance(one, Examined) else one for one in seen]


def examine(sample: Sample, folder: Path, raw: Path) -> Examined | Reject:
    """Decode one sample's image and mask, hash them, and write what has no file yet."""
    data = None
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
    return Examined(
        sample=sample,
        path=path,
        sha256=sha256,
        content=content_of(pixels),
        width=width,
        height=height,
        mode=mode,
        look=look_of(pixels),
        mask=see_mask(sample, data, folder, raw, (height, width)),
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
