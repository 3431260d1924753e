"""The strip of parts: good ones, found defects and errors, fairly chosen, honestly labelled, and quick to load."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import REGIONS, manifest_of
from gonogo.calibration.regions import PixelThreshold, RegionRule
from gonogo.data.sample import Sample
from gonogo.inference.scorer import Verdict
from gonogo.reports.drawing import REGION_LINE
from gonogo.reports.parts import Part, PartImages, parts_with_role
from gonogo.reports.strip import N_GOOD, N_PARTS, N_WRONG, SIDE, chosen_parts, overlay_tile, strip_of

RULE = RegionRule(REGIONS, PixelThreshold(1.0, "sigma", 3.0, 0.0, 1, 1))


def parts_of(good, **by_type):
    """Parts with these scores; the threshold is 1."""
    scores = {"good": good, **by_type}
    return [
        Part(f"{kind}{number}", kind != "good", kind, score, 1.0)
        for kind, of_kind in scores.items()
        for number, score in enumerate(of_kind)
    ]


def kinds(parts):
    return [(part.defect_type, part.rejected) for part in chosen_parts(parts)]


def test_good_parts_that_pass_come_first_then_defects_of_many_types_then_errors():
    parts = parts_of(np.linspace(0.2, 0.8, 50), a=[2.0] * 9, b=[3.0, 0.5], c=[1.5], d=[1.1])
    assert kinds(parts) == [("good", False)] * 3 + [("a", True), ("b", True), ("c", True), ("d", True), ("b", False)]


def test_without_an_error_the_room_goes_to_defects_and_without_defects_it_stays_empty():
    assert kinds(parts_of([0.1] * 9, a=[2.0] * 9)) == [("good", False)] * N_GOOD + [("a", True)] * (N_PARTS - N_GOOD)
    assert kinds(parts_of([0.1] * 9)) == [("good", False)] * N_GOOD
    assert kinds([]) == []


def test_of_many_errors_the_worst_of_both_kinds_are_shown():
    parts = parts_of([0.5, 1.2, 1.9, 1.4], a=[2.0, 0.7, 0.3, 0.6])
    wrong = [part for part in chosen_parts(parts) if part.missed or part.false_alarm]
    assert [part.score for part in wrong] == [0.3, 1.9]
    only_missed = [part.score for part in chosen_parts(parts_of([0.5], a=[0.7, 0.3, 0.6])) if part.missed]
    assert only_missed == [0.3, 0.6][:N_WRONG]
    only_false_alarms = [part.score for part in chosen_parts(parts_of([1.1, 1.9, 1.4], a=[2.0])) if part.false_alarm]
    assert only_false_alarms == [1.9, 1.4][:N_WRONG]


def test_the_good_parts_are_neither_the_best_nor_the_worst_of_many():
    shown = [part.score for part in chosen_parts(parts_of(np.arange(30) / 100))]
    assert shown == sorted(shown)
    assert 0 < shown[0] < 0.1 < shown[1] < 0.2 < shown[2] < 0.29


@pytest.mark.parametrize("n", range(1, 12))
def test_no_part_is_shown_twice_however_few_there_are(n):
    parts = parts_of(np.linspace(0.5, 1.2, n), a=np.linspace(0.8, 2.0, n), b=np.linspace(0.9, 2.0, n))
    images = [part.image for part in chosen_parts(parts)]
    assert len(images) == len(set(images)) <= N_PARTS


def test_parts_are_the_test_images_of_the_records():
    row = {"image": "a", "role": "test", "label": "1", "defect_type": "hole", "score": "2.5", "threshold": "2.5"}
    rows = [row, row | {"role": "calibrate"}, row | {"image": "b", "label": "0", "score": "2.4"}]
    parts = parts_with_role("test", rows)
    assert [part.image for part in parts] == ["a", "b"]
    assert [(part.defective, part.rejected, part.missed, part.false_alarm) for part in parts] == [
        (True, True, False, False),  # a score at the threshold is rejected
        (False, False, False, False),
    ]


def verdict(anomaly_map, rule=RULE):
    score = float(anomaly_map.max())
    return Verdict(score, 1.0, score >= 1.0, 0.5, None, False, anomaly_map, rule)


def test_a_part_without_anything_unusual_is_shown_in_grey_and_a_defect_glows_where_it_lies():
    pixels = np.full((40, 80, 3), (200, 60, 20), dtype=np.uint8)
    anomaly_map = np.full((40, 80), 0.6, dtype=np.float32)
    plain = overlay_tile(pixels, verdict(anomaly_map), (160, 80))
    assert (np.ptp(plain, axis=2) == 0).all()
    anomaly_map[10:20, 50:70] = 1.8
    tile = overlay_tile(pixels, verdict(anomaly_map), (160, 80)).astype(int)
    assert tile.shape == (80, 160, 3)
    glowing = tile[..., 0] - tile[..., 2] > 60
    rows, columns = np.nonzero(glowing)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (20, 40, 100, 140)
    assert (tile[19, 100:140] == REGION_LINE).all()


class Gauge:
    """A gauge that finds what is brighter than 100."""

    threshold = 1.0

    def __init__(self, rule=RULE):
        self.rule = rule

    def score_pixels(self, pixels):
        return [verdict(pixels[0, ..., 0].astype(np.float32) / 100, self.rule)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    def sample(level, role, kind="good"):
        pixels = np.full((30, 90, 3), level, dtype=np.uint8)
        return Sample(
            name=f"{level:03d}",
            image=pixels,
            label=int(kind != "good"),
            defect_type=kind,
            roles=(role,),
            group_id=str(level),
        )

    samples = [sample(30, "test"), sample(150, "test", "bright"), sample(50, "test", "dim"), sample(120, "test")]
    return manifest_of([*samples, sample(1, "fit"), sample(2, "calibrate")], tmp_path_factory.mktemp("data"))


def strip(dataset, rule=RULE):
    parts = [
        Part(record.path, record.label == 1, record.defect_type, int(record.group_id) / 100, 1.0)
        for record in dataset.with_role("test")
    ]
    return strip_of(parts, PartImages(dataset, Gauge(rule)))


def test_a_strip_counts_all_parts_and_describes_each_that_it_shows(dataset):
    drawn = strip(dataset)
    counts = {name: value for name, value in drawn.items() if name != "parts"}
    assert counts == {"n_good": 2, "n_false_alarms": 1, "n_defective": 2, "n_missed": 1}
    seen = [(part["defect_type"], part["rejected"], part["missed"], part["false_alarm"]) for part in drawn["parts"]]
    assert seen == [
        ("good", False, False, False),
        ("bright", True, False, False),
        ("dim", False, True, False),
        ("good", True, False, True),
    ]


def test_the_pictures_of_a_strip_are_small_and_keep_the_proportions_of_the_image(dataset):
    for part in strip(dataset)["parts"]:
        for name in ("picture", "overlay"):
            kind, _, data = part[name].partition(",")
            assert kind == "data:image/jpeg;base64"
            image = Image.open(io.BytesIO(base64.b64decode(data)))
            assert image.width / image.height == pytest.approx(3, rel=0.03)
            assert image.width * image.height == pytest.approx(SIDE**2, rel=0.03)
        assert part["width"] / part["height"] == pytest.approx(3, rel=0.03)
        assert len(part["picture"]) < 20_000


def test_a_gauge_that_does_not_localise_has_no_overlay(dataset):
    drawn = strip(dataset, replace(RULE, threshold=None))
    assert [part["overlay"] for part in drawn["parts"]] == [None] * 4


def test_a_strip_is_the_same_each_time(dataset):
    assert strip(dataset) == strip(dataset)
