"""Evidence against a claim, which grows while it is wrong, and since when it has grown."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gonogo.monitoring.bets import Bet, Histogram, Jumper, Power, log_mean
from gonogo.monitoring.ranks import OnlineRanks, uniform_of

SHARE_FOR_MISSED = 0.1  # of alpha, that there were more missed defects than `MissedDefects` allows for
RATES = (0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass
class Evidence:
    """The wealth of a bettor against a claim, as a logarithm, beginning with log 1 = 0.

    number: observations so far.
    since: the number of them at which the wealth was lowest: what came after is what speaks against the claim.
    log_restarted: the Shiryaev-Roberts sum of the same factors. While the claim is true it reaches c after c
        observations or later, on average, and unlike the wealth it has not lost anything by a long time without change.
        Source: Shin, Ramdas and Rinaldo 2024, "E-detectors".
    """

    log: float = 0.0
    number: int = 0
    since: int = 0
    log_restarted: float = -math.inf
    _lowest: float = 0.0

    def multiply(self, log_factor: float) -> None:
        """Take the factor of one more observation."""
        self.number += 1
        self.log += log_factor
        more = math.log1p(math.exp(self.log_restarted)) if self.log_restarted < 700 else self.log_restarted
        self.log_restarted = more + log_factor
        if self.log <= self._lowest:
            self._lowest, self.since = self.log, self.number


class MissedDefects:
    """How many of the first t parts that passed may be missed defects, if each is one with probability `share` at most.

    The bound holds for all t at once, with the probability 1 - `alpha`; it is a Chernoff bound for each of RATES, made
    uniform over time by Ville's inequality, and the smallest of them.
    """

    def __init__(self, share: float, alpha: float) -> None:
        self._offset = math.log(len(RATES) / alpha)
        self._slopes = [(rate, math.log1p(share * math.expm1(rate))) for rate in RATES]

    def at_most(self, passed: int) -> float:
        """The bound for so many parts that passed."""
        return min(float(passed), *((self._offset + passed * slope) / rate for rate, slope in self._slopes))


class ChangeTest:
    """Evidence that values no longer come from where the calibrate values came from, whatever their distribution.

    The mean of three bettors' wealth: the jumper, the histogram and the power mixture. Where `missed_share` is above 0,
    the jumper alone, with its correction.

    Args:
        calibrate: the values of the calibrate images.
        missed_share: the largest probability with which one of the values, independently of the others, is that of a
            missed defect, which may have any value. The chance that the evidence ever reaches 1 / a is then at most
            a + `missed_alpha`; at 0 it is at most a.
        missed_alpha: see there.

    The proof for missed defects: the jumper's wealth is a mean, over fixed sequences of bets e, of products of
    g(p) = (1 + e (p - 1/2) - |e| d) / (1 + missed_share |e| / 2). Let q be the p-value of a good value among the
    calibrate and good values alone. Those q are uniform and independent of each other and of which values are
    defects. With m missed defects among N earlier values, |p - q| <= m / (N + 1), which is at most d while the bound on
    m holds; then g(p) <= (1 + e (q - 1/2)) / (1 + missed_share |e| / 2) for a good value, and for a defect
    g(p) <= (1 + |e| / 2) / (1 + missed_share |e| / 2). The product of these bounds has the mean 1 or less, given all
    q and defects before; so the mean over all sequences is a supermartingale that bounds the wealth.
    """

    def __init__(self, calibrate: Iterable[float], *, missed_share: float = 0.0, missed_alpha: float = 0.005) -> None:
        self._ranks = OnlineRanks(calibrate)
        self._missed = MissedDefects(missed_share, missed_alpha) if missed_share else None
        self._jumper = Jumper(missed=missed_share)
        self._others: list[Bet] = [] if missed_share else [Histogram(), Power()]
        self._logs = [0.0] * (1 + len(self._others))
        self.evidence = Evidence()

    def add(self, key: str, value: float) -> float:
        """Take the next value and return its p-value; the key, such as an inspection's id, decides ties."""
        passed, before = self.evidence.number, len(self._ranks)
        error = 0.0 if self._missed is None else self._missed.at_most(passed) / (before + 1)
        p_value = self._ranks.add(value, uniform_of(key))
        logs = [self._jumper.log_factor(p_value, error), *(bet.log_factor(p_value) for bet in self._others)]
        self._logs = [log + more for log, more in zip(self._logs, logs, strict=True)]
        self.evidence.multiply(log_mean(self._logs) - self.evidence.log)
        return p_value
