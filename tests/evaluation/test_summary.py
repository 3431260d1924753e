"""The headline: mean and worst category, worst in the direction that hurts."""

import pytest

from gonogo.errors import DataError
from gonogo.evaluation.accuracy.summary import HEADLINES, summarise


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
    assert summary["false_alarm_rate.mean"] == pytest.approx((0.02 + 0.3 + 0.1) / 3)


@pytest.mark.parametrize("name", HEADLINES)
def test_every_headline_is_worst_where_a_gauge_does_most_harm(name):
    categories = {"low": evaluated(**{name: 0.2}), "high": evaluated(**{name: 0.6})}
    summary = summarise(categories, dict.fromkeys(categories, proven()))
    less_is_better = name in ("false_alarm_rate", "certified_false_alarm_rate", "pixel_false_positive_rate")
    assert summary[f"{name}.worst_category"] == ("high" if less_is_better else "low")
    assert summary[f"{name}.worst"] == (0.6 if less_is_better else 0.2)
    assert summary[f"{name}.mean"] == pytest.approx(0.4)


def test_a_category_without_maps_takes_no_part_in_the_mean_of_a_pixel_metric():
    categories = {"brick": evaluated(aupro_30=0.6), "digit_8": evaluated(), "grass": evaluated(aupro_30=0.8)}
    summary = summarise(categories, dict.fromkeys(categories, proven()))
    assert summary["aupro_30.mean"] == pytest.approx(0.7)
    assert summary["aupro_30.worst_category"] == "brick"
    assert not [name for name in summary if name.startswith("pixel_auroc")]


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
