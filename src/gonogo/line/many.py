"""Very many images of folders or buckets, scored by a bundle on a cluster into Parquet files. Needs no torch.

The images are divided into parts. The rows of a part become one file, which is written whole or not at all and whose
name is a hash of the list of images: a part that is scored twice gives the same file. A second start reads which images
have a row, and scores the others.
"""

import hashlib
import json
import math
import os
import tempfile
from collections import defaultdict
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
from gonogo.images.reading import SUFFIXES, decode, file_bytes
from gonogo.images.unread import Unread
from gonogo.inference.scorer import REJECT, Scorer
from gonogo.line.inputs import images_of, is_named_like_image, walk
from gonogo.line.outputs import VERDICT_COLUMNS, parquet_columns
from gonogo.text import in_utf8

LEAST_PART, MOST_PART = 16, 1000  # images in a part
PARTS_PER_WORKER = 8  # unless parts get too small or large; small parts lose less when a worker dies
SUFFIX = ".parquet"
FIELDS = {"path": "string"} | VERDICT_COLUMNS
EXPECTED = f"expected {', '.join(sorted(SUFFIXES))}"


@dataclass(frozen=True)
class Counts:
    """Images by their verdict; n_files counts all of them, n_new those that this start scored."""

    n_files: int
    n_new: int
    n_rejected: int
    n_errors: int

    @property
    def n_passed(self) -> int:
        """Images that passed."""
        return self.n_files - self.n_rejected - self.n_errors


def score_many(
    bundle: Path,
    places: Sequence[str],
    out: str,
    *,
    cluster: Cluster,
    progress: Callable[[int, int], None],
    unread: Unread | None = None,
) -> Counts:
    """Score on the cluster every image of `places` that has no row in `out` yet, and write a row for each.

    A row has `FIELDS`: the values of `Verdict.row` as `columns_of` has them, and `bundle`, the SHA-256 of the bundle's
    manifest. The row of an image that cannot be read has `error` and of a verdict only the threshold. A score is that
    of `Scorer.score_image` with one thread.

    Whatever an image raises is the error in its row. A name that is not UTF-8 is escaped in `path`, as in `in_utf8`.

    Args:
        places: files, folders with images at any depth, or URIs of them that pyarrow knows, such as s3://bucket/folder.
        out: a folder or a URI; it is made if it does not exist.
        progress: called with the numbers of images that this start has scored and has to score.
        unread: is told what is not read in folders and buckets.

    Raises:
        DataError: a place does not exist or has no image, or `out` has rows of another bundle.
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
    for root, keys in (_listed(place, unread or Unread()) for place in places):
        new = [key for key in keys if _name(root, key) not in known]
        named.update(_name(root, key) for key in keys)
        known.update(_name(root, key) for key in new)  # of places that overlap each image is scored once
        size = min(MOST_PART, max(LEAST_PART, math.ceil(len(new) / (PARTS_PER_WORKER * cluster.n_workers))))
        sent = [json.dumps(text) for text in (root, *new)]  # in which any name can travel
        todo += [[sent[0], *sent[start + 1 : start + 1 + size]] for start in range(0, len(new), size)]
    work = _Scoring({path.name: path.read_bytes() for path in _files(bundle)}, fingerprint, out)
    n_done = 0
    for counted in cluster.map(work, todo, together=1) if todo else ():
        n_done += int(counted["n"])
        progress(n_done, len(known) - n_known)
    rows = _rows(out, ["path", "verdict", "error"])
    if len(rows["path"]) != len(known) or set(rows["path"]) != known:
        raise IntegrityError(
            f"{out} has {len(rows['path'])} rows, expected one for each of {len(known)} images; another process wrote "
            "into it, or a file was removed: start again with another folder"
        )
    mine = [(v, e) for path, v, e in zip(rows["path"], rows["verdict"], rows["error"], strict=True) if path in named]
    n_rejected, n_errors = sum(v == REJECT for v, _ in mine), sum(e is not None for _, e in mine)
    return Counts(len(mine), n_done, n_rejected, n_errors)


class _Scoring:
    """The work on a part, done by a worker of the cluster: score its images and write their rows."""

    def __init__(self, bundle: dict[str, bytes], fingerprint: str, out: str) -> None:
        self.bundle, self.fingerprint, self.out = bundle, fingerprint, out

    @cached_property
    def scorer(self) -> Scorer:
        """Loaded by each worker; on one thread scores are equal to the last bit for any number of workers."""
        with tempfile.TemporaryDirectory() as folder:
            for name, data in self.bundle.items():
                Path(folder, name).write_bytes(data)
            return Scorer(Path(folder), threads=1)

    def __call__(self, part: list[str]) -> dict[str, np.ndarray]:
        root, *keys = map(json.loads, part)
        rows: dict[str, list[Any]] = {name: [] for name in FIELDS}
        for key, data in zip(keys, read_ahead(lambda key: _bytes(root, key), keys), strict=True):
            row = {"path": _name(root, key), "bundle": self.fingerprint} | self._verdict_row(_name(root, key), data)
            for name, value in parquet_columns(row, FIELDS).items():
                rows[name].append(value)
        name = hashlib.sha256("\n".join([self.fingerprint, *rows["path"]]).encode()).hexdigest()[:24]
        _write(self.out, f"part-{name}{SUFFIX}", rows)
        return {"n": np.array(len(keys))}

    def _verdict_row(self, name: str, data: bytes | ImageError) -> dict[str, Any]:
        scorer = self.scorer
        try:
            if isinstance(data, ImageError):
                raise data
            return scorer.score_one(decode(data, Path(name))[0], name).row()
        except ImageError as error:
            said = str(error)
        except Exception as error:  # whatever it is, the other images of the part get their rows
            said = f"{name} cannot be judged: {type(error).__name__}: {error}"
        return {"error": said, "threshold": scorer.threshold}


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
    """The file system of a place."""
    fs = _arrow().fs
    return fs.FileSystem.from_uri(place)[0] if "://" in place else fs.LocalFileSystem()


def _key(place: str) -> str:
    """The path of a place within its file system."""
    if "://" not in place:
        return os.path.abspath(place)  # noqa: PTH100  Path.resolve would follow the links that the user named
    key: str = _arrow().fs.FileSystem.from_uri(place)[1]
    return key


def _name(root: str, key: str) -> str:
    """The path in the row of the image `key` of the place `root`."""
    return f"{root.partition('://')[0]}://{key}" if "://" in root else in_utf8(key)


def _listed(place: str, unread: Unread) -> tuple[str, list[str]]:
    """A place, and the keys of its images, sorted.

    Of a folder on a disk, what cannot be listed or read is a key too, and becomes a row with an error.

    Raises:
        DataError: there is no such place, or no image in it.
    """
    fs, key = _arrow().fs, _key(place)
    if "://" not in place and os.path.isdir(key):  # noqa: PTH112
        keys = sorted(item.name for item in walk(Path(key), set(), unread))
        if keys in ([], [key]):  # the second is the folder itself, which cannot be listed
            raise DataError(f"{place} cannot be listed or has no image in it or below; {EXPECTED}")
        return place, keys
    system = _system(place)
    try:
        info = system.get_file_info(key)
        if info.type == fs.FileType.File:
            return place, [key]
        found = system.get_file_info(fs.FileSelector(key, recursive=True))
    except OSError as error:
        raise DataError(f"{place} cannot be listed: {error}") from error
    by_folder: dict[str, list[str]] = defaultdict(list)
    for one in found:
        if one.is_file and not one.base_name.startswith("."):
            by_folder[one.path.removesuffix(one.base_name)].append(one.base_name)
    keys = []
    for folder, names in sorted(by_folder.items()):
        images = images_of(names)
        keys += [folder + name for name in images]
        others = (name for name in sorted(names) if name not in images and is_named_like_image(name))
        unread.add(_name(place, folder), others)
    keys.sort()
    if not keys:
        raise DataError(f"{place} has no image in it or below; {EXPECTED}")
    return place, keys


def _bytes(root: str, key: str) -> bytes | ImageError:
    """The content of a file of the place `root`, or why it cannot be read."""
    try:
        if "://" not in root:
            return file_bytes(Path(key))
        with _system(root).open_input_file(key) as file:
            data: bytes = file.read()
            return data
    except ImageError as error:
        return error
    except (OSError, MemoryError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else repr(error)
        return ImageError(f"{_name(root, key)} cannot be read as an image: {reason}")


def _write(out: str, name: str, rows: dict[str, list[Any]]) -> None:
    """Write a file whole or not at all: a bucket shows a file when it is closed; on a disk it is renamed at the end."""
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
    """These columns of all rows in `out`; empty if there is no such folder."""
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
