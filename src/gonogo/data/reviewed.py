"""An archive of reviewed images, which the service writes and `gonogo accept --reviewed` reads.

A zip file: `reviews.jsonl` has a line for each image with its path in the archive, its SHA-256, what its reviews come
to and who gave them; `left_out.json` counts what is not in it, by the reason; `manifest.jsonl` lists the images for the
data source `manifest`, once the archive is unpacked below a raw folder.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from gonogo.errors import DataError

REVIEWS, MANIFEST, LEFT_OUT, IMAGES = "reviews.jsonl", "manifest.jsonl", "left_out.json", "images"
MOST_BYTES = 1 << 30  # of a file in the archive


@dataclass(frozen=True, kw_only=True)
class ReviewedImage:
    """An image whose reviews are settled.

    Attributes:
        path: in the archive.
        sha256: of its bytes.
        label: what the reviews come to; `defect_type` is None for a good part.
        good, defect: the reviewers who say so.
        inspections: ids of the inspections of the image that were reviewed.
        verdict: of the last one of them, with its score, its threshold and the fingerprint of its bundle.
        audited: whether one of them was drawn at random.
    """

    path: str
    sha256: str
    category: str
    label: Literal["good", "defect"]
    defect_type: str | None
    good: Sequence[str]
    defect: Sequence[str]
    inspections: Sequence[str]
    verdict: str
    score: float
    threshold: float
    bundle: str
    audited: bool


@dataclass(frozen=True)
class ReviewedArchive:
    """What an archive holds: its images, and how many inspections were left out, by the reason."""

    images: tuple[ReviewedImage, ...]
    left_out: dict[str, int]


def read_reviewed(path: Path) -> ReviewedArchive:
    """The content of an archive, without its images.

    Raises:
        DataError: it is no archive of reviewed images, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            lines = _member(archive, REVIEWS).decode().splitlines()
            left_out: dict[str, int] = json.loads(_member(archive, LEFT_OUT))
        images = tuple(ReviewedImage(**json.loads(line)) for line in lines)
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no archive of reviewed images ({error}); `gonogo reviews` and the page of reviews write one"
        ) from error
    return ReviewedArchive(images, left_out)


def unpack_images(path: Path, images: Sequence[ReviewedImage], folder: Path) -> list[Path]:
    """Write these images of an archive into a folder, under their names in it; returns the files.

    Raises:
        DataError: the archive lacks an image, or its bytes are not those that were reviewed.
    """
    files = []
    with zipfile.ZipFile(path) as archive:
        for image in images:
            try:
                data = _member(archive, image.path)
            except (KeyError, zipfile.BadZipFile) as error:
                raise DataError(f"{path} lacks {image.path} or it is damaged ({error}); export it again") from error
            if sha256(data).hexdigest() != image.sha256:
                raise DataError(f"{path}: {image.path} is not the image that was reviewed; export the reviews again")
            file = folder / PurePosixPath(image.path).name
            file.write_bytes(data)
            files.append(file)
    return files


def manifest_line(image: ReviewedImage) -> dict[str, Any]:
    """The row of an image in a manifest, as the data source `manifest` reads it."""
    row = {"path": image.path, "label": int(image.label == "defect"), "category": image.category}
    return row | ({} if image.defect_type is None else {"defect_type": image.defect_type})


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise ValueError(f"{name} has more than {MOST_BYTES} bytes")
    return archive.read(name)
