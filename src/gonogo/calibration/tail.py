"""The tail of good scores as a generalised Pareto distribution: a model beyond the largest scores, not a guarantee.

Source: Pickands 1975; Davison and Smith 1990, "Models for Exceedances over High Thresholds". Fitted by maximum
likelihood; the goodness of fit is the Anderson-Darling statistic against draws from the fitted distribution, each
fitted anew (scipy.stats.goodness_of_fit); the interval is a parametric bootstrap.
"""

import numpy as np

from gonogo.calibration.certificate import Tail
from gonogo.errors import ConfigError, DataError

LEAST_SCORES = 200
LEAST_EXCEEDANCES = 20
N_DRAWS = 199  # for the goodness of fit, and for the interval


def fit_tail(
    ordered: np.ndarray, *, share: float, false_alarm_rate: float, confidence: float, seed: int
) -> tuple[float, Tail]:
    """The score that a share `false_alarm_rate` of good parts exceed according to the model, and the model.

    Args:
        ordered: (n,) good scores, one of each part, descending.
        share: of the scores that the distribution is fitted to, the largest ones.
        false_alarm_rate: wanted; below `share`.
        confidence: of the interval of that score.
        seed: of the draws.

    Raises:
        ConfigError: `false_alarm_rate` is not below `share`, where the model does not apply and `holdout` does.
        DataError: fewer than 200 scores or 20 exceedances, or a tail of equal scores.
    """
    from scipy import stats  # here, since it takes a second to import

    n = len(ordered)
    k = int(share * n)
    if n < LEAST_SCORES or k < LEAST_EXCEEDANCES:
        raise DataError(
            f"calibrate.method tail needs {LEAST_SCORES} good parts and {LEAST_EXCEEDANCES} of them in its tail, got "
            f"{n} and {k}; calibrate on more, or take the method holdout"
        )
    if not false_alarm_rate < share:
        raise ConfigError(
            f"calibrate.false_alarm_rate is {false_alarm_rate:g}; by the method tail it must be below "
            f"calibrate.tail_share, {share:g}"
        )
    start = float(ordered[k])
    exceedances = ordered[:k] - start
    if not exceedances[k // 2] > 0:
        raise DataError(f"calibrate.method tail: half of the {k} largest good scores are equal, {start:g}; no tail")
    shape, scale = _fitted(exceedances)
    with np.errstate(invalid="ignore"):  # the statistic of a very bad fit is infinite
        fit = stats.goodness_of_fit(
            stats.genpareto,
            exceedances,
            known_params={"loc": 0.0},
            statistic="ad",
            n_mc_samples=N_DRAWS,
            rng=np.random.default_rng(seed),
        )
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(N_DRAWS):
        count = max(LEAST_EXCEEDANCES, int(rng.binomial(n, k / n)))
        again = _fitted(stats.genpareto.rvs(shape, scale=scale, size=count, random_state=rng))
        drawn.append(start + _exceeded(false_alarm_rate * n / count, *again))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    estimate = start + _exceeded(false_alarm_rate * n / k, shape, scale)
    return estimate, Tail(start, shape, scale, k, float(fit.pvalue), float(low), float(high))


def _fitted(exceedances: np.ndarray) -> tuple[float, float]:
    from scipy import stats

    shape, _, scale = stats.genpareto.fit(exceedances, floc=0.0)
    return float(shape), float(scale)


def _exceeded(share: float, shape: float, scale: float) -> float:
    """The value that a share `share` of the exceedances exceed."""
    from scipy import stats

    return float(stats.genpareto.isf(min(share, 1.0), shape, scale=scale))
