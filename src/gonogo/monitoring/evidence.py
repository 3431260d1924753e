"""Evidence against a claim, which grows while it is wrong, and since when it has grown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gonogo.monitoring.bets import Bet, Histogram, Jumper, Power
from gonogo.monitoring.ranks import OnlineRanks, uniform_of

SHARE_FOR_MISSED = 0.1  # of alpha, that there were more missed defects than `MissedDefects` allows for
RATES = (0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass
class Evidence:
    """The wealth of a bettor against a claim, as a logarithm, beginning with log 1 = 0.

    number: observations so far.
    since: the number of them at which the wealth was lowest: what came after is what speaks against the claim.
    since_key: the key of the last one of these; empty: nothing came before.
    lowest: the logarithm of that wealth.
    log_restarted: the Shiryaev-Roberts sum of the same factors. While the claim is true it reaches c after c
        observations or later, on average, and unlike the wealth it has not lost anything by a long time without change.
        Source: Shin, Ramdas and Rinaldo 2024, "E-detectors".
    """

    log: float = 0.0
    number: int = 0
    since: int = 0
    since_key: str = ""
    log_restarted: float = -math.inf
    lowest: float = 0.0

    def multiply(self, log_factor: float, key: str) -> None:
        """Take the factor of one more observation, which has this key."""
        self.number += 1
        self.log += log_factor
        more = math.log1p(math.exp(self.log_restarted)) if self.log_restarted < 700 else self.log_restarted
        self.log_restarted = more + log_factor
        if self.log <= self.lowest:
            self.lowest, self.since, self.since_key = self.log, self.number, key


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
    """Evidence that values no longer come from where earlier ones came from, whatever their distribution.

    The values may be several numbers of each part, such as its score and statistics of its image; each of these series
    has evidence of its own. Each is the mean of three bettors' wealth: the jumper, the histogram and the power mixture.
    Where `missed_share` is above 0, it is that of the jumper alone, with its correction.

    Args:
        before: of each series the values to begin with, such as the scores of the calibrate images; there may be none.
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

    def __init__(
        self, before: Sequence[Iterable[float]], *, missed_share: float = 0.0, missed_alpha: float = 0.005
    ) -> None:
        self._ranks = [OnlineRanks(values) for values in before]
        self._missed = MissedDefects(missed_share, missed_alpha) if missed_share else None
        self._jumper = Jumper(len(before), missed=missed_share)
        self._others: list[Bet] = [] if missed_share else [Histogram(len(before)), Power(len(before))]
        self._logs = np.zeros((len(before), 1 + len(self._others)))
        self.evidence = tuple(Evidence() for _ in before)

    def add(self, key: str, values: Sequence[float]) -> list[float]:
        """Take the values of the next part, of all series or of the first ones, and return their p-values.

        The key, such as an inspection's id, decides ties.
        """
        n, uniform = len(values), uniform_of(key)
        error = 0.0
        if self._missed is not None:
            error = self._missed.at_most(self.evidence[0].number) / (len(self._ranks[0]) + 1)
        p_values = [ranks.add(value, uniform) for ranks, value in zip(self._ranks, values, strict=False)]
        of_bets = np.array(p_values)
        logs = self._logs[:n]
        logs[:, 0] += self._jumper.log_factors(of_bets, error)
        for place, bet in enumerate(self._others, start=1):
            logs[:, place] += bet.log_factors(of_bets)
        means = np.logaddexp.reduce(logs, axis=1) - math.log(logs.shape[1])
        for evidence, log in zip(self.evidence, means.tolist(), strict=False):
            evidence.multiply(log - evidence.log, key)
        return p_values

    def state(self) -> dict[str, Any]:
        """All that was learnt but the values themselves, as JSON values that are exact."""
        return {
            "bets": [{name: array.tolist() for name, array in bet.state.items()} for bet in self._bets],
            "logs": self._logs.tolist(),
            "evidence": [asdict(evidence) for evidence in self.evidence],
        }

    def resume(self, state: Mapping[str, Any], values: np.ndarray) -> None:
        """Go on, to the last bit, where a test that was made by the same arguments was in this `state`.

        Args:
            state: what `state` gave.
            values: (n, series), the values that the test had been given, in any order; nan where there was none.
        """
        for ranks, column in zip(self._ranks, values.T, strict=True):
            ranks.extend(column[~np.isnan(column)])
        for bet, kept in zip(self._bets, state["bets"], strict=True):
            for name, array in bet.state.items():
                array[:] = kept[name]
        self._logs[:] = state["logs"]
        self.evidence = tuple(Evidence(**kept) for kept in state["evidence"])

    @property
    def _bets(self) -> list[Bet]:
        return [self._jumper, *self._others]
