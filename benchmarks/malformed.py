"""Requests that a service of images must refuse, drawn from a seed. What each breaks is known without a decoder.

Damage that may leave an image whole, as a byte changed in a JPEG's data does, is not among them.
"""

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from PIL import Image

INSPECT = "/v1/inspect"
REVIEW = f"/v1/inspections/{'0' * 32}/review"
ACTIVATE = "/v1/bundles:activate"
FORMS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/bmp": "BMP"}
FORM_DATA = "multipart/form-data; boundary=b"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
ENTITIES = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><svg><text>&b;&b;&b;</text></svg>'
PAGE = b"<!doctype html><script>alert(1)</script>"
OTHER_FILES = (SVG, ENTITIES, PAGE, b"%PDF-1.7\n%%EOF", b"\x7fELF\x02\x01\x01", b"MZ\x90\0", b"Pf 1 1 -1\n\0\0\0\0",
               b"\x1f\x8b\x08\0\0\0\0\0", b"GIF89a\1\0\1\0\0\0\0;", b"RIFF\x04\0\0\0AVI ",
               b"{}", b" ", b"\0" * 999)  # fmt: skip
OTHER_TYPES = ("image/svg+xml", "text/html", "application/json", "application/x-www-form-urlencoded", "image/gif",
               "multipart/mixed; boundary=b", "multipart/form-data", "image/png, image/jpeg", "image/*", "x" * 5000,
               "multipart/form-data; boundary=" + "b" * 71, "\x80\xff")  # fmt: skip
QUERIES = ("include=heat", "&".join(["include=map"] * 4), "deadline_ms=0", "deadline_ms=-1", "deadline_ms=x",
           "deadline_ms=" + "9" * 30, "name=" + "x" * 256)  # fmt: skip
LENGTHS = ("-1", "abc", "0x10", "1e3", "5, 6", str(1 << 40), "9" * 30, "+5")
JSONS = (b"", b"{", b"[" * 30_000, b'{"a":' * 9000, b"\xff\xfe{}", b"null", b"[]", b'"x"', b"NaN", b"1e999",
         b'{"\\ud800": 1}', b'{"fingerprint": 7}', b'{"fingerprint": "../x"}', b'{"label": "good"}',
         b'{"label": "bad", "reviewer": "a"}', b'{"label": "good", "reviewer": "", "x": 1}',
         b'{"label": "defect", "reviewer": "a"}')  # fmt: skip


@dataclass(frozen=True)
class Malformed:
    """A request; its `kind` is the function that made it."""

    kind: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = INSPECT

    @property
    def framed_wrongly(self) -> bool:
        """Whether its length or its chunks are what is wrong, so that only a server of HTTP sees it."""
        return not {"Content-Length", "Transfer-Encoding"}.isdisjoint(self.headers)


Made = tuple[bytes, str] | tuple[bytes, str, str]  # body, Content-Type, and a path where it is not INSPECT


def malformed(count: int, *, seed: int) -> Iterator[Malformed]:
    """`count` of them, of each kind in turn."""
    rng = random.Random(seed)
    for number in range(count):
        place = number % (len(MAKERS) + len(FRAMERS))
        if place < len(MAKERS):
            maker = MAKERS[place]
            made = maker(rng)
            path = made[2] if len(made) == 3 else INSPECT
            yield Malformed(maker.__name__, made[0], {"Content-Type": made[1]}, path)
        else:
            framer = FRAMERS[place - len(MAKERS)]
            body, headers = framer(rng)
            yield Malformed(framer.__name__, body, {"Content-Type": "image/png"} | headers)


def picture(rng: random.Random, content_type: str, **options: object) -> bytes:
    """A small image of noise."""
    size = (rng.randint(8, 48), rng.randint(8, 48))
    frames = [Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1])) for _ in range(2)]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if options.pop("moving", False) else {}
    frames[0].save(file, format=FORMS[content_type], **more)
    return file.getvalue()


def any_picture(rng: random.Random) -> tuple[bytes, str]:
    """A small image, and its media type."""
    content_type = rng.choice(list(FORMS))
    return picture(rng, content_type), content_type


def truncated(rng: random.Random) -> Made:
    """An image without its end, at times without a byte of it only."""
    data, content_type = any_picture(rng)
    return data[: rng.choice((rng.randrange(1, len(data)), len(data) - 1))], content_type


def other_signature(rng: random.Random) -> Made:
    """An image with one of its first bytes changed."""
    data, content_type = any_picture(rng)
    places = {"image/jpeg": (0, 1, 2), "image/png": range(8), "image/webp": (0, 1, 2, 3, 8, 9, 10, 11)}
    return _flipped(rng, data, rng.choice(places.get(content_type, (0, 1)))), content_type


def flipped_png(rng: random.Random) -> Made:
    """A PNG with one bit changed: lengths frame all of it, and checksums cover the rest."""
    data = picture(rng, "image/png")
    return _flipped(rng, data, rng.randrange(8, len(data))), "image/png"


def broken_header(rng: random.Random) -> Made:
    """An image whose header says what no image has, or more than the file has."""
    return rng.choice((_jpeg_header, _png_header, _bmp_header, _webp_header))(rng)


def bomb(rng: random.Random) -> Made:
    """A PNG that is small, and large when it is unpacked; or that claims to be."""
    kind = rng.choice((b"zTXt", b"iCCP", b"IHDR"))
    if kind == b"IHDR":
        side = rng.randrange(5_001, 1 << 31)
        return _png(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), _zeros()[:999]), "image/png"
    data = picture(rng, "image/png")
    return data[:33] + _chunk(kind, b"x\0\0" + _zeros()) + data[33:], "image/png"


def several_frames(rng: random.Random) -> Made:
    """An image that moves."""
    content_type = rng.choice(("image/png", "image/webp"))
    return picture(rng, content_type, moving=True), content_type


def polyglot(rng: random.Random) -> Made:
    """An image that is something else besides: behind its end, or inside where other programs find it."""
    data, content_type = any_picture(rng)
    if content_type == "image/png" and rng.random() < 0.5:
        archive, rest = _zip(), 4 + 12  # what follows in the file is the archive's comment: a checksum and IEND
        archive = archive[:-2] + struct.pack("<H", rest)
        return data[:-12] + _chunk(b"zzZz", archive) + data[-12:], content_type
    return data + rng.choice((_zip(), SVG, PAGE, b"<?php", rng.randbytes(9) + b"x")), content_type


def other_file(rng: random.Random) -> Made:
    """No image at all, or none of the formats, declared as one or as nothing."""
    noise = rng.randbytes(rng.randint(1, 5000))
    return rng.choice((*OTHER_FILES, noise)), rng.choice((*FORMS, "application/octet-stream"))


def empty(rng: random.Random) -> Made:
    """Nothing, declared as something."""
    return b"", rng.choice((*FORMS, FORM_DATA, "application/octet-stream"))


def declared_as_another(rng: random.Random) -> Made:
    """An image of another type than it is declared as, or declared as what is not taken."""
    data, content_type = any_picture(rng)
    return data, rng.choice([one for one in (*FORMS, *OTHER_TYPES) if one != content_type])


def long_name(rng: random.Random) -> Made:
    """An image whose name is longer than that of any file."""
    data, _ = any_picture(rng)
    name = rng.choice("xé部#").encode() * rng.randrange(256, 800)
    return form(data, 'Content-Disposition: form-data; name="image"; filename="NAME"').replace(b"NAME", name), FORM_DATA


def wrong_query(rng: random.Random) -> Made:
    """An image, asked about as nobody may ask."""
    data, content_type = any_picture(rng)
    return data, content_type, f"{INSPECT}?{rng.choice(QUERIES)}"


def broken_form(rng: random.Random) -> Made:
    """A multipart/form-data that does not hold together."""
    data, _ = any_picture(rng)
    head = 'Content-Disposition: form-data; name="image"'
    whole = form(data, head)
    cases = (
        whole[: rng.randrange(1, len(whole) - 3)],
        whole.replace(b"--b", b"--c"),
        whole.replace(b"--b--", b"--b"),
        whole.replace(b"\r\n\r\n", b"\r\n", 1),
        whole.replace(b"\r\n", b"\n"),
        form(data, head + "\r\nno colon here"),
        form(data, head + "\r\n" + "x" * 5000 + ": y"),
        form(data, head + "".join(f"\r\nx-{number}: y" for number in range(20))),
        form(data, head + "\r\nx\0y: z"),
        form(b"", head),
        form(data[: len(data) // 2], head),
        form(data, head + "\r\nContent-Type: text/html"),
        form(data, head + "\r\nContent-Transfer-Encoding: base64").replace(data, b"aGVsbG8="),
        form(form(data, head).replace(b"--b", b"--n"), "Content-Type: multipart/mixed; boundary=n"),
        b"".join(whole.split(b"--b--", 1)[0] for _ in range(70)) + b"--b--\r\n",
        rng.randbytes(200),
    )
    return rng.choice(cases), FORM_DATA


def wrong_json(rng: random.Random) -> Made:
    """What is no review, and no bundle's fingerprint."""
    noise = json.dumps({"label": rng.random(), "reviewer": rng.randrange(1 << 70)}).encode()
    return rng.choice((*JSONS, noise)), "application/json", rng.choice((REVIEW, ACTIVATE))


def wrong_length(rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """A Content-Length that is no number, too large, or shorter than the image."""
    data = picture(rng, "image/png")
    return data, {"Content-Length": rng.choice((*LENGTHS, str(rng.randrange(len(data)))))}


def wrong_chunks(rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """Chunks whose sizes are none, or that say how long they are in two ways."""
    data = picture(rng, "image/png")
    headers = {"Transfer-Encoding": rng.choice(("chunked", "chunked", "gzip, chunked", "nothing"))}
    return rng.choice((b"zz\r\n", b"-5\r\n", b"5" * 30 + b"\r\n", b"3\r\nabcdef\r\n")) + data, headers


MAKERS: tuple[Callable[[random.Random], Made], ...] = (
    truncated, other_signature, flipped_png, broken_header, bomb, several_frames, polyglot, other_file, empty,
    declared_as_another, long_name, wrong_query, broken_form, wrong_json,
)  # fmt: skip
FRAMERS = (wrong_length, wrong_chunks)


def form(data: bytes, head: str) -> bytes:
    """One part with these headers, between boundaries `b`."""
    return f"--b\r\n{head}\r\n\r\n".encode() + data + b"\r\n--b--\r\n"


def _flipped(rng: random.Random, data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(header: bytes, packed: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


@cache
def _zeros() -> bytes:
    return zlib.compress(b"\0" * 20_000_000)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("run.js", "alert(1)")
    return file.getvalue()


def _put(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


def _jpeg_header(rng: random.Random) -> Made:
    data = picture(rng, "image/jpeg")
    frame, tables, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xdb"), data.index(b"\xff\xda")
    size = struct.unpack_from(">H", data, frame + 2)[0]
    cases = (
        _put(data, frame + 5, struct.pack(">HH", 65_500, 65_500)),
        _put(data, frame + 5, struct.pack(">HH", 0, 0)),
        data[:frame] + data[frame + 2 + size :],
        data[:scan] + b"\xff\xd9",
        _put(data, tables + 2, struct.pack(">H", rng.choice((0, 1, 65_535)))),
    )
    return rng.choice(cases), "image/jpeg"


def _png_header(rng: random.Random) -> Made:
    packed = zlib.compress(b"\0" * 1000)
    depth, colour = rng.choice(((3, 2), (8, 9), (32, 2), (16, 3)))
    cases = (
        _png(struct.pack(">IIBBBBB", 0, 8, 8, 2, 0, 0, 0), packed),
        _png(struct.pack(">IIBBBBB", 8, 0, 8, 2, 0, 0, 0), packed),
        _png(struct.pack(">IIBBBBB", 8, 8, depth, colour, 0, 0, 0), packed),
        _png(struct.pack(">IIBBBBB", 400, 400, 8, 2, 0, 0, 0), packed),
        _png(b"\0\0", packed),
        _png(struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0), b"no zlib"),
    )
    return rng.choice(cases), "image/png"


def _bmp_header(rng: random.Random) -> Made:
    data = picture(rng, "image/bmp")
    cases = (
        _put(data, 18, struct.pack("<ii", 100_000, 100_000)),
        _put(data, 18, struct.pack("<ii", 0, 8)),
        _put(data, 10, struct.pack("<I", len(data) + 1000)),
        _put(data, 14, struct.pack("<I", 7)),
        _put(data, 28, struct.pack("<H", 7)),
        _put(data, 30, struct.pack("<I", 99)),
    )
    return rng.choice(cases), "image/bmp"


def _webp_header(rng: random.Random) -> Made:
    data = picture(rng, "image/webp")
    cases = (
        _put(data, 4, struct.pack("<I", len(data) + 1000)),
        _put(data, 12, b"VPXX"),
        _put(data, 16, struct.pack("<I", 1 << 30)),
        data[:20],
    )
    return rng.choice(cases), "image/webp"
