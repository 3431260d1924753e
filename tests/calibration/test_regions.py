"""From map to regions: what stands in other libraries too is checked against them, and defaults change nothing."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage import filters, measure, morphology

from conftest import REGIONS
from gonogo.calibration.regions import (
    CELLS,
    PixelThreshold,
    RegionParams,
    RegionRule,
    Runs,
    defect_mask,
    dilated,
    find_regions,
)
from gonogo.errors import ConfigError, ShapeError
from gonogo.params import build

SQUARE = np.ones((3, 3), dtype=bool)
SHAPES = [(1, 1), (1, 60), (60, 1), (2, 2), (31, 47), (120, 90)]


def rule(threshold=1.0, **changes):
    calibrated = PixelThreshold(threshold, "quantile", 1e-3, 1e-3, 1000, 10)
    return RegionRule(replace(REGIONS, **changes), calibrated)


def smooth(seed, shape=(80, 100), sigma=3.0):
    """A map (h, w) float32 above 0 with hills of several heights; 1.0 is its 95 % quantile."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    noise -= noise.min()
    return (noise / np.quantile(noise, 0.95)).astype(np.float32)


def spiral(side):
    """One arm of one pixel that winds inwards, a gap of one pixel between its turns."""
    mask = np.zeros((side, side), dtype=bool)
    row, column, down, right = 0, 0, 0, 1
    mask[0, 0] = True
    for length in [side - 1, *(n for n in range(side - 1, 1, -2) for _ in (0, 1))]:
        for _ in range(length):
            row, column = row + down, column + right
            mask[row, column] = True
        down, right = right, -down
    return mask


def serpentine(side):
    """One line that goes to and fro, row by row: each run touches the next one at its far end only."""
    mask = np.zeros((side, side), dtype=bool)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    return mask


ADVERSARIAL = {
    "spiral": spiral(61),
    "spiral seen from behind": spiral(61)[::-1, ::-1],
    "serpentine": serpentine(61),
    "serpentine upright": serpentine(61).T,
    "checkerboard": np.indices((40, 41)).sum(axis=0) % 2 == 0,
    "comb": np.pad(np.tile([True, False], (20, 20)), ((0, 1), (0, 0)), constant_values=True),
    "comb upside down": np.pad(np.tile([True, False], (20, 20)), ((1, 0), (0, 0)), constant_values=True),
    "rings": np.max(np.abs(np.indices((41, 41)) - 20), axis=0) % 2 == 0,
    "diagonals": (np.indices((40, 40)).sum(axis=0) % 3) == 0,
    "ends of rows": np.tile([True, False, False, False, True], (9, 1)),
    "empty": np.zeros((13, 7), dtype=bool),
    "full": np.ones((13, 7), dtype=bool),
}


def label(mask):
    """Labels (h, w) of the regions of a mask, 1 to n in reading order, 0 elsewhere; and n."""
    runs = Runs.of(mask)
    numbers = np.unique(runs.region) + 1
    return runs.painted(numbers), len(numbers)


def assert_labelled_as_by_scipy(mask):
    labels, n_labels = label(mask)
    expected, n_expected = ndimage.label(mask, SQUARE)
    assert n_labels == n_expected
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.03, 0.2, 0.4, 0.5, 0.7, 0.95, 1.0])
def test_labels_of_random_masks_are_scipys(shape, density):
    rng = np.random.default_rng(5)
    for _ in range(8):
        assert_labelled_as_by_scipy(rng.random(shape) < density)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_labels_of_masks_made_to_mislead_are_scipys(name):
    assert_labelled_as_by_scipy(ADVERSARIAL[name])


def test_the_spiral_is_one_region_and_would_be_many_without_its_joins():
    arm = spiral(61)
    assert label(arm)[1] == 1
    arm[1::2] = False
    assert label(arm)[1] > 400


def test_regions_are_those_of_scikit_image():
    anomaly_map = smooth(1)
    mask = anomaly_map >= 0.9
    regions = find_regions(anomaly_map, mask)
    expected = measure.regionprops(measure.label(mask, connectivity=2), intensity_image=anomaly_map)
    assert len(regions) == len(expected) > 5
    by_peak = sorted(expected, key=lambda found: -found.intensity_max)
    for region, found in zip(regions, by_peak, strict=True):
        top, left, bottom, right = found.bbox
        assert region.box == (left, top, right - left, bottom - top)
        assert region.area == found.area
        assert region.centroid == pytest.approx(found.centroid[::-1])
        assert region.peak == found.intensity_max
        assert region.mean == pytest.approx(found.intensity_mean, rel=1e-5)


def test_regions_with_the_same_peak_stand_in_reading_order():
    mask = np.zeros((5, 9), dtype=bool)
    mask[0, 6] = mask[2, 1] = mask[2, 4] = mask[4, 0] = True
    boxes = [region.box for region in find_regions(mask.astype(np.float32), mask)]
    assert boxes == [(6, 0, 1, 1), (1, 2, 1, 1), (4, 2, 1, 1), (0, 4, 1, 1)]


def test_nothing_marked_is_no_region():
    assert find_regions(np.ones((4, 6), dtype=np.float32), np.zeros((4, 6), dtype=bool)) == []


def test_a_region_is_plain_numbers_that_json_can_hold():
    (region,) = find_regions(np.full((2, 3), 1.5, dtype=np.float32), np.ones((2, 3), dtype=bool))
    assert json.loads(json.dumps(asdict(region))) == {
        "box": [0, 0, 3, 2],
        "area": 6,
        "centroid": [1.0, 0.5],
        "peak": 1.5,
        "mean": 1.5,
        "solidity": 1.0,
        "elongation": pytest.approx(1.5),
    }


@pytest.mark.parametrize("seed", range(5))
def test_with_the_defaults_the_mask_is_exactly_the_map_at_or_above_the_threshold(seed):
    anomaly_map = smooth(seed)
    threshold = float(anomaly_map[40, 50])  # on a pixel's own value
    mask = defect_mask(anomaly_map, rule(threshold))
    np.testing.assert_array_equal(mask, anomaly_map >= threshold)
    assert mask[40, 50]


def test_the_mask_of_a_pixel_does_not_depend_on_the_largest_value_of_its_map():
    anomaly_map = smooth(2)
    other = anomaly_map.copy()
    other[0, 0] = 1e6
    changed = defect_mask(anomaly_map, rule()) != defect_mask(other, rule())
    assert np.argwhere(changed).tolist() == [[0, 0]]


def test_a_gauge_without_a_pixel_threshold_marks_nothing():
    assert not defect_mask(np.full((4, 5), 1e9, dtype=np.float32), RegionRule(REGIONS, None)).any()


@pytest.mark.parametrize("radius", [1, 2, 5, 200])
@pytest.mark.parametrize("shape", SHAPES)
def test_dilation_and_erosion_are_scipys_and_know_nothing_beyond_the_image(shape, radius):
    rng = np.random.default_rng(3)
    side = 2 * radius + 1
    for density in (0.02, 0.5, 0.98):
        mask = rng.random(shape) < density
        np.testing.assert_array_equal(dilated(mask, radius), ndimage.maximum_filter(mask, side, mode="nearest"))
        np.testing.assert_array_equal(~dilated(~mask, radius), ndimage.minimum_filter(mask, side, mode="nearest"))


@pytest.mark.parametrize("radius", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_opening_and_closing_are_scipys(seed, radius):
    anomaly_map = smooth(seed, sigma=1.5)
    side = 2 * radius + 1
    raw = anomaly_map >= 1
    opened = ndimage.grey_opening(raw.astype(np.uint8), side, mode="nearest") > 0
    closed = ndimage.grey_closing(raw.astype(np.uint8), side, mode="nearest") > 0
    both = ndimage.grey_closing(opened.astype(np.uint8), side, mode="nearest") > 0
    np.testing.assert_array_equal(defect_mask(anomaly_map, rule(opening=radius)), opened)
    np.testing.assert_array_equal(defect_mask(anomaly_map, rule(closing=radius)), closed)
    np.testing.assert_array_equal(defect_mask(anomaly_map, rule(opening=radius, closing=radius)), both)
    assert opened.sum() < raw.sum() < closed.sum()


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("seed", range(4))
def test_hysteresis_is_the_reconstruction_of_the_high_mask_under_the_low_one(seed, share):
    anomaly_map = smooth(seed, sigma=1.5)
    high, low = anomaly_map >= 1, anomaly_map >= share
    expected = morphology.reconstruction(high.astype(np.uint8), low.astype(np.uint8), footprint=SQUARE) > 0
    grown = defect_mask(anomaly_map, rule(hysteresis=share))
    np.testing.assert_array_equal(grown, expected)
    assert high.sum() < grown.sum() < low.sum() or share == 0.5


def test_hysteresis_is_scikit_images_where_no_two_regions_touch_at_a_corner_alone():
    compared = 0
    for seed in range(40):
        anomaly_map = smooth(seed)
        low = anomaly_map >= 0.85
        if ndimage.label(low)[1] == ndimage.label(low, SQUARE)[1]:  # scikit-image joins along sides only
            expected = filters.apply_hysteresis_threshold(anomaly_map, 0.85, 1.0)
            np.testing.assert_array_equal(defect_mask(anomaly_map, rule(hysteresis=0.85)), expected)
            compared += 1
    assert compared >= 10


def test_regions_smaller_than_the_smallest_area_are_dropped_and_no_other_pixel_is():
    anomaly_map = smooth(4, sigma=1.5)
    raw = anomaly_map >= 1
    areas = [region.area for region in find_regions(anomaly_map, raw)]
    limit = sorted(areas)[len(areas) // 2]
    mask = defect_mask(anomaly_map, rule(min_area=limit))
    assert sorted(region.area for region in find_regions(anomaly_map, mask)) == sorted(a for a in areas if a >= limit)
    assert not (mask & ~raw).any()
    np.testing.assert_array_equal(mask, morphology.remove_small_objects(raw, max_size=limit - 1, connectivity=2))


def test_closing_does_not_reach_out_of_what_is_inspected():
    anomaly_map = np.zeros((40, 40), dtype=np.float32)
    anomaly_map[8:12, 18:22] = anomaly_map[28:32, 18:22] = 2.0
    l_shape = [[0.0, 0.0], [0.7, 0.0], [0.7, 0.4], [0.5, 0.4], [0.5, 0.6], [0.7, 0.6], [0.7, 1.0], [0.0, 1.0]]
    everywhere, inside = rule(closing=9), rule(closing=9, roi=l_shape)
    reached = defect_mask(anomaly_map, everywhere)
    assert reached[20, 18:22].all()
    expected = reached & inside.params.roi_mask(40, 40)
    np.testing.assert_array_equal(defect_mask(anomaly_map, inside), expected)
    assert expected[20, 18:20].all()
    assert not expected[20, 20:].any()


@pytest.mark.parametrize(
    "polygon",
    [
        [[0.1, 0.2], [0.8, 0.05], [0.95, 0.9], [0.3, 0.7]],
        [[0.51, 0.03], [0.99, 0.91], [0.53, 0.61], [0.02, 0.97]],  # a notch
        [[0.07, 0.11], [0.93, 0.95], [0.96, 0.07], [0.11, 0.99]],  # a bow tie
    ],
)
def test_the_inside_of_a_polygon_is_scikit_images(polygon):
    centres = (np.indices((CELLS, CELLS)).reshape(2, -1).T[:, ::-1] + 0.5) / CELLS
    expected = measure.points_in_poly(centres, polygon).reshape(CELLS, CELLS)
    inside = replace(REGIONS, roi=polygon).inside
    assert (inside != expected).sum() <= 3  # centres that lie on an edge
    assert 0.2 < inside.mean() < 0.7


def test_the_direction_and_the_first_corner_of_a_polygon_do_not_matter():
    polygon = [[0.1, 0.2], [0.83, 0.05], [0.95, 0.9], [0.3, 0.7]]
    inside = replace(REGIONS, roi=polygon).inside
    np.testing.assert_array_equal(replace(REGIONS, roi=polygon[2:] + polygon[:2]).inside, inside)
    np.testing.assert_array_equal(replace(REGIONS, roi=polygon[::-1]).inside, inside)


@pytest.mark.parametrize(("height", "width"), [(40, 100), (1000, 1300), (7, 3)])
def test_a_border_is_the_same_fraction_of_every_side(height, width):
    inspected = replace(REGIONS, border=0.2).roi_mask(height, width)
    rows, columns = ((np.arange(n) + 0.5) / n for n in (height, width))
    expected = ((rows > 0.2) & (rows < 0.8))[:, None] & ((columns > 0.2) & (columns < 0.8))
    assert abs(int(inspected.sum()) - int(expected.sum())) <= 0.01 * expected.sum()
    np.testing.assert_array_equal(inspected, inspected[::-1, ::-1])
    assert not inspected.all()


def test_a_roi_at_the_original_size_is_the_polygon_to_a_cells_width():
    inspected = replace(REGIONS, roi=[[0.25, 0.5], [0.75, 0.5], [0.75, 1.0], [0.25, 1.0]]).roi_mask(300, 900)
    rows, columns = np.nonzero(inspected)
    assert (rows.min(), rows.max()) == (150, 299)
    assert columns.min() == pytest.approx(225, abs=900 / CELLS)
    assert columns.max() == pytest.approx(674, abs=900 / CELLS)
    assert inspected[150:, 227:673].all()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pixel_threshold", "median"),
        ("pixel_false_positive_rate", 1.0),
        ("pixel_false_positive_rate", -0.1),
        ("sigma", 0.0),
        ("sigma", float("nan")),
        ("hysteresis", 0.0),
        ("hysteresis", 1.2),
        ("opening", -1),
        ("closing", -1),
        ("min_area", 0),
        ("roi", [[0.1, 0.1], [0.9, 0.9]]),
        ("roi", [[0.1, 0.1], [0.9, 0.9], [0.5]]),
        ("roi", [[10, 10], [90, 10], [50, 90]]),
        ("roi", [[0.5, float("nan")], [0.1, 0.2], [1, 1]]),
        ("border", 0.5),
        ("border", -0.1),
        ("merge", -1),
        ("min_solidity", 1.1),
        ("max_elongation", 0.9),
    ],
)
def test_a_value_out_of_its_range_is_named_with_what_is_allowed(key, value):
    with pytest.raises(ConfigError, match=rf"{key} .*expected"):
        replace(REGIONS, **{key: value})


def test_regions_cannot_grow_down_to_a_share_of_a_threshold_that_is_not_above_0():
    """A share of a negative number is higher: regions would shrink, and those of weak values vanish."""
    below = PixelThreshold(-2.0, "sigma", 3.0, 1e-3, 10, 1)
    RegionRule(REGIONS, below)
    with pytest.raises(ConfigError, match=r"hysteresis is 0\.5, a share of the pixel threshold, which is -2"):
        RegionRule(replace(REGIONS, hysteresis=0.5), below)


def test_a_mistyped_value_is_named_at_the_door():
    values = asdict(REGIONS)
    assert build(RegionParams, values | {"roi": [[0, 0], [1, 0], [1, 1]]}, where="regions").roi[1] == [1.0, 0.0]
    for key, value in (("min_area", 2.5), ("roi", "all"), ("pixel_threshold", "median"), ("hysteresis", "high")):
        with pytest.raises(ConfigError, match=f"params: .*{key}"):
            build(RegionParams, values | {key: value}, where="params")


@pytest.mark.parametrize(
    "changes",
    [
        {"roi": [[0.3, 0.1], [0.3, 0.5], [0.3, 0.9]]},
        {"roi": [[0.0, 0.0], [0.1, 0.0], [0.1, 0.1]], "border": 0.2},
    ],
)
def test_a_roi_that_leaves_nothing_is_refused(changes):
    with pytest.raises(ConfigError, match="leave nothing to inspect"):
        replace(REGIONS, **changes)


def _rounded(values):
    """Orders alike what differs by rounding alone."""
    return tuple(round(value, 6) for value in values)


@pytest.mark.parametrize("seed", range(3))
def test_solidity_and_elongation_are_those_of_hull_and_covariance(seed):
    mask = smooth(seed, sigma=1.5) > 0.95
    mask[:12, :12] = spiral(12)
    labels, count = ndimage.label(mask, SQUARE)
    expected = []
    for number in range(1, count + 1):
        points = np.argwhere(labels == number)
        corners = np.concatenate([points + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])
        axes = np.linalg.eigvalsh(np.cov(points.T, bias=True) + np.eye(2) / 12)
        expected.append((len(points), len(points) / ConvexHull(corners).volume, np.sqrt(axes[1] / axes[0])))
    found = [(r.area, r.solidity, r.elongation) for r in find_regions(mask.astype(np.float32), mask)]
    assert count > 20
    np.testing.assert_allclose(sorted(found, key=_rounded), sorted(expected, key=_rounded), rtol=1e-9)


def test_regions_with_a_small_gap_are_one_and_count_as_one():
    """A broken line of three dashes with gaps of 4 pixels, and a dot far from it."""
    mask = np.zeros((30, 60), dtype=bool)
    for start in (2, 12, 22):
        mask[5, start : start + 6] = True
    mask[25, 50] = True
    values = mask * np.linspace(1, 2, 60, dtype=np.float32)
    apart = find_regions(values, mask, merge=1)
    line, dot = sorted(find_regions(values, mask, merge=2), key=lambda region: -region.area)
    assert len(apart) == 4
    assert (line.box, line.area, dot.area) == ((2, 5, 26, 1), 18, 1)
    assert line.solidity == pytest.approx(18 / 26)
    assert line.peak == pytest.approx(float(values[5].max()))
    kept = defect_mask(values, rule(merge=2, min_area=10))
    np.testing.assert_array_equal(kept, mask & (np.arange(30) < 20)[:, None])
    assert not defect_mask(values, rule(merge=1, min_area=10)).any()


def test_jagged_and_long_regions_are_dropped_where_that_is_asked_for():
    mask = np.zeros((60, 60), dtype=bool)
    mask[2:14, 2:14] = spiral(12)
    mask[30:38, 5:15] = True
    mask[50, 3:50] = True
    values = mask.astype(np.float32)
    areas = {
        name: sorted(region.area for region in find_regions(values, defect_mask(values, rule(**changes))))
        for name, changes in {
            "all": {},
            "solid": {"min_solidity": 0.8},
            "round": {"max_elongation": 5.0},
            "both": {"min_solidity": 0.8, "max_elongation": 5.0},
        }.items()
    }
    curl = int(spiral(12).sum())
    assert areas == {"all": sorted([curl, 80, 47]), "solid": [47, 80], "round": sorted([curl, 80]), "both": [80]}


def test_the_rule_of_a_bundle_from_before_these_filters_reads_as_without_them():
    written = rule().to_dict()
    for key in ("merge", "min_solidity", "max_elongation"):
        del written["params"][key]
    assert RegionRule.from_dict(written) == rule()


def test_a_rule_is_the_same_after_json_and_finds_the_same():
    ours = rule(0.9, hysteresis=0.7, closing=2, min_area=5, roi=[[0.1, 0.1], [0.9, 0.2], [0.5, 0.9]], border=0.05)
    theirs = RegionRule.from_dict(json.loads(json.dumps(ours.to_dict())))
    assert theirs == ours
    np.testing.assert_array_equal(defect_mask(smooth(1), theirs), defect_mask(smooth(1), ours))
    blind = RegionRule(REGIONS, None)
    assert RegionRule.from_dict(json.loads(json.dumps(blind.to_dict()))) == blind


def test_a_batch_of_maps_is_refused_since_regions_are_of_one_image():
    with pytest.raises(ShapeError, match=r"expected \(h, w\), got \(2, 4, 4\)"):
        defect_mask(np.zeros((2, 4, 4), dtype=np.float32), rule())
