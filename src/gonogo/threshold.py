"""The certified threshold: an exact, finite-sample bound on false alarms from held-out good scores alone."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from gonogo.errors import ConfigError, DataError, ShapeError


@dataclass(frozen=True)
class CalibrateParams:
    """The `calibrate` section; what its values mean is said at `certify`."""

    false_alarm_rate: float
    confidence: float
    margin: float


@dataclass(frozen=True)
class ThresholdRecord:
    """A threshold and what is known about it. `score >= threshold` is anomalous.

    With probability `confidence` over the draw of the calibrate images, the rate of good parts that score at
    or above `threshold` is at most `certified_false_alarm_rate`.
    """

    threshold: float
    target_false_alarm_rate: float
    certified_false_alarm_rate: float
    confidence: float
    certified: bool
    n_calibrate: int
    n_groups: int
    rank: int
    more_groups_needed: int
    margin: float
    gap_low: float
    gap_high: float | None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values; `gap_high` is null above the largest score."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The certificate in words."""
        claim = (
            f"at most {self.certified_false_alarm_rate:.2%} of good parts are rejected, with {self.confidence:.0%} "
            f"confidence, from {self.n_groups} good parts"
        )
        if self.certified:
            return f"certified: {claim}"
        return (
            f"NOT certified at the target of {self.target_false_alarm_rate:.2%}: {claim}; "
            f"{self.more_groups_needed} more are needed for the target"
        )


def certified_rate(n: int, rank: int, confidence: float) -> float:
    """Smallest false-alarm rate that the `rank`-th largest of `n` good scores certifies at `confidence`.

    Source: Wilks 1941; the rate at which P(Bin(n, rate) <= rank - 1) = 1 - confidence (Clopper-Pearson).
    """
    return float(stats.beta.ppf(confidence, rank, n - rank + 1))


def certified_rank(n: int, false_alarm_rate: float, confidence: float) -> int:
    """Largest rank that certifies `false_alarm_rate` with `n` good scores; 0 when not even the maximum does."""
    tails = stats.binom.cdf(np.arange(n), n, false_alarm_rate)  # tails[r - 1] = P(Bin <= r - 1), grows with r
    return int(np.searchsorted(tails, 1.0 - confidence, side="right"))


def groups_needed(false_alarm_rate: float, confidence: float) -> int:
    """Fewest independent good parts whose maximum certifies `false_alarm_rate` at `confidence`."""
    needed = max(1, math.ceil(math.log1p(-confidence) / math.log1p(-false_alarm_rate)) - 1)
    while certified_rank(needed, false_alarm_rate, confidence) < 1:
        needed += 1
    return needed


def certify(
    scores: np.ndarray,
    groups: Sequence[str],
    *,
    false_alarm_rate: float,
    confidence: float,
    margin: float,
) -> ThresholdRecord:
    """Place a threshold just above the lowest good score that still certifies `false_alarm_rate`.

    A group (all shots of one part) counts once, by its largest score: the certificate then speaks of parts, and
    of single images all the more. The threshold lies in a gap between scores, never on one, so that rounding
    in another runtime cannot flip a verdict: at least `margin` above the score below it (relative to that score, or
    to the median magnitude if that is larger) and half the gap's width at most. A narrower gap is passed over for the
    next one up, where the bound of the chosen rank still holds. With too few groups the maximum is taken, and the
    record says what it certifies and how many more groups the target needs.

    Args:
        scores: (m,) of good images that took no part in fitting. Higher is more anomalous; any unit.
        groups: m group ids; all different where each image shows another part.
        false_alarm_rate: the wanted bound, in (0, 1).
        confidence: of the bound, in (0, 1).
        margin: relative distance kept from the score below; larger than the parity tolerance.

    Raises:
        ConfigError: a rate, confidence or margin outside its range.
        DataError: no scores, or one that is not finite.

    Source: Wilks 1941, "Determination of sample sizes for setting tolerance limits".
    """
    if not (0 < false_alarm_rate < 1 and 0 < confidence < 1 and margin > 0):
        raise ConfigError(
            f"calibrate: false_alarm_rate {false_alarm_rate} and confidence {confidence} must lie in (0, 1) "
            f"and margin {margin} above 0"
        )
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(groups) != len(scores):
        raise ShapeError(f"scores: expected (m,) with m group ids, got {scores.shape} and {len(groups)} ids")
    if not len(scores) or not np.isfinite(scores).all():
        raise DataError(f"calibrate: expected finite good scores, got {len(scores)} of which some may be NaN")

    by_group: dict[str, float] = {}
    for group, score in zip(groups, scores.tolist(), strict=True):
        by_group[group] = max(score, by_group.get(group, -math.inf))
    ordered = np.sort(np.array(list(by_group.values())))[::-1]
    n = len(ordered)
    found = certified_rank(n, false_alarm_rate, confidence)
    certified, rank = found >= 1, max(found, 1)

    distance = margin * max(abs(float(ordered[rank - 1])), float(np.median(np.abs(ordered))), 1e-12)
    distinct = np.unique(ordered)
    position = int(np.searchsorted(distinct, ordered[rank - 1]))
    while position + 1 < len(distinct) and distinct[position + 1] - distinct[position] < 2 * distance:
        position += 1
    low = float(distinct[position])
    high = float(distinct[position + 1]) if position + 1 < len(distinct) else None
    return ThresholdRecord(
        threshold=low + distance,
        target_false_alarm_rate=false_alarm_rate,
        certified_false_alarm_rate=certified_rate(n, rank, confidence),
        confidence=confidence,
        certified=certified,
        n_calibrate=len(scores),
        n_groups=n,
        rank=rank,
        more_groups_needed=0 if certified else groups_needed(false_alarm_rate, confidence) - n,
        margin=margin,
        gap_low=low,
        gap_high=high,
    )
