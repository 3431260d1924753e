"""An image is decoded once for all that look at it, and the next one meanwhile; no score changes by that."""

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from conftest import REGIONS
from gonogo.calibration.regions import PixelThreshold, RegionRule
from gonogo.detectors import make_detector
from gonogo.images.dataset import MOST_AHEAD, PIXELS_AHEAD, Dataset
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import Gauge, inspect_records, inspect_side_by_side, score_fit_images
from gonogo.model.inspector import Inspector
from processes import until


@pytest.fixture
def decoded(monkeypatch):
    """How often each image was decoded since."""
    counts, decode = Counter(), Dataset.pixels_of

    def counting(dataset, record):
        counts[record.path] += 1
        return decode(dataset, record)

    monkeypatch.setattr(Dataset, "pixels_of", counting)
    return counts


def of_mean_image(digits, image_size):
    inspector = Inspector(make_detector("mean_image", image_size=image_size))
    inspector.detector.fit(FitImages(inspector, digits, digits.with_role("fit")[:9], rotations=2), seed=17)
    return inspector


def test_gauges_side_by_side_see_what_each_sees_alone_and_an_image_is_decoded_once(digits, decoded):
    rule = RegionRule(REGIONS, PixelThreshold(20.0, "quantile", 0.1, 0.1, 1, 1))
    gauges, records = [], digits.with_role("test")[:21]
    for image_size in (8, 256):  # of which so many images go through the network together:
        inspector = of_mean_image(digits, image_size)
        gauges.append(Gauge(inspector, rule, lambda record, anomaly_map, _: seen.append((record, anomaly_map))))
    assert [gauge.inspector.at_once(8, 8) for gauge in gauges] == [8, 4]
    assert set(decoded.values()) == {2}  # by the fit of each; a view that is turned needs no further one
    decoded.clear()
    seen = []
    together = inspect_side_by_side(gauges, digits, records)
    assert decoded == dict.fromkeys([record.path for record in records], 1)
    seen_together, by_itself = seen.copy(), []
    for gauge, found in zip(gauges, together, strict=True):
        seen.clear()
        alone = inspect_records(gauge.inspector, digits, records, rule=rule, look=gauge.look)
        np.testing.assert_array_equal(found.scores, alone.scores)
        assert found.regions == alone.regions
        assert any(alone.regions)
        by_itself.append(seen.copy())
    for number, (record, anomaly_map) in enumerate(seen_together):
        place, of_gauge = divmod(number, len(gauges))
        assert by_itself[of_gauge][place][0] is record is records[place]
        np.testing.assert_array_equal(by_itself[of_gauge][place][1], anomaly_map)


def test_fit_images_are_decoded_once_to_be_scored_without_themselves(digits, decoded):
    inspector, records = of_mean_image(digits, 8), digits.with_role("fit")[:5]
    decoded.clear()
    found = score_fit_images(inspector, FitImages(inspector, digits, records), n_shown=2, progress=lambda *_: None)
    assert decoded == dict.fromkeys(found.images, 1)
    assert list(found.images) == [record.path for record in records]


def test_the_next_images_are_decoded_meanwhile_in_their_order_and_large_ones_one_by_one(digits, decoded):
    records = digits.with_role("test")[: MOST_AHEAD + 4]
    images = digits.images_of(records)
    first = next(images)
    until(lambda: len(decoded) == MOST_AHEAD)
    rest = list(images)
    for record, pixels in zip(records, [first, *rest], strict=True):
        np.testing.assert_array_equal(pixels, digits.pixels_of(record))
    decoded.clear()
    large = [replace(records[0], width=PIXELS_AHEAD // 2 + 1, height=1), *records[1:]]
    before = threading.active_count()
    next(digits.images_of(large))
    assert (decoded.total(), threading.active_count()) == (1, before)
