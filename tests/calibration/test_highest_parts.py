"""A defect among the calibrate parts is named, with what it costs; alike parts are not accused."""

import numpy as np
import pytest

from gonogo.calibration.highest_parts import gap_p_value, highest_parts, parts_apart
from gonogo.calibration.threshold import CalibrateParams, certify, threshold_of

RULES = {"false_alarm_rate": 0.1, "confidence": 0.95, "margin": 1e-3}


def found(scores, groups=None, record=None):
    groups = groups or [f"g{n}" for n in range(len(scores))]
    scores = np.asarray(scores, dtype=np.float64)
    return highest_parts(
        [f"{n}.png" for n in range(len(scores))], groups, scores, record or certify(scores, groups, **RULES)
    )


def good_scores(n, seed=0):
    return np.random.default_rng(seed).normal(20, 2, n)


@pytest.mark.parametrize("n_defects", [1, 2, 3])
def test_defects_among_many_good_parts_are_named_and_what_the_threshold_would_be_without_them(n_defects):
    good = good_scores(200)
    defects = [43.5, 41.0, 44.25][:n_defects]
    highest = found([*good, *defects])
    assert highest.n_apart == n_defects
    assert {part.image for part in highest.parts[:n_defects]} == {f"{200 + n}.png" for n in range(n_defects)}
    without = certify(good, [str(n) for n in range(200)], **RULES)
    assert highest.parts[n_defects - 1].without.threshold == without.threshold
    assert f"the threshold would be {without.threshold:.4g}, certified: at most" in highest.warning
    for score in defects:
        assert f"({score:.4g})" in highest.warning


def test_a_certificate_that_needs_the_part_says_so_without_it():
    groups = [f"g{n}" for n in range(29)]
    scores = np.array([*good_scores(28), 90.0])
    highest = found(scores, groups, certify(scores, groups, **RULES))
    assert certify(scores, groups, **RULES).certified
    assert highest.n_apart == 1
    assert "NOT certified at the target" in highest.warning


@pytest.mark.parametrize("draw", ["normal", "exponential", "uniform", "gumbel"])
def test_alike_parts_are_warned_of_in_at_most_one_set_of_a_hundred(draw):
    rng = np.random.default_rng(1)
    hits = [parts_apart(np.sort(getattr(rng, draw)(size=60))[::-1]) > 0 for _ in range(1000)]
    assert sum(hits) <= 20  # 10 are expected in an exponential tail, fewer in a lighter one


def test_in_an_exponential_tail_the_probability_of_a_gap_is_what_it_says():
    rng = np.random.default_rng(2)
    p_values = []
    for _ in range(2000):
        ordered = np.sort(rng.exponential(size=80))[::-1]
        spacings = np.arange(1, 80) * -np.diff(ordered)
        p_values.append(gap_p_value(spacings[0], spacings[1:31]))
    for level in (0.01, 0.1, 0.5):
        assert np.mean(np.array(p_values) < level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2000))


def test_shots_of_one_part_count_once_by_the_highest():
    good = [value for value in good_scores(100) for _ in range(2)]
    groups = [f"g{n // 2}" for n in range(200)]
    highest = found([*good, 60.0, 61.0], [*groups, "bad", "bad"])
    assert highest.n_apart == 1
    assert highest.parts[0].image == "201.png"


def test_equal_scores_and_few_scores_have_no_gap_to_tell():
    assert found(np.ones(50)).warning is None
    assert found([1.0, 2.0, 30.0]).warning is None
    assert found([1.0]).parts[0].without is None


def test_a_model_of_the_tail_is_not_computed_again_without_a_part():
    scores = np.array([*np.random.default_rng(3).exponential(size=400), 60.0])
    groups = [str(n) for n in range(401)]
    params = CalibrateParams("tail", 5, 0.2, 0.01, 0.95, 1e-3, None, None)
    highest = found(scores, groups, threshold_of(scores, groups, params, seed=0))
    assert highest.n_apart == 1
    assert highest.parts[0].without is None
    assert "Without" not in highest.warning
