"""One door for pixels: what a person sees in a viewer is what the gauge gets, and a bad file is named."""

import io
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gonogo.errors import ImageError
from gonogo.images.reading import decode, read_image, write_png


def test_rgb_comes_back_in_its_channel_order(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 1] = [255, 128, 1]
    write_png(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def test_grey_is_repeated_and_sixteen_bits_are_scaled(tmp_path):
    Image.fromarray(np.full((3, 3), 77, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((3, 3), 65535, np.uint16)).save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "grey.png") == 77).all()
    assert (read_image(tmp_path / "wide.png") == 255).all()


def test_an_image_stands_upright_by_its_exif_orientation(tmp_path):
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (6, 4, 3)


def test_transparency_and_cmyk_become_rgb(tmp_path):
    Image.new("RGBA", (2, 2), (10, 20, 30, 128)).save(tmp_path / "a.png")
    Image.new("CMYK", (2, 2), (0, 0, 0, 0)).save(tmp_path / "b.jpg")
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [10, 20, 30]
    assert read_image(tmp_path / "b.jpg")[0, 0].tolist() == [255, 255, 255]


def tiff(pixels, **options):
    tifffile = pytest.importorskip("tifffile", reason="no tifffile, which scikit-image brings")
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def written(data):
    """Bytes as they are, or those that a function writes when the test runs."""
    return data() if callable(data) else data


def sixteen_bit_png(pixels):
    """An RGB PNG of 16 bits per channel, which Pillow reads but does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


WIDE = np.array([[[0, 0, 0], [65535, 32768, 16384]]], np.uint16)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (partial(tiff, WIDE, photometric="rgb"), [255, 127, 63]),
        (sixteen_bit_png(WIDE), [255, 127, 63]),
        (partial(tiff, WIDE[..., 1]), [128, 128, 128]),
        (partial(tiff, WIDE[..., 1], compression="zlib"), [128, 128, 128]),
        (partial(tiff, (WIDE[..., 0] >> 8).astype(np.uint8), photometric="miniswhite"), [0, 0, 0]),
    ],
)
def test_sixteen_bits_keep_their_upper_eight_in_every_format(data, expected):
    pixels, _ = decode(written(data), Path("wide"))
    assert np.abs(pixels[0, 1].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (partial(tiff, np.moveaxis(WIDE, 2, 0), photometric="rgb", planarconfig="separate"), "separate 16 bit planes"),
        (partial(tiff, WIDE[..., 1].astype(np.float32)), "floating-point numbers"),
        (partial(tiff, WIDE[..., 1].astype(np.uint32)), "whole numbers of 32 bits"),
        (b"GIF89a" + bytes(40), "not one of PNG, JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not one of PNG, JPEG"),
    ],
)
def test_what_would_be_read_wrongly_is_refused_with_the_reason(data, reason):
    with pytest.raises(ImageError, match=f"odd.png cannot be read as an image: .*{reason}"):
        decode(written(data), Path("odd.png"))


COLOUR_FILTER_ARRAY = partial(tiff, WIDE[..., 1], photometric="cfa")
FOREIGN = [
    (b"GIF89a" + bytes(40), "a GIF; save it as PNG"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC, as phones take them; save it as PNG"),
    (b"\0\0\0\x1cftypavif", "an AVIF; save it as PNG"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000; save it as PNG"),
    (b"\xff\x0a" + bytes(9), "a JPEG XL; save it as PNG"),
    (b"\x76\x2f\x31\x01", "an OpenEXR, whose values have no known range"),
    (bytes(128) + b"DICM", "a DICOM; save it as PNG"),
    (
        b"\x93NUMPY\x01\0",
        r"an array of NumPy; name its format, by --pixels bgr8 or \?pixels=bgr8, or save it as PNG",
    ),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG; save it as PNG"),
    (b'\n<!DOCTYPE HTML>\n<html lang="de">', "a web page; download the image again"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab", "a pointer of Git LFS .*; run git lfs pull"),
    (COLOUR_FILTER_ARRAY, "a camera's raw image; develop it"),
]


@pytest.mark.parametrize(("data", "what"), FOREIGN, ids=lambda value: value if isinstance(value, str) else "")
def test_a_file_of_a_format_that_is_not_read_is_called_what_it_is_whatever_its_name(data, what):
    with pytest.raises(ImageError, match=f"^a.jpg cannot be read as an image: not one of PNG, .*, but {what}"):
        decode(written(data), Path("a.jpg"))


def test_bytes_that_say_nothing_are_no_known_format():
    with pytest.raises(ImageError, match="not one of PNG, JPEG, TIFF, BMP, WEBP, PPM; save it as PNG"):
        decode(bytes(range(200)), Path("a.png"))


def test_an_image_of_one_pixel_and_one_of_twenty_megapixels_are_images(tmp_path):
    write_png(tmp_path / "one.png", np.full((1, 1, 3), 9, np.uint8))
    assert read_image(tmp_path / "one.png").tolist() == [[[9, 9, 9]]]
    Image.new("L", (5472, 3648), 7).save(tmp_path / "large.jpg")
    assert read_image(tmp_path / "large.jpg").shape == (3648, 5472, 3)


def test_a_header_that_claims_too_many_pixels_is_refused_before_any_is_decoded():
    data = bytearray(sixteen_bit_png(WIDE))
    data[16:24] = (9_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(ImageError, match=r"bomb\.png cannot .* 9000 x 9000 pixels, at most 80000000"):
        decode(bytes(data), Path("bomb.png"))


def test_a_palette_and_a_grey_image_with_alpha_become_rgb(tmp_path):
    Image.new("LA", (2, 2), (50, 0)).save(tmp_path / "a.png")
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "b.png")
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [50, 50, 50]
    assert read_image(tmp_path / "b.png")[0, 0].tolist() == [10, 20, 30]


def test_a_bad_file_is_an_error_that_names_it(tmp_path):
    write_png(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "truncated.png").write_bytes((tmp_path / "whole.png").read_bytes()[:500])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    for name in ("truncated", "empty", "text", "folder", "missing"):
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / f"{name}.png")
