"""Stylesheets, scripts and icons of the pages: each has its content's hash in its path, and is then cached for ever."""

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import Request
from fastapi.responses import Response

from gonogo.service.pages.navigation import pages_of
from gonogo.service.problems import Problem

PREFIX = "/static"
MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
}
HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
HASH_DIGITS = 16


@dataclass(frozen=True)
class Asset:
    """A file: its path on the service, its media type, and its bytes, plain and compressed."""

    path: str
    media_type: str
    plain: bytes
    compressed: bytes


@cache
def assets(others: Sequence[str] = ()) -> dict[str, Asset]:
    """All files of the folder `static`, here and in other packages, by their paths in it."""
    found: dict[str, bytes] = {}
    for package in (__package__, *others):
        found |= _contents(files(package).joinpath("static"), "")
    return {name: _asset(name, data) for name, data in found.items()}


def address_of(name: str, others: Sequence[str] = ()) -> str:
    """The path on the service of a file of the folder `static`, here or in other packages.

    Raises:
        KeyError: there is no such file.
    """
    return assets(others)[name].path


async def asset(request: Request, digest: str, name: str) -> Response:
    """A file; a path with the hash of another version is not found."""
    found = assets(pages_of(request).others).get(name)
    if found is None or found.path != f"{PREFIX}/{digest}/{name}":
        raise Problem("not-found", "there is no such file")
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.compressed, media_type=found.media_type, headers=HEADERS | {"Content-Encoding": "gzip"})
    return Response(found.plain, media_type=found.media_type, headers=HEADERS)


def _contents(folder: Traversable, prefix: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _contents(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in MEDIA_TYPES:
            found[f"{prefix}{entry.name}"] = entry.read_bytes()
    return found


def _asset(name: str, data: bytes) -> Asset:
    digest = hashlib.sha256(data).hexdigest()[:HASH_DIGITS]
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]
    return Asset(f"{PREFIX}/{digest}/{name}", media_type, data, gzip.compress(data, mtime=0))
