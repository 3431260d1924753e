"""The pixel threshold: exact on all good pixels, though they pass by one map at a time."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from conftest import REGIONS, fitted
from gonogo.calibration.pixel_threshold import GoodPixels
from gonogo.errors import DataError
from gonogo.model.inspection import inspect_calibrate, score_images

SIGMA = replace(REGIONS, pixel_threshold="sigma")


def maps_of(seed, *, decimals=None, count=12):
    """Maps of three sizes with a heavy tail; with `decimals`, many of their values are equal."""
    rng = np.random.default_rng(seed)
    sizes = [(30, 40), (25, 31), (44, 20)]
    maps = [rng.exponential(3, sizes[number % 3]) ** 1.5 for number in range(count)]
    return [np.round(m, decimals).astype(np.float32) if decimals is not None else m.astype(np.float32) for m in maps]


def threshold_of(params, maps):
    pixels = GoodPixels(params, [anomaly_map.shape for anomaly_map in maps])
    for anomaly_map in maps:
        pixels.add(anomaly_map)
    return pixels.threshold()


@pytest.mark.parametrize("decimals", [None, 1, 0, -1])
@pytest.mark.parametrize("rate", [0.0, 1e-4, 1e-3, 0.0137, 0.2, 0.9])
def test_as_many_good_pixels_as_the_rate_allows_lie_at_or_above_the_threshold_and_no_more(rate, decimals):
    maps = maps_of(7, decimals=decimals)
    values = np.concatenate([anomaly_map.ravel() for anomaly_map in maps])
    record = threshold_of(replace(REGIONS, pixel_false_positive_rate=rate), maps)
    n_above = int((values >= record.threshold).sum())
    assert n_above <= rate * len(values)
    next_lower = values[values < record.threshold].max()
    assert (values >= next_lower).sum() > rate * len(values)  # the tie below would let too many through
    assert record.measured_false_positive_rate == n_above / len(values)
    assert (record.method, record.target) == ("quantile", rate)
    assert (record.n_pixels, record.n_images) == (len(values), 12)


def test_a_quantile_threshold_lies_on_no_pixel_where_there_is_room():
    maps = maps_of(3)
    threshold = threshold_of(REGIONS, maps).threshold
    values = np.sort(np.concatenate([anomaly_map.ravel() for anomaly_map in maps]))
    above = int(np.searchsorted(values, threshold))
    assert threshold == pytest.approx((float(values[above - 1]) + float(values[above])) / 2, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_by_sigma_it_is_the_mean_and_so_many_standard_deviations_of_all_good_pixels(sigma, offset):
    maps = [anomaly_map + np.float32(offset) for anomaly_map in maps_of(5)]
    values = np.concatenate([anomaly_map.ravel() for anomaly_map in maps]).astype(np.float64)
    record = threshold_of(replace(SIGMA, sigma=sigma), maps)
    assert record.threshold == np.float32(values.mean() + sigma * values.std())
    assert record.measured_false_positive_rate == (values >= record.threshold).mean()
    assert (record.method, record.target) == ("sigma", sigma)


def test_the_share_by_sigma_is_exact_even_where_as_many_pixels_as_can_lie_beyond_it():
    values = np.zeros((10, 10), dtype=np.float32)
    values[0] = 1.0  # a tenth, exactly 3 standard deviations above the mean: Cantelli's bound is met
    measured = threshold_of(replace(SIGMA, sigma=2.99), [values] * 4).measured_false_positive_rate
    assert measured == 0.1


@pytest.mark.parametrize("params", [REGIONS, SIGMA])
def test_neither_the_order_nor_the_partition_of_the_maps_matters(params):
    maps = maps_of(9, count=30)
    whole = np.concatenate([anomaly_map.ravel() for anomaly_map in maps])[None]
    expected = threshold_of(params, maps)
    assert threshold_of(params, maps[::-1]).threshold == pytest.approx(expected.threshold, rel=1e-6)
    assert threshold_of(params, [whole]).threshold == pytest.approx(expected.threshold, rel=1e-6)
    assert threshold_of(params, [whole]).measured_false_positive_rate == expected.measured_false_positive_rate


@pytest.mark.parametrize("params", [REGIONS, SIGMA])
@pytest.mark.parametrize("value", [0.0, 7.3])
def test_maps_without_any_difference_mark_none_of_their_pixels(params, value):
    flat = np.full((20, 30), value, dtype=np.float32)
    record = threshold_of(params, [flat, flat])
    assert not (flat >= record.threshold).any()
    assert record.measured_false_positive_rate == 0.0
    assert record.threshold == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("params", [REGIONS, SIGMA])
def test_pixels_outside_the_roi_do_not_count(params):
    inside = replace(params, roi=[[0.1, 0.2], [0.9, 0.3], [0.5, 0.9]])
    maps = maps_of(2)
    kept = [anomaly_map[inside.roi_mask(*anomaly_map.shape)][None] for anomaly_map in maps]
    record = threshold_of(inside, maps)
    assert record == threshold_of(params, kept)
    assert record.n_pixels < 0.5 * sum(anomaly_map.size for anomaly_map in maps)
    assert record.threshold != threshold_of(params, maps).threshold


def test_memory_holds_the_largest_values_and_not_the_maps():
    rng = np.random.default_rng(0)
    shape, count = (200, 250), 60
    pixels = GoodPixels(REGIONS, [shape] * count)
    tracemalloc.start()
    for _ in range(count):
        pixels.add(rng.random(shape, dtype=np.float32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < count * np.prod(shape) * 4 / 6
    assert pixels.threshold().measured_false_positive_rate == 1e-3


def test_a_map_that_is_not_finite_or_not_there_gives_no_threshold():
    pixels = GoodPixels(REGIONS, [(4, 4), (4, 4)])
    with pytest.raises(DataError, match="not finite"):
        pixels.add(np.full((4, 4), np.nan, dtype=np.float32))
    pixels = GoodPixels(REGIONS, [(4, 4), (4, 4)])
    pixels.add(np.ones((4, 4), dtype=np.float32))
    with pytest.raises(DataError, match="expected 32 calibrate pixels, saw 16"):
        pixels.threshold()


def test_every_detector_that_localises_gets_its_threshold_from_calibrate_maps_alone(inspector, digits):
    params = replace(REGIONS, pixel_false_positive_rate=0.01)
    scores, rule = inspect_calibrate(inspector, digits, params)
    good_scores, maps = zip(*score_images(inspector, digits, digits.with_role("calibrate")), strict=True)
    np.testing.assert_array_equal(scores.scores, good_scores)
    assert rule.params == params
    if inspector.detector.localises:
        assert rule.threshold == threshold_of(params, maps)
        values = np.stack(maps)
        above = values >= rule.threshold.threshold
        assert above.mean() == rule.threshold.measured_false_positive_rate <= 0.01
        assert (values >= values[~above].max()).mean() > 0.01  # a lower one would take in too many
    else:
        assert rule.threshold is None


def test_a_stricter_rate_gives_a_higher_threshold(digits):
    inspector = fitted("pca", digits)
    rates = [0.1, 0.01, 0.001, 0.0]
    thresholds = [
        inspect_calibrate(inspector, digits, replace(REGIONS, pixel_false_positive_rate=rate))[1].threshold.threshold
        for rate in rates
    ]
    assert thresholds == sorted(set(thresholds))
