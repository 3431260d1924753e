"""Reads the images of a request within limits, and decodes them after checks against disguised files.

A file may be a valid image and a valid file of another type at the same time. It is refused where that can be seen: its
content must have the declared type, and `opened` requires that it ends where the image ends. The end of a TIFF
cannot be told, since its parts may lie anywhere in the file; TIFF is therefore accepted only where the settings allow
it.
"""

import hashlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image
from python_multipart.multipart import MultipartParser, parse_options_header

from gonogo.errors import ConfigError, ImageError
from gonogo.images.arrays import PixelFormat, rgb_of_file
from gonogo.images.header import Header
from gonogo.service.memory import Hold
from gonogo.service.names import name_in, stored_name
from gonogo.service.problems import Problem
from gonogo.service.settings import Settings

MEDIA_TYPES = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/x-portable-anymap": "PPM",
}
OTHER_NAMES = {  # that programs give these types
    **dict.fromkeys(("image/jpg", "image/pjpeg"), "JPEG"),
    "image/x-png": "PNG",
    **dict.fromkeys(("image/x-ms-bmp", "image/x-bmp"), "BMP"),
    "image/tif": "TIFF",
    **dict.fromkeys((f"image/x-portable-{kind}" for kind in ("bitmap", "graymap", "pixmap")), "PPM"),
}
DECLARED = MEDIA_TYPES | OTHER_NAMES
UNDECLARED = ("application/octet-stream", "")
MAX_HEADERS = 4096  # bytes of the headers of one part
ARRAY_COPIES = 4  # of the bytes of an array, that exist at once while it becomes a PNG


@dataclass(frozen=True)
class Upload:
    """An encoded image as it was sent.

    `declared` is its media type; `name` is the client's name for it, as `stored_name` returns it; `hold` has its bytes.
    """

    data: bytes
    declared: str
    name: str | None
    hold: Hold

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


async def uploads(
    body: AsyncIterator[bytes],
    content_type: str,
    name: str | None,
    settings: Settings,
    *,
    max_images: int,
    new_hold: Callable[[], Hold],
) -> AsyncIterator[Upload]:
    """The images of a body, raw or multipart/form-data, each as soon as it was read.

    Args:
        body: its chunks.
        content_type: the header.
        name: of a raw image.
        settings: with the size of an image.
        max_images: in one body.
        new_hold: makes a hold, in which the bytes of an image are counted as they arrive; the caller ends all of them.

    Raises:
        Problem: the body has another media type, more than `max_images` images, one that is too large or none, its
            multipart format is damaged, or no more bytes may be held.
    """
    media_type, options = parse_options_header(content_type)
    declared = media_type.decode("latin-1").lower()
    if declared == "multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise Problem("bad-request", "multipart/form-data without a boundary of 1 to 70 bytes")
        images = _parts(body, _PartReader(settings, max_images, new_hold), boundary)
    elif declared in DECLARED or declared in UNDECLARED:
        images = _raw(body, declared, stored_name(name), settings, new_hold())
    else:
        raise Problem(
            "unsupported-media-type",
            f"the body is {declared[:80]!r}; expected multipart/form-data, application/octet-stream or one of "
            + ", ".join(MEDIA_TYPES),
        )
    n_images = 0
    async for upload in images:
        n_images += 1
        yield upload
    if not n_images:
        raise Problem("unreadable-image", "the body has no image")


async def _raw(
    body: AsyncIterator[bytes], declared: str, name: str | None, settings: Settings, hold: Hold
) -> AsyncIterator[Upload]:
    data = bytearray()
    async for chunk in body:
        hold.add(len(chunk))
        data += chunk
        _require_size(data, settings)
    if data:
        yield Upload(bytes(data), declared, name, hold)


async def _parts(body: AsyncIterator[bytes], reader: "_PartReader", boundary: bytes) -> AsyncIterator[Upload]:
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        async for chunk in body:
            refused: Problem | None = None
            try:
                parser.write(chunk)
            except Problem as problem:  # of a later part than those that are complete
                refused = problem
            for upload in reader.take():
                yield upload
            if refused is not None:
                raise refused
        parser.finalize()
    except ValueError as error:  # python-multipart's own errors are ValueErrors too
        raise Problem("bad-request", f"the multipart/form-data cannot be read: {error}") from error
    if not reader.ended:
        raise Problem("bad-request", "the multipart/form-data ends before its last boundary")


class _PartReader:
    """Collects the parts of a multipart body from the callbacks of python-multipart."""

    def __init__(self, settings: Settings, max_images: int, new_hold: Callable[[], Hold]) -> None:
        self.ended = False
        self._settings, self._max_images, self._n_parts = settings, max_images, 0
        self._new_hold, self._hold = new_hold, new_hold()  # the latter for data before the first part
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
        self._data, self._headers, self._hold = bytearray(), {}, self._new_hold()

    def _add(self, to: bytearray, data: bytes) -> None:
        to += data
        if len(to) > MAX_HEADERS or len(self._headers) > 8:
            raise Problem("bad-request", "a part of the body has too many or too long headers")

    def _header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _body(self, data: bytes, start: int, end: int) -> None:
        self._hold.add(end - start)
        self._data += data[start:end]
        _require_size(self._data, self._settings)

    def _end(self) -> None:
        media_type, _ = parse_options_header(self._headers.get(b"content-type", b""))
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if options.get(b"name") != b"image":
            raise Problem("bad-request", "a part of the body has another name than image")
        name = stored_name(name_in(disposition))
        self._ready.append(Upload(bytes(self._data), media_type.decode("latin-1").lower(), name, self._hold))

    def _finish(self) -> None:
        self.ended = True


def png_of_array(upload: Upload, pixel_format: str, settings: Settings) -> Upload:
    """An .npy array as the PNG that is judged and kept. What that takes is held as the image itself is.

    Raises:
        Problem: there is no such format, the array is not of it, damaged or too large, or too much is held already.
    """
    try:
        PixelFormat.of(pixel_format)
    except ConfigError as error:
        raise Problem("invalid-request", str(error)) from error
    upload.hold.add(ARRAY_COPIES * len(upload.data))
    try:
        pixels = rgb_of_file(upload.data, "the image", pixel_format)
    except ImageError as error:
        raise Problem("unreadable-image", str(error)) from error
    if pixels[..., 0].size > settings.max_pixels:
        raise Problem(
            "too-large", f"the image has {pixels[..., 0].size} pixels, and at most {settings.max_pixels} are accepted"
        )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return replace(upload, data=file.getvalue(), declared="")


def is_as_declared(upload: Upload, image_format: str) -> bool:
    """Whether an image of this format is what the client declared, or it declared nothing."""
    return upload.declared in UNDECLARED or DECLARED.get(upload.declared) == image_format


def require_accepted(header: Header, upload: Upload, settings: Settings) -> None:
    """Do nothing, or refuse an image by what its header says.

    Raises:
        Problem: it has another format than declared or allowed, or too many pixels.
    """
    if header.format not in settings.formats:
        raise Problem("unreadable-image", _not_accepted(header.format, settings))
    if not is_as_declared(upload, header.format):
        raise Problem("unreadable-image", f"declared as {upload.declared[:80]!r}, but is {header.format}")
    if header.width * header.height > settings.max_pixels:
        raise Problem(
            "too-large",
            f"the image has {header.width * header.height} pixels, and at most {settings.max_pixels} are accepted",
        )


def _not_accepted(image_format: str, settings: Settings) -> str:
    accepted = f"this service accepts {', '.join(settings.formats)}"
    if image_format == "TIFF":
        return f"the image is a TIFF, and {accepted}: start it with --tiff, or save the image as PNG"
    return f"the image is a {image_format}, and {accepted}: save it as PNG"


def _require_size(data: bytearray, settings: Settings) -> None:
    if len(data) > settings.max_image:
        raise Problem("too-large", f"an image has more than {settings.max_image} bytes")
