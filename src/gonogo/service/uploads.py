"""Reads the images of a request within limits, and decodes them after checks against disguised files.

A file may be a valid image and a valid file of another type at the same time. It is refused where that can be seen: its
content must have the declared type, and must end where the image ends. The end of a TIFF cannot be told, since its
parts may lie anywhere in the file; TIFF is therefore accepted only where the settings allow it.
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
MAX_HEADERS = 4096  # bytes of the headers of one part
ZIP_END = b"PK\x05\x06"


@dataclass(frozen=True)
class Upload:
    """An encoded image as it was sent.

    `declared` is its media type; `name` is the client's name for it, which is never used as a path.
    """

    data: bytes
    declared: str
    name: str | None

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


async def uploads(
    body: AsyncIterator[bytes], content_type: str, name: str | None, settings: Settings, *, max_images: int
) -> AsyncIterator[Upload]:
    """The images of a body, raw or multipart/form-data, each as soon as it was read.

    Raises:
        Problem: the body has another media type, more than `max_images` images, one that is too large or none, or its
            multipart format is damaged.
    """
    media_type, options = parse_options_header(content_type)
    declared = media_type.decode("latin-1").lower()
    if declared == "multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise Problem("bad-request", "multipart/form-data without a boundary of 1 to 70 bytes")
        images = _parts(body, boundary, settings, max_images)
    elif declared in MEDIA_TYPES or declared in UNDECLARED:
        images = _raw(body, declared, name, settings)
    else:
        raise Problem(
            "unsupported-media-type",
            f"the body is {declared[:80]!r}; expected multipart/form-data, application/octet-stream or one of "
            + ", ".join(MEDIA_TYPES),
        )
    n_images = 0
    async for upload in images:
        n_images += 1
        _require_plain_name(upload.name)
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


async def _parts(
    body: AsyncIterator[bytes], boundary: bytes, settings: Settings, max_images: int
) -> AsyncIterator[Upload]:
    reader = _PartReader(settings, max_images)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        async for chunk in body:
            parser.write(chunk)
            for upload in reader.take():
                yield upload
        parser.finalize()
    except ValueError as error:  # python-multipart's own errors are ValueErrors too
        raise Problem("bad-request", f"the multipart/form-data cannot be read: {error}") from error
    if not reader.ended:
        raise Problem("bad-request", "the multipart/form-data ends before its last boundary")


class _PartReader:
    """Collects the parts of a multipart body from the callbacks of python-multipart."""

    def __init__(self, settings: Settings, max_images: int) -> None:
        self.ended = False
        self._settings, self._max_images, self._n_parts = settings, max_images, 0
        self._data, self._field, self._value = bytearray(), bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._ready: list[Upload] = []

    def callbacks(self) -> Any:
        """The callbacks by the names that python-multipart gives them."""
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
        """The complete parts that were not taken yet."""
        ready, self._ready = self._ready, []
        return ready

    def _begin(self) -> None:
        self._n_parts += 1
        if self._n_parts > self._max_images:
            raise Problem("too-large", f"more than {self._max_images} images in one request")
        self._data, self._headers = bytearray(), {}

    def _add(self, to: bytearray, data: bytes) -> None:
        to += data
        if len(to) > MAX_HEADERS or len(self._headers) > 8:
            raise Problem("bad-request", "a part of the body has too many or too long headers")

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
            raise Problem("bad-request", "a part of the body has another name than image")
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


def decode_upload(upload: Upload, settings: Settings) -> tuple[np.ndarray, str]:
    """The pixels of an image, (h, w, 3) uint8 RGB, upright, and Pillow's name of its format.

    Raises:
        Problem: the image has another format than declared or allowed, too many pixels or frames, is damaged, or has
            other content after its end.
    """
    try:
        with Image.open(io.BytesIO(upload.data), formats=settings.formats) as image:  # reads the header alone
            image_format, n_pixels, n_frames = (
                str(image.format),
                image.width * image.height,
                getattr(image, "n_frames", 1),
            )
    except DAMAGE as error:
        raise Problem("unreadable-image", f"not an image of {', '.join(settings.formats)}") from error
    if upload.declared not in UNDECLARED and MEDIA_TYPES.get(upload.declared) != image_format:
        raise Problem("unreadable-image", f"declared as {upload.declared[:80]!r}, but is {image_format}")
    if n_pixels > settings.max_pixels:
        raise Problem("too-large", f"the image has {n_pixels} pixels, and at most {settings.max_pixels} are accepted")
    if n_frames != 1:
        raise Problem("unreadable-image", f"the file has {n_frames} frames; send each as an image of its own")
    try:
        if not _ends_as_image(upload.data, image_format) or _is_zip(upload.data):
            raise Problem(
                "unreadable-image", f"the {image_format} has other content after its end; save it again as an image"
            )
        pixels, _ = decode(upload.data, Path("the image"))
    except (IndexError, struct.error) as error:
        raise Problem("unreadable-image", f"the {image_format} ends too early") from error
    except ImageError as error:
        raise Problem("unreadable-image", str(error)) from error
    return pixels, image_format


def _ends_as_image(data: bytes, image_format: str) -> bool:
    """Whether only zeros follow the end of the image.

    Raises:
        IndexError, struct.error: the image has no end.
        Problem: the checksum of a PNG's chunk is wrong; Pillow checks only some of them.
    """
    if image_format == "PNG":
        end = _png_end(data)
    elif image_format == "JPEG":
        end = _jpeg_end(data)
    elif image_format == "WEBP":
        end = 8 + struct.unpack_from("<I", data, 4)[0]
    elif image_format == "BMP":
        end = struct.unpack_from("<I", data, 2)[0] or len(data)
    else:
        end = len(data)
    if end > len(data):
        raise IndexError
    return not data[end:].strip(b"\0")


def _is_zip(data: bytes) -> bool:
    """Whether the data end with the last record of a zip archive and its comment, so that programs open them as one."""
    position = data.find(ZIP_END, max(0, len(data) - 22 - 0xFFFF))
    while position >= 0:
        if data[position + 20 : position + 22] == struct.pack("<H", (len(data) - position - 22) & 0xFFFF):
            return True
        position = data.find(ZIP_END, position + 1)
    return False


def _png_end(data: bytes) -> int:
    """The position after the last chunk of a PNG, whose chunks are all complete."""
    position, kind = 8, b""
    while kind != b"IEND":
        end = position + 8 + struct.unpack_from(">I", data, position)[0]
        kind, checksum = data[position + 4 : position + 8], struct.unpack_from(">I", data, end)[0]
        if zlib.crc32(memoryview(data)[position + 4 : end]) != checksum:
            raise Problem("unreadable-image", f"the PNG is damaged: the checksum of {kind!r} is wrong")
        position = end + 4
    return position


def _jpeg_end(data: bytes) -> int:
    """The position after the end marker of a JPEG.

    Markers are followed one by one, since a thumbnail inside has an end marker too.
    """
    position = 2
    while True:
        if data[position] != 0xFF:
            raise IndexError
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker == 0xD9:
            return position + 2
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
            if marker == 0xDA:  # a scan, which ends at the next marker that is no stuffed byte and no restart
                marker_after = SCAN_END.search(data, position)
                if marker_after is None:
                    raise IndexError
                position = marker_after.start()


SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def _require_size(data: bytearray, settings: Settings) -> None:
    if len(data) > settings.max_image:
        raise Problem("too-large", f"an image has more than {settings.max_image} bytes")


def _require_plain_name(name: str | None) -> None:
    if name is not None and (not NAME.fullmatch(name) or name.strip(". ") == "" or ".." in name):
        raise Problem(
            "invalid-request", "an image's name is 1 to 128 letters, digits, spaces and . ( ) + = @ , - _, without '..'"
        )
