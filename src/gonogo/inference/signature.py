"""The signature of a bundle: Ed25519 over its manifest, which has the hashes of all its other files.

Hashes detect damage. Someone who changes a bundle on purpose can correct the hashes, but cannot make the signature. It
is checked only against a public key that the user gives: a bundle cannot say for itself which key to trust.
"""

import base64
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gonogo.errors import DataError, IntegrityError, MissingExtraError
from gonogo.files import json_object

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE = "signature.json"  # beside the files that the manifest lists, in a signed bundle
ALGORITHM = "Ed25519"


def make_key(file: Path) -> Path:
    """Write a new private key, readable by its owner alone, and the public key beside it; the public key's file.

    Raises:
        DataError: one of the files exists, or cannot be written.
        MissingExtraError: cryptography is not installed.
    """
    ed25519, serialization = _library()
    private = ed25519.Ed25519PrivateKey.generate()
    public_file = file.with_name(file.name + ".pub")
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:  # noqa: PTH123
            opened.write(pem)
        with public_file.open("xb") as opened:
            opened.write(public)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be written: {error.strerror or error}") from error
    return public_file


def signature_of(manifest: bytes, key: Path) -> bytes:
    """The content of the file of a signature.

    Args:
        manifest: the bytes of the manifest.
        key: file of a private key, as `make_key` writes it.

    Raises:
        DataError: it is not such a file.
        MissingExtraError: cryptography is not installed.
    """
    ed25519, serialization = _library()
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{key} is not a private key that gonogo bundle key wrote: {error}") from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise DataError(f"{key} is a key of another algorithm; expected {ALGORITHM}, as gonogo bundle key writes it")
    signed = base64.b64encode(private.sign(manifest)).decode()
    content = {"algorithm": ALGORITHM, "key": key_id(private.public_key()), "signature": signed}
    return json.dumps(content, indent=2).encode() + b"\n"


def signature_in(folder: Path) -> bytes | None:
    """The content of the file of the signature in a folder; None if there is no such file."""
    file = folder / SIGNATURE
    return file.read_bytes() if file.is_file() else None


def signer_in(signature: bytes | None, bundle: Path) -> str | None:
    """The id of the key that a signature names, which is not checked here; None without a signature.

    Raises:
        IntegrityError: it is not a signature that `signature_of` writes.
    """
    return None if signature is None else str(_parsed(signature, bundle)["key"])


def require_signed(manifest: bytes, signature: bytes | None, trust: Path, bundle: Path) -> None:
    """Do nothing if a bundle is signed with the key whose public half is in the file `trust`.

    Raises:
        IntegrityError: the signature is missing, of another key, or of another manifest.
        DataError: `trust` is not a public key.
        MissingExtraError: cryptography is not installed.
    """
    ed25519, serialization = _library()
    try:
        public = serialization.load_pem_public_key(trust.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{trust} is not a public key that gonogo bundle key wrote: {error}") from error
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise DataError(f"{trust} is a key of another algorithm; expected {ALGORITHM}")
    if signature is None:
        raise IntegrityError(f"{bundle} is not signed; expected a signature with the key {trust}")
    content = _parsed(signature, bundle)
    if content["key"] != key_id(public):
        raise IntegrityError(f"{bundle} is signed with the key {content['key']}, {trust} is {key_id(public)}")
    from cryptography.exceptions import InvalidSignature

    with suppress(InvalidSignature):
        public.verify(base64.b64decode(content["signature"]), manifest)
        return
    raise IntegrityError(f"{bundle}: the signature is not of this manifest; one of them was changed: do not use it")


def key_id(public: "Ed25519PublicKey") -> str:
    """16 hex digits that identify a public key."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def _parsed(signature: bytes, bundle: Path) -> dict[str, Any]:
    """The values in the file of a signature, whose every byte must be as `signature_of` writes it."""
    content = json_object(signature, bundle / SIGNATURE)
    try:
        plain = {"algorithm": ALGORITHM, "key": str(content["key"]), "signature": str(content["signature"])}
        whole = len(base64.b64decode(plain["signature"], validate=True)) == 64
    except (KeyError, ValueError) as error:
        raise IntegrityError(f"{bundle}: its signature is not one that gonogo bundle sign wrote ({error!r})") from error
    if not whole or json.dumps(plain, indent=2).encode() + b"\n" != signature:
        raise IntegrityError(f"{bundle}: its signature is not one that gonogo bundle sign wrote; sign it again")
    return plain


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtraError(f"signatures need cryptography ({error}); pip install 'gonogo[sign]'") from error
    return ed25519, serialization
