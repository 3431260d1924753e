"""Who vouches for a bundle: an Ed25519 signature over its manifest, which has the hash of everything else in it.

Hashes protect from damage; whoever changes a bundle on purpose can make them right again, but not the signature. It is
checked by whoever holds the public key, and by them alone: a bundle cannot say for itself whom to trust.
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

SIGNATURE = "signature.json"  # beside what the manifest lists, where someone has signed it
ALGORITHM = "Ed25519"


def make_key(file: Path) -> Path:
    """Write a new private key, readable by its owner alone, and beside it the public one; where the latter is.

    Raises:
        DataError: one of them is there already, or cannot be written.
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
    """The content of a signature's file.

    Args:
        manifest: the bytes of the manifest.
        key: file of a private key, as `make_key` writes it.

    Raises:
        DataError: it is no such file.
        MissingExtraError: cryptography is not installed.
    """
    ed25519, serialization = _library()
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{key} is no private key that gonogo bundle key wrote: {error}") from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise DataError(f"{key} is a key of another kind; expected one of {ALGORITHM}, as gonogo bundle key writes it")
    signed = base64.b64encode(private.sign(manifest)).decode()
    content = {"algorithm": ALGORITHM, "key": key_id(private.public_key()), "signature": signed}
    return json.dumps(content, indent=2).encode() + b"\n"


def signature_in(folder: Path) -> bytes | None:
    """What is in the signature's file of a folder; None where it has none."""
    file = folder / SIGNATURE
    return file.read_bytes() if file.is_file() else None


def signer_in(signature: bytes | None, place: Path) -> str | None:
    """The id of the key that a bundle says it was signed with; None where it has no signature.

    Raises:
        IntegrityError: the signature's file is not what `signature_of` writes.
    """
    return None if signature is None else str(_checked(signature, place)["key"])


def require_signed(manifest: bytes, signature: bytes | None, trust: Path, place: Path) -> None:
    """Do nothing, or refuse a bundle that was not signed with the key whose public half is in the file `trust`.

    Raises:
        IntegrityError: it has no signature, one of another key, or one of another manifest.
        DataError: `trust` is no public key.
        MissingExtraError: cryptography is not installed.
    """
    ed25519, serialization = _library()
    try:
        public = serialization.load_pem_public_key(trust.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{trust} is no public key that gonogo bundle key wrote: {error}") from error
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise DataError(f"{trust} is a key of another kind; expected one of {ALGORITHM}")
    if signature is None:
        raise IntegrityError(f"{place} is not signed; {trust} is the key whose signature is asked for")
    content = _checked(signature, place)
    if content["key"] != key_id(public):
        raise IntegrityError(f"{place} is signed with the key {content['key']}, {trust} is {key_id(public)}")
    from cryptography.exceptions import InvalidSignature

    with suppress(InvalidSignature):
        public.verify(base64.b64decode(content["signature"]), manifest)
        return
    raise IntegrityError(f"{place}: its signature is not that of its manifest; one of them was changed: do not use it")


def key_id(public: "Ed25519PublicKey") -> str:
    """16 hex digits that name a public key."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def _checked(signature: bytes, place: Path) -> dict[str, Any]:
    """What the signature's file says; nothing in it may be other than `signature_of` writes it."""
    content = json_object(signature, place / SIGNATURE)
    try:
        plain = {"algorithm": ALGORITHM, "key": str(content["key"]), "signature": str(content["signature"])}
        whole = len(base64.b64decode(plain["signature"], validate=True)) == 64
    except (KeyError, ValueError) as error:
        raise IntegrityError(f"{place}: its signature is not one that gonogo bundle sign wrote ({error!r})") from error
    if not whole or json.dumps(plain, indent=2).encode() + b"\n" != signature:
        raise IntegrityError(f"{place}: its signature is not one that gonogo bundle sign wrote; sign the bundle anew")
    return plain


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtraError(f"signatures need cryptography ({error}); pip install 'gonogo[sign]'") from error
    return ed25519, serialization
