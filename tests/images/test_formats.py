"""What image files are read, how, and what is refused: one table, which docs/data.md repeats.

Every row is one picture, or its grey version, written in a way of its own. It is read as a person sees it, or refused
by name. `python tests/images/test_formats.py` prints the table for docs/data.md.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gonogo.errors import ImageError
from gonogo.images.reading import decode

DOCS = Path(__file__).resolve().parents[2] / "docs" / "data.md"
MARKERS = "<!-- image formats: written by tests/images/test_formats.py -->\n", "<!-- end of image formats -->\n"
HEIGHT, WIDTH = 48, 64
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
COLOUR = np.stack([40 + 3 * COLUMNS, 30 + 4 * ROWS, 200 - 2 * COLUMNS], axis=2).astype(np.uint8)
GREY = (20 + 3 * COLUMNS + ROWS // 2).astype(np.uint8)
WIDE = GREY.astype(np.uint16) * 257
TWELVE = (WIDE >> 4).astype(np.uint16)  # of 12 bits, up to 3,743
WIDE_COLOUR = COLOUR.astype(np.uint16) * 257
INK = np.where((ROWS // 8 + COLUMNS // 8) % 3 == 0, 0, 255).astype(np.uint8)
ALPHA = np.full_like(GREY, 90)

Pixels = np.ndarray


@dataclass(frozen=True)
class Row:
    """One row: the files, and either the pixels that they show, within `off` levels, or the reason of the refusal.

    `how` is what docs/data.md says of it.
    """

    format: str
    what: str
    how: str
    files: tuple[Callable[[], bytes], ...]
    pixels: Pixels | None = None
    reason: str | None = None
    off: int = 1


def pillow(mode_or_pixels: object, form: str, **options: object) -> Callable[[], bytes]:
    def write() -> bytes:
        image = mode_or_pixels if isinstance(mode_or_pixels, Image.Image) else Image.fromarray(mode_or_pixels)
        stream = io.BytesIO()
        image.save(stream, format=form, **options)
        return stream.getvalue()

    return write


def tiff(pixels: Pixels, **options: object) -> Callable[[], bytes]:
    def write() -> bytes:
        tifffile = pytest.importorskip("tifffile", reason="no tifffile, which scikit-image brings")
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, **options)
        return stream.getvalue()

    return write


def png(pixels: Pixels, *, colour_type: int, depth: int = 16) -> Callable[[], bytes]:
    """A PNG of a kind that Pillow reads and does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def write() -> bytes:
        rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in pixels)
        width = WIDTH if depth >= 8 else pixels.shape[1] * 8 // depth
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(pixels), depth, colour_type, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    return write


def changed(write: Callable[[], bytes], change: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: change(write())


def two(form: str, **options: object) -> Callable[[], bytes]:
    """A file of two images."""
    return lambda: pillow(COLOUR, form, save_all=True, append_images=[Image.fromarray(COLOUR[::-1])], **options)()


def text(kind: int, levels: int | None, samples: Pixels) -> Callable[[], bytes]:
    head = f"P{kind}\n# a camera's comment\n{WIDTH} {HEIGHT}\n" + (f"{levels}\n" if levels else "")
    return lambda: (head + "\n".join(" ".join(map(str, row)) for row in samples.reshape(HEIGHT, -1))).encode()


def raw(kind: int, levels: int | None, samples: bytes) -> Callable[[], bytes]:
    return lambda: f"P{kind} {WIDTH} {HEIGHT}\n".encode() + (f"{levels}\n".encode() if levels else b"") + samples


def turned(form: str, **options: object) -> Callable[[], bytes]:
    """A picture that lies on its side, with the orientation in its EXIF data or tags."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return pillow(np.rot90(COLOUR).copy(), form, exif=exif, **options)


def from_the_top(pixels: Pixels, bits: int) -> Callable[[], bytes]:
    """A BMP whose first row is the uppermost one, of 24 bits, or of 16 with five for each colour."""

    def write() -> bytes:
        if bits == 24:
            rows = pixels[..., ::-1].tobytes()
        else:
            red, green, blue = (pixels[..., channel].astype(np.uint16) >> 3 for channel in range(3))
            rows = (red << 10 | green << 5 | blue).astype("<u2").tobytes()
        head = struct.pack("<IiiHHIIiiII", 40, WIDTH, -HEIGHT, 1, bits, 0, len(rows), 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + head + rows

    return write


def without_adobe(data: bytes) -> bytes:
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + struct.unpack_from(">H", data, start + 2)[0] :]


def tail_of_zeros(data: bytes) -> bytes:
    return data[: len(data) // 3] + bytes(len(data) - len(data) // 3)


def without_photometric(data: bytes) -> bytes:
    tag = struct.pack("<HHI", 262, 3, 1)
    assert tag in data
    return data.replace(tag, struct.pack("<HHI", 266, 3, 1))


def with_tag(pixels: Pixels, tag: int, value: int) -> Callable[[], bytes]:
    return tiff(pixels, photometric="minisblack", extratags=[(tag, 4, 1, value, False)])


def with_thumbnail() -> bytes:
    """A TIFF whose second page is a smaller copy of the first."""
    tifffile = pytest.importorskip("tifffile", reason="no tifffile, which scikit-image brings")
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(COLOUR, photometric="rgb")
        writer.write(COLOUR[::4, ::4].copy(), photometric="rgb", subfiletype=1)
    return stream.getvalue()


def runs() -> bytes:
    """A BMP of runs, of 8 bits."""
    rows = b"".join(
        b"".join(bytes([8, value]) for value in row[::8]) + b"\0\0" for row in (INK // 255)[::-1]
    ) + b"\0\1"  # fmt: skip
    palette = b"\0\0\0\0\xff\xff\xff\0"
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(rows), 2835, 2835, 2, 2)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + palette + rows


def bmp_of_palette(numbers: Pixels, bits: int, colours: list[int], used: int) -> Callable[[], bytes]:
    """A BMP of 4 or 8 bits, from the bottom to the top, whose palette has these greys."""
    packed = numbers if bits == 8 else numbers[:, ::2] << 4 | numbers[:, 1::2]
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in colours)
    start = 54 + len(palette)
    head = struct.pack("<IHHI", start + packed.size, 0, 0, start) + struct.pack(
        "<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, bits, 0, packed.size, 0, 0, used, 0
    )
    return lambda: b"BM" + head + palette + np.ascontiguousarray(packed[::-1]).tobytes()


def twelve_packed() -> bytes:
    """A TIFF of 12 bits, two samples in three bytes."""
    first, second = TWELVE[:, ::2].astype(int), TWELVE[:, 1::2].astype(int)
    rows = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=2).astype(np.uint8).tobytes()
    tags = {256: WIDTH, 257: HEIGHT, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: HEIGHT, 279: len(rows)}
    entries = b"".join(struct.pack("<HHII", tag, 4 if value > 65535 else 3, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(rows)) + rows + struct.pack("<H", len(tags)) + entries + bytes(4)


BITS = np.packbits(INK == 0, axis=1).tobytes()
PALETTE = Image.fromarray(GREY // 16 * 16).quantize(16)
CMYK = Image.fromarray(COLOUR).convert("CMYK")
SEEN = {"RGB": COLOUR, "grey": GREY}

TABLE = (
    Row("PNG", "8 bits, RGB", "as it is", (pillow(COLOUR, "PNG"),), COLOUR, off=0),
    Row("PNG", "8 bits, grey", "repeated over the channels", (pillow(GREY, "PNG"),), GREY, off=0),
    Row("PNG", "1, 2 or 4 bits, grey", "scaled to 8 bits",
        (pillow(Image.fromarray(INK).convert("1"), "PNG"),
         png(np.packbits(INK > 0, axis=1), colour_type=0, depth=1),
         png(np.packbits(np.repeat(INK > 0, 2, axis=1), axis=1), colour_type=0, depth=2),
         png(np.packbits(np.repeat(INK > 0, 4, axis=1), axis=1), colour_type=0, depth=4)), INK, off=0),
    Row("PNG", "palette", "looked up", (pillow(PALETTE, "PNG"), pillow(PALETTE, "PNG", transparency=3)),
        np.asarray(PALETTE.convert("RGB")), off=0),
    Row("PNG", "alpha, also of a grey image", "alpha is dropped",
        (pillow(np.dstack([COLOUR, ALPHA]), "PNG"),), COLOUR, off=0),
    Row("PNG", "grey and alpha, 8 or 16 bits", "alpha is dropped, 16 bits are scaled",
        (pillow(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), "PNG"),
         png(np.dstack([WIDE, WIDE]).reshape(HEIGHT, -1), colour_type=4)), GREY),
    Row("PNG", "16 bits", "scaled to 8 bits", (pillow(WIDE, "PNG"),), GREY),
    Row("PNG", "16 bits, RGB", "the upper 8 bits",
        (png(WIDE_COLOUR.reshape(HEIGHT, -1), colour_type=2),), COLOUR),
    Row("PNG", "16 bits, no sample above 4,095", "refused: a camera's 12 bits or fewer, unshifted, or nearly black",
        (pillow(TWELVE, "PNG"), pillow(WIDE >> 8, "PNG"), png((WIDE_COLOUR >> 4).reshape(HEIGHT, -1), colour_type=2)),
        reason="16 bits of which no pixel is above .*save them shifted to 16 bits"),
    Row("JPEG", "RGB, baseline or progressive", "as it is",
        (pillow(COLOUR, "JPEG", quality=95, subsampling=0),
         pillow(COLOUR, "JPEG", quality=95, subsampling=0, progressive=True)), COLOUR, off=6),
    Row("JPEG", "grey", "repeated over the channels", (pillow(GREY, "JPEG", quality=95),), GREY, off=6),
    Row("JPEG", "turned by EXIF", "upright; so are PNG, TIFF and WebP",
        (turned("JPEG", quality=95, subsampling=0), turned("PNG"), turned("TIFF"),
         turned("WEBP", lossless=True)), COLOUR, off=6),
    Row("JPEG", "CMYK with Adobe's marker", "converted to RGB",
        (pillow(CMYK, "JPEG", quality=95),), np.asarray(CMYK.convert("RGB")), off=8),
    Row("JPEG", "CMYK without Adobe's marker", "refused: it does not say whether 0 is ink or paper",
        (changed(pillow(CMYK, "JPEG"), without_adobe),), reason="CMYK JPEG without Adobe's marker.*save it as RGB"),
    Row("JPEG", "a phone's, with a preview or a second image (MPO)", "its first image",
        (two("MPO", quality=95, subsampling=0),), COLOUR, off=6),
    Row("TIFF", "8 bits, RGB or grey; strips or tiles, BigTIFF, LZW, Deflate, PackBits, Zstandard", "as it is",
        (tiff(COLOUR, photometric="rgb"), tiff(COLOUR, photometric="rgb", planarconfig="contig", bigtiff=True),
         tiff(np.moveaxis(COLOUR, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
         tiff(COLOUR, photometric="rgb", tile=(16, 32)), tiff(COLOUR, photometric="rgb", byteorder=">"),
         *(pillow(COLOUR, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "packbits", "zstd"))),
        COLOUR, off=0),
    Row("TIFF", "WhiteIsZero, 1, 8 or 16 bits", "black and white exchanged",
        (tiff(255 - GREY, photometric="miniswhite"), tiff(65535 - WIDE, photometric="miniswhite"),
         tiff(65535 - WIDE, photometric="miniswhite", compression="zlib")), GREY),
    Row("TIFF", "16 bits, grey or RGB, either order of bytes", "scaled to 8 bits",
        (tiff(WIDE), tiff(WIDE, byteorder=">"), tiff(WIDE, compression="zlib"), pillow(WIDE, "TIFF")), GREY),
    Row("TIFF", "16 bits, RGB", "the upper 8 bits",
        (tiff(WIDE_COLOUR, photometric="rgb"), tiff(WIDE_COLOUR, photometric="rgb", byteorder=">")), COLOUR),
    Row("TIFF", "12 bits; or 16 with the tag WhiteLevel, or MaxSampleValue of 2ⁿ - 1", "scaled from that range",
        (twelve_packed, with_tag(TWELVE, 281, 4095), with_tag(TWELVE, 50717, 4095),
         with_tag(GREY.astype(np.uint32), 281, 255)), GREY),
    Row("TIFF", "16 bits, no sample above 4,095, without such a tag", "refused, as PNG",
        (tiff(TWELVE), tiff(TWELVE, photometric="miniswhite"), tiff(WIDE_COLOUR >> 4, photometric="rgb"),
         with_tag(TWELVE, 281, 3743)), reason="save them shifted to 16 bits"),
    Row("TIFF", "32 bits without such a tag, or with a sign", "refused: it does not say which value is white",
        (tiff(GREY.astype(np.uint32)), tiff(GREY.astype(np.int32)), tiff(WIDE.astype(np.int32)),
         tiff(GREY.astype(np.int16))), reason="without a word of which is white; save 8 or 16 bits"),
    Row("TIFF", "floating-point numbers", "refused: they have no known range",
        (tiff(GREY / np.float32(255)), tiff(GREY.astype(np.float64))), reason="floating-point|of a rare kind"),
    Row("TIFF", "8 bits with a sign", "refused", (tiff(GREY.astype(np.int8)),), reason="numbers with a sign"),
    Row("TIFF", "16 bits in separate planes", "refused: save it interleaved",
        (tiff(np.moveaxis(WIDE_COLOUR, 2, 0).copy(), photometric="rgb", planarconfig="separate"),),
        reason="separate 16 bit planes"),
    Row("TIFF", "JPEG inside", "as it is", (pillow(COLOUR, "TIFF", compression="jpeg", quality=95),), COLOUR, off=12),
    Row("TIFF", "CMYK", "converted to RGB", (pillow(CMYK, "TIFF"),), np.asarray(CMYK.convert("RGB")), off=0),
    Row("TIFF", "palette", "looked up",
        (pillow(PALETTE, "TIFF"),), np.asarray(PALETTE.convert("RGB")), off=0),
    Row("TIFF", "without a word whether 0 is black", "refused",
        (changed(pillow(GREY, "TIFF"), without_photometric),), reason="does not say whether 0 is black or white"),
    Row("TIFF", "CIELAB; grey multiplied by alpha", "refused: save it as RGB or grey",
        (pillow(Image.new("LAB", (9, 9)), "TIFF"),
         tiff(np.dstack([GREY, ALPHA]), photometric="minisblack", extrasamples=["assocalpha"])),
        reason="CIELAB; save it as RGB|multiplied by alpha"),
    Row("TIFF", "pages that are a smaller copy or a mask of the first", "the first page", (with_thumbnail,), COLOUR,
        off=0),
    Row("BMP", "24 or 32 bits, from the top or the bottom", "as it is; a fourth channel is dropped",
        (pillow(COLOUR, "BMP"), from_the_top(COLOUR, 24), pillow(np.dstack([COLOUR, ALPHA]), "BMP")), COLOUR, off=0),
    Row("BMP", "16 bits, five for each colour", "scaled to 8 bits", (from_the_top(COLOUR, 16),), COLOUR, off=7),
    Row("BMP", "grey, palette or runs, of runs up to 4 million bytes and pixels", "looked up",
        (runs, pillow(INK, "BMP"), pillow(Image.fromarray(INK).convert("1"), "BMP")), INK, off=0),
    Row("BMP", "4 or 8 bits with a palette of black and white, or of all greys", "looked up",
        (bmp_of_palette((INK > 0).astype(np.uint8), 8, [0, 255], 2),
         bmp_of_palette((INK > 0).astype(np.uint8), 4, [0, 255], 2),
         bmp_of_palette((INK > 0).astype(np.uint8), 4, [0, 255, *range(2, 16)], 0)), INK, off=0),
    Row("BMP", "4 bits, each colour as bright as its number", "looked up",
        (bmp_of_palette(GREY // 16, 4, list(range(16)), 16), bmp_of_palette(GREY // 16, 4, list(range(16)), 0)),
        GREY // 16, off=0),
    Row("BMP", "a pixel whose number is not in the palette", "refused",
        (bmp_of_palette(GREY // 16, 8, [0, 255], 2),), reason="whose palette has 2 colours, and a pixel the number"),
    Row("WebP", "lossless or lossy, with or without alpha", "alpha is dropped",
        (pillow(COLOUR, "WEBP", lossless=True), pillow(np.dstack([COLOUR, ALPHA]), "WEBP", lossless=True, exact=True),
         pillow(COLOUR, "WEBP", quality=100)), COLOUR, off=12),
    Row("PBM, PGM", "in bytes or plain text, 1 to 16 bits", "scaled from the largest value that the header names",
        (raw(5, 255, GREY.tobytes()), raw(5, 65535, WIDE.astype(">u2").tobytes()),
         raw(5, 4095, TWELVE.astype(">u2").tobytes()), text(2, 255, GREY), text(2, 4095, TWELVE)), GREY),
    Row("PBM, PGM", "1 bit", "1 is black", (raw(4, None, BITS), text(1, None, (INK == 0).astype(int))), INK, off=0),
    Row("PPM", "in bytes or plain text, 1 to 16 bits", "scaled from the largest value that the header names",
        (raw(6, 255, COLOUR.tobytes()), raw(6, 65535, WIDE_COLOUR.astype(">u2").tobytes()),
         text(3, 255, COLOUR)), COLOUR),
    Row("any", "several frames: animated PNG or WebP, pages of a TIFF, several PPM",
        "refused: save the one that is meant",
        (two("PNG"), two("WEBP"), two("TIFF"),
         changed(raw(6, 255, COLOUR.tobytes()), lambda data: data + data)),
        reason="2 frames in one file; save each|other content after its end"),
    Row("any", "cut, still being written, or its end is zeros", "refused, where the format has an end: not so TIFF",
        tuple(changed(pillow(COLOUR, form, **more), change) for form, more in
              (("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("BMP", {}), ("PPM", {}),
               ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}))
              for change in (lambda data: data[: len(data) // 3], lambda data: data[:-9]))
        + tuple(changed(pillow(COLOUR, form), tail_of_zeros) for form in ("PNG", "JPEG")),
        reason="ends too early; it is damaged, or still being written|overlap or end beyond|checksum|damaged"),
    Row("any", "other content after its end", "refused: save it again; not so TIFF",
        tuple(changed(pillow(COLOUR, form), lambda data: data + b"<?php echo 1;") for form in
              ("PNG", "JPEG", "WEBP", "BMP", "PPM"))
        + tuple(changed(text(2, 255, GREY), lambda data, more=more: data + more) for more in
                (b"\n9", b"\nPK\3\4", b" \0 9")), reason="other content after its end; save it again"),
    Row("GIF, AVIF, JPEG 2000, PFM and all others", "", "refused: save it as one of the above",
        (pillow(COLOUR, "GIF"), pillow(COLOUR, "JPEG2000"), pillow(GREY / np.float32(255), "PPM"),
         lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>"), reason="not one of PNG, JPEG|floating-point"),
)  # fmt: skip

FILES = [
    pytest.param(row, write, id=f"{row.format}-{row.what}-{number}")
    for row in TABLE
    for number, write in enumerate(row.files)
]


@pytest.mark.parametrize(("row", "write"), FILES)
def test_each_file_is_read_as_a_person_sees_it_or_refused_by_name(row, write):
    data = write()
    if row.reason is not None:
        with pytest.raises(ImageError, match=rf"part\.x cannot be read as an image: .*({row.reason})"):
            decode(data, "part.x")
        return
    pixels = decode(data, "part.x")[0].astype(int)
    expected = row.pixels if row.pixels.ndim == 3 else np.repeat(row.pixels[..., None], 3, axis=2)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= row.off


def table() -> str:
    lines = ["| format | what | how it is read |", "| --- | --- | --- |"]
    lines += [f"| {row.format} | {row.what} | {row.how} |" for row in TABLE]
    return "\n".join(lines) + "\n"


def test_the_documentation_has_this_table():
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(MARKERS[0])
    assert before
    assert rest.partition(MARKERS[1])[0] == "\n" + table() + "\n"


if __name__ == "__main__":
    print(MARKERS[0] + "\n" + table() + "\n" + MARKERS[1], end="")
