"""The manifest of one category: which image has which role, and a fingerprint of it all."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gonogo.errors import DataError
from gonogo.files import sha256_of, write_text
from gonogo.images import read_image, read_mask, write_png
from gonogo.sample import Role, Sample

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Record:
    """One image. Paths are relative to the manifest's folder; `label` 1 is anomalous."""

    path: str
    sha256: str
    category: str
    role: Role
    label: int
    defect_type: str
    mask: str | None
    mask_sha256: str | None
    group_id: str
    width: int
    height: int


@dataclass(frozen=True)
class Manifest:
    """The records of one category, sorted by path, and the folder that holds their files."""

    folder: Path
    records: tuple[Record, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all records, thus over every image's and mask's bytes, role, label and group."""
        return hashlib.sha256("\n".join(_line(record) for record in self.records).encode()).hexdigest()

    def with_role(self, *roles: Role) -> list[Record]:
        """The records with one of `roles`, in the manifest's order.

        Raises:
            DataError: there is none.
        """
        chosen = [record for record in self.records if record.role in roles]
        if not chosen:
            raise DataError(f"{self.folder / MANIFEST}: no image has the role {' or '.join(roles)}")
        return chosen

    def path_of(self, record: Record) -> Path:
        """Where the record's image lies."""
        return self.folder / record.path

    def mask_of(self, record: Record) -> np.ndarray | None:
        """The record's mask, (h, w) bool; all False for a good image; None for a defect without one.

        Raises:
            DataError: the mask's size is not the image's.
        """
        if record.mask is None:
            return np.zeros((record.height, record.width), dtype=bool) if record.label == 0 else None
        mask = read_mask(self.folder / record.mask)
        if mask.shape != (record.height, record.width):
            raise DataError(
                f"{self.folder / record.mask}: mask is {mask.shape[1]} x {mask.shape[0]}, "
                f"its image {record.width} x {record.height}"
            )
        return mask


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest in `folder`.

    Raises:
        DataError: it is missing or a line is not a record.
    """
    path = folder / MANIFEST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return Manifest(folder, tuple(Record(**json.loads(line)) for line in lines))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a manifest: {error}; run the prepare stage") from error


def write_samples(folder: Path, category: str, samples: Iterable[Sample]) -> Manifest:
    """Write each sample's image and mask as PNG and the manifest beside them.

    Raises:
        DataError: a name or an image's content occurs twice across roles or labels, a mask does not fit its image,
            a defective image has another role than test, or a role is empty.
    """
    records = [_write_sample(folder, category, sample) for sample in samples]
    _check(folder, records)
    manifest = Manifest(folder, tuple(sorted(records, key=lambda record: record.path)))
    write_text(folder / MANIFEST, "".join(_line(record) + "\n" for record in manifest.records))
    return manifest


def count_metrics(manifest: Manifest) -> dict[str, int | str]:
    """Counts by role and defect type, and the fingerprint, as a flat metrics file."""
    roles = Counter(record.role for record in manifest.records)
    test = manifest.with_role("test")
    counts: dict[str, int | str] = {
        "n_fit": roles["fit"],
        "n_calibrate": roles["calibrate"],
        "n_calibrate_groups": len({record.group_id for record in manifest.with_role("calibrate")}),
        "n_test_good": sum(record.label == 0 for record in test),
        "n_test_defective": sum(record.label == 1 for record in test),
        "n_masks": sum(record.mask is not None for record in test),
        "data_fingerprint": manifest.fingerprint,
    }
    for defect_type, count in sorted(Counter(r.defect_type for r in test if r.label == 1).items()):
        counts[f"n_test.{defect_type}"] = count
    return counts


def _write_sample(folder: Path, category: str, sample: Sample) -> Record:
    path = f"images/{sample.name}.png"
    if (folder / path).exists():
        raise DataError(f"{folder / path}: two samples have the name {sample.name!r}")
    write_png(folder / path, sample.pixels)
    mask = None
    if sample.mask is not None and sample.label == 1:
        if sample.mask.shape != sample.pixels.shape[:2]:
            raise DataError(f"{sample.name}: mask {sample.mask.shape} does not fit image {sample.pixels.shape[:2]}")
        mask = f"masks/{sample.name}.png"
        write_png(folder / mask, sample.mask)
    return Record(
        path=path,
        sha256=hashlib.sha256(read_image(folder / path).tobytes()).hexdigest(),
        category=category,
        role=sample.role,
        label=sample.label,
        defect_type=sample.defect_type,
        mask=mask,
        mask_sha256=sha256_of(folder / mask) if mask else None,
        group_id=sample.group_id,
        width=sample.pixels.shape[1],
        height=sample.pixels.shape[0],
    )


def _check(folder: Path, records: list[Record]) -> None:
    seen: dict[str, Record] = {}
    for record in records:
        if record.label == 1 and record.role != "test":
            raise DataError(f"{folder / record.path}: a defective image has the role {record.role}; only test may")
        twin = seen.setdefault(record.sha256, record)
        if (twin.role, twin.label) != (record.role, record.label):
            raise DataError(
                f"{folder / twin.path} ({twin.role}, {twin.defect_type}) and {folder / record.path} "
                f"({record.role}, {record.defect_type}) show the same pixels; roles must be disjoint"
            )
    for role in ("fit", "calibrate", "test"):
        if not any(record.role == role for record in records):
            raise DataError(f"{folder}: no image has the role {role}")


def _line(record: Record) -> str:
    return json.dumps(asdict(record), sort_keys=True, ensure_ascii=False)
