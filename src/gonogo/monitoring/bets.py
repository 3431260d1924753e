"""Bets against the claim that p-values are uniform: their wealth grows where the claim is false.

Each bet multiplies its wealth by a factor whose mean is at most 1 while the claim is true. So the chance that the
wealth ever reaches w is at most 1 / w, at whatever time one looks (Ville's inequality). All wealth is kept as its
logarithm.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

JUMP = 0.001


class Bet(Protocol):
    """A bettor, who states each factor before he sees the p-value that it depends on."""

    def log_factor(self, p_value: float) -> float:
        """The logarithm of the factor by which a p-value in (0, 1] multiplies the wealth."""


class Jumper:
    """Bets on many high scores, on many low ones, or on neither, and changes its mind now and then.

    The factor of a bet e is 1 + e (p - 1/2). With `missed` above 0 it holds its promise although some of what passes
    are defects that were missed: see `ChangeTest`.

    Source: Vovk et al. 2021, "Retrain or not retrain: conformal test martingales for change-point detection", the
    Simple Jumper. Seven bets in place of three, and JUMP in place of 0.01, are ours: after 5,000 parts without change a
    shift of half a standard deviation is found in 130 parts in place of 290. So is the correction for missed defects.
    """

    BETS = 0.99 * np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])

    def __init__(self, *, missed: float = 0.0) -> None:
        self._missed = missed
        self._weights = np.full(len(self.BETS), 1 / len(self.BETS))

    def log_factor(self, p_value: float, error: float = 0.0) -> float:
        """As in `Bet`; `error` is by how much the p-value may be off, for the missed defects among earlier scores."""
        size = np.abs(self.BETS)
        factors = (1 + self.BETS * (p_value - 0.5) - size * error) / (1 + self._missed * size / 2)
        wealth = _jumped(self._weights) * np.maximum(factors, 0.0)
        total = float(wealth.sum())
        self._weights = wealth / total
        return math.log(total)


class Histogram:
    """Bets that p-values will fall where the last thousand fell; it sees a change of spread, which the jumper misses.

    Half of its wealth begins idle, and a little moves to and fro.

    Source: histogram betting as in Vovk et al. 2021, with Laplace's rule; the fading and the idle half are ours.
    """

    FADING = 0.999  # of the counts, at each p-value

    def __init__(self, *, bins: int = 10) -> None:
        self._counts = np.zeros(bins)
        self._weights = np.array([0.5, 0.5])  # idle, betting

    def log_factor(self, p_value: float) -> float:
        """As in `Bet`."""
        bins = len(self._counts)
        number = min(int(p_value * bins), bins - 1)
        factor = bins * (1 + self._counts[number]) / (bins + self._counts.sum())
        self._counts *= self.FADING
        self._counts[number] += 1
        wealth = _jumped(self._weights) * (1.0, factor)
        total = float(wealth.sum())
        self._weights = wealth / total
        return math.log(total)


class Power:
    """Bets on small p-values, by e p^(e - 1) for many e up to 1; it is quick where scores rise far.

    Source: Vovk, Gammerman and Shafer 2022, the power martingale; over a grid of e, between which wealth jumps.
    """

    EXPONENTS = np.linspace(0.05, 1.0, 20)

    def __init__(self) -> None:
        self._weights = np.full(len(self.EXPONENTS), 1 / len(self.EXPONENTS))

    def log_factor(self, p_value: float) -> float:
        """As in `Bet`."""
        wealth = _jumped(self._weights) * self.EXPONENTS * p_value ** (self.EXPONENTS - 1)
        total = float(wealth.sum())
        self._weights = wealth / total
        return math.log(total)


def _jumped(weights: np.ndarray) -> np.ndarray:
    """Shares of the wealth after JUMP of it was dealt out anew, so that what lost for long can still win."""
    return np.asarray((1 - JUMP) * weights + JUMP / len(weights))


class Rate:
    """Bets that events are more frequent than a limit, by likelihood ratios of several higher rates.

    Each ratio's mean is at most 1 for every rate up to the limit, given whatever came before.

    Source: Wald 1945; as a mean over alternatives, Ramdas et al. 2023, "Game-theoretic statistics and safe
    anytime-valid inference".
    """

    TIMES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)

    def __init__(self, limit: float) -> None:
        higher = np.unique(np.minimum([limit * times for times in self.TIMES], (1 + limit) / 2))
        self._if_so, self._if_not = np.log(higher / limit), np.log((1 - higher) / (1 - limit))
        self._log_weights = np.full(len(higher), -math.log(len(higher)))

    def log_factor(self, happened: bool) -> float:
        """The logarithm of the factor of one observation; wealth grows where more happens than the limit allows."""
        self._log_weights += self._if_so if happened else self._if_not
        total = float(np.logaddexp.reduce(self._log_weights))
        self._log_weights -= total
        return total


def log_mean(logs: Sequence[float]) -> float:
    """Logarithm of the mean of numbers whose logarithms these are; a mean of e-values is an e-value."""
    largest = max(logs)
    return largest + math.log(sum(math.exp(log - largest) for log in logs) / len(logs))
