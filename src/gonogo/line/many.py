"""Very many images, of folders or buckets, scored by a bundle on a cluster into Parquet files. Torch is not needed.

A part is a list of images and becomes one file, whole or absent, whose name follows from the list: done twice, it is
the same file. A second start reads which images have a row, and scores the others.
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.compute.cluster import Cluster
from gonogo.compute.read_ahead import read_ahead
from gonogo.errors import DataError, ImageError, IntegrityError, MissingExtraError
from gonogo.files import read_sealed, sha256_of
from gonogo.images.reading import SUFFIXES, decode
from gonogo.inference.scorer import Scorer

LEAST_PART, MOST_PART = 16, 1000  # images of a part
PARTS_PER_WORKER = 8  # where their size allows: what a worker that dies has to do again, and an even end
SUFFIX = ".parquet"
FIELDS = {
    "path": "string",
    "score": "float64",
    "threshold": "float64",
    "verdict": "string",
    "p_value": "float64",
    "probability": "float64",
    "uncertain": "bool_",
    "n_regions": "int32",
    "error": "string",
    "bundle": "string",
}


@dataclass(frozen=True)
class Counts:
    """Rows that are there in the end, and how many of them this start wrote."""

    n_files: int
    n_new: int
    n_rejected: int
    n_errors: int


def score_many(
    bundle: Path, places: Sequence[str], out: str, *, cluster: Cluster, progress: Callable[[int, int], None]
) -> Counts:
    """Have the cluster score every image of `places` that has no row in `out` yet; write one row for each.

    A row has `FIELDS`: path, score, threshold, verdict (pass or reject), p_value and uncertain as in `Verdict`,
    n_regions, error and bundle, the SHA-256 of the bundle's manifest. Of an image that cannot be read it has an error,
    and of what a verdict says nothing but the threshold. A score is that of `Scorer.score_image` with one thread.

    Args:
        places: files, folders with images at any depth, or URIs of them that pyarrow knows, such as s3://bucket/folder.
        out: a folder or a URI; made if it is not there.
        progress: called with (images done, images to do) by this start.

    Raises:
        DataError: there is no such place or no image in it, or `out` has rows of another bundle.
        IntegrityError: the bundle cannot be trusted, or after the last part an image has not exactly one row.
    """
    read_sealed(bundle)
    fingerprint = sha256_of(bundle / "manifest.json")
    done = _rows(out, ["path", "bundle"])
    others = set(done["bundle"]) - {fingerprint}
    if others:
        raise DataError(
            f"{out} has rows of the bundle {min(others)[:12]}, this is {fingerprint[:12]}; name another folder"
        )
    known = set(done["path"])
    n_known = len(known)
    todo: list[list[str]] = []
    named: set[str] = set()
    for root, keys in map(_listed, places):
        new = [key for key in keys if _name(root, key) not in known]
        named.update(_name(root, key) for key in keys)
        known.update(_name(root, key) for key in new)  # of places that overlap each image is scored once
        size = min(MOST_PART, max(LEAST_PART, math.ceil(len(new) / (PARTS_PER_WORKER * cluster.n_workers))))
        todo += [[root, *new[start : start + size]] for start in range(0, len(new), size)]
    work = _Scoring({path.name: path.read_bytes() for path in _files(bundle)}, fingerprint, out)
    n_done = 0
    for counted in cluster.map(work, todo, together=1) if todo else ():
        n_done += int(counted["n"])
        progress(n_done, len(known) - n_known)
    rows = _rows(out, ["path", "verdict", "error"])
    if len(rows["path"]) != len(known) or set(rows["path"]) != known:
        raise IntegrityError(
            f"{out} has {len(rows['path'])} rows, expected one for each of {len(known)} images; was another start at "
            "work in it, or a file removed? Start again with another folder"
        )
    mine = [(v, e) for path, v, e in zip(rows["path"], rows["verdict"], rows["error"], strict=True) if path in named]
    n_rejected, n_errors = sum(v == "reject" for v, _ in mine), sum(e is not None for _, e in mine)
    return Counts(len(mine), n_done, n_rejected, n_errors)


class _Scoring:
    """What a worker does: scores the images of a part and writes their rows."""

    def __init__(self, bundle: dict[str, bytes], fingerprint: str, out: str) -> None:
        self.bundle, self.fingerprint, self.out = bundle, fingerprint, out

    @cached_property
    def scorer(self) -> Scorer:
        """Made where it is used; one image at a time on one thread, so that the cluster's size changes no bit."""
        with tempfile.TemporaryDirectory() as folder:
            for name, data in self.bundle.items():
                Path(folder, name).write_bytes(data)
            return Scorer(Path(folder), threads=1)

    def __call__(self, part: list[str]) -> dict[str, np.ndarray]:
        root, *keys = part
        system = _system(root)
        rows: dict[str, list[Any]] = {name: [] for name in FIELDS}
        for key, data in zip(keys, read_ahead(lambda key: _bytes(system, key), keys), strict=True):
            row = {"path": _name(root, key), "bundle": self.fingerprint} | self._judged(_name(root, key), data)
            for name, values in rows.items():
                values.append(row.get(name))
        name = hashlib.sha256("\n".join([self.fingerprint, *rows["path"]]).encode()).hexdigest()[:24]
        _write(self.out, f"part-{name}{SUFFIX}", rows)
        return {"n": np.array(len(keys))}

    def _judged(self, name: str, data: bytes | str) -> dict[str, Any]:
        try:
            if isinstance(data, str):
                raise ImageError(f"{name} cannot be read as an image: {data}")
            verdict = self.scorer.score_pixels(decode(data, Path(name))[0][None])[0]
        except ImageError as error:
            return {"error": str(error), "threshold": self.scorer.threshold}
        return {
            "score": verdict.score,
            "threshold": verdict.threshold,
            "verdict": "reject" if verdict.anomalous else "pass",
            "p_value": verdict.p_value,
            "probability": verdict.probability,
            "uncertain": verdict.uncertain,
            "n_regions": len(verdict.regions),
        }


def _files(bundle: Path) -> list[Path]:
    return [bundle / "manifest.json", *(bundle / name for name in read_sealed(bundle)["files"])]


def _arrow() -> Any:
    try:
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(f"rows are written by pyarrow ({error}); pip install 'gonogo[cluster]'") from error
    return pyarrow


@lru_cache(maxsize=8)
def _system(place: str) -> Any:
    """The file system that `place` lies on."""
    fs = _arrow().fs
    return fs.FileSystem.from_uri(place)[0] if "://" in place else fs.LocalFileSystem()


def _key(place: str) -> str:
    """What the file system calls `place`."""
    if "://" not in place:
        return os.path.abspath(place)  # noqa: PTH100  Path.resolve would follow links, and the user names the link
    key: str = _arrow().fs.FileSystem.from_uri(place)[1]
    return key


def _name(root: str, key: str) -> str:
    """The path that a row has for `key` of the place `root`."""
    return f"{root.partition('://')[0]}://{key}" if "://" in root else key


def _listed(place: str) -> tuple[str, list[str]]:
    """The place, and the keys of its images, sorted."""
    fs, system, key = _arrow().fs, _system(place), _key(place)
    try:
        info = system.get_file_info(key)
        if info.type == fs.FileType.File:
            return place, [key]
        found = system.get_file_info(fs.FileSelector(key, recursive=True))
    except OSError as error:
        raise DataError(f"{place} cannot be listed: {error}") from error
    keys = sorted(one.path for one in found if one.is_file and Path(one.path).suffix.lower() in SUFFIXES)
    if not keys:
        raise DataError(f"{place} has no image in it or below; expected {', '.join(sorted(SUFFIXES))}")
    return place, keys


def _bytes(system: Any, key: str) -> bytes | str:
    """The whole file, or why it cannot be read."""
    try:
        with system.open_input_file(key) as file:
            data: bytes = file.read()
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return data


def _write(out: str, name: str, rows: dict[str, list[Any]]) -> None:
    """Write the file whole or not at all: a bucket shows it when it is closed, on a disk it is renamed to its name."""
    pa, system, folder = _arrow(), _system(out), _key(out)
    schema = pa.schema([(field, getattr(pa, kind)()) for field, kind in FIELDS.items()])
    buffer = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table(rows, schema=schema), buffer)
    system.create_dir(folder, recursive=True)
    final = f"{folder}/{name}"
    written = final if "://" in out else f"{final}.{os.getpid()}.partial"
    with system.open_output_stream(written) as file:
        file.write(buffer.getvalue())
    if written != final:
        system.move(written, final)


def _rows(out: str, columns: list[str]) -> dict[str, list[Any]]:
    """All rows in `out`, or none where there is no such folder."""
    pa, system = _arrow(), _system(out)
    rows: dict[str, list[Any]] = {name: [] for name in columns}
    try:
        found = system.get_file_info(pa.fs.FileSelector(_key(out), recursive=False, allow_not_found=True))
        for one in found:
            if one.path.endswith(SUFFIX):
                table = pa.parquet.read_table(one.path, columns=columns, filesystem=system)
                for name, values in rows.items():
                    values += table[name].to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{out} cannot be read: {error}") from error
    return rows
