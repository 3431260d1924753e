"""The headline numbers of a category and of a run, and its worst categories, worst in the direction that hurts."""

from dataclasses import replace

import numpy as np
import pytest

from gonogo.calibration.threshold import certify
from gonogo.errors import DataError, IntegrityError
from gonogo.evaluation.accuracy.resampling import (
    bootstrap_intervals,
    load_resampled,
    percentile_interval,
    resampled_metrics,
    save_resampled,
)
from gonogo.evaluation.accuracy.summary import Scored, headline, mean_headline, summarise, summary_intervals
from gonogo.evaluation.metric_table import HEADLINES, SUMMARISED, is_known
from gonogo.files import combined_sha256


def evaluated(**changes):
    return {"data_fingerprint": "a" * 64, "certified": True, "image_auroc": 0.9, "false_alarm_rate": 0.1} | changes


def proven(**changes):
    return {"data_fingerprint": "a" * 64, "passed": True} | changes


def test_the_worst_auroc_is_the_lowest_and_the_worst_false_alarm_rate_the_highest():
    categories = {
        "brick": evaluated(image_auroc=0.8, false_alarm_rate=0.02),
        "grass": evaluated(image_auroc=0.99, false_alarm_rate=0.3),
        "gravel": evaluated(image_auroc=0.91, false_alarm_rate=0.1),
    }
    summary = summarise(categories, dict.fromkeys(categories, proven()))
    assert (summary["image_auroc.worst"], summary["image_auroc.worst_category"]) == (0.8, "brick")
    assert (summary["false_alarm_rate.worst"], summary["false_alarm_rate.worst_category"]) == (0.3, "grass")
    assert summary["image_auroc.mean"] == pytest.approx((0.8 + 0.99 + 0.91) / 3)
    assert summary["image_auroc.std"] == pytest.approx(np.std([0.8, 0.99, 0.91], ddof=1))
    assert "image_auroc.std" not in summarise({"one": evaluated(image_auroc=0.9)}, {"one": proven()})
    assert summary["false_alarm_rate.mean"] == pytest.approx((0.02 + 0.3 + 0.1) / 3)


@pytest.mark.parametrize("name", SUMMARISED)
def test_every_summarised_metric_is_worst_where_a_gauge_does_most_harm(name):
    categories = {"low": evaluated(**{name: 0.2}), "high": evaluated(**{name: 0.6})}
    summary = summarise(categories, dict.fromkeys(categories, proven()))
    less_is_better = "rate" in name
    assert summary[f"{name}.worst_category"] == ("high" if less_is_better else "low")
    assert summary[f"{name}.worst"] == (0.6 if less_is_better else 0.2)
    assert summary[f"{name}.mean"] == pytest.approx(0.4)


def test_a_category_without_maps_takes_no_part_in_the_mean_of_a_pixel_metric():
    categories = {"brick": evaluated(aupro_30=0.6), "digit_8": evaluated(), "grass": evaluated(aupro_30=0.8)}
    summary = summarise(categories, dict.fromkeys(categories, proven()))
    assert summary["aupro_30.mean"] == pytest.approx(0.7)
    assert summary["aupro_30.worst_category"] == "brick"
    assert not [name for name in summary if name.startswith("pixel_auroc")]


@pytest.mark.parametrize("worst", ["NA", "nan", "null", "None", "001", "1e5", "True"])
def test_a_category_is_called_what_it_is_called_in_the_order_of_the_run(worst):
    names = ["digit", worst, "1", "100000.0"]
    categories = {name: evaluated(image_auroc=0.5 if name == worst else 0.9) for name in names}
    categories["1"] = evaluated(image_auroc=0.5, aupro_30=0.25)  # as bad, but later
    summary = summarise(categories, dict.fromkeys(categories, proven()))
    assert (summary["image_auroc.worst_category"], summary["aupro_30.worst_category"]) == (worst, "1")
    assert summary["image_auroc.mean"] == pytest.approx(0.7)
    assert "aupro_30.std" not in summary
    assert all(type(value) in (int, float, str) for value in summary.values())
    found = mean_headline({name: {"recall": 0.5, "data": name} for name in names})
    assert found["recall"] == 0.5
    assert found["data"] == combined_sha256({name: name for name in names})[:8]


def test_a_metric_that_no_category_has_is_absent():
    found = summarise({"a": {"data_fingerprint": "a" * 64, "certified": True}}, {"a": proven()})
    assert not [name for name in found if "." in name]
    assert set(mean_headline({"a": {"data": "a"}})) == {"data"}


def test_the_summary_counts_and_names_only_the_categories_of_the_run():
    run = {"brick": evaluated(certified=False), "grass": evaluated()}
    parity = {"brick": proven(), "grass": proven(passed=False), "gravel of an earlier run": proven()}
    summary = summarise(run, parity)
    assert (summary["n_categories"], summary["n_certified"], summary["n_parity_passed"]) == (2, 1, 1)
    named = {value for name, value in summary.items() if name.endswith("worst_category")}
    assert named <= set(run)
    assert named


def test_a_run_without_categories_has_no_summary():
    with pytest.raises(DataError, match="categories is empty"):
        summarise({}, {})


def test_a_category_without_parity_is_named():
    with pytest.raises(DataError, match="grass: evaluated, but its parity is missing"):
        summarise({"brick": evaluated(), "grass": evaluated()}, {"brick": proven()})


def test_stages_that_saw_different_data_are_not_summed_up():
    with pytest.raises(DataError, match="brick: evaluate saw data aaaaaaaaaaaa, parity bbbbbbbbbbbb; run dvc repro"):
        summarise({"brick": evaluated()}, {"brick": proven(data_fingerprint="b" * 64)})


# Headline numbers

DATA = {"data_fingerprint": "6d80c44ea196" + 52 * "0"}


def record(n: int = 40):
    scores = np.linspace(1, 2, n)
    return certify(scores, list(map(str, scores)), false_alarm_rate=0.1, confidence=0.95, margin=1e-3)


def test_a_headline_has_the_metrics_of_the_table_under_names_that_fit_a_column():
    metrics = dict.fromkeys([*HEADLINES, "f1", "threshold"], 0.5) | {"detector": "pca", "certified": True} | DATA
    found = headline(metrics, record())
    assert set(found) == {"image_auroc", "aupro_30", "recall", "false_alarm_rate", "certified_rate", "data"}
    assert found["certified_rate"] == record().certified_false_alarm_rate != 0.5


def test_a_bound_that_is_no_certificate_and_a_metric_without_a_value_are_absent():
    estimate = replace(record(), method="cross", certified=False)
    found = headline({"recall": 0.5, "certified_false_alarm_rate": 0.1} | DATA, estimate)
    assert found == {"recall": 0.5, "data": "6d80c44e"}


def test_the_mean_headline_is_over_the_categories_that_have_the_metric():
    headlines = {"brick": {"recall": 0.5, "aupro_30": 0.8, "data": "a"}, "digit_8": {"recall": 1.0, "data": "b"}}
    found = mean_headline(headlines)
    assert found == {"aupro_30": 0.8, "recall": 0.75, "data": found["data"]}
    other = mean_headline({**headlines, "digit_8": {"recall": 1.0, "data": "c"}})
    assert other["data"] != found["data"] == mean_headline(dict(reversed(headlines.items())))["data"]
    with pytest.raises(DataError, match="categories is empty"):
        mean_headline({})


def test_headline_files_fit_a_terminal_of_120_columns():
    names = headline(dict.fromkeys(HEADLINES, 0.123456) | DATA, record())
    longest_path = "metrics/headline/connector.json"
    assert len(longest_path) + sum(4 + max(len(name), len("6d80c44e")) for name in names) <= 120  # dvc metrics show


def scored(n_good, n_defective, seed=0, shots=1):
    """Scores of parts, each with so many shots, of which some good ones score as high as defective ones."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([False] * n_good + [True] * n_defective, shots)
    groups = [f"part {number // shots}" for number in range(len(labels))]
    return Scored(rng.normal(labels * 1.5, 1.0), labels, groups, 1.0)


def with_interval(*names):
    return {"interval_confidence": 0.95} | {f"{name}_low": 0.0 for name in names}


def test_the_interval_of_a_single_category_is_its_own_for_mean_and_worst():
    one = scored(30, 20, shots=2)
    statistics = resampled_metrics(one.scores, one.labels, one.threshold)
    own = bootstrap_intervals(statistics, one.groups, n_resamples=1000, confidence=0.95, seed=0)
    found = summary_intervals({"one": with_interval("image_auroc", "recall")}, {"one": one})
    for name in ("image_auroc", "recall"):
        assert own[name] == (found[f"{name}.mean_low"], found[f"{name}.mean_high"])
        assert own[name] == (found[f"{name}.worst_low"], found[f"{name}.worst_high"])


@pytest.mark.parametrize("n_drawn", [300, 1000, 4000])
def test_metrics_of_maps_have_intervals_over_all_categories_too(n_drawn, tmp_path):
    """From the values that the evaluate stage drew, with the one seed of the run, for each category."""
    values = np.random.default_rng(2).normal(0.8, 0.05, n_drawn)
    save_resampled(tmp_path / "one.npz", {"aupro_30": values})
    drawn = load_resampled(tmp_path / "one.npz")
    one, names = scored(30, 20), [f"category {number}" for number in range(4)]
    known = {name: with_interval("aupro_30", "recall") for name in names}
    found = summary_intervals(known, dict.fromkeys(names, one), dict.fromkeys(names, drawn))
    alone = summary_intervals({"one": known[names[0]]}, {"one": one}, {"one": drawn})
    own = percentile_interval("aupro_30", values, 0.95)
    assert (alone["aupro_30.mean_low"], alone["aupro_30.mean_high"]) == pytest.approx(own, abs=0.02)
    assert alone["aupro_30.worst_low"] == alone["aupro_30.mean_low"]
    width = found["aupro_30.mean_high"] - found["aupro_30.mean_low"]
    assert width == pytest.approx((own[1] - own[0]) / 2, rel=0.15)  # four that are independent: the root of 4
    assert found["aupro_30.worst_high"] < found["aupro_30.mean_high"]
    others = {name: {} if name == names[0] else drawn for name in names}  # its metrics have an interval, and no values
    assert "aupro_30.mean_low" not in summary_intervals(known, dict.fromkeys(names, one), others)
    with pytest.raises(IntegrityError, match="run dvc repro"):
        load_resampled(tmp_path / "two.npz")


def test_the_mean_of_many_categories_is_surer_than_one_and_the_worst_is_below_the_mean():
    names = [f"category {number}" for number in range(9)]
    of = {name: scored(30, 20, seed=number) for number, name in enumerate(names)}
    of["category 0"] = replace(of["category 0"], labels=np.zeros(50, dtype=bool))  # none of its parts is defective
    known = {name: with_interval("false_alarm_rate", *(["image_auroc"] if name != names[0] else [])) for name in names}
    found = summary_intervals(known, of)
    alone = summary_intervals({names[1]: known[names[1]]}, {names[1]: of[names[1]]})

    def width(intervals, name):
        return intervals[f"{name}_high"] - intervals[f"{name}_low"]

    assert 2 < width(alone, "image_auroc.mean") / width(found, "image_auroc.mean") < 4.5  # 8 categories: the root of 8
    for side in ("low", "high"):
        assert found[f"image_auroc.worst_{side}"] < found[f"image_auroc.mean_{side}"]
        assert found[f"false_alarm_rate.worst_{side}"] > found[f"false_alarm_rate.mean_{side}"]
    assert not any(name.startswith("recall") for name in found)
    assert all(is_known(name) for name in found)


def test_values_on_resamples_are_read_as_written_and_what_holds_none_is_named(tmp_path):
    path = tmp_path / "a.npz"
    save_resampled(path, {"pixel_ap": np.array([0.25, 0.5]), "aupro_30": np.array([np.nan, 1.0])})
    read = load_resampled(path)
    assert list(read) == ["aupro_30", "pixel_ap"]
    np.testing.assert_array_equal(read["aupro_30"], [np.nan, 1.0])
    for content in (b"", path.read_bytes()[:-40], b"PK\x03\x04 no zip", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"a\.npz does not hold the values of metrics on resamples"):
            load_resampled(path)
