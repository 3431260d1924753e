"""A bundle: the folder that the pipeline writes, or the same files in one `.gonogo` file. Standard library only.

A `.gonogo` file is a zip of the manifest and the files that it lists, uncompressed, without dates and in a fixed order.
So one bundle always gives the same bytes, and a file with any other byte is refused.
"""

import hashlib
import io
import secrets
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.errors import DataError, IntegrityError
from gonogo.files import PLAIN_NAME, Sealed, open_sealed, parse_sealed, regular_bytes, write_bytes
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
    """A bundle whose files have the hashes of its manifest. It holds the bytes that were checked.

    manifest: what the manifest says.
    written: the bytes of the manifest.
    signature: the bytes of the signature; None without one.
    fingerprint: SHA-256 of the manifest's bytes, which identifies the bundle.
    signer: id of the key in its signature; None without a signature. Only `trust` of `read_bundle` checks it.
    files: the bytes of the files that the manifest lists, by name.
    """

    manifest: dict[str, Any]
    written: bytes
    signature: bytes | None
    fingerprint: str
    signer: str | None
    files: Mapping[str, bytes]

    @property
    def gauge(self) -> bytes:
        """The ONNX file."""
        return self.files[ONNX_FILE]

    @property
    def contents(self) -> dict[str, bytes]:
        """The files of the bundle's folder: the manifest, those that it lists, and the signature where there is one."""
        signature = {} if self.signature is None else {SIGNATURE: self.signature}
        return {MANIFEST: self.written, **self.files, **signature}


def read_bundle(path: Path, *, trust: Path | None = None) -> Bundle:
    """Read a bundle once, and check its manifest and all files that it lists. No other file is opened.

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
        return bundle_in(_contents(_read(path), path), path, trust=trust)
    sealed = open_sealed(path)
    return _bundle(sealed, signature_in(path), path, trust)


def bundle_in(contents: Mapping[str, bytes], path: Path, *, trust: Path | None = None) -> Bundle:
    """The bundle of these files, its manifest and signature among them; `path` is where they came from.

    Raises the errors of `read_bundle`.
    """
    files = {name: data for name, data in contents.items() if name not in (MANIFEST, SIGNATURE)}
    body = parse_sealed(contents[MANIFEST], path)
    if set(files) != set(body["files"]):
        raise IntegrityError(f"{path} has the files {sorted(files)}; its manifest lists {sorted(body['files'])}")
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != body["files"][name]:
            raise IntegrityError(
                f"{name} in {path} is not the file its manifest describes (SHA-256 differs); do not use it"
            )
    return _bundle(Sealed(body, contents[MANIFEST], files), contents.get(SIGNATURE), path, trust)


def _bundle(sealed: Sealed, signature: bytes | None, path: Path, trust: Path | None) -> Bundle:
    if ONNX_FILE not in sealed.files:
        raise IntegrityError(f"{path}: its manifest does not list {ONNX_FILE}")
    if trust is not None:
        require_signed(sealed.manifest, signature, trust, path)
    fingerprint = hashlib.sha256(sealed.manifest).hexdigest()
    return Bundle(
        sealed.content, sealed.manifest, signature, fingerprint, signer_in(signature, path), dict(sealed.files)
    )


def sign(path: Path, key: Path) -> Bundle:
    """Sign a bundle, a folder or a `.gonogo` file. It replaces any older signature; the signed bundle.

    Raises:
        IntegrityError: the bundle is damaged.
        DataError: the file `key` is not a private key, or the bundle cannot be written.
        MissingExtraError: cryptography is not installed.
    """
    read = read_bundle(path)
    signature = signature_of(read.written, key)
    signed = bundle_in(read.contents | {SIGNATURE: signature}, path)
    if path.is_file():
        _write(path, _packed(signed.contents))
    else:
        _write(path / SIGNATURE, signature)
    return signed


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
    _write(file, _packed(read_bundle(folder).contents))


def unpack(file: Path, folder: Path) -> None:
    """Write the bundle of a `.gonogo` file as a folder, completely or not at all.

    Raises:
        IntegrityError: the file is damaged.
        DataError: the folder exists, or cannot be written.
    """
    if not file.is_file():
        raise IntegrityError(f"{file} is not a file; expected one that gonogo bundle pack wrote")
    if folder.exists() or folder.is_symlink():
        raise DataError(f"{folder} exists already; name another folder, or remove it")
    read = read_bundle(file)
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir(parents=True)
        for name, data in read.contents.items():
            (partial / name).write_bytes(data)
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from error


def _read(file: Path) -> bytes:
    try:
        return regular_bytes(file)
    except OSError as error:
        raise IntegrityError(f"{file} cannot be read: {error.strerror or error}") from error


def _write(file: Path, data: bytes) -> None:
    """Write a signature or a `.gonogo` file, completely or not at all.

    Raises:
        DataError: it cannot be written.
    """
    try:
        write_bytes(file, data)
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror or error}") from error


def _packed(contents: Mapping[str, bytes]) -> bytes:
    """The bytes of a `.gonogo` file of these files: the manifest first, the others by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents, key=lambda name: (name != MANIFEST, name)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, MODE
            archive.writestr(entry, contents[name])
    return file.getvalue()


def _contents(data: bytes, file: Path) -> dict[str, bytes]:
    """The files in the bytes of a `.gonogo` file, by name. They are never larger than the file itself.

    Raises:
        IntegrityError: it is not a file that `_packed` writes.
    """
    try:
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
