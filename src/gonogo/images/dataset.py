"""The dataset of one category: which image has which role, and a fingerprint of it all."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.compute.cluster import Cluster
from gonogo.compute.read_ahead import read_ahead
from gonogo.errors import DataError, IntegrityError
from gonogo.files import require_raw, sha256_of, write_text
from gonogo.images.masks import read_mask
from gonogo.images.reading import decode, file_bytes
from gonogo.images.roles import Role

MANIFEST = "manifest.jsonl"
EXTRAS = ("boxes", "saturation", "accepted")
RAW = "raw/"  # begins the name of a file that stays where it is, in the raw folder
MOST_AHEAD = 16  # images that are in memory at a time, with the one that is looked at,
PIXELS_AHEAD = 1 << 23  # and their pixels; where two of them have more, they are decoded one by one

LookAtImage = Callable[[int, np.ndarray], Mapping[str, Any]]  # of the image's number and pixels (h, w, 3) uint8 RGB


@dataclass(frozen=True, kw_only=True)
class Record:
    """One image.

    Attributes:
        path: of the image, relative to the dataset's folder, or to the raw folder where it begins with `raw/`.
        sha256: of a raw file's bytes, or of the pixels of an image that prepare wrote.
        role: fit, calibrate or test.
        label: 0 good, 1 anomalous.
        defect_type: "good" for good parts.
        mask: like `path`; None where there is none.
        mask_sha256: of the mask file's bytes.
        group_id: shared by the images of one part.
        width, height: in pixels, as decoded.
        boxes, saturation: of the annotation, as in `Sample`.
        accepted: by whom, when and why it was accepted as good; None where it came with the data set.
    """

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
    boxes: Sequence[Mapping[str, Any]] = ()
    saturation: Sequence[Mapping[str, Any]] = ()
    accepted: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Dataset:
    """The records of one category, sorted by path, and the two folders that hold their files.

    Where there is a `cluster`, its workers look at the images; otherwise this process does.
    """

    folder: Path
    raw: Path
    records: tuple[Record, ...]
    cluster: Cluster | None = field(default=None, compare=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all records, thus over every image's and mask's content, role, label and group."""
        return hashlib.sha256("\n".join(_line(record) for record in self.records).encode()).hexdigest()

    def fingerprint_of(self, records: Iterable[Record]) -> str:
        """SHA-256 over some records' images and groups, in any order."""
        lines = sorted(f"{record.sha256} {record.group_id}" for record in records)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def with_role(self, *roles: Role) -> list[Record]:
        """The records with one of `roles`, in the dataset's order.

        Raises:
            DataError: there is none.
        """
        chosen = [record for record in self.records if record.role in roles]
        if not chosen:
            raise DataError(f"{self.folder / MANIFEST}: no image has the role {' or '.join(roles)}")
        return chosen

    def path_of(self, record: Record) -> Path:
        """Where the record's image lies."""
        return located(record.path, self.folder, self.raw)

    def file_sha256(self, record: Record) -> str | None:
        """That of the bytes of the record's file, where it is a raw one; None for an image that prepare wrote."""
        return record.sha256 if record.path.startswith(RAW) else None

    def pixels_of(self, record: Record) -> np.ndarray:
        """The record's image, (h, w, 3) uint8 RGB.

        Raises:
            IntegrityError: a raw file is not the one that prepare saw.
            ImageError: the file cannot be read.
        """
        path = self.path_of(record)
        data = file_bytes(path)
        if (expected := self.file_sha256(record)) is not None and hashlib.sha256(data).hexdigest() != expected:
            raise IntegrityError(f"{path} has changed since the prepare stage saw it; run dvc repro")
        return decode(data, path)[0]

    def images_of(self, records: Sequence[Record]) -> Iterator[np.ndarray]:
        """`pixels_of` each record in turn; a thread decodes the next images while the caller looks at one."""
        largest = max((record.width * record.height for record in records), default=1)
        ahead = min(MOST_AHEAD, PIXELS_AHEAD // largest)
        if ahead < 2:
            return map(self.pixels_of, records)
        return read_ahead(self.pixels_of, records, threads=1, ahead=ahead)

    def map_images(self, look: LookAtImage, records: Sequence[Record], *, together: int) -> Iterator[Mapping[str, Any]]:
        """What `look` gives of each record's number among `records` and pixels, in their order.

        Args:
            look: called here or, where there is a cluster, by its workers, as `Cluster.map` calls its work.
            records: of the images.
            together: images that a worker takes at a time.
        """
        if self.cluster is None:
            return (look(number, pixels) for number, pixels in enumerate(self.images_of(records)))
        return self.cluster.map(partial(_looked_at, self, records, look), range(len(records)), together=together)

    def mask_of(self, record: Record) -> np.ndarray | None:
        """The record's mask, (h, w) bool; all False for a good image; None for a defect without one.

        Raises:
            IntegrityError: the mask is not the one that prepare saw.
        """
        if record.mask is None:
            return np.zeros((record.height, record.width), dtype=bool) if record.label == 0 else None
        path = located(record.mask, self.folder, self.raw)
        if not path.is_file() or sha256_of(path) != record.mask_sha256:
            raise IntegrityError(f"{path} is not the mask that the prepare stage saw; run dvc repro")
        return read_mask(path).marked


def _looked_at(dataset: Dataset, records: Sequence[Record], look: LookAtImage, number: int) -> Mapping[str, Any]:
    return look(number, dataset.pixels_of(records[number]))


def evenly_spaced(records: Sequence[Record], n: int) -> list[Record]:
    """At most `n` of the records, evenly spaced, the first and the last among them; all where there are fewer."""
    places = np.linspace(0, len(records) - 1, min(n, len(records))).round().astype(int)
    return [records[place] for place in places.tolist()]


def located(name: str, folder: Path, raw: Path) -> Path:
    """The file that a dataset in `folder` calls `name`."""
    return raw / name.removeprefix(RAW) if name.startswith(RAW) else folder / name


def write_dataset(folder: Path, raw: Path, records: Iterable[Record]) -> Dataset:
    """Write the records, sorted by path, to the dataset in `folder`."""
    dataset = Dataset(folder, raw, tuple(sorted(records, key=lambda record: record.path)))
    write_text(folder / MANIFEST, "".join(_line(record) + "\n" for record in dataset.records))
    return dataset


def read_dataset(folder: Path, raw: Path, *, cluster: Cluster | None = None) -> Dataset:
    """Read the dataset in `folder`; the workers of `cluster`, if there is one, look at its images.

    Raises:
        DataError: it is missing or a line is not a record.
        ConfigError: it has images in the raw folder, and that is not there.
    """
    path = folder / MANIFEST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        records = tuple(Record(**json.loads(line)) for line in lines)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a dataset: {error}; run the prepare stage") from error
    if any(record.path.startswith(RAW) for record in records):
        require_raw(raw)
    return Dataset(folder, raw, records, cluster)


def _line(record: Record) -> str:
    # Columns that only some data sets have are left out where they are empty.
    kept = {name: value for name, value in asdict(record).items() if name not in EXTRAS or value}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False)
