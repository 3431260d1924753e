"""No small file makes large work: what an image costs is bounded before it is decoded, and decoding ends in time."""

import io
import os
import socket
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from gonogo.errors import ImageError
from gonogo.images import header as header_module
from gonogo.images.header import header_of, opened
from gonogo.images.limits import MAX_ASPECT, MAX_PIXELS, MAX_SIDE, decoding_seconds, require_size
from gonogo.images.reading import decode, file_bytes, read_image

NOISE = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)


def encoded(form, pixels=NOISE, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=form, **options)
    return stream.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*, before=b"", between=b"", after=b"", size=(8, 8)):
    """A PNG with chunks before, amid and after its data; a size that it does not have is never noticed."""
    data = zlib.compress((b"\0" + bytes(24)) * 8)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    return start + before + chunk(b"IDAT", data[:5]) + between + chunk(b"IDAT", data[5:]) + after + chunk(b"IEND", b"")


def jpeg(*, segments=b"", scans=1):
    """A progressive JPEG with further segments, whose last scan is repeated."""
    data = encoded("JPEG", NOISE[:16, :16], progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:2] + segments + data[2:last] + data[last:-2] * scans + data[-2:]


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def tags(entries, *, following=0, start=8, body=b""):
    """A TIFF stream of one directory: (tag, type, count, value)."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", start, len(entries)) + packed + struct.pack("<I", following) + body


def many_tags(n):
    return tags([(1 + number, 7, 4000, 8) for number in range(n)], body=bytes(4000))


def tiff(**changes):
    """A TIFF of 8 x 8 grey pixels, with other values of some tags."""
    values = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 122, 277: 1, 278: 8, 279: 64}
    values |= {int(name[1:]): value for name, value in changes.items()}
    entries = [(tag, *value) if isinstance(value, tuple) else (tag, 4, 1, value) for tag, value in values.items()]
    return tags(entries, body=bytes(78) + struct.pack("<8I", *[200_000] * 8) + bytes(1_000_000))


def bmp_of_runs(width, height):
    rows = (b"\1\0\1\1" * (width // 2) + b"\0\0") * height + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 2, 2)
    start = 14 + len(head) + 8
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + b"\0\0\0\0\xff\0\xff\0" + rows


def with_size(bmp, width, height):
    return bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]


def webp(size, *, chunks=b""):
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in size)
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


COSTLY = {
    "a row of pixels": (png(size=(1, 4_000_000)), "side"),
    "a column of pixels": (png(size=(25_000_000, 1)), "side"),
    "a thin strip": (png(size=(9, 9 * MAX_ASPECT + 1)), f"at most {MAX_ASPECT} times the shorter"),
    "no pixel": (png(size=(0, 7)), "each side needs a pixel"),
    "too many pixels": (png(size=(9_000, 9_000)), f"9000 x 9000 pixels, at most {MAX_PIXELS}"),
    "a canvas of WebP": (webp((16_383, 16_383)), f"at most {MAX_PIXELS}"),
    "a BMP": (b"BM" + struct.pack("<IHHIIiiHHI", 0, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0), f"at most {MAX_PIXELS}"),
    "a TIFF": (tiff(t256=60_000, t257=60_000), f"at most {MAX_PIXELS}"),
    "a PPM": (b"P6 60000 60000 255\n", f"at most {MAX_PIXELS}"),
    "scans over one JPEG": (jpeg(scans=33), "more than 32 scans"),
    "markers of a JPEG": (jpeg(segments=segment(0xFE, b"") * 5000), "more than 4096 markers"),
    "fill bytes of a JPEG": (jpeg(segments=b"\xff" * 100_000), "more than 4096 markers"),
    "EXIF of a JPEG": (jpeg(segments=segment(0xE1, b"Exif\0\0" + many_tags(3000))), "3000 tags"),
    "overlapping EXIF": (jpeg(segments=segment(0xE1, b"Exif\0\0" + many_tags(900))), "tags that overlap"),
    "EXIF of a PNG": (png(before=chunk(b"eXIf", many_tags(3000))), "3000 tags"),
    "chunks before the data": (png(before=chunk(b"prVt", b"") * 5000), "more than 4096 chunks"),
    "chunks amid the data": (png(between=chunk(b"IDAT", b"") * 5000), "more than 4096 chunks"),
    "chunks after the data": (png(after=chunk(b"tEXt", b"a\0b") * 5000), "more than 4096 chunks"),
    "runs": (bmp_of_runs(2000, 2000), "runs with more than"),
    "ends of lines in place of runs": (with_size(bmp_of_runs(8, 8), 60_000, 1_000), "runs with more than"),
    "chunks of a WebP": (webp((8, 8), chunks=b"junk\0\0\0\0" * 5000), "more than 4096 chunks"),
    "strips": (tiff(t273=(4, 900_000, 200), t279=(4, 900_000, 200)), "900000 strips"),
    "one strip for all": (tiff(t278=1, t273=(4, 8, 300), t279=(4, 8, 200)), "strips overlap"),
    "a tile for a million": (tiff(t322=20_000, t323=20_000), "tiles are far larger"),
    "scans inside a TIFF": (tiff(t259=7) + b"\xff\xda" * 100, "more scans than"),
    "directories in a chain": (
        tags([(256, 4, 1, 8), (257, 4, 1, 8), (273, 4, 1, 8), (279, 4, 1, 8)], following=62)
        + b"".join(struct.pack("<HI", 0, 62 + 6 * number) for number in range(1, 9999)), "more tags than any"),
    "text of a PPM": (b"P2 8 8 255\n" + b"1 " * 99_999, "more text than its pixels need"),
    "a comment of a PPM": (b"P6\n#" + b"x" * 100_000 + b"\n8 8\n255\n" + bytes(192), "header is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("kind", COSTLY)
def test_what_would_cost_more_than_its_size_says_is_refused_before_pillow_sees_it(kind, monkeypatch):
    data, reason = COSTLY[kind]
    if kind != "EXIF of a PNG":  # which Pillow keeps as bytes
        monkeypatch.setattr(header_module.Image, "open", lambda *_, **__: pytest.fail("Pillow opened it"))
    with pytest.raises(ImageError, match=rf"odd\.x cannot be read as an image: .*({reason})"):
        decode(data, "odd.x")


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (1, MAX_ASPECT), (8_944, 8_944), (MAX_SIDE, 1_220), (16_384, 4_096), (480, MAX_SIDE)],
)
def test_what_cameras_give_is_within_the_limits(width, height):
    require_size(width, height, "a.png")


def test_a_door_may_allow_fewer_pixels():
    require_size(100, 100, "a.png", max_pixels=10_000)
    with pytest.raises(ImageError, match=r"a\.png .* 100 x 101 pixels, at most 10000 are read"):
        require_size(100, 101, "a.png", max_pixels=10_000)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM"])
def test_the_header_of_each_format_tells_its_facts_without_decoding(form, monkeypatch):
    data = encoded(form)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with opened(data, "a") as image:
        header = header_of(image)
    assert (header.format, header.width, header.height, header.n_frames) == (form, 300, 200, 1)


class Clock:
    """Seconds that pass between two looks at it, so that time is told in reads and not in what a machine does."""

    def __init__(self, step):
        self.step, self.n_looks = step, 0

    def __call__(self):
        self.n_looks += 1
        return self.step * self.n_looks


PIECEWISE = {
    "PNG": encoded("PNG"),
    "JPEG": encoded("JPEG", quality=90, subsampling=0),
    "progressive JPEG": encoded("JPEG", quality=80, progressive=True),
    "BMP": encoded("BMP"),
    "BMP of runs": bmp_of_runs(300, 200),
    "TIFF": encoded("TIFF"),
}


@pytest.mark.parametrize("form", PIECEWISE)
def test_decoding_that_takes_too_long_ends_at_the_next_piece(form):
    honest = Clock(0)
    decode(PIECEWISE[form], "a.x", clock=honest)
    slow = Clock(2 * decoding_seconds(200, 300) / honest.n_looks)  # the time is over in the middle
    with pytest.raises(ImageError, match=r"a\.x cannot .* takes more than 1[.\d]* s of computing"):
        decode(PIECEWISE[form], "a.x", clock=slow)
    assert slow.n_looks <= honest.n_looks / 2 + 2


def test_an_image_has_more_time_the_larger_it_is():
    assert decoding_seconds(1, 1) < decoding_seconds(1000, 1000) < decoding_seconds(8000, 10_000) < 20


def fifo(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


def sparse(path):
    with path.open("wb") as file:
        file.truncate(100_000_000_000)


@pytest.mark.parametrize("make", [fifo, device, folder, unix_socket, sparse], ids=lambda make: make.__name__)
def test_only_a_regular_file_of_a_bounded_size_is_read(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    path = tmp_path / "x.png"
    make(path if make is not unix_socket else path.relative_to(tmp_path))
    with pytest.raises(
        ImageError, match=r"x\.png cannot be read as an image: it (is a \w+, no regular file|has more than)"
    ):
        read_image(path)


def test_a_pipe_that_takes_the_place_of_a_file_amid_the_look_does_not_hang(tmp_path, monkeypatch):
    path, before = tmp_path / "x.png", tmp_path / "before.png"
    before.touch()
    os.mkfifo(path)
    status = before.stat()
    monkeypatch.setattr(type(path), "stat", lambda _: status)

    def read():
        try:
            file_bytes(path)
        except ImageError as error:
            told.append(str(error))

    told: list[str] = []
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(60)
    assert "no regular file" in told[0]


def test_a_file_may_be_bounded_more_tightly(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    assert file_bytes(tmp_path / "a", max_bytes=100) == bytes(100)
    with pytest.raises(ImageError, match="it has more than 99 bytes"):
        file_bytes(tmp_path / "a", max_bytes=99)
