"""Looking at every image before anything runs: what it is, what it shows, and what is wrong with it."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gonogo.data.prepare.look_alikes import look_of
from gonogo.data.prepare.seen_mask import SeenMask, see_mask, settled
from gonogo.data.prepare.shots import seconds_of
from gonogo.data.sample import Sample
from gonogo.errors import ImageError
from gonogo.images.dataset import RAW
from gonogo.images.reading import QUICK, decode, file_bytes, write_png


@dataclass(frozen=True, kw_only=True)
class Examined:
    """An image that can be read.

    Attributes:
        path: of the image, below the manifest's folder; `raw/` stands for the raw folder.
        sha256: of the raw file's bytes, or of the pixels that prepare wrote.
        content: SHA-256 of size and decoded pixels, by which two files are the same image.
        mode: Pillow's name for the file's pixel format.
        look: (16, 17) float32, as in `look_of`.
        mask: the image's mask, and what is wrong with it.
        taken: when the image was taken, as in `seconds_of`; None where its file does not say so.
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
    taken: float | None


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
            write_png(folder / path, pixels, compress_level=QUICK)
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
        taken=None if data is None else seconds_of(data, Path(path)),
    )


def content_of(pixels: np.ndarray) -> str:
    """Hex SHA-256 of size and pixels, by which two files are the same image."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
