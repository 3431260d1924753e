"""Files whose content can be trusted: whole or absent, finite, sorted, with a hash. Standard library only."""

import csv
import hashlib
import io
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gonogo
from gonogo.errors import ConfigError, IntegrityError

MAX_BYTES = 2**31  # of a file that is read at once; no ONNX file has more
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
SCHEMA = 2  # of the manifests of models and bundles; it grows when what is written needs a newer reader
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of a file that a manifest lists, beside it


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def regular_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The whole of a regular file, opened without waiting for another process.

    Raises:
        OSError: as `read_regular`.
    """
    return read_regular(path, max_bytes=max_bytes)[0]


def read_regular(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[bytes, os.stat_result]:
    """As `regular_bytes`, with what the system says of the file that was read, after it was read.

    Raises:
        OSError: it is missing, is not a regular file, as a folder, a pipe and a device are, or is too large.
    """
    _require_regular(path.stat())  # to open a device may already do something
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        _require_regular(status)
        data = b"" if status.st_size > max_bytes else file.read(max_bytes + 1)
        status = os.fstat(file.fileno())
    if max(status.st_size, len(data)) > max_bytes:
        raise OSError(f"it has more than {max_bytes} bytes")
    return data, status


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(f"it is {kind}, no regular file")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def require_raw(raw: Path) -> None:
    """Do nothing, or refuse a raw folder that is not there.

    Raises:
        ConfigError: it is not; the message says where it was looked for, and what to write.
    """
    if not raw.is_dir():
        raise ConfigError(
            f"`raw` in params.yaml is {str(raw)!r}, and there is no folder {raw.resolve()}; write there where the "
            "images lie now, as an absolute path or as seen from the folder of params.yaml"
        )


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` so that a reader sees either the old file or the whole new one.

    The new one is written beside it under a name that nobody else has, so that neither a link nor what an earlier
    start left can take its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    with partial.open("xb") as file:
        try:
            file.write(data)
            file.close()
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as `write_bytes` writes."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write sorted, indented JSON. A NaN or an infinity is a ValueError, since JSON has neither."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def write_metrics(path: Path, metrics: Mapping[str, float | int | str | bool]) -> None:
    """Write a flat metrics file with numbers to six significant digits, which `dvc metrics diff` prints well."""
    write_json(path, {name: _rounded(value) for name, value in metrics.items()})


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows that share their keys; numbers keep every digit. `columns` names them where there may be no row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows that `write_rows` wrote, as text.

    Raises:
        IntegrityError: the file is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error.strerror or error}); dvc repro writes it") from error


def append_json_line(path: Path, event: Mapping[str, Any]) -> None:
    """Add an object to a file of JSON lines, as one line that is there whole or not at all."""
    line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
        line = "\n" + line
    with path.open("ab", buffering=0) as file:  # one write at the end: another writer's line cannot fall into it
        file.write(line.encode())
        os.fsync(file.fileno())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        IntegrityError: the file is missing, is not JSON or holds something other than an object.
    """
    try:
        return json_object(path.read_bytes(), path)
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read as JSON: {error}") from error


def json_object(data: bytes, path: Path) -> dict[str, Any]:
    """The JSON object that `data` holds; `path` is where it came from, for the message.

    Raises:
        IntegrityError: it is not JSON, holds something other than an object, or a number that JSON does not have.
    """
    try:
        content = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise IntegrityError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def seal(folder: Path, content: Mapping[str, Any], files: Iterable[str]) -> None:
    """Write `folder/manifest.json`: `content`, the hash of each of `files`, and a hash of the manifest itself."""
    body = dict(content) | {"files": {name: sha256_of(folder / name) for name in sorted(files)}}
    write_json(folder / "manifest.json", body | {"manifest_sha256": combined_sha256(body)})


@dataclass(frozen=True)
class Sealed:
    """A folder whose manifest and files were read once and checked. What is used of them must be these bytes.

    content: what the manifest says.
    manifest: its bytes.
    files: the bytes of the files that it lists, by name.
    """

    content: dict[str, Any]
    manifest: bytes
    files: Mapping[str, bytes]


def open_sealed(folder: Path) -> Sealed:
    """Read `folder/manifest.json` and every file that it lists, and no other file.

    Raises:
        IntegrityError: the manifest or a file is missing, is not the one that was written, or was written by another
            version of the format.
    """
    if not (folder / "manifest.json").is_file():
        raise IntegrityError(f"{folder} has no manifest.json; expected a folder that the pipeline wrote")
    manifest = _bytes_of(folder / "manifest.json")
    content = parse_sealed(manifest, folder)
    files = {}
    for name, expected in content["files"].items():
        path = folder / name
        if not path.exists():
            raise IntegrityError(f"{path} is missing; its manifest lists it")
        files[name] = _bytes_of(path)
        if hashlib.sha256(files[name]).hexdigest() != expected:
            raise IntegrityError(f"{path} is not the file its manifest describes (SHA-256 differs); do not use it")
    return Sealed(content, manifest, files)


def read_sealed(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says, once it and every file that it lists were verified; see `open_sealed`."""
    return open_sealed(folder).content


def _bytes_of(path: Path) -> bytes:
    try:
        return regular_bytes(path)
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror or error}") from error


def parse_sealed(data: bytes, folder: Path) -> dict[str, Any]:
    """What the manifest of `folder` says, without its own hash. The files that it lists are not looked at.

    Raises:
        IntegrityError: it is not the one that was written, it is of another version of the format, or it lists a file
            outside its folder.
    """
    body = json_object(data, folder / "manifest.json")
    if body.pop("manifest_sha256", None) != combined_sha256(body):
        raise IntegrityError(f"{folder / 'manifest.json'} was changed after it was written; fit or export again")
    if body.get("schema") != SCHEMA:
        raise IntegrityError(
            f"{folder}: format {body.get('schema')!r}, this gonogo reads {SCHEMA}; fit or export again"
        )
    files = body.get("files")
    if not isinstance(files, dict):
        raise IntegrityError(f"{folder / 'manifest.json'} lists no files; fit or export again")
    for name in files:
        if not PLAIN_NAME.fullmatch(name):
            raise IntegrityError(
                f"{folder / 'manifest.json'} lists {name!r}; expected the name of a file beside it, of letters, digits "
                "and . _ -"
            )
    return body


def sync_folder(folder: Path) -> None:
    """Return when the names of the files in the folder are on the disk, where the system can say so."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def today() -> str:
    """The date in UTC, or that of SOURCE_DATE_EPOCH, with which the same run gives the same bytes on any day."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
    return now.date().isoformat()


def code_fingerprint() -> str:
    """Hex SHA-256 over the library's source files: other code, another result."""
    root = Path(gonogo.__file__).parent
    hashes = {path.relative_to(root).as_posix(): sha256_of(path) for path in sorted(root.rglob("*.py"))}
    return combined_sha256(hashes)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def combined_sha256(body: Mapping[str, Any]) -> str:
    """Hex SHA-256 over named values of JSON, in any order: over the hashes of some files, say."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _rounded(value: float | int | str | bool) -> float | int | str | bool:
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.6g}")
    return value
