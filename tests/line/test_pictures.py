"""What is drawn of a verdict: the crop where the image differs most, and colours on a map's own range."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import REGIONS
from gonogo.calibration.boxes import FoundBox
from gonogo.calibration.regions import PixelThreshold, RegionRule
from gonogo.images.colours import map_colours, picture_range_colours
from gonogo.images.reading import QUICK, write_png
from gonogo.inference.scorer import Verdict
from gonogo.line.inputs import Item
from gonogo.line.outputs import Pictures, crop_at_peak, overlay
from gonogo.service.inspecting import draw_picture

RULE = RegionRule(REGIONS, PixelThreshold(1.0, "quantile", 1e-3, 1e-3, 1000, 10))
HEIGHT, WIDTH = 120, 200


@pytest.fixture
def pixels():
    """An image whose pixels tell where they are: red the row, green the column."""
    rows, columns = np.indices((HEIGHT, WIDTH), dtype=np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2)


def verdict(peak=None, rule=RULE, **more):
    """A verdict on a map with one peak at (row, column)."""
    anomaly_map = np.full((HEIGHT, WIDTH), 0.2, dtype=np.float32)
    if peak is not None:
        anomaly_map[peak] = 0.7
    return Verdict(0.7, 1.0, False, 0.5, None, False, anomaly_map, rule, **more)


@pytest.mark.parametrize(
    ("peak", "corner"),
    [((60, 100), (44, 84)), ((0, 0), (0, 0)), ((119, 199), (88, 168)), ((60, 5), (44, 0))],
)
def test_the_crop_is_a_square_around_the_peak_that_lies_inside_the_image(pixels, peak, corner):
    crop = crop_at_peak(pixels, verdict(peak))
    assert crop.shape == (32, 32, 3)
    assert tuple(crop[0, 0, :2]) == corner


def test_the_crop_is_a_quarter_of_a_larger_image_and_all_of_a_smaller_one(pixels):
    large = np.repeat(np.repeat(pixels, 4, axis=0), 4, axis=1)
    anomaly_map = np.zeros(large.shape[:2], dtype=np.float32)
    assert crop_at_peak(large, replace(verdict(), anomaly_map=anomaly_map)).shape == (120, 120, 3)
    assert crop_at_peak(pixels[:20, :30], replace(verdict(), anomaly_map=anomaly_map[:20, :30])).shape == (20, 30, 3)


def test_without_a_map_the_crop_is_the_image_and_of_boxes_it_is_around_the_best(pixels):
    assert crop_at_peak(pixels, verdict((3, 4), RegionRule(REGIONS, None))).shape == pixels.shape
    box = FoundBox(x=80, y=40, width=60, height=20, label="pore", score=0.9, confidence=0.8)
    crop = crop_at_peak(pixels, verdict(rule=RegionRule(REGIONS, None), boxes=[box]))
    assert (crop.shape, tuple(crop[0, 0, :2])) == ((60, 60, 3), (20, 80))
    assert crop_at_peak(pixels, verdict(rule=RegionRule(REGIONS, None), boxes=[])).shape == pixels.shape


def test_colours_on_a_maps_own_range_are_of_the_picture_alone(pixels):
    """A faint map fills the colours, its verdict and its regions are as before, and the default is the threshold's."""
    faint = verdict((60, 100))
    stretched = picture_range_colours(faint.anomaly_map, "min-max")
    np.testing.assert_array_equal(stretched[60, 100], map_colours(np.full((1, 1), 2.0), 1.0)[0, 0])
    np.testing.assert_array_equal(stretched[0, 0], map_colours(np.zeros((1, 1)), 1.0)[0, 0])
    own, default = overlay(pixels, faint, scale="min-max"), overlay(pixels, faint)
    assert (own != default).any()
    np.testing.assert_array_equal(default, overlay(pixels, faint, scale="threshold"))
    assert (faint.row()["score"], faint.regions) == (0.7, [])
    noise = np.random.default_rng(0).normal(size=(50, 50))
    outlier = noise.copy()
    outlier[0, 0] = 1000.0
    np.testing.assert_allclose(
        picture_range_colours(outlier, "percentile")[1:].astype(int),
        picture_range_colours(noise, "percentile")[1:].astype(int),
        atol=6,
    )
    level = np.full((4, 4), 3.0)
    np.testing.assert_array_equal(picture_range_colours(level, "min-max"), map_colours(np.zeros((4, 4)), 1.0))


def test_pictures_of_an_image_are_written_as_quickly_as_prepare_writes_images(pixels, tmp_path):
    """PNG's own level took ten times as long as the verdict on a megapixel: the second byte of its data tells it."""
    folders = {shows: tmp_path / shows for shows in ("maps", "masks", "overlays", "crops")}
    item = Item("part.png", None, Path("part.png"), pixels=pixels)
    written = [*Pictures(**folders).draw(item, pixels, verdict((60, 100))).values()]
    drawn = [draw_picture(name, pixels, verdict((60, 100))) for name in ("map", "overlay", "crop")]
    files = [*(Path(path).read_bytes() for path in written), *drawn]
    write_png(tmp_path / "image.png", pixels, compress_level=QUICK)
    expected = level_of((tmp_path / "image.png").read_bytes())
    assert {level_of(file) for file in files} == {expected}
    write_png(tmp_path / "image.png", pixels)
    assert level_of((tmp_path / "image.png").read_bytes()) > expected


def level_of(png):
    """0 to 3, by RFC 1950, of the data's first part."""
    return png[png.index(b"IDAT") + 5] >> 6
