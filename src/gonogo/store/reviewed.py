"""What was reviewed, as an archive for `gonogo accept --reviewed`; `gonogo.data.reviewed` describes it.

An image that was inspected several times is in it once. Left out, and counted: inspections whose reviewers disagree,
images that are settled once as good and once as a defect, and those whose file was removed.
"""

import json
import secrets
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gonogo.data.reviewed import IMAGES, LEFT_OUT, MANIFEST, REVIEWS, ReviewedArchive, ReviewedImage, manifest_line
from gonogo.store.private import FILE
from gonogo.store.reviews import Settlement
from gonogo.store.schema import Row
from gonogo.store.store import Store

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "PPM": ".pnm"}


def reviewed_images(store: Store, category: str) -> ReviewedArchive:
    """The images of a category whose reviews are settled, in the order of their first inspection."""
    left_out = {"disputed": 0, "contradictory": 0, "without image": 0}
    found: dict[str, list[tuple[Row, Settlement]]] = {}
    for identifier, settlement in store.reviews.reviewed(category):
        row = store.inspection(identifier)
        assert row is not None
        if settlement.state != "settled":
            left_out["disputed"] += 1
        elif not store.images.path_of(row["image_sha256"]).is_file():
            left_out["without image"] += 1
        else:
            found.setdefault(row["image_sha256"], []).append((row, settlement))
    images = []
    for reviewed in found.values():
        if len({settlement.label for _, settlement in reviewed}) > 1:
            left_out["contradictory"] += len(reviewed)
        else:
            images.append(_reviewed_image(store, reviewed))
    return ReviewedArchive(tuple(images), left_out)


def packed(store: Store, archive: ReviewedArchive) -> Iterator[bytes]:
    """The bytes of the archive, image by image, so that no more than one is in memory."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as written:
        written.writestr(REVIEWS, _lines(asdict(image) for image in archive.images))
        written.writestr(MANIFEST, _lines(manifest_line(image) for image in archive.images))
        written.writestr(LEFT_OUT, json.dumps(archive.left_out))
        for image in archive.images:
            written.writestr(image.path, store.images.path_of(image.sha256).read_bytes())
            yield sink.taken()
    yield sink.taken()


def write_archive(path: Path, store: Store, archive: ReviewedArchive) -> None:
    """Write the archive, whole or not at all; only this user can read it, as the store.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.touch(mode=FILE, exist_ok=False)
        with partial.open("wb") as file:
            file.writelines(packed(store, archive))
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _reviewed_image(store: Store, reviewed: list[tuple[Row, Settlement]]) -> ReviewedImage:
    row, settlement = reviewed[-1]
    sha256 = row["image_sha256"]
    names: dict[str, Any] = {
        side: tuple(dict.fromkeys(name for _, each in reviewed for name in getattr(each, side)))
        for side in ("good", "defect")
    }
    assert settlement.label is not None
    return ReviewedImage(
        path=f"{IMAGES}/{sha256}{SUFFIXES[row['image_format']]}",
        sha256=sha256,
        category=row["category"],
        label=settlement.label,
        defect_type=settlement.defect_type,
        **names,
        inspections=tuple(each["id"] for each, _ in reviewed),
        **{name: row[name] for name in ("verdict", "score", "threshold", "bundle")},
        audited=any(store.audits.of(each["id"]) is not None for each, _ in reviewed),
    )


def _lines(objects: Iterator[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in objects)


class _Sink:
    """A file that is written to its end once, and gives away what it has got."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: Any) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing, since nothing is held back."""

    def close(self) -> None:
        """Do nothing, since nothing is open."""

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data
