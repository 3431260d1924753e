"""Retrieval of past defects is measured without the query's part, and only where it can be measured."""

import numpy as np
import pytest

from gonogo.evaluation.metric_table import is_known
from gonogo.evaluation.retrieval import (
    MEASURED,
    Defect,
    RetrieveParams,
    parts_of,
    ranked_rows,
    retrieval_metrics,
    why_not_measured,
)
from gonogo.inference.vectors import Vectors
from gonogo.reports.report import retrieval_of


def defect(number, kind, at, *, category="washer", part=None, region=None):
    """A defect whose image is at one place and whose region at another one of a line."""
    vectors = Vectors(np.array([at, 0.0]), None if region is None else np.array([region, 0.0]))
    return Defect(f"{number}.png", category, kind, f"{category}/{part or number}", vectors)


def test_a_rank_is_what_counting_by_hand_gives():
    own = [defect(0, "a", 0.0), defect(1, "b", 1.0), defect(2, "a", 3.0), defect(3, "b", 6.0), defect(4, "c", 9.0)]
    rows = ranked_rows(own, [])
    assert [row["image"] for row in rows] == ["0.png", "1.png", "2.png", "3.png"]  # c has no other part
    # Nearest first: of 0: b a b c; of 1: a a b c; of 2: b a b c and 0 at the same distance as 3; of 3: a c b a.
    assert [row["p_at_1"] for row in rows] == [0, 0, 0, 0]
    assert [row["mrr"] for row in rows] == [1 / 2, 1 / 3, 1 / 2, 1 / 3]
    assert [row["p_at_5"] for row in rows] == [1 / 4] * 4


def test_other_images_of_the_same_part_are_no_cases():
    own = [defect(0, "a", 0.0, part="p"), defect(1, "a", 0.1, part="p"), defect(2, "b", 1.0), defect(3, "a", 5.0)]
    assert ranked_rows(own, [])[0]["nearest"] == "2.png"


def test_flat_a_case_of_another_category_is_no_hit_and_may_come_first():
    own = [defect(0, "a", 0.0), defect(1, "a", 2.0)]
    others = [defect(7, "a", 0.5, category="brick")]
    rows = ranked_rows(own, others)
    assert [(row["p_at_1"], row["flat_p_at_1"], row["flat_mrr"]) for row in rows] == [(1, 0, 0.5), (1, 0, 0.5)]


def test_regions_are_compared_where_both_have_one():
    own = [defect(0, "a", 0.0, region=50.0), defect(1, "b", 0.1, region=90.0), defect(2, "a", 9.0, region=52.0)]
    own += [defect(3, "a", 0.2), defect(4, "b", 7.0)]
    rows = {row["image"]: row for row in ranked_rows(own, [])}
    assert (rows["0.png"]["compared"], rows["0.png"]["nearest"]) == ("region", "2.png")
    assert (rows["3.png"]["compared"], rows["3.png"]["nearest"]) == ("image", "1.png")


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ([], "no defective image"),
        ([defect(0, "hole", 0), defect(1, "hole", 1)], "all 2 defective test images are of one type, hole"),
        ([defect(0, "a", 0), defect(1, "b", 1)], "no type of defect has images of two parts"),
        ([defect(0, "a", 0, part="p"), defect(1, "a", 1, part="p"), defect(2, "b", 1)], "of two parts"),
    ],
)
def test_where_any_case_would_be_a_hit_or_none_could_be_it_says_so(own, reason):
    assert reason in why_not_measured(own)


def test_the_metrics_are_means_with_intervals_that_hold_them():
    rng = np.random.default_rng(2)
    own = [defect(number, "ab"[number % 2], float(rng.normal() + number % 2)) for number in range(40)]
    assert why_not_measured(own) is None
    rows = ranked_rows(own, [])
    metrics = retrieval_metrics(rows, parts_of(rows, own), RetrieveParams(500, 0.9), seed=3)
    assert metrics["n_queries"] == 40
    for name in MEASURED:
        assert metrics[name] == pytest.approx(np.mean([row[name] for row in rows]))
        assert metrics[f"{name}_low"] < metrics[name] < metrics[f"{name}_high"]
    assert all(is_known(f"{name}.washer") for name in (*metrics, "not_measured"))


def test_the_report_has_the_metrics_by_category():
    metrics = {"p_at_1.washer": 0.5, "not_measured.a.b": "why", "mrr.gone": 1.0}
    assert retrieval_of(metrics, ["washer", "a.b", "new"]) == {
        "washer": {"p_at_1": 0.5},
        "a.b": {"not_measured": "why"},
        "new": {},
    }
