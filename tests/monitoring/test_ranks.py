"""Ranks among all scores before."""

import numpy as np
import pytest

from gonogo.monitoring import ranks
from gonogo.monitoring.ranks import OnlineRanks, uniform_of


@pytest.mark.parametrize("late", [1, 3, 4096])
@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_a_p_value_is_the_share_of_scores_before_that_are_higher_with_ties_dealt_out(late, decimals, monkeypatch):
    monkeypatch.setattr(ranks, "LATE", late)
    rng = np.random.default_rng(decimals)
    before = list(rng.normal(size=7).round(decimals))
    online = OnlineRanks(before)
    for score, uniform in zip(rng.normal(size=60).round(decimals), rng.random(60), strict=True):
        higher = sum(other > score for other in before)
        equal = sum(other == score for other in before)
        assert online.add(float(score), uniform) == pytest.approx((higher + uniform * (equal + 1)) / (len(before) + 1))
        before.append(score)
    assert len(online) == 67


def test_without_any_calibrate_score_the_first_rank_is_the_draw_itself():
    assert OnlineRanks([]).add(3.0, 0.25) == 0.25


def test_equal_scores_have_uniform_ranks():
    online = OnlineRanks([1.0] * 5)
    p_values = np.array([online.add(1.0, uniform_of(str(number))) for number in range(2000)])
    assert np.abs(np.histogram(p_values, 10, (0, 1))[0] - 200).max() < 60


def test_the_draw_of_a_key_is_its_own_and_the_same_in_every_process():
    assert uniform_of("a part") == 0.20733154430584627
    drawn = np.array([uniform_of(f"{number}") for number in range(5000)])
    assert (drawn > 0).all()
    assert (drawn <= 1).all()
    assert abs(drawn.mean() - 0.5) < 0.02
    assert len(set(drawn)) == 5000
