"""Tiles: proportions are kept, and no mark on an image vanishes, however small the tile."""

import numpy as np
import pytest

from gonogo.images.colours import OUTLINE, PAPER
from gonogo.reports.drawing import (
    REGION_LINE,
    fitted_size,
    image_tile,
    map_tile,
    marked_cells,
    mask_tile,
    on_paper,
    tile_size,
)

SIDE = 112


@pytest.mark.parametrize("size", [(900, 300), (300, 900), (640, 480), (1, 1)])
def test_a_tile_has_the_shape_of_its_images_and_the_area_of_the_square(size):
    width, height = tile_size([size] * 3, SIDE)
    assert width / height == pytest.approx(size[0] / size[1], rel=0.02)
    assert width * height == pytest.approx(SIDE**2, rel=0.02)


def test_a_tile_is_no_longer_strip_than_three_to_one_and_square_where_there_is_no_image():
    width, height = tile_size([(4000, 10)], SIDE)
    assert width / height == pytest.approx(3, rel=0.02)
    assert tile_size([], SIDE) == (SIDE, SIDE)


def test_one_odd_image_does_not_change_the_shape_of_the_tiles():
    assert tile_size([(100, 100), (100, 100), (1000, 100)], SIDE) == (SIDE, SIDE)


@pytest.mark.parametrize("shape", [(300, 900), (900, 300), (5, 50), (50, 50)])
def test_an_image_in_a_tile_of_another_shape_keeps_its_proportions(shape):
    pixels = np.full((*shape, 3), 90, dtype=np.uint8)
    for tile in (image_tile(pixels, (SIDE, SIDE)), mask_tile(pixels, np.zeros(shape, bool), (SIDE, SIDE))):
        assert max(tile.shape[:2]) == SIDE
        assert tile.shape[0] / tile.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.1)
    sheet = np.asarray(on_paper(image_tile(pixels, (SIDE, SIDE)), (SIDE, SIDE)))
    assert sheet.shape == (SIDE, SIDE, 3)
    drawn = (sheet == 90).all(axis=2)
    assert drawn.sum() == np.prod(fitted_size(shape[::-1], (SIDE, SIDE)))
    assert (sheet[~drawn] == PAPER).all()


def test_a_small_image_is_enlarged_without_a_new_colour():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    tile = image_tile(pixels, (SIDE, SIDE))
    assert {tuple(colour) for colour in tile.reshape(-1, 3)} == {tuple(colour) for colour in pixels.reshape(-1, 3)}


@pytest.mark.parametrize("place", [(700, 900), (0, 0), (2999, 1999), (1234, 5)])
def test_a_region_of_one_pixel_is_seen_on_the_tile_of_a_large_image(place):
    mask = np.zeros((3000, 2000), dtype=bool)
    mask[place] = True
    tile = map_tile(np.ones(mask.shape, dtype=np.float32), 2.0, (SIDE, SIDE), mask)
    rows, columns = np.nonzero((tile == REGION_LINE).all(axis=2))
    assert len(rows) >= 2
    assert rows.mean() + 0.5 == pytest.approx((place[0] + 0.5) * SIDE / 3000, abs=1.2)
    assert columns.mean() + 0.5 == pytest.approx((place[1] + 0.5) * SIDE / 3000, abs=1.2)
    outlined = image_tile(np.full((*mask.shape, 3), 90, np.uint8), (SIDE, SIDE), mask)
    assert (outlined == OUTLINE).all(axis=2).any()


def test_the_cells_of_an_enlarged_mask_are_those_whose_pixel_is_marked():
    mask = np.eye(8, dtype=bool)
    assert np.array_equal(marked_cells(mask, (24, 24)), np.kron(mask, np.ones((3, 3), dtype=bool)))


def test_a_mask_that_is_unknown_is_told_from_one_that_is_empty():
    pixels = np.full((20, 20, 3), 90, dtype=np.uint8)
    unknown, empty = (mask_tile(pixels, mask, (SIDE, SIDE)) for mask in (None, np.zeros((20, 20), bool)))
    assert (unknown == 240).all()
    assert not (empty == 240).any()
