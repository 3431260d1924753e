"""The criterion counts pairs of parts, never a part with itself, and compares two gauges on the same parts."""

import json

import numpy as np
import pytest

from gonogo.tuning.criterion import FoldScores, criterion, difference


def fold(seed, *, n=7, kinds=3, lift=0.8, missing=2):
    rng = np.random.default_rng(seed)
    planted = rng.normal(lift, 1, (n, kinds)).round(1)
    planted.ravel()[rng.choice(planted.size, missing, replace=False)] = np.nan
    return FoldScores([f"p{number // 2}" for number in range(n)], rng.normal(0, 1, n).round(1), planted)


def counted(folds):
    """The same by loops."""
    shares = []
    for one in folds:
        for i, row in enumerate(one.planted):
            scores = [score for score in row if not np.isnan(score)]
            for j, good in enumerate(one.good):
                if one.groups[i] != one.groups[j] and scores:
                    shares.append(np.mean([1.0 if score > good else 0.5 if score == good else 0.0 for score in scores]))
    return float(np.mean(shares))


def test_it_is_the_share_of_pairs_of_parts_that_a_defect_wins():
    folds = [fold(1), fold(2, n=4), fold(3, lift=0)]
    assert criterion(folds, seed=1).value == pytest.approx(counted(folds), abs=1e-12)


def test_only_the_order_of_scores_within_a_fold_counts():
    folds = [fold(1), fold(2)]
    stretched = [
        FoldScores(one.groups, np.exp(one.good) * k, np.exp(one.planted) * k) for k, one in enumerate(folds, 3)
    ]
    assert criterion(folds, seed=5) == criterion(stretched, seed=5)


def test_a_gauge_compared_with_itself_differs_by_nothing_for_certain():
    folds = [fold(1), fold(2)]
    same = difference(folds, folds, seed=3)
    assert (same.value, same.error) == (0, 0)


def test_its_standard_error_is_the_spread_over_sets_of_parts():
    values, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        good = rng.normal(0, 1, 40)
        one = FoldScores([str(number) for number in range(40)], good, (good + rng.normal(1, 1, 40))[:, None])
        estimate = criterion([one], seed=1)
        values.append(estimate.value)
        errors.append(estimate.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35)


def test_a_difference_of_two_gauges_on_the_same_parts_is_surer_than_each_of_them():
    ours = [fold(seed, n=16) for seed in range(3)]
    theirs = [FoldScores(one.groups, one.good, one.planted - 0.1) for one in ours]
    found = difference(ours, theirs, seed=1)
    assert found.value > 0
    assert found.error < 0.6 * criterion(ours, seed=1).error


def test_scores_come_back_from_json_as_they_were():
    one = fold(1)
    back = FoldScores.from_dict(json.loads(json.dumps(one.to_dict())))
    assert back.groups == one.groups
    assert np.array_equal(back.good, one.good)
    assert np.array_equal(back.planted, one.planted, equal_nan=True)
