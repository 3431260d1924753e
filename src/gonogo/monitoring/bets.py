"""Bets against the claim that p-values are uniform: their wealth grows where the claim is false.

Each bet multiplies its wealth by a factor whose mean is at most 1 while the claim is true. So the chance that the
wealth ever reaches w is at most 1 / w, at whatever time one looks (Ville's inequality). All wealth is kept as its
logarithm.

A bettor bets on several series of p-values at once, each with a wealth of its own; `series` is their number. A bet on a
part of them is one on the first ones. Its `state` is all that it has learnt.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

JUMP = 0.001


class Bet(Protocol):
    """A bettor, who states each factor before he sees the p-value that it depends on."""

    state: dict[str, np.ndarray]

    def log_factors(self, p_values: np.ndarray) -> np.ndarray:
        """(m,): the logarithms of the factors by which p-values (m,) in (0, 1] multiply the wealth of m series."""


class Jumper:
    """Bets on many high scores, on many low ones, or on neither, and changes its mind now and then.

    The factor of a bet e is 1 + e (p - 1/2). With `missed` above 0 it holds its promise although some of what passes
    are defects that were missed: see `ChangeTest`.

    Source: Vovk et al. 2021, "Retrain or not retrain: conformal test martingales for change-point detection", the
    Simple Jumper. Seven bets in place of three, and JUMP in place of 0.01, are ours: after 5,000 parts without change a
    shift of half a standard deviation is found in 130 parts in place of 290. So is the correction for missed defects.
    """

    BETS = 0.99 * np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])

    def __init__(self, series: int = 1, *, missed: float = 0.0) -> None:
        self._missed = missed
        self.state = {"weights": np.full((series, len(self.BETS)), 1 / len(self.BETS))}

    def log_factors(self, p_values: np.ndarray, error: float | np.ndarray = 0.0) -> np.ndarray:
        """As in `Bet`; `error`, one or (m,), is by how much p-values may be off, for defects missed before."""
        factors = 1 + (p_values[:, None] - 0.5) * self.BETS
        if self._missed or np.any(error):
            size = np.abs(self.BETS)
            factors = np.maximum((factors - size * np.reshape(error, (-1, 1))) / (1 + self._missed * size / 2), 0.0)
        return _won(self.state["weights"][: len(p_values)], factors)


class Histogram:
    """Bets that p-values will fall where the last thousand fell; it sees a change of spread, which the jumper misses.

    Half of its wealth begins idle, and a little moves to and fro.

    Source: histogram betting as in Vovk et al. 2021, with Laplace's rule; the fading and the idle half are ours.
    """

    FADING = 0.999  # of the counts, at each p-value

    def __init__(self, series: int = 1, *, bins: int = 10) -> None:
        self.state = {"counts": np.zeros((series, bins)), "weights": np.full((series, 2), 0.5)}  # idle, betting
        self._rows = np.arange(series)

    def log_factors(self, p_values: np.ndarray) -> np.ndarray:
        """As in `Bet`."""
        n = len(p_values)
        counts, rows = self.state["counts"][:n], self._rows[:n]
        bins = counts.shape[1]
        number = np.minimum((p_values * bins).astype(np.intp), bins - 1)
        factors = np.ones((n, 2))
        factors[:, 1] = bins * (1 + counts[rows, number]) / (bins + counts.sum(axis=1))
        counts *= self.FADING
        counts[rows, number] += 1
        return _won(self.state["weights"][:n], factors)


class Power:
    """Bets on small p-values, by e p^(e - 1) for many e up to 1; it is quick where scores rise far.

    Source: Vovk, Gammerman and Shafer 2022, the power martingale; over a grid of e, between which wealth jumps.
    """

    EXPONENTS = np.linspace(0.05, 1.0, 20)

    def __init__(self, series: int = 1) -> None:
        self.state = {"weights": np.full((series, len(self.EXPONENTS)), 1 / len(self.EXPONENTS))}

    def log_factors(self, p_values: np.ndarray) -> np.ndarray:
        """As in `Bet`."""
        factors = self.EXPONENTS * np.exp(np.log(p_values)[:, None] * (self.EXPONENTS - 1))
        return _won(self.state["weights"][: len(p_values)], factors)


def _won(weights: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Deal out JUMP of the wealth anew, so that what lost for long can still win, and multiply it by the factors.

    Args:
        weights: (m, bets), shares of the wealth; they are changed in place.
        factors: (m, bets).

    Returns (m,): the logarithms of how much the wealth grew.
    """
    weights *= 1 - JUMP
    weights += JUMP / weights.shape[1]
    weights *= factors
    total = weights.sum(axis=1)
    weights /= total[:, None]
    return np.asarray(np.log(total))


class Rate:
    """Bets that events are more frequent than a limit, by likelihood ratios of several higher rates.

    Each ratio's mean is at most 1 for every rate up to the limit, given whatever came before. It bets in two ways: by
    counts, whose wealth depends on how often it happened and how often not and on nothing else; and one by one, where
    some wealth is idle and a little moves to and fro, so that a change after a long time without one is found.

    Source: Wald 1945; as a mean over alternatives, Ramdas et al. 2023, "Game-theoretic statistics and safe
    anytime-valid inference".
    """

    TIMES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)

    def __init__(self, limit: float, series: int = 1) -> None:
        higher = np.unique(np.minimum([limit * times for times in self.TIMES], (1 + limit) / 2))
        self._if_so, self._if_not = np.log(higher / limit), np.log((1 - higher) / (1 - limit))
        self._factors = {
            True: np.array([[1.0, *(higher / limit)]]),
            False: np.array([[1.0, *((1 - higher) / (1 - limit))]]),
        }
        weights = np.array([[0.5, *np.full(len(higher), 0.5 / len(higher))]])  # idle, each rate
        self.state = {"weights": np.repeat(weights, series, axis=0)}

    def log_factor(self, happened: bool) -> float:
        """The logarithm of the factor of one more observation, betting one by one."""
        return float(_won(self.state["weights"], self._factors[happened])[0])

    def log_factors(self, happened: np.ndarray) -> np.ndarray:
        """(m,): as `log_factor`, of one more observation in each of m series; `happened` is (m,) bool."""
        factors = np.where(happened[:, None], self._factors[True], self._factors[False])
        return _won(self.state["weights"][: len(happened)], factors)

    def log_wealth(self, happened: int, not_happened: int) -> float:
        """The logarithm of the wealth after so many observations; it grows where more happens than the limit allows."""
        ratios = happened * self._if_so + not_happened * self._if_not
        return float(np.logaddexp.reduce(ratios)) - math.log(len(ratios))


def log_mean(logs: Sequence[float]) -> float:
    """Logarithm of the mean of numbers whose logarithms these are; a mean of e-values is an e-value."""
    largest = max(logs)
    return largest + math.log(sum(math.exp(log - largest) for log in logs) / len(logs))
