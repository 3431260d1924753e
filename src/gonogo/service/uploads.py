"""What a client sends: an image or several, read part by part within limits, and decoded only if nothing is odd.

A file that is an image and something else besides is refused, as far as that can be seen: its content must be of the
type that it is declared as, and end where the image ends. The end of a TIFF is not known, since its parts may lie
anywhere; TIFF is therefore taken only where the settings say so.
"""

import hashlib
import io
import re
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from python_multipart.multipart import MultipartParser, parse_options_header

from gonogo.errors import ImageError
from gonogo.images.reading import DAMAGE, decode
from gonogo.service.problems import Problem
from gonogo.service.settings import Settings

MEDIA_TYPES = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/bmp": "BMP", "image/tiff": "TIFF"}
UNDECLARED = ("application/octet-stream", "")
NAME = re.compile(r"[\w.()+=@, -]{1,128}", re.ASCII)
MAX_HEADERS = 4096  # bytes of one part's
ZIP_END = b"PK\x05\x06"


@dataclass(frozen=True)
class Upload:
    """An encoded image as it came; `declared` is its media type, `name` the client's own for it, never a path here."""

    data: bytes
    declared: str
    name: str | None

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


async def uploads(
    body: AsyncIterator[bytes], content_type: str, name: str | None, settings: Settings, *, most: int
) -> AsyncIterator[Upload]:
    """The images of a body, raw or multipart/form-data, each as soon as it is there.

    Raises:
        Problem: another media type, more than `most` images, one too large, no image, or damaged multipart.
    """
    media_type, options = parse_options_header(content_type)
    declared = media_type.decode("latin-1").lower()
    if declared == "multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise Problem("bad-request", "multipart/form-data without a boundary of 1 to 70 bytes")
        found = _parts(body, boundary, settings, most)
    elif declared in MEDIA_TYPES or declared in UNDECLARED:
        found = _raw(body, declared, name, settings)
    else:
        raise Problem(
            "unsupported-media-type",
            f"the body is {declared[:80]!r}; expected multipart/form-data, application/octet-stream or one of "
            + ", ".join(MEDIA_TYPES),
        )
    n_images = 0
    async for upload in found:
        n_images += 1
        _require_plain(upload.name)
        yield upload
    if not n_images:
        raise Problem("unreadable-image", "the body has no image")


async def _raw(
    body: AsyncIterator[bytes], declared: str, name: str | None, settings: Settings
) -> AsyncIterator[Upload]:
    data = bytearray()
    async for chunk in body:
        data += chunk
        _require_size(data, settings)
    if data:
        yield Upload(bytes(data), declared, name)


async def _parts(body: AsyncIterator[bytes], boundary: bytes, settings: Settings, most: int) -> AsyncIterator[Upload]:
    reader = _PartReader(settings, most)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        async for chunk in body:
            parser.write(chunk)
            for upload in reader.take():
                yield upload
        parser.finalize()
    except ValueError as error:  # python-multipart's own errors are ValueErrors too
        raise Problem("bad-request", f"multipart/form-data that cannot be read: {error}") from error
    if not reader.ended:
        raise Problem("bad-request", "multipart/form-data ends before its last boundary")


class _PartReader:
    """Collects what python-multipart tells of, one part at a time."""

    def __init__(self, settings: Settings, most: int) -> None:
        self.ended = False
        self._settings, self._most, self._n_parts = settings, most, 0
        self._data, self._field, self._value = bytearray(), bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._ready: list[Upload] = []

    def callbacks(self) -> Any:
        """By python-multipart's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._add(self._field, data[start:end]),
            "on_header_value": lambda data, start, end: self._add(self._value, data[start:end]),
            "on_header_end": self._header,
            "on_part_data": self._body,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def take(self) -> list[Upload]:
        """The parts that are whole and were not taken yet."""
        ready, self._ready = self._ready, []
        return ready

    def _begin(self) -> None:
        self._n_parts += 1
        if self._n_parts > self._most:
            raise Problem("too-large", f"more than {self._most} images in one request")
        self._data, self._headers = bytearray(), {}

    def _add(self, to: bytearray, data: bytes) -> None:
        to += data
        if len(to) > MAX_HEADERS or len(self._headers) > 8:
            raise Problem("bad-request", "a part of the body has more headers than images have")

    def _header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _body(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        _require_size(self._data, self._settings)

    def _end(self) -> None:
        media_type, _ = parse_options_header(self._headers.get(b"content-type", b""))
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if options.get(b"name") != b"image":
            raise Problem("bad-request", "a part of the body is not called image")
        name = options.get(b"filename")
        self._ready.append(
            Upload(
                bytes(self._data),
                media_type.decode("latin-1").lower(),
                None if name is None else name.decode("utf-8", "replace"),
            )
        )

    def _finish(self) -> None:
        self.ended = True


def decoded(upload: Upload, settings: Settings) -> tuple[np.ndarray, str]:
    """Pixels (h, w, 3) uint8 RGB of an image, upright, and the name of its format.

    Raises:
        Problem: it is of another format than declared or allowed, has too many pixels or frames, is damaged, or is
            something else besides an image.
    """
    try:
        with Image.open(io.BytesIO(upload.data), formats=settings.formats) as image:  # its header alone
            found, n_pixels, n_frames = str(image.format), image.width * image.height, getattr(image, "n_frames", 1)
    except DAMAGE as error:
        raise Problem("unreadable-image", f"not an image of {', '.join(settings.formats)}") from error
    if upload.declared not in UNDECLARED and MEDIA_TYPES.get(upload.declared) != found:
        raise Problem("unreadable-image", f"declared as {upload.declared[:80]!r}, and is {found}")
    if n_pixels > settings.max_pixels:
        raise Problem("too-large", f"{n_pixels} pixels; at most {settings.max_pixels} are decoded")
    if n_frames != 1:
        raise Problem("unreadable-image", f"{n_frames} frames in one file; send each by itself")
    try:
        if not _ends_as_image(upload.data, found) or _is_zip(upload.data):
            raise Problem("unreadable-image", f"a {found} with something else behind its end; save it anew")
        pixels, _ = decode(upload.data, Path("the image"))
    except (IndexError, struct.error) as error:
        raise Problem("unreadable-image", f"a {found} that ends too early") from error
    except ImageError as error:
        raise Problem("unreadable-image", str(error)) from error
    return pixels, found


def _ends_as_image(data: bytes, found: str) -> bool:
    """Whether nothing but zeros stands behind the image's end.

    Raises:
        IndexError, struct.error: its end is not there.
        Problem: it is a PNG with a wrong checksum, which Pillow overlooks in most places.
    """
    if found == "PNG":
        end = _png_end(data)
    elif found == "JPEG":
        end = _jpeg_end(data)
    elif found == "WEBP":
        end = 8 + struct.unpack_from("<I", data, 4)[0]
    elif found == "BMP":
        end = struct.unpack_from("<I", data, 2)[0] or len(data)
    else:
        end = len(data)
    if end > len(data):
        raise IndexError
    return not data[end:].strip(b"\0")


def _is_zip(data: bytes) -> bool:
    """Whether a zip's last record is there, with a comment that ends where the data do: others would open it as one."""
    place = data.find(ZIP_END, max(0, len(data) - 22 - 0xFFFF))
    while place >= 0:
        if data[place + 20 : place + 22] == struct.pack("<H", (len(data) - place - 22) & 0xFFFF):
            return True
        place = data.find(ZIP_END, place + 1)
    return False


def _png_end(data: bytes) -> int:
    """Where a PNG's last chunk ends; all before it are whole."""
    place, kind = 8, b""
    while kind != b"IEND":
        end = place + 8 + struct.unpack_from(">I", data, place)[0]
        kind, checksum = data[place + 4 : place + 8], struct.unpack_from(">I", data, end)[0]
        if zlib.crc32(memoryview(data)[place + 4 : end]) != checksum:
            raise Problem("unreadable-image", f"a PNG that was damaged: the checksum of {kind!r} is wrong")
        place = end + 4
    return place


def _jpeg_end(data: bytes) -> int:
    """Where a JPEG's end marker ends. Markers are followed, so that one in a thumbnail's data is not taken for it."""
    place = 2
    while True:
        if data[place] != 0xFF:
            raise IndexError
        marker = data[place + 1]
        if marker == 0xFF:  # fill
            place += 1
        elif marker == 0xD9:
            return place + 2
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
            if marker == 0xDA:  # a scan: its data go on to the next marker that is neither a stuffed byte nor a restart
                found = SCAN_END.search(data, place)
                if found is None:
                    raise IndexError
                place = found.start()


SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def _require_size(data: bytearray, settings: Settings) -> None:
    if len(data) > settings.max_image:
        raise Problem("too-large", f"an image of more than {settings.max_image} bytes")


def _require_plain(name: str | None) -> None:
    if name is not None and (not NAME.fullmatch(name) or name.strip(". ") == "" or ".." in name):
        raise Problem(
            "invalid-request", "an image's name is 1 to 128 letters, digits, spaces and . ( ) + = @ , - _, without '..'"
        )
