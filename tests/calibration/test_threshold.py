"""The certificate: what it promises holds over thousands of draws, and where it cannot promise, it says so."""

import numpy as np
import pytest
from scipy import stats

from gonogo.calibration.threshold import certified_rank, certified_rate, certify, groups_needed
from gonogo.errors import ConfigError, DataError

MARGIN = 1e-3


def certify_all_different(scores: np.ndarray, false_alarm_rate: float = 0.1, confidence: float = 0.95):
    groups = [str(i) for i in range(len(scores))]
    return certify(scores, groups, false_alarm_rate=false_alarm_rate, confidence=confidence, margin=MARGIN)


@pytest.mark.parametrize(("m", "rate"), [(29, 0.1), (59, 0.05), (149, 0.02), (299, 0.01), (598, 0.005)])
def test_the_known_numbers_of_good_images_certify_their_rate_and_one_fewer_does_not(m, rate):
    assert groups_needed(rate, 0.95) == m
    assert certified_rank(m, rate, 0.95) == 1
    assert certified_rank(m - 1, rate, 0.95) == 0
    assert certified_rate(m, 1, 0.95) <= rate < certified_rate(m - 1, 1, 0.95)


def test_the_rank_is_the_largest_whose_binomial_tail_is_within_the_risk():
    for m in (30, 46, 100, 300):
        rank = certified_rank(m, 0.1, 0.95)
        assert stats.binom.cdf(rank - 1, m, 0.1) <= 0.05 < stats.binom.cdf(rank, m, 0.1)


@pytest.mark.parametrize("m", [29, 46, 100])
def test_the_bound_holds_in_at_least_the_promised_share_of_draws(m):
    rng = np.random.default_rng(0)
    n_draws, holds = 4000, 0
    for _ in range(n_draws):
        threshold = certify_all_different(rng.exponential(size=m)).threshold
        holds += np.exp(-threshold) <= 0.1  # the true false-alarm rate of an exponential score
    expected_misses = 0.05 * n_draws
    assert n_draws - holds <= expected_misses + 3 * np.sqrt(expected_misses)


def test_the_bound_is_not_needlessly_loose():
    rng = np.random.default_rng(1)
    misses = sum(np.exp(-certify_all_different(rng.exponential(size=46)).threshold) > 0.1 for _ in range(4000))
    assert misses > 0.02 * 4000  # r = 2 of 46 spends 4.8 % of the 5 % risk


def test_the_threshold_lies_above_the_ranked_score_and_below_the_next():
    scores = np.arange(46, dtype=float)
    record = certify_all_different(scores)
    assert record.rank == 2
    assert (record.gap_low, record.gap_high) == (44.0, 45.0)
    assert 44.0 < record.threshold < 45.0
    assert record.threshold - 44.0 >= 0.999 * MARGIN * 44.0


def test_above_the_maximum_the_margin_is_larger_than_rounding():
    record = certify_all_different(np.linspace(20, 25, 29))
    assert record.rank == 1
    assert record.gap_high is None
    assert record.threshold == pytest.approx(25.0 * (1 + MARGIN))


def test_one_wild_good_score_does_not_move_the_threshold_of_a_lower_rank():
    scores = np.linspace(1.0, 2.0, 60)
    usual = certify_all_different(scores)
    wild = certify_all_different(np.append(scores[:-1], 1e9))
    assert usual.rank > 1
    assert wild.threshold == pytest.approx(usual.threshold)


def test_a_gap_too_narrow_for_the_margin_is_passed_over_upwards():
    scores = np.concatenate([np.linspace(0, 10, 44), [10.001, 20.0]])
    record = certify_all_different(scores)
    assert record.gap_low == 10.001
    assert record.threshold > 10.001
    assert record.certified_false_alarm_rate == certified_rate(46, 2, 0.95)


def test_ties_never_leave_the_threshold_on_a_score():
    record = certify_all_different(np.ones(60))
    assert record.threshold > 1.0
    assert certify_all_different(np.zeros(60)).threshold > 0.0


def test_negative_scores_are_as_good_as_any():
    record = certify_all_different(np.linspace(-50, -10, 29))
    assert record.threshold > -10.0


def test_too_few_images_say_what_is_certified_and_how_many_more_are_needed():
    record = certify_all_different(np.arange(20, dtype=float))
    assert not record.certified
    assert record.more_groups_needed == 9
    assert record.certified_false_alarm_rate == pytest.approx(1 - 0.05 ** (1 / 20))
    assert record.threshold > 19
    assert "9 more are needed" in record.sentence


def test_shots_of_one_part_count_once_by_their_largest_score():
    scores = np.arange(60, dtype=float)
    groups = [str(i // 2) for i in range(60)]
    record = certify(scores, groups, false_alarm_rate=0.1, confidence=0.95, margin=MARGIN)
    alone = certify_all_different(scores[1::2])
    assert record.n_groups == 30
    assert record.threshold == alone.threshold
    assert record.certified_false_alarm_rate == alone.certified_false_alarm_rate


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(DataError):
        certify_all_different(np.array([1.0, np.nan]))
    with pytest.raises(DataError):
        certify_all_different(np.array([]))


def test_rates_outside_their_range_are_refused():
    with pytest.raises(ConfigError, match="false_alarm_rate"):
        certify_all_different(np.arange(5.0), false_alarm_rate=1.0)


def test_the_certificate_says_what_was_counted_as_one_part():
    scores = np.linspace(0, 1, 60)
    options = {"false_alarm_rate": 0.1, "confidence": 0.95, "margin": 1e-3}
    alone = certify(scores, [f"image {number}" for number in range(60)], **options)
    assert alone.sentence.endswith("from 60 good parts (one image of each)")
    grouped = certify(scores, [f"item {number // 3}" for number in range(60)], **options)
    assert "from 20 good parts (60 images of them); 9 more are needed" in grouped.sentence
