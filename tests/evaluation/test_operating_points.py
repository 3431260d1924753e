"""Other thresholds: what is certified holds, for one and for all that are listed; what is measured is counted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from conftest import CALIBRATE
from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.threshold import certified_rate, threshold_of
from gonogo.cli.main import main
from gonogo.errors import ConfigError, UndefinedMetricError
from gonogo.evaluation.accuracy.operating_points import ScoresByKind, operating_points, thresholds_at
from gonogo.files import seal, write_rows

SCORES = ScoresByKind(good=[1.0, 2.0, 9.0], by_type={"hole": [5.0, 12.0], "stain": [3.0000095367431640625]})


def calibrated(scores: np.ndarray) -> ThresholdRecord:
    return threshold_of(scores, [str(number) for number in range(len(scores))], CALIBRATE, seed=1)


def test_what_is_certified_is_the_rate_of_the_rank_that_the_threshold_has_among_good_scores():
    record = calibrated(np.arange(1.0, 31.0))
    points = operating_points(SCORES, record, [30.5, 28.5, 0.5, 30.0])
    assert [point.threshold for point in points] == [0.5, 28.5, 30.0, 30.5]
    # at or above 30.0 lies one good score, so that it is the second largest that the threshold lies above
    assert [point.certified for point in points] == [
        1.0,
        certified_rate(30, 3, 0.95),
        certified_rate(30, 2, 0.95),
        certified_rate(30, 1, 0.95),
    ]


def test_the_gauges_own_threshold_is_listed_with_what_its_record_certifies():
    record = calibrated(np.random.default_rng(1).normal(size=50))
    (own,) = [point for point in operating_points(SCORES, record) if point.threshold == record.threshold]
    assert own.certified == record.certified_false_alarm_rate


def test_one_threshold_is_listed_for_each_gap_and_of_very_many_the_highest_first():
    few = operating_points(SCORES, calibrated(np.arange(1.0, 31.0)))
    assert len(few) == 30
    scores = np.geomspace(1.0, 1e6, 400)
    many = [point.threshold for point in operating_points(SCORES, calibrated(scores))]
    assert 25 <= len(many) <= 41
    assert many == sorted(many)
    assert [np.searchsorted(scores, threshold) for threshold in many[-3:]] == [398, 399, 400]


def test_a_threshold_picked_from_the_list_afterwards_keeps_what_is_certified_for_all_of_them():
    rng = np.random.default_rng(7)
    n_draws, broken = 400, {"one": 0, "all": 0}
    for _ in range(n_draws):
        points = operating_points(ScoresByKind([], {}), calibrated(rng.normal(size=40)))
        true = [norm.sf(point.threshold) for point in points]
        broken["one"] += any(rate > point.certified for rate, point in zip(true, points, strict=True))
        broken["all"] += any(rate > point.certified_for_all for rate, point in zip(true, points, strict=True))
    assert broken["all"] <= 0.05 * n_draws + 3 * np.sqrt(0.05 * 0.95 * n_draws)
    assert broken["one"] > broken["all"] + 20  # what holds for each does not hold for the best of them


def test_what_is_measured_is_counted_by_kind_with_exact_limits():
    (point,) = operating_points(SCORES, calibrated(np.arange(1.0, 31.0)), [5.0])
    assert (point.false_alarms.k, point.false_alarms.n, point.false_alarms.value) == (1, 3, 1 / 3)
    assert (point.recall.k, point.recall.n) == (2, 3)
    assert {name: (rate.k, rate.n) for name, rate in point.recall_by_type.items()} == {"hole": (2, 2), "stain": (0, 1)}
    assert point.recall_by_type["hole"].low == pytest.approx(0.025**0.5)  # Clopper-Pearson of 2 of 2
    assert point.recall_by_type["hole"].high == 1.0


def test_where_nothing_is_known_nothing_is_said():
    record = calibrated(np.random.default_rng(1).normal(size=300))
    tail = threshold_of(
        np.array(record.good_scores), [*map(str, range(300))], replace(CALIBRATE, method="tail"), seed=1
    )
    (point,) = operating_points(ScoresByKind([], {}), tail, [1.0])
    assert (point.certified, point.certified_for_all, point.false_alarms, point.recall) == (None,) * 4
    assert point.recall_by_type == {}


@pytest.mark.parametrize("thresholds", [[], [1.0, float("nan")], [float("inf")]])
def test_a_threshold_that_is_no_number_is_refused(thresholds):
    with pytest.raises(ConfigError, match="expected finite numbers"):
        operating_points(SCORES, calibrated(np.arange(30.0)), thresholds)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ThresholdRecord:
    record = calibrated(np.arange(1.0, 31.0))
    (tmp_path / "params.yaml").write_text("categories: [tile]\n", encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text("vars: [{plots: plots}, {models: models}]\n", encoding="utf-8")
    rows = [{"role": "calibrate", "label": 0, "defect_type": "good", "score": 7.0}]
    rows += [{"role": "test", "label": 0, "defect_type": "good", "score": score} for score in SCORES.good]
    rows += [
        {"role": "test", "label": 1, "defect_type": name, "score": score}
        for name, scores in SCORES.by_type.items()
        for score in scores
    ]
    write_rows(tmp_path / "plots" / "records" / "tile.csv", rows)
    (tmp_path / "models" / "tile").mkdir(parents=True)
    seal(tmp_path / "models" / "tile", {"schema": 2, "threshold": record.to_dict()}, [])
    monkeypatch.chdir(tmp_path)
    return record


def test_the_command_prints_the_table_with_the_gauges_own_threshold_marked(project, capsys):
    assert main(["thresholds", "tile", "--page", "page.html"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["threshold", "certified"]
    assert [row.split()[1] for row in rows if row.startswith("*")] == [f"{project.threshold:.6g}"]
    assert Path("page.html").is_file()


@pytest.mark.usefixtures("project")
def test_the_thresholds_at_a_recall_reject_so_many_defective_images_and_are_the_highest_that_do(capsys):
    defective = SCORES.defective
    for recall in (0.5, 0.9, 1.0):
        (threshold,) = thresholds_at(SCORES, [recall])
        assert sum(score >= threshold for score in defective) >= recall * len(defective)
        assert sum(score > threshold for score in defective) < recall * len(defective)
    assert main(["thresholds", "tile", "--recall", "0.5", "1", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["threshold"] for point in points] == sorted(thresholds_at(SCORES, [0.5, 1]))
    assert min(point["recall"]["k"] for point in points) >= len(defective) / 2
    assert main(["thresholds", "tile", "--recall", "0.5", "1"]) == 0
    table = capsys.readouterr().out
    printed = [row.removeprefix("*").split()[0] for row in table.splitlines()[1:]]
    assert main(["thresholds", "tile", "--at", *printed]) == 0
    assert capsys.readouterr().out == table  # none of them was rounded up
    assert main(["thresholds", "tile", "--recall", "95"]) == 3
    assert "recall: expected a share in (0, 1], got 95" in capsys.readouterr().err
    with pytest.raises(UndefinedMetricError, match="a recall needs a defective test image"):
        thresholds_at(ScoresByKind([1.0], {}), [0.5])


def test_as_json_it_gives_the_points_asked_for_and_an_unknown_category_is_named(project, capsys):
    assert main(["thresholds", "tile", "--at", "5", "40", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [point["threshold"] for point in report["points"]] == [5.0, 40.0]
    assert report["points"][0]["recall_by_type"]["hole"]["k"] == 2
    assert report["threshold"] == project.threshold
    with pytest.raises(SystemExit):
        main(["thresholds", "til", "--json"])
    assert (
        "no category 'til'; did you mean tile? choose one of tile"
        in json.loads(capsys.readouterr().out)["error"]["message"]
    )
