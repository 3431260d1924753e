"""The criterion of a search: how well a gauge tells good parts that it has not seen from ones with a planted defect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

RESAMPLES = 200


@dataclass(frozen=True)
class FoldScores:
    """The scores of the good images of one fold, and of their copies with a planted defect, by one gauge.

    Attributes:
        groups: the part that each of the n images shows.
        good: (n,) float64.
        planted: (n, k) float64, one copy for each of k kinds; NaN where none could be made.
    """

    groups: Sequence[str]
    good: np.ndarray
    planted: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        planted = [[None if np.isnan(score) else float(score) for score in row] for row in self.planted]
        return {"groups": list(self.groups), "good": self.good.tolist(), "planted": planted}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """The scores of `to_dict`."""
        return cls(content["groups"], np.array(content["good"]), np.array(content["planted"], dtype=np.float64))

    def wins(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, n) share of the defects of image i that score above good image j, ties one half; and whether it counts.

        An image does not compete with copies of the part that it shows: a defect on a line is seen on another part.
        """
        above = (self.planted[:, :, None] > self.good) + 0.5 * (self.planted[:, :, None] == self.good)
        made = ~np.isnan(self.planted)
        share = (above * made[:, :, None]).sum(axis=1) / np.maximum(made.sum(axis=1), 1)[:, None]
        parts = np.array(self.groups)
        return share, (parts[:, None] != parts) & made.any(axis=1)[:, None]


@dataclass(frozen=True)
class Estimate:
    """A value of the criterion, or a difference of two, with its standard error over parts."""

    value: float
    error: float


def criterion(folds: Sequence[FoldScores], *, seed: int) -> Estimate:
    """The probability that a part with a planted defect scores above another good part, as the AUROC of a test set is.

    NaN where none was planted. Each kind of defect counts alike, and each fold by its pairs. The standard error is that
    of a bootstrap over parts (Efron 1979), an image's copies with it.
    """
    return _estimate(_resampled(folds, seed))


def difference(ours: Sequence[FoldScores], theirs: Sequence[FoldScores], *, seed: int) -> Estimate:
    """How much larger the criterion of one gauge is than that of another, on the same parts in the same folds."""
    return _estimate(_resampled(ours, seed) - _resampled(theirs, seed))


def _estimate(draws: np.ndarray) -> Estimate:
    """From the value and those on resamples, of which some may have no pair of parts."""
    defined = draws[1:][~np.isnan(draws[1:])]
    return Estimate(float(draws[0]), float(defined.std()) if len(defined) else math.nan)


def _resampled(folds: Sequence[FoldScores], seed: int) -> np.ndarray:
    """(1 + RESAMPLES,): the value on the parts as they are, then on each resample of them; the draws depend on `seed`
    and on the folds' parts alone, so that two gauges can be compared."""
    rng = np.random.default_rng(seed)
    won, pairs = np.zeros(1 + RESAMPLES), np.zeros(1 + RESAMPLES)
    for fold in folds:
        share, counts = fold.wins()
        names, part = np.unique(np.array(fold.groups), return_inverse=True)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
        weights = np.concatenate([np.ones((1, len(part))), drawn[:, part]])  # (1 + r, n)
        won += ((weights @ (share * counts)) * weights).sum(axis=1)
        pairs += ((weights @ counts) * weights).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(won / pairs)
