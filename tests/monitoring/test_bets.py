"""Each bet's factor has the mean 1 whatever came before it: that, and nothing else, is what the promise rests on."""

import copy
import math

import numpy as np
import pytest

from gonogo.monitoring.bets import Histogram, Jumper, Power, Rate, log_mean

PASTS = {
    "nothing": [],
    "uniform": np.random.default_rng(1).random(400),
    "high scores": np.random.default_rng(2).random(400) ** 3,
    "low scores": 1 - np.random.default_rng(3).random(300) ** 3,
    "spread": np.random.default_rng(4).beta(0.4, 0.4, 500),
    "one value": [0.25] * 200,
}


def log_factor(bet, p_value, *error):
    (factor,) = bet.log_factors(np.array([p_value]), *error)
    return factor


def after(bet, past):
    for p_value in past:
        log_factor(bet, p_value)
    return bet


def factors(bet, p_values):
    return np.array([math.exp(log_factor(copy.deepcopy(bet), p_value)) for p_value in p_values])


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize("make", [Jumper, Histogram])
def test_the_mean_factor_of_a_uniform_p_value_is_1(make, past):
    middles = (np.arange(1000) + 0.5) / 1000
    assert factors(after(make(), PASTS[past]), middles).mean() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("past", PASTS)
def test_so_is_that_of_the_power_bets_whose_factor_has_no_bound(past):
    places = (np.arange(4000) + 0.5) / 4000  # of p = place^20, so that the small p-values that matter are many
    weights = 20 * places**19
    assert (factors(after(Power(), PASTS[past]), places**20) * weights).mean() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize(("missed", "error"), [(0.01, 0.02), (0.1, 0.0), (0.05, 0.3)])
def test_missed_defects_do_not_lift_the_mean_although_they_choose_their_own_and_shift_all_other_p_values(
    past, missed, error
):
    bet = Jumper(missed=missed)
    for p_value in PASTS[past]:
        log_factor(bet, p_value, error)
    grid = np.linspace(0, 1, 2001)
    factor = np.array([math.exp(log_factor(copy.deepcopy(bet), p, error)) for p in grid])
    reach = round(error * 2000)
    worst = np.array([factor[max(0, i - reach) : i + reach + 1].max() for i in range(len(grid))])
    good = float((worst[:-1] + worst[1:]).mean() / 2)
    assert (1 - missed) * good + missed * factor.max() <= 1 + 1e-9


@pytest.mark.parametrize("limit", [0.001, 0.1, 0.5, 0.98])
@pytest.mark.parametrize("past", [[], [True] * 5, [False] * 300, [True, False] * 50])
def test_a_rate_up_to_its_limit_does_not_pay(limit, past):
    rate, n, so = Rate(limit), len(past), sum(past)
    before = rate.log_wealth(so, n - so)
    if_so, if_not = (math.exp(rate.log_wealth(so + yes, n - so + 1 - yes) - before) for yes in (1, 0))
    for true_rate in np.linspace(0, limit, 7):
        assert true_rate * if_so + (1 - true_rate) * if_not <= 1 + 1e-12
    assert if_so > 1 > if_not


@pytest.mark.parametrize("limit", [0.001, 0.1, 0.5, 0.98])
@pytest.mark.parametrize("past", [[], [True] * 5, [False] * 300, [True, False] * 50])
def test_one_by_one_a_rate_up_to_its_limit_does_not_pay_either(limit, past):
    rate = Rate(limit)
    for happened in past:
        rate.log_factor(happened)
    if_so, if_not = (math.exp(copy.deepcopy(rate).log_factor(happened)) for happened in (True, False))
    for true_rate in np.linspace(0, limit, 7):
        assert true_rate * if_so + (1 - true_rate) * if_not <= 1 + 1e-12
    assert if_so > 1 > if_not


def test_one_by_one_a_rate_that_rises_after_a_long_time_is_found_and_by_counts_it_is_not():
    rate, log = Rate(0.5), 0.0
    for happened in [False] * 5000 + [True] * 100:
        log += rate.log_factor(happened)
    assert log > math.log(1000)
    assert rate.log_wealth(100, 5000) < -100


@pytest.mark.parametrize("make", [Jumper, Histogram, Power])
def test_each_of_several_series_is_bet_on_as_if_it_were_alone(make):
    drawn = np.random.default_rng(6).random((300, 3)) ** (1, 2, 0.5)
    together, alone = make(3), [make(), make(), make()]
    for p_values in drawn:
        assert together.log_factors(p_values) == pytest.approx(
            [log_factor(*each) for each in zip(alone, p_values, strict=True)]
        )
    assert log_factor(together, 0.3) == pytest.approx(log_factor(alone[0], 0.3))  # the first one goes on by itself
    assert together.log_factors(np.full(3, 0.3))[1:] == pytest.approx([log_factor(one, 0.3) for one in alone[1:]])


def test_what_did_not_pay_for_long_can_still_win():
    rng = np.random.default_rng(5)
    for make in (Jumper, Histogram, Power):
        bet = after(make(), rng.random(5000))
        assert sum(log_factor(bet, p) for p in rng.random(400) ** 3) > math.log(1e6)


def test_a_mean_of_wealth_is_taken_where_its_logarithm_would_overflow():
    assert log_mean([1000.0, 1000.0]) == 1000.0
    assert log_mean([-5.0, 900.0]) == pytest.approx(900 - math.log(2))
