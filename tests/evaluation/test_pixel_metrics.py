"""Pixel metrics against scikit-learn and against loops so plain that they can only be slow."""

import errno
import math
import tempfile
import tracemalloc
from itertools import pairwise, product

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from gonogo.errors import ConfigError, DataError, ShapeError, UndefinedMetricError
from gonogo.evaluation.accuracy.pixel_metrics import (
    BinnedPixels,
    MaskOverlap,
    PixelTally,
    aupro,
    pixel_metrics,
    random_pixel_metrics,
)

INCREASING_MAPS = {
    "stretched and below zero": lambda x: 3e6 * x - 1e9,
    "cubed": lambda x: x**3,
    "exponential": np.exp,
    "squashed": lambda x: 1 / (1 + np.exp(-x)),
    "hyperbolic": lambda x: -1 / (x + 100),
}


def regions_of(mask: np.ndarray) -> list[np.ndarray]:
    """The regions of `mask` as index arrays, by flooding over the eight neighbours."""
    waiting, regions = {tuple(pixel) for pixel in np.argwhere(mask).tolist()}, []
    while waiting:
        region = [waiting.pop()]
        for y, x in region:
            for neighbour in product((y - 1, y, y + 1), (x - 1, x, x + 1)):
                if neighbour in waiting:
                    waiting.remove(neighbour)
                    region.append(neighbour)
        regions.append(np.array(region))
    return regions


def aupro_by_definition(maps: list[np.ndarray], masks: list[np.ndarray], limit: float) -> float:
    """Every distinct threshold in turn: mean overlap of all regions over the false-positive rate, then trapezoids."""
    in_regions = [m[tuple(region.T)] for m, mask in zip(maps, masks, strict=True) for region in regions_of(mask)]
    normal = np.concatenate([m[~mask] for m, mask in zip(maps, masks, strict=True)])
    points = [(0.0, 0.0)]
    for threshold in sorted({value for m in maps for value in m.ravel().tolist()}, reverse=True):
        overlap = sum(float((values >= threshold).mean()) for values in in_regions) / len(in_regions)
        points.append((float((normal >= threshold).mean()), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 >= limit:
            break
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def drawn_maps(kind: str, dtype: type = np.float64) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(maps, masks) of four images of different sizes; the last one is good."""
    rng = np.random.default_rng(5)
    sizes = [(9, 14), (12, 7), (1, 11), (10, 10)]
    masks = [rng.random(size) < 0.2 for size in sizes]
    masks[-1][:] = False
    maps = [rng.normal(size=size) + 0.7 * mask for size, mask in zip(sizes, masks, strict=True)]
    change = {
        "random": lambda m: m,
        "tied": lambda m: np.round(2 * m),
        "constant": lambda m: np.full_like(m, 2.5),
        "two values": lambda m: (m > 0.5).astype(float),
        "huge": lambda m: m * 1e30,
        "tiny": lambda m: m * 1e-30,
    }[kind]
    return [change(m).astype(dtype) for m in maps], masks


MAP_KINDS = ["random", "tied", "constant", "two values", "huge", "tiny"]


@pytest.mark.parametrize("kind", MAP_KINDS)
@pytest.mark.parametrize("limit", [0.30, 0.05, 1.0])
def test_aupro_is_what_its_definition_says(kind, limit):
    maps, masks = drawn_maps(kind)
    assert aupro(maps, masks, fpr_limit=limit) == pytest.approx(aupro_by_definition(maps, masks, limit), abs=1e-9)


@pytest.mark.parametrize("limit", [0.30, 0.05, 1.0])
def test_aupro_of_one_pixel_and_diagonal_regions_is_what_its_definition_says(limit):
    rng = np.random.default_rng(8)
    masks = [np.eye(9, dtype=bool), np.zeros((9, 9), dtype=bool), np.fliplr(np.eye(9, 12, dtype=bool))]
    masks[1][4, 4] = masks[1][0, 8] = True
    maps = [rng.normal(size=mask.shape) + mask for mask in masks]
    assert [len(regions_of(mask)) for mask in masks] == [1, 2, 1]
    assert aupro(maps, masks, fpr_limit=limit) == pytest.approx(aupro_by_definition(maps, masks, limit), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MAP_KINDS)
def test_pixel_metrics_equal_scikit_learns_on_all_pixels_and_aupro(kind, dtype):
    maps, masks = drawn_maps(kind, dtype)
    values, truth = np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in masks])
    metrics = pixel_metrics(maps, masks)
    assert metrics.pixel_auroc == pytest.approx(sklearn_metrics.roc_auc_score(truth, values), abs=1e-12)
    assert metrics.pixel_ap == pytest.approx(sklearn_metrics.average_precision_score(truth, values), abs=1e-12)
    assert metrics.aupro_30 == pytest.approx(aupro_by_definition(maps, masks, 0.30), abs=1e-9)
    assert metrics.aupro_05 == pytest.approx(aupro_by_definition(maps, masks, 0.05), abs=1e-9)


@pytest.mark.parametrize("run_pixels", [1, 7, 64, 1000])
@pytest.mark.parametrize("kind", MAP_KINDS)
def test_how_many_pixels_are_sorted_at_a_time_changes_no_metric(kind, run_pixels):
    maps, masks = drawn_maps(kind, np.float32)
    tally = PixelTally(run_pixels=run_pixels)
    for anomaly_map, mask in zip(maps, masks, strict=True):
        tally.add(anomaly_map, mask)
    assert vars(tally.metrics()) == pytest.approx(vars(pixel_metrics(maps, masks)), abs=1e-12)
    assert tally.metrics() == tally.metrics()


def test_a_tally_goes_on_after_it_was_asked_and_leaves_the_maps_as_they_were():
    maps, masks = drawn_maps("random", np.float32)
    kept = [anomaly_map.copy() for anomaly_map in maps]
    tally = PixelTally(run_pixels=50)
    for anomaly_map, mask in zip(maps, masks, strict=True):
        tally.add(anomaly_map, mask)
        tally.metrics()
    assert vars(tally.metrics()) == pytest.approx(vars(pixel_metrics(maps, masks)), abs=1e-12)
    np.testing.assert_array_equal(np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in kept]))


def test_maps_of_single_and_double_precision_mix():
    maps, masks = drawn_maps("random")
    mixed = [anomaly_map.astype(np.float32 if n % 2 else np.float64) for n, anomaly_map in enumerate(maps)]
    widened = [anomaly_map.astype(np.float64) for anomaly_map in mixed]
    tally = PixelTally(run_pixels=30)
    for anomaly_map, mask in zip(mixed, masks, strict=True):
        tally.add(anomaly_map, mask)
    assert vars(tally.metrics()) == pytest.approx(vars(pixel_metrics(widened, masks)), abs=1e-12)


def test_memory_does_not_grow_with_the_number_of_maps():
    def peak(n_maps):
        rng = np.random.default_rng(0)
        mask = np.zeros((256, 256), dtype=bool)
        mask[:40, :40] = True
        tally = PixelTally(run_pixels=1 << 17)
        tracemalloc.start()
        for _ in range(n_maps):
            tally.add(rng.random((256, 256), dtype=np.float32), mask)
        tally.metrics()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak(160) < 1.1 * peak(40)


def test_no_room_for_the_temporary_file_is_said_with_its_folder(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(DataError, match=r"wait there for their metrics, and .*No space left.* let TMPDIR"):
        PixelTally(run_pixels=1).add(np.ones((2, 2)), np.zeros((2, 2), dtype=bool))


def test_a_small_region_counts_as_much_as_a_large_one():
    mask = np.zeros((20, 20), dtype=bool)
    mask[:10, :10] = mask[15, 15] = True  # 100 pixels and 1 pixel
    large, small = np.zeros((20, 20)), np.zeros((20, 20))
    large[:10, :10] = small[15, 15] = 1.0
    # One region found before any false positive: overlap 1/2 at rate 0, then a straight line to (1, 1).
    expected = (0.5 + 0.5 + 0.5 * 0.3) / 2
    assert aupro([large], [mask], fpr_limit=0.3) == pytest.approx(expected)
    assert aupro([small], [mask], fpr_limit=0.3) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["random", "missed", "perfect", "everything"])
def test_seg_f1_is_scikit_learns_f1_of_all_pixels_of_all_images_together(kind):
    rng = np.random.default_rng(8)
    masks = [rng.random(size) < share for size, share in [((9, 7), 0.3), ((20, 11), 0.0), ((5, 30), 0.8)]]
    marked = {
        "random": [rng.random(mask.shape) < 0.4 for mask in masks],
        "missed": [np.zeros_like(mask) for mask in masks],
        "perfect": masks,
        "everything": [np.ones_like(mask) for mask in masks],
    }[kind]
    together = (np.concatenate([m.ravel() for m in parts]) for parts in (masks, marked))
    assert overlap(marked, masks).f1() == pytest.approx(sklearn_metrics.f1_score(*together), abs=1e-12)


def test_seg_f1_needs_a_defect_pixel_and_masks_that_fit():
    mask = np.zeros((4, 5), dtype=bool)
    with pytest.raises(UndefinedMetricError, match="got none"):
        overlap([~mask], [mask]).f1()
    with pytest.raises(ShapeError, match=r"image 1: expected two masks .* got \(5, 4\) bool and \(4, 5\) bool"):
        overlap([mask, mask.T], [mask, mask])
    with pytest.raises(ShapeError, match="float64"):
        overlap([mask.astype(float)], [mask])


def overlap(marked, masks):
    overlap = MaskOverlap()
    for some, mask in zip(marked, masks, strict=True):
        overlap.add(some, mask)
    return overlap


def test_touching_regions_of_two_images_are_two_regions():
    left, right = np.zeros((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)
    left[-1], right[0, :2] = True, True  # they would touch if the images were stacked
    found_left = [left.astype(float), np.zeros((4, 4))]
    assert aupro(found_left, [left, right], fpr_limit=1.0) == pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_a_perfect_map_has_aupro_1_and_a_constant_one_half_its_limit(limit):
    _, masks = drawn_maps("random")
    assert aupro([mask.astype(float) for mask in masks], masks, fpr_limit=limit) == 1.0
    assert aupro([np.ones(mask.shape) for mask in masks], masks, fpr_limit=limit) == pytest.approx(limit / 2)


@pytest.mark.parametrize("increasing", INCREASING_MAPS.values(), ids=INCREASING_MAPS.keys())
def test_pixel_metrics_are_unchanged_by_any_increasing_map_of_the_values(increasing):
    maps, masks = drawn_maps("tied")
    assert pixel_metrics([increasing(m) for m in maps], masks) == pixel_metrics(maps, masks)


def test_pixel_metrics_do_not_depend_on_the_order_of_the_images():
    maps, masks = drawn_maps("tied")
    assert vars(pixel_metrics(maps[::-1], masks[::-1])) == pytest.approx(vars(pixel_metrics(maps, masks)), abs=1e-12)


def test_pixel_metrics_are_the_same_of_images_that_all_stand_twice():
    maps, masks = drawn_maps("tied")
    twice = vars(pixel_metrics([*maps, *maps], [*masks, *masks]))
    assert twice == pytest.approx(vars(pixel_metrics(maps, masks)), abs=1e-12)


PIXEL_METRICS = [pixel_metrics, lambda maps, masks: aupro(maps, masks, fpr_limit=0.3)]
HALF = np.array([[True, False]])


@pytest.mark.parametrize("metric", PIXEL_METRICS)
@pytest.mark.parametrize(
    ("maps", "masks", "error", "message"),
    [
        ([np.ones((1, 2))], [~HALF & HALF], UndefinedMetricError, "defect and normal pixels are needed, got 0 of 2"),
        ([np.ones((1, 2))], [HALF | ~HALF], UndefinedMetricError, "got 2 of 2"),
        ([], [], UndefinedMetricError, "got 0 of 0"),
        ([np.ones((0, 2))], [np.ones((0, 2), dtype=bool)], ShapeError, r"image 0: .* got \(0, 2\)"),
        ([np.array([[1.0, np.nan]])], [HALF], ShapeError, "image 0: its map holds values that are not finite"),
        ([np.ones((1, 2)), np.array([[np.inf, 1.0]])], [HALF, HALF], ShapeError, "image 1: its map"),
        ([np.ones((1, 2))], [HALF.astype(np.uint8)], ShapeError, r"\(1, 2\) uint8; threshold masks first"),
        ([np.ones((2, 1))], [HALF], ShapeError, r"got \(2, 1\) and \(1, 2\) bool"),
        ([np.ones(2)], [HALF[0]], ShapeError, r"got \(2,\) and \(2,\) bool"),
    ],
)
def test_maps_and_masks_that_have_no_metric_say_why(metric, maps, masks, error, message):
    with pytest.raises(error, match=message):
        metric(maps, masks)


@pytest.mark.parametrize("limit", [0.0, -0.3, 1.01, 30, math.nan])
def test_a_false_positive_limit_outside_its_range_is_refused(limit):
    with pytest.raises(ConfigError, match=r"fpr_limit: expected a rate in \(0, 1\]"):
        aupro([np.ones((1, 2))], [HALF], fpr_limit=limit)


def smooth_maps(n: int, *, sign: int = 1) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Maps whose defects stand out a little, every third image good; values of one sign or of both."""
    rng = np.random.default_rng(2)
    maps, masks = [], []
    for number in range(n):
        mask = np.zeros((24, 30), dtype=bool)
        if number % 3:
            mask[4 : 8 + number, 5:9] = True
            mask[20:22, 20 : 22 + number] = True
        maps.append((sign * (rng.normal(size=mask.shape) + mask) + 0.5).astype(np.float32))
        masks.append(mask)
    return maps, masks


@pytest.mark.parametrize("sign", [1, -1])
def test_a_metric_from_bins_is_near_that_of_the_pixels_of_the_images_drawn(sign):
    maps, masks = smooth_maps(6, sign=sign)
    binned = BinnedPixels()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        binned.add(anomaly_map, mask, anomaly_map > 1, n_inspected=0 if mask.any() else mask.size)
    counts = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 0, 3, 0], [0, 1, 0, 0, 0, 0], [3, 0, 0, 3, 0, 0]], dtype=float)
    found = {name: metric(counts) for name, metric in binned.resampled().items()}
    for row, times in enumerate(counts.astype(int)):
        chosen = np.repeat(np.arange(6), times)
        if not any(masks[one].any() for one in chosen):
            assert all(math.isnan(found[name][row]) for name in found if name != "pixel_false_positive_rate")
            continue
        expected = pixel_metrics([maps[one] for one in chosen], [masks[one] for one in chosen])
        for name, value in vars(expected).items():
            assert found[name][row] == pytest.approx(value, abs=2e-3), name
        overlap = MaskOverlap()
        for one in chosen:
            overlap.add(maps[one] > 1, masks[one])
        assert found["seg_f1"][row] == pytest.approx(overlap.f1(), abs=1e-12)
    good = [one for one in range(6) if not masks[one].any()]
    marked = np.mean([(maps[one] > 1).mean() for one in good])
    assert found["pixel_false_positive_rate"][0] == pytest.approx(marked, abs=1e-12)
    assert math.isnan(found["pixel_false_positive_rate"][2])


def test_an_image_without_a_mask_counts_for_the_false_positive_rate_alone():
    maps, masks = smooth_maps(3)
    with_it, without = BinnedPixels(), BinnedPixels()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        for binned in (with_it, without):
            binned.add(anomaly_map, mask, anomaly_map > 1, n_inspected=0)
    with_it.add(maps[0], None, maps[0] > 1, n_inspected=maps[0].size)
    ours, theirs = with_it.resampled(), without.resampled()
    assert ours["pixel_false_positive_rate"](np.ones((1, 4)))[0] == (maps[0] > 1).mean()
    for name in ("pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "seg_f1"):
        assert ours[name](np.ones((1, 4))) == theirs[name](np.ones((1, 3)))


def test_what_chance_gives_is_the_metric_of_random_maps():
    rng = np.random.default_rng(4)
    maps = [rng.random((150, 200)) for _ in range(4)]
    masks = [np.zeros((150, 200), dtype=bool) for _ in maps]
    for number, mask in enumerate(masks):
        mask[10:60, 10 : 40 + 10 * number] = True
    found = pixel_metrics(maps, masks)
    n_defective = sum(int(mask.sum()) for mask in masks)
    expected = random_pixel_metrics(4 * 150 * 200 - n_defective, n_defective)
    for name, value in vars(expected).items():
        assert vars(found)[name] == pytest.approx(value, abs=0.02), name
