"""One number or two: what a parameter says of the size that images are resized to."""

import numpy as np
import pytest

from gonogo.detectors.options import EfficientADOptions, KNNOptions, PatchCoreOptions
from gonogo.errors import ConfigError
from gonogo.images.size import ImageSize
from gonogo.params import build


def test_one_number_is_a_square_and_two_are_height_and_width():
    assert ImageSize.of(256) == (256, 256)
    assert ImageSize.of([160, 416]) == ImageSize(height=160, width=416)
    assert [ImageSize.of(size).written for size in (256, [256, 256], [160, 416])] == [256, 256, [160, 416]]
    assert [str(ImageSize.of(size)) for size in (256, [160, 416])] == ["256", "160 x 416"]


@pytest.mark.parametrize("size", [0, -8, 2.5, True, None, "256", [160], [160, 416, 3], [160, 0], [160.0, 416], {}])
def test_anything_else_is_refused_with_what_is_expected(size):
    expected = r"image_size is .*; expected a number of pixels above 0, for a square, or two of them, \[height, width\]"
    with pytest.raises(ConfigError, match=expected):
        build(PatchCoreOptions, {"image_size": size}, where="params.yaml: fit")


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        (PatchCoreOptions, [31, 256], "sides of at least 32 pixels"),
        (EfficientADOptions, [256, 40], "sides of at least 48 pixels"),
        (EfficientADOptions, [256, 100], "sides that are multiples of 16 pixels"),
        (KNNOptions, [256, 16], r"fit\.image_size is 256 x 16; a backbone sees at least 32 x 32"),
    ],
)
def test_both_sides_keep_the_bounds_of_the_detector(kind, size, message):
    with pytest.raises(ConfigError, match=message):
        build(kind, {"image_size": size}, where="params.yaml: fit")


def test_rows_of_pixels_may_have_any_shape_of_as_few_pixels():
    KNNOptions(features="pixels", image_size=[16, 64])
    with pytest.raises(ConfigError, match=r"fit\.image_size is 16 x 65, 3,120 dimensions"):
        KNNOptions(features="pixels", image_size=[16, 65])


def test_a_size_in_an_images_shape_has_the_area_of_the_square_and_sides_that_are_multiples():
    for aspect in np.geomspace(1 / 8, 8, 41):
        for side, multiple in ((256, 32), (384, 32), (448, 14), (64, 1)):
            size = ImageSize.of_area(side, aspect, multiple=multiple)
            assert min(size) >= multiple
            assert [length % multiple for length in size] == [0, 0]
            rounding = 1 + multiple / min(size)
            assert 1 / rounding <= size.area / side**2 <= rounding
            assert 1 / rounding <= size.width / size.height / aspect <= rounding
            assert ImageSize.of_area(side, 1 / aspect, multiple=multiple) == (size.width, size.height)


def test_a_square_image_keeps_the_square_and_a_thread_is_less_oblong_than_it_is():
    assert ImageSize.of_area(256, 1.0, multiple=32) == (256, 256)
    assert ImageSize.of_area(256, 1240 / 500, multiple=32) == (160, 416)
    assert ImageSize.of_area(256, 250, multiple=32) == ImageSize.of_area(256, 8, multiple=32) == (96, 736)
