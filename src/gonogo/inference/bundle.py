"""A bundle: the folder that the pipeline writes, or the same files in one `.gonogo` file. Standard library only.

A `.gonogo` file is a zip of the manifest and the files that it lists, uncompressed, without dates and in a fixed order.
So one bundle always gives the same bytes, and a file with any other byte is refused.
"""

import hashlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.errors import DataError, IntegrityError
from gonogo.files import PLAIN_NAME, parse_sealed, read_sealed
from gonogo.inference.signature import SIGNATURE, require_signed, signature_in, signature_of, signer_in

ONNX_FILE = "gauge.onnx"
MANIFEST = "manifest.json"
SUFFIX = ".gonogo"
MOST_FILES = 64  # in a .gonogo file; the pipeline writes six at most
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can have
MODE = (stat.S_IFREG | 0o644) << 16

# What zipfile raises for a damaged or unusual file.
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, ValueError,
          OverflowError, LookupError, OSError)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files have the hashes of its manifest.

    fingerprint: SHA-256 of the manifest's bytes, which identifies the bundle.
    signer: id of the key in its signature; None without a signature. Only `trust` of `read_bundle` checks it.
    files: the files of the manifest, by name: a path, or the bytes if the bundle is a `.gonogo` file.
    """

    manifest: dict[str, Any]
    fingerprint: str
    signer: str | None
    files: Mapping[str, Path | bytes]

    @property
    def gauge(self) -> Path | bytes:
        """The ONNX file, or its bytes."""
        return self.files[ONNX_FILE]

    def bytes_of(self, name: str) -> bytes:
        """The content of a file of the manifest.

        Raises:
            IntegrityError: it cannot be read any more.
        """
        file = self.files[name]
        try:
            return file.read_bytes() if isinstance(file, Path) else file
        except OSError as error:
            raise IntegrityError(f"{name} of the bundle cannot be read: {error.strerror or error}") from error


def read_bundle(path: Path, *, trust: Path | None = None) -> Bundle:
    """Read the manifest of a bundle, and check it and all files that it lists.

    Args:
        path: a folder, or a `.gonogo` file.
        trust: file of a public key; the bundle must be signed with its private half. None: signatures are not checked.

    Raises:
        IntegrityError: a file is missing, was changed or is not in the manifest, or with `trust` the signature is
            missing or of another key.
        DataError: `trust` is not a public key.
        MissingExtraError: `trust` is given, and cryptography is not installed.
    """
    if path.is_file():
        contents = _contents(path)
        signature = contents.pop(SIGNATURE, None)
        body, manifest = parse_sealed(contents[MANIFEST], path), contents.pop(MANIFEST)
        if set(contents) != set(body["files"]):
            raise IntegrityError(f"{path} has the files {sorted(contents)}; its manifest lists {sorted(body['files'])}")
        for name, data in contents.items():
            if hashlib.sha256(data).hexdigest() != body["files"][name]:
                raise IntegrityError(
                    f"{name} in {path} is not the file its manifest describes (SHA-256 differs); do not use it"
                )
        files: dict[str, Path | bytes] = dict(contents)
    else:
        body = read_sealed(path)
        manifest = (path / MANIFEST).read_bytes()
        signature = signature_in(path)
        files = {name: path / name for name in body["files"]}
    if ONNX_FILE not in files:
        raise IntegrityError(f"{path}: its manifest does not list {ONNX_FILE}")
    if trust is not None:
        require_signed(manifest, signature, trust, path)
    return Bundle(body, hashlib.sha256(manifest).hexdigest(), signer_in(signature, path), files)


def sign(path: Path, key: Path) -> Bundle:
    """Sign a bundle, a folder or a `.gonogo` file. It replaces any older signature; the signed bundle.

    Raises:
        IntegrityError: the bundle is damaged.
        DataError: the file `key` is not a private key, or the bundle cannot be written.
        MissingExtraError: cryptography is not installed.
    """
    read_bundle(path)
    if path.is_file():
        contents = _contents(path)
        contents[SIGNATURE] = signature_of(contents[MANIFEST], key)
        _write(path, _packed(contents))
    else:
        _write(path / SIGNATURE, signature_of((path / MANIFEST).read_bytes(), key))
    return read_bundle(path)


def pack(folder: Path, file: Path) -> None:
    """Write the bundle in a folder as one `.gonogo` file, completely or not at all.

    Raises:
        IntegrityError: the bundle is damaged.
        DataError: `file` does not end in .gonogo, or cannot be written.
    """
    if file.suffix != SUFFIX:
        raise DataError(f"{file}: the name of a packed bundle ends in {SUFFIX}")
    if not folder.is_dir():
        raise IntegrityError(f"{folder} is not a folder; expected one that the pipeline wrote")
    read = read_bundle(folder)
    names = [MANIFEST, *read.manifest["files"], *([SIGNATURE] if read.signer else [])]
    data = _packed({name: (folder / name).read_bytes() for name in names})
    _write(file, data)


def unpack(file: Path, folder: Path) -> None:
    """Write the bundle of a `.gonogo` file as a folder, completely or not at all.

    Raises:
        IntegrityError: the file is damaged.
        DataError: the folder exists, or cannot be written.
    """
    if not file.is_file():
        raise IntegrityError(f"{file} is not a file; expected one that gonogo bundle pack wrote")
    if folder.exists():
        raise DataError(f"{folder} exists already; name another folder, or remove it")
    read_bundle(file)
    partial = folder.with_name(folder.name + ".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for name, data in _contents(file).items():
            (partial / name).write_bytes(data)
        read_bundle(partial)
        partial.replace(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from error


def _write(file: Path, data: bytes) -> None:
    """Write a signature or a `.gonogo` file, completely or not at all.

    Raises:
        DataError: it cannot be written.
        IntegrityError: the `.gonogo` file would not be a valid one.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        if file.suffix == SUFFIX:
            read_bundle(partial)  # refuses files that changed while they were packed
        partial.replace(file)
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _packed(contents: Mapping[str, bytes]) -> bytes:
    """The bytes of a `.gonogo` file of these files: the manifest first, the others by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents, key=lambda name: (name != MANIFEST, name)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, MODE
            archive.writestr(entry, contents[name])
    return file.getvalue()


def _contents(file: Path) -> dict[str, bytes]:
    """The files in a `.gonogo` file, by name. They are never larger than the file itself.

    Raises:
        IntegrityError: it is not a file that `_packed` writes.
    """
    try:
        data = file.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _require_plain(entries, len(data), file)
            contents = {entry.filename: archive.read(entry) for entry in entries}
    except DAMAGE as error:
        raise IntegrityError(f"{file} is not a bundle: it cannot be read as a {SUFFIX} file ({error})") from error
    if MANIFEST not in contents:
        raise IntegrityError(f"{file} has no {MANIFEST}; expected a file that gonogo bundle pack wrote")
    if _packed(contents) != data:
        raise IntegrityError(
            f"{file} has other bytes than gonogo bundle pack writes for its content; it was changed, or made by "
            "another program: pack the folder again"
        )
    return contents


def _require_plain(entries: Sequence[zipfile.ZipInfo], size: int, file: Path) -> None:
    """Refuse entries that could be written elsewhere, hide another entry, or expand to more bytes than the file has."""
    if len(entries) > MOST_FILES:
        raise IntegrityError(f"{file} has {len(entries)} entries; a bundle has {MOST_FILES} at most")
    if sum(entry.file_size for entry in entries) > size:
        raise IntegrityError(f"{file} declares more bytes than it has; the files of a bundle are not compressed")
    seen: set[str] = set()
    for entry in entries:
        name, mode = entry.filename, entry.external_attr >> 16
        if not PLAIN_NAME.fullmatch(name):
            raise IntegrityError(f"{file} has an entry {name!r}; expected names of files, without a folder")
        if name.lower() in seen:
            raise IntegrityError(f"{file} has {name} twice; expected each name once")
        seen.add(name.lower())
        if not stat.S_ISREG(mode):
            raise IntegrityError(f"{file}: {name} is a link or another special file; expected plain files")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise IntegrityError(f"{file}: {name} is compressed or encrypted; the files of a bundle are neither")
