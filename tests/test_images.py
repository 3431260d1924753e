"""One door for pixels: what a person sees in a viewer is what the gauge gets, and a bad file is named."""

import numpy as np
import pytest
from PIL import Image

from gonogo.errors import ImageError
from gonogo.images import read_image, read_mask, write_png


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


def test_a_mask_is_true_where_it_is_not_black(tmp_path):
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    write_png(tmp_path / "mask.png", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), mask)


def test_a_bad_file_is_an_error_that_names_it(tmp_path):
    write_png(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "truncated.png").write_bytes((tmp_path / "whole.png").read_bytes()[:500])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    for name in ("truncated", "empty", "text", "folder", "missing"):
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / f"{name}.png")
