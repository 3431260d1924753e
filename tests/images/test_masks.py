"""A mask is read as a person would read it, whatever it was saved as, or refused by name.

Each row of MASK_FORMATS writes one and the same mask in a format of the field; docs/data.md shows the rows as a table.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from doc_tables import documented, table, write
from gonogo.errors import ImageError
from gonogo.images.masks import NO_ZERO, SOFT, read_mask, turn_of, turned_like
from gonogo.images.reading import write_png

HEIGHT, WIDTH = 40, 56
DEFECT = np.zeros((HEIGHT, WIDTH), bool)
DEFECT[8:20, 10:16] = True  # an L, so that a turned one is another
DEFECT[16:20, 10:28] = True


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=format_, **options)
    return stream.getvalue()


def grey(value: int, *, dtype: type = np.uint8, format_: str = "PNG", background: int = 0) -> bytes:
    return saved(Image.fromarray(np.where(DEFECT, value, background).astype(dtype)), format_)


def two_labels() -> bytes:
    labels = DEFECT.astype(np.uint8)
    labels[16:20] *= 7
    return saved(Image.fromarray(labels), "PNG")


def many_labels() -> bytes:
    """A number for each 6 x 6 pixels of the defect, as tools number instances."""
    rows, columns = np.indices(DEFECT.shape) // 6
    labels = np.where(DEFECT, rows * 10 + columns, 0)
    return saved(Image.fromarray(labels.astype(np.uint8)), "PNG")


def white_is_zero(dtype: type) -> bytes:
    tifffile = pytest.importorskip("tifffile", reason="no tifffile, which scikit-image brings")
    stream = io.BytesIO()
    white = np.iinfo(dtype).max
    tifffile.imwrite(stream, np.where(DEFECT, white - 3, white).astype(dtype), photometric="miniswhite")
    return stream.getvalue()


def wide_tiff(values: np.ndarray) -> bytes:
    tifffile = pytest.importorskip("tifffile", reason="no tifffile, which scikit-image brings")
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="rgb" if values.ndim == 3 else "minisblack")
    return stream.getvalue()


def palette(colours: list[int], index: int = 1, other: int = 0) -> bytes:
    image = Image.fromarray(np.where(DEFECT, index, other).astype(np.uint8)).convert("P")
    image.putdata(np.where(DEFECT, index, other).ravel().tolist())
    image.putpalette(colours)
    return saved(image, "PNG")


def colours(defect: tuple[int, ...], background: tuple[int, ...]) -> bytes:
    pixels = np.where(DEFECT[..., None], np.uint8(defect), np.uint8(background))
    return saved(Image.fromarray(pixels), "PNG")


def bilevel(format_: str) -> bytes:
    return saved(Image.fromarray(DEFECT), format_)


def resized() -> bytes:
    """Enlarged with smoothing from half the size, as image editors do it."""
    small = Image.fromarray(DEFECT[::2, ::2].astype(np.uint8) * 255)
    return saved(small.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR), "PNG")


def heat_map() -> bytes:
    enlarged = Image.fromarray(DEFECT.astype(np.uint8) * 255).resize((WIDTH * 8, HEIGHT * 8))
    return saved(ImageOps.autocontrast(enlarged.filter(ImageFilter.GaussianBlur(40))), "PNG")


def photograph() -> bytes:
    pixels = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return saved(Image.fromarray(pixels), "PNG")


def cut_out() -> bytes:
    pixels = np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    pixels[..., 3] = DEFECT * 255
    return saved(Image.fromarray(pixels), "PNG")


def was_jpeg() -> bytes:
    """A JPEG that was saved again as PNG, whose noise around the edges is no label."""
    return saved(Image.open(io.BytesIO(grey(255, format_="JPEG"))), "PNG")


def black_jpeg() -> bytes:
    return grey(0, background=255, format_="JPEG")


def red_webp() -> bytes:
    return saved(Image.open(io.BytesIO(colours((255, 0, 0), (0, 0, 0)))), "WEBP", quality=90)


def red_on_white_jpeg() -> bytes:
    return saved(Image.open(io.BytesIO(colours((255, 0, 0), (255, 255, 255)))), "JPEG")


def dark_noise() -> bytes:
    return saved(Image.fromarray(np.random.default_rng(2).integers(0, 6, (HEIGHT, WIDTH), dtype=np.uint8)), "PNG")


def smooth_photograph() -> bytes:
    pixels = np.clip(np.random.default_rng(3).normal(120, 60, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
    return saved(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)), "PNG")


def animation() -> bytes:
    frame = Image.fromarray(DEFECT.astype(np.uint8))
    return saved(frame, "TIFF", save_all=True, append_images=[frame])


def levels_in_jpeg() -> bytes:
    values = np.where(DEFECT, 255, 0)
    values[26:36, 30:50] = 120
    return saved(Image.fromarray(values.astype(np.uint8)), "JPEG", quality=90)


@dataclass(frozen=True)
class MaskFormat:
    """A way to save a mask, how it is read in a sentence for the docs, and its file.

    answer: "read", "no 0" or "soft" (with a warning), "inverted" (with white as background), or words of the refusal.
    """

    what: str
    how: str
    data: Callable[[], bytes]
    answer: str


MASK_FORMATS = [
    MaskFormat("8 bit grey, 0 and 255", "what is not 0 is the defect", partial(grey, 255), "read"),
    MaskFormat("8 bit labels of 0 and 1", "what is not 0, although it looks black", partial(grey, 1), "read"),
    MaskFormat("several labels, 1, 7", "any of them is the defect", two_labels, "read"),
    MaskFormat("a number per instance", "any of them is the defect", many_labels, "read"),
    MaskFormat("16 bit labels of 0 and 3", "what is not 0", partial(grey, 3, dtype=np.uint16), "read"),
    MaskFormat(
        "32 bit TIFF, 0 and 100000", "what is not 0", lambda: wide_tiff(DEFECT.astype(np.int32) * 100_000), "read"
    ),
    MaskFormat("floating-point TIFF, 0 and 1", "what is not 0", lambda: wide_tiff(DEFECT.astype(np.float32)), "read"),
    MaskFormat("1 bit PNG", "white is the defect", partial(bilevel, "PNG"), "read"),
    MaskFormat("1 bit TIFF", "white is the defect", partial(bilevel, "TIFF"), "read"),
    MaskFormat("BMP", "what is not 0", partial(grey, 200, format_="BMP"), "read"),
    MaskFormat(
        "8 bit TIFF, WhiteIsZero", "white, thus the stored 0, is the defect", partial(white_is_zero, np.uint8), "read"
    ),
    MaskFormat(
        "16 bit TIFF, WhiteIsZero",
        "the stored 65535, which is black, is good",
        partial(white_is_zero, np.uint16),
        "read",
    ),
    MaskFormat(
        "palette, as of Pascal VOC",
        "index 0 is good, whatever its colour",
        partial(palette, [0, 0, 0, 128, 0, 0]),
        "read",
    ),
    MaskFormat(
        "palette whose index 0 has a colour, and another is black",
        "what is not black",
        partial(palette, [250, 250, 250, 0, 0, 0], index=0, other=1),
        "read",
    ),
    MaskFormat("palette without black", "index 0 is good", partial(palette, [9, 9, 200, 200, 9, 9]), "read"),
    MaskFormat("palette of black alone", "index 0 is good", partial(palette, [0, 0, 0, 0, 0, 0]), "read"),
    MaskFormat("colours on black", "what is not black", partial(colours, (0, 0, 90), (0, 0, 0)), "read"),
    MaskFormat(
        "a colour on white",
        "what is not of the border's one colour, with a warning",
        partial(colours, (200, 0, 0), (255, 255, 255)),
        "no 0",
    ),
    MaskFormat(
        "one colour on transparent", "what is visible", partial(colours, (0, 0, 0, 255), (255, 255, 255, 0)), "read"
    ),
    MaskFormat("a picture cut out by its transparency", "what is visible", cut_out, "read"),
    MaskFormat(
        "opaque colours in RGBA", "what is not black", partial(colours, (255, 0, 0, 255), (0, 0, 0, 255)), "read"
    ),
    MaskFormat(
        "labels 1 and 2, without 0",
        "the border's one value is good, with a warning",
        partial(grey, 2, background=1),
        "no 0",
    ),
    MaskFormat("black on white", "black is the defect, with a warning", partial(grey, 0, background=255), "inverted"),
    MaskFormat("JPEG", "cut at half of the largest value, with a warning", partial(grey, 255, format_="JPEG"), "soft"),
    MaskFormat("a JPEG saved again as PNG, a JPEG in a TIFF", "as JPEG", was_jpeg, "soft"),
    MaskFormat("black on white in a JPEG", "as JPEG and as black on white", black_jpeg, "soft inverted"),
    MaskFormat("WebP with loss, a JPEG in one colour on black", "as JPEG", red_webp, "soft"),
    MaskFormat("a JPEG in colours on white", "refused: save it as PNG", red_on_white_jpeg, "a picture in colours"),
    MaskFormat("resized with smoothing", "cut at half of the largest value, with a warning", resized, "soft"),
    MaskFormat(
        "JPEG of labels 0 and 1",
        "refused: compression hides them",
        partial(grey, 1, format_="JPEG"),
        "largest value is 1",
    ),
    MaskFormat("nearly black noise", "refused", dark_noise, "largest value is 5"),
    MaskFormat("JPEG of three levels", "refused", levels_in_jpeg, "a picture with grey levels"),
    MaskFormat("a heat map", "refused", heat_map, "a picture with grey levels"),
    MaskFormat("a photograph in grey", "refused", smooth_photograph, "a picture with grey levels"),
    MaskFormat("a photograph", "refused", photograph, "a picture in colours"),
    MaskFormat(
        "16 bits per colour",
        "refused: small labels would vanish",
        lambda: wide_tiff(np.repeat(DEFECT[..., None].astype(np.uint16), 3, axis=2)),
        "more than 8 bits per colour",
    ),
    MaskFormat("values below 0", "refused", lambda: wide_tiff(-DEFECT.astype(np.int32)), "expected 0 for good"),
    MaskFormat(
        "transparent everywhere", "refused", partial(colours, (255, 0, 0, 0), (0, 0, 0, 0)), "transparent everywhere"
    ),
    MaskFormat("several images in one file", "refused", animation, "2 images"),
]


READ = ("read", "inverted", "soft", "soft inverted", "no 0")


@pytest.mark.parametrize("row", MASK_FORMATS, ids=lambda row: row.what)
def test_each_format_shows_the_same_defect_or_is_refused_by_name(row, tmp_path):
    path = tmp_path / "mask of row.png"
    path.write_bytes(row.data())
    if row.answer not in READ:
        with pytest.raises(ImageError, match=f"mask of row.png cannot be read as an image: .*{row.answer}"):
            read_mask(path)
        return
    read = read_mask(path)
    if row.answer.startswith("soft"):
        assert (read.remark, read.background) == (SOFT, "white" if "inverted" in row.answer else "black")
        assert np.count_nonzero(read.marked != (~DEFECT if "inverted" in row.answer else DEFECT)) <= 0.12 * DEFECT.sum()
        return
    assert read.background == ("white" if row.answer == "inverted" else "black")
    assert read.remark == (NO_ZERO if row.answer == "no 0" else "")
    np.testing.assert_array_equal(~read.marked if row.answer == "inverted" else read.marked, DEFECT)


def test_a_mask_that_marks_nothing_and_one_that_marks_all_have_black_for_background(tmp_path):
    for value in (0, 255):
        write_png(tmp_path / "a.png", np.full((4, 5), value, np.uint8))
        read = read_mask(tmp_path / "a.png")
        assert (read.marked.mean(), read.background) == (value / 255, "black")


@pytest.mark.parametrize(
    ("rows", "background"),
    [(2, "black"), (5, "black"), (7, "unclear"), (9, "unclear")],  # of ten, from the top
)
def test_more_than_half_marked_up_to_the_border_is_unclear(tmp_path, rows, background):
    mask = np.zeros((10, 30), bool)
    mask[:rows] = True
    write_png(tmp_path / "a.png", mask)
    assert read_mask(tmp_path / "a.png").background == background


def test_a_large_defect_inside_of_the_image_is_on_black(tmp_path):
    mask = np.zeros((40, 40), bool)
    mask[2:38, 2:38] = True
    write_png(tmp_path / "a.png", mask)
    assert read_mask(tmp_path / "a.png").background == "black"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_its_image_is(tmp_path, orientation):
    image = Image.fromarray(DEFECT.astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(image, "PNG", exif=exif)
    assert turn_of(data, Path("a.png")) == orientation
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))) > 0
    np.testing.assert_array_equal(turned_like(DEFECT, orientation), upright)
    (tmp_path / "a.png").write_bytes(data)
    read = read_mask(tmp_path / "a.png")
    np.testing.assert_array_equal(read.marked, upright)
    assert read.turned == (orientation != 1)


TABLE = table(("a mask saved as", "is read so"), [(row.what, row.how) for row in MASK_FORMATS])


def test_the_table_of_mask_formats_in_the_docs_is_this_one():
    assert documented("data.md", "mask formats") == TABLE


if __name__ == "__main__":
    write("data.md", "mask formats", TABLE)
