"""A bundle: the folder that the pipeline writes, or the same files in one `.gonogo` file. Standard library only.

A `.gonogo` file is a zip of the manifest and the files that it lists, stored as they are, without dates and in one
order: the same bundle is always the same bytes, and a file with any other byte is refused.
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
MOST_FILES = 64  # in one file; the pipeline writes six at most
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip knows
MODE = (stat.S_IFREG | 0o644) << 16

# What zipfile raises on a damaged or unusual file.
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, ValueError,
          OverflowError, LookupError, OSError)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every byte was held against its manifest.

    fingerprint: SHA-256 of the manifest's bytes, which name the bundle.
    signer: the id of the key that it says it was signed with; None without a signature.
    files: what the manifest lists, by name: the file, or its bytes where the bundle is one file.
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
        """What is in a file that the manifest lists.

        Raises:
            IntegrityError: it is not there any more.
        """
        file = self.files[name]
        try:
            return file.read_bytes() if isinstance(file, Path) else file
        except OSError as error:
            raise IntegrityError(f"{name} of the bundle cannot be read: {error.strerror or error}") from error


def read_bundle(place: Path, *, trust: Path | None = None) -> Bundle:
    """Read a bundle's manifest and verify it and all that it lists.

    Args:
        place: a folder, or a `.gonogo` file.
        trust: file of a public key with whose private half it must have been signed; None: whoever made it.

    Raises:
        IntegrityError: a file is missing, changed, more than the manifest lists or not what a bundle has, or the
            signature is not there or not the one that `trust` asks for.
        DataError: `trust` is no public key.
        MissingExtraError: a signature is asked for and cryptography is not installed.
    """
    if place.is_file():
        contents = _contents(place)
        signature = contents.pop(SIGNATURE, None)
        body, manifest = parse_sealed(contents[MANIFEST], place), contents.pop(MANIFEST)
        if set(contents) != set(body["files"]):
            raise IntegrityError(
                f"{place} has the files {sorted(contents)}; its manifest lists {sorted(body['files'])}"
            )
        for name, data in contents.items():
            if hashlib.sha256(data).hexdigest() != body["files"][name]:
                raise IntegrityError(
                    f"{name} in {place} is not the file its manifest describes (SHA-256 differs); do not use it"
                )
        files: dict[str, Path | bytes] = dict(contents)
    else:
        body = read_sealed(place)
        manifest = (place / MANIFEST).read_bytes()
        signature = signature_in(place)
        files = {name: place / name for name in body["files"]}
    if ONNX_FILE not in files:
        raise IntegrityError(f"{place}: its manifest does not list {ONNX_FILE}")
    if trust is not None:
        require_signed(manifest, signature, trust, place)
    return Bundle(body, hashlib.sha256(manifest).hexdigest(), signer_in(signature, place), files)


def sign(place: Path, key: Path) -> Bundle:
    """Sign a bundle, a folder or a `.gonogo` file, in place of any signature that it has; the bundle as it is then.

    Raises:
        IntegrityError: the bundle cannot be trusted.
        DataError: there is no private key in the file `key`, or the bundle cannot be written.
        MissingExtraError: cryptography is not installed.
    """
    read_bundle(place)
    if place.is_file():
        contents = _contents(place)
        contents[SIGNATURE] = signature_of(contents[MANIFEST], key)
        _write(place, _packed(contents))
    else:
        _write(place / SIGNATURE, signature_of((place / MANIFEST).read_bytes(), key))
    return read_bundle(place)


def pack(folder: Path, file: Path) -> None:
    """Write the bundle in `folder` as one file, whole or not at all.

    Raises:
        IntegrityError: the bundle cannot be trusted.
        DataError: `file` does not end in .gonogo, or cannot be written.
    """
    if file.suffix != SUFFIX:
        raise DataError(f"{file}: the one file of a bundle ends in {SUFFIX}")
    if not folder.is_dir():
        raise IntegrityError(f"{folder} is not a folder; expected one that the pipeline wrote")
    read = read_bundle(folder)
    names = [MANIFEST, *read.manifest["files"], *([SIGNATURE] if read.signer else [])]
    data = _packed({name: (folder / name).read_bytes() for name in names})
    _write(file, data)


def unpack(file: Path, folder: Path) -> None:
    """Write the bundle of one file as a folder, whole or not at all.

    Raises:
        IntegrityError: the file cannot be trusted.
        DataError: the folder is there already, or cannot be written.
    """
    if not file.is_file():
        raise IntegrityError(f"{file} is not a file; expected one that gonogo bundle pack wrote")
    if folder.exists():
        raise DataError(f"{folder} is there already; name another folder, or remove it")
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
    """Write a part of a bundle, or all of it, whole or not at all.

    Raises:
        DataError: it cannot be written.
        IntegrityError: it is a bundle's one file, and what was written is none.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        if file.suffix == SUFFIX:
            read_bundle(partial)  # what changed between two readings of a folder is refused here
        partial.replace(file)
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _packed(contents: Mapping[str, bytes]) -> bytes:
    """The one file that holds these: the manifest first, the others by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents, key=lambda name: (name != MANIFEST, name)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, MODE
            archive.writestr(entry, contents[name])
    return file.getvalue()


def _contents(file: Path) -> dict[str, bytes]:
    """Each file in the one file, by name; nothing is read that could be more than the file itself.

    Raises:
        IntegrityError: it is not what `_packed` writes.
    """
    try:
        data = file.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _require_plain(entries, len(data), file)
            contents = {entry.filename: archive.read(entry) for entry in entries}
    except DAMAGE as error:
        raise IntegrityError(f"{file} is no bundle: it cannot be read as a {SUFFIX} file ({error})") from error
    if MANIFEST not in contents:
        raise IntegrityError(f"{file} has no {MANIFEST}; expected a file that gonogo bundle pack wrote")
    if _packed(contents) != data:
        raise IntegrityError(
            f"{file} has other bytes than gonogo bundle pack writes for its content; it was changed or made otherwise: "
            "pack the folder again"
        )
    return contents


def _require_plain(entries: Sequence[zipfile.ZipInfo], size: int, file: Path) -> None:
    """Refuse what could reach outside, hide a file behind another, or grow."""
    if len(entries) > MOST_FILES:
        raise IntegrityError(f"{file} has {len(entries)} entries; a bundle has {MOST_FILES} at most")
    if sum(entry.file_size for entry in entries) > size:
        raise IntegrityError(f"{file} claims to hold more bytes than it has; a bundle's files are stored as they are")
    seen: set[str] = set()
    for entry in entries:
        name, mode = entry.filename, entry.external_attr >> 16
        if not PLAIN_NAME.fullmatch(name):
            raise IntegrityError(f"{file} has an entry {name!r}; expected names of files, without a folder")
        if name.lower() in seen:
            raise IntegrityError(f"{file} has {name} twice; which is meant cannot be known")
        seen.add(name.lower())
        if not stat.S_ISREG(mode):
            raise IntegrityError(f"{file}: {name} is a link or otherwise no plain file")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise IntegrityError(f"{file}: {name} is compressed or encrypted; a bundle's files are stored as they are")
