"""Arrays of pixels: a named format says what the numbers are, in the library, on the line and at the service."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from gonogo.cli.main import main
from gonogo.errors import ConfigError, ImageError, ShapeError
from gonogo.images.arrays import NAMES, rgb_of_file, rgb_of_pixels
from gonogo.inference.scorer import Scorer

COLOUR = np.random.default_rng(3).integers(0, 256, (7, 5, 3), np.uint8)
GREY = COLOUR[..., 0]
WHITES = {"8": 255, "10": 1023, "12": 4095, "14": 16383, "16": 65535, "32f": 1.0}


def written(pixels, bits):
    """8 bit pixels in more bits, by their meaning."""
    if bits == "8":
        return pixels.copy()
    scaled = pixels / 255 * WHITES[bits]
    return scaled.astype(np.float32) if bits == "32f" else np.rint(scaled).astype(np.uint16)


def as_format(name):
    """The colours, or the grey ones, as a camera of this format gives them, and what is to be seen."""
    channels = name.rstrip("0123456789f")
    bits = name.removeprefix(channels)
    if channels == "grey":
        return written(GREY, bits), np.repeat(GREY[..., None], 3, axis=2)
    alpha = np.full((*GREY.shape, 1), 9, np.uint8)
    by_letter = {"r": COLOUR[..., :1], "g": COLOUR[..., 1:2], "b": COLOUR[..., 2:], "a": alpha}
    return written(np.concatenate([by_letter[letter] for letter in channels], axis=2), bits), COLOUR


def npy(pixels):
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_each_format_gives_the_colours_that_were_meant(name):
    pixels, meant = as_format(name)
    np.testing.assert_array_equal(rgb_of_pixels(pixels, name), meant)
    np.testing.assert_array_equal(rgb_of_file(npy(pixels), "x.npy", name), meant)
    np.testing.assert_array_equal(rgb_of_file(npy(np.asfortranarray(pixels)), "x.npy", name), meant)
    np.testing.assert_array_equal(rgb_of_file(npy(pixels.astype(pixels.dtype.newbyteorder(">"))), "x.npy", name), meant)


def test_exchanged_channels_are_exchanged_colours():
    np.testing.assert_array_equal(rgb_of_pixels(COLOUR, "bgr8"), COLOUR[..., ::-1])
    assert (rgb_of_pixels(COLOUR, "bgr8") != rgb_of_pixels(COLOUR, "rgb8")).any()


@pytest.mark.parametrize("name", ["", "rgb", "8", "RGB8", "rgb9", "yuv8", "bgr8 ", "rgb32"])
def test_a_name_that_is_no_format_is_refused_with_those_that_are(name):
    with pytest.raises(ConfigError, match="one of grey, rgb, bgr, rgba, bgra, and the bits"):
        rgb_of_pixels(COLOUR, name)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (COLOUR, "grey8"), (GREY, "rgb8"), (COLOUR, "rgba8"), (COLOUR, "rgb16"), (COLOUR.astype(np.int16), "rgb16"),
        (COLOUR.astype(np.float64), "rgb32f"), (COLOUR.astype(bool), "rgb8"), (COLOUR[None], "rgb8"),
        (COLOUR[0, 0], "rgb8"),
        (np.moveaxis(COLOUR, 2, 0), "rgb8"), (COLOUR[..., :2], "grey8"),
    ],
)  # fmt: skip
def test_an_array_that_is_not_of_its_format_is_refused(pixels, name):
    with pytest.raises(ShapeError, match=rf"pixels of {name}: expected \(h, w"):
        rgb_of_pixels(pixels, name)
    with pytest.raises(ImageError, match=r"x\.npy cannot be read as an array of pixels"):
        rgb_of_file(npy(pixels), "x.npy", name)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (np.full((4, 4), 4096, np.uint16), "grey12"),
        (np.full((4, 4), 1.01, np.float32), "grey32f"),
        (np.full((4, 4), -0.01, np.float32), "grey32f"),
        (np.full((4, 4), np.nan, np.float32), "grey32f"),
        (np.full((4, 4, 3), 200, np.float32), "rgb32f"),
    ],
)
def test_numbers_beyond_black_and_white_are_refused(pixels, name):
    with pytest.raises(ImageError, match=rf"pixels of {name} from .*; expected 0 to"):
        rgb_of_pixels(pixels, name)


def header(text):
    head = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head


@pytest.mark.parametrize(
    "data",
    [
        npy(COLOUR)[:-1], npy(COLOUR) + b"x", b"\x93NUMPY", b"\x93NUMPY\x09\0", npy(np.array([{}], dtype=object)),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 99999999), }"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 4), }"), header("__import__('os')"),
        npy(np.zeros((0, 4), np.uint8)), npy(np.zeros((4, 70_000), np.uint8)),
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_file_is_an_error_that_names_it(data):
    with pytest.raises(ImageError, match=r"x\.npy cannot be read as an array of pixels"):
        rgb_of_file(data, "x.npy", "grey8")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x89PNG\r\n\x1a\n....", "it is no .npy file; an image needs no format of its pixels"),
        (npy(np.array([{}], dtype=object)), "it holds objects of Python and not numbers"),
    ],
)
def test_what_is_no_array_of_numbers_is_named_for_what_it_is(data, says):
    with pytest.raises(ImageError, match=says):
        rgb_of_file(data, "x.npy", "rgb8")


def test_the_line_and_the_library_judge_an_array_as_the_image_it_shows(bundle, tmp_path, capsys, monkeypatch):
    seen, real = [], Scorer.score_one
    monkeypatch.setattr(Scorer, "score_one", lambda own, pixels, where: seen.append(pixels) or real(own, pixels, where))
    Scorer(bundle).score_array(COLOUR[..., ::-1], "bgr8")
    np.save(tmp_path / "part.npy", COLOUR[..., ::-1])
    main(["score", str(bundle), str(tmp_path / "part.npy"), "--pixels", "bgr8", "--json"])
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["score"] == pytest.approx(real(Scorer(bundle), COLOUR, "x").score, rel=1e-6)
    for pixels in seen:
        np.testing.assert_array_equal(pixels, COLOUR)
    assert len(seen) == 2
    assert main(["score", str(bundle), str(tmp_path / "part.npy"), "--json"]) == 3
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert "an array of NumPy; name its format, by --pixels bgr8 or ?pixels=bgr8" in row["error"]
    assert main(["score", str(bundle), str(tmp_path / "part.npy"), "--pixels", "brg8"]) == 3
    assert "is no format of pixels; did you mean rgb8 or bgr8" in capsys.readouterr().err


def test_an_image_beside_an_array_is_read_as_ever(bundle, tmp_path, capsys):
    Image.fromarray(COLOUR).save(tmp_path / "part.png")
    np.save(tmp_path / "part.npy", COLOUR[..., ::-1])
    main(["score", str(bundle), str(tmp_path / "part.png"), str(tmp_path / "part.npy"), "--pixels", "bgr8", "--json"])
    rows = json.loads(capsys.readouterr().out)["results"]
    score = Scorer(bundle).score_image(tmp_path / "part.png").score
    assert [row["score"] for row in rows] == pytest.approx([score, score], rel=1e-6)
