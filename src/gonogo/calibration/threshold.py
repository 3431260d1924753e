"""The threshold from good scores alone: certified by an exact bound, or by a model where one is wanted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import special  # and not scipy.stats, which takes a second to import

from gonogo.calibration.certificate import Method, OnAverage, ThresholdRecord
from gonogo.calibration.probability import ProbabilityMethod
from gonogo.calibration.tail import fit_tail
from gonogo.errors import ConfigError, DataError, ShapeError


@dataclass(frozen=True)
class CalibrateParams:
    """The `calibrate` section; `certify` explains its values, and `threshold_of` the methods.

    grow_bank: as in `gonogo.detectors.contract.GrowingBank.grow`, with the calibrate images once they have certified
        the threshold.
    """

    method: Method
    folds: Annotated[int, Field(ge=2)]
    tail_share: Annotated[float, Field(gt=0, le=0.5)]
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    margin: Annotated[float, Field(gt=0)]
    probability: ProbabilityMethod | None
    defect_rate: Annotated[float, Field(gt=0, lt=1)] | None
    grow_bank: bool = False

    def __post_init__(self) -> None:
        if not self.grow_bank:
            return
        if self.method != "holdout":
            raise ConfigError(
                f"calibrate.grow_bank is true and calibrate.method is {self.method!r}; a bank grows under a "
                "certificate, which holdout alone gives: set one to false or the other to holdout"
            )
        if self.probability is not None:
            raise ConfigError(
                f"calibrate.grow_bank is true and calibrate.probability is {self.probability!r}, whose curve needs the "
                "scores of good images that the gauge has not learned from: set one to false or the other to null"
            )

    @property
    def crosswise(self) -> bool:
        """Whether good images of the roles fit and calibrate are both fitted on and calibrated on."""
        return self.method in ("cross", "leave_one_out")


def threshold_of(
    scores: np.ndarray, groups: Sequence[str], params: CalibrateParams, *, seed: int, exactly: bool = False
) -> ThresholdRecord:
    """The threshold by the method that `params` names, from good scores (m,) and their group ids.

    holdout: `certify`, exactly. cross: the same rank among scores that `params.folds` gauges gave each other's parts;
    the bound is then an estimate, since the scores share fit images and the gauge that is used is yet another one.
    leave_one_out: see `on_average`; `exactly` says whether the scores are those that its proof needs.
    tail: see `fit_tail`, of the largest `params.tail_share` of the parts.

    Raises:
        DataError: too few scores for the method.
    """
    record = certify(
        scores,
        groups,
        false_alarm_rate=params.false_alarm_rate,
        confidence=params.confidence,
        margin=params.margin,
    )
    if params.method == "cross":
        return replace(record, method="cross", certified=False, folds=params.folds)
    if params.method == "leave_one_out":
        return on_average(record, proven=exactly)
    if params.method == "tail":
        ordered = np.array(record.good_scores)[::-1]
        estimate, tail = fit_tail(
            ordered,
            share=params.tail_share,
            false_alarm_rate=params.false_alarm_rate,
            confidence=params.confidence,
            seed=seed,
        )
        threshold, _, high = _above(ordered, estimate, params.margin)
        n_above = int((ordered > threshold).sum())
        return replace(
            record,
            threshold=threshold,
            method="tail",
            certified_false_alarm_rate=None,
            certified=False,
            rank=n_above + 1,
            more_groups_needed=0,
            gap_low=float(ordered[n_above]),
            gap_high=high,
            band_low=tail.threshold_low,
            band_high=max(tail.threshold_high, threshold),
            tail=tail,
        )
    return record


def certified_rate(n: int, rank: int, confidence: float) -> float:
    """Smallest false-alarm rate that the `rank`-th largest of `n` good scores certifies at `confidence`.

    Source: Wilks 1941; the rate at which P(Bin(n, rate) <= rank - 1) = 1 - confidence (Clopper-Pearson).
    """
    return float(special.betaincinv(rank, n - rank + 1, confidence))


def certified_rank(n: int, false_alarm_rate: float, confidence: float) -> int:
    """Largest rank that certifies `false_alarm_rate` with `n` good scores; 0 when not even the maximum does."""
    tails = special.bdtr(np.arange(n), n, false_alarm_rate)  # tails[r - 1] = P(Bin <= r - 1), grows with r
    return int(np.searchsorted(tails, 1.0 - confidence, side="right"))


def lowest_rank(n: int, false_alarm_rate: float, confidence: float) -> int:
    """Smallest rank whose score is, at `confidence`, not above the one that `false_alarm_rate` of good parts exceed.

    At most n: with few scores, not even the lowest one may be so low.
    """
    tails = special.bdtrc(np.arange(n), n, false_alarm_rate)  # tails[r - 1] = P(Bin >= r), falls with r
    return min(n, int(np.searchsorted(-tails, confidence - 1.0)) + 1)


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

    A group (all shots of one part) counts once, by its largest score: the certificate then holds for parts, and
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

    threshold, low, high = _above(ordered, float(ordered[rank - 1]), margin)
    return ThresholdRecord(
        threshold=threshold,
        method="holdout",
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
        band_low=min(float(ordered[lowest_rank(n, false_alarm_rate, confidence) - 1]), low),
        band_high=2 * threshold - low if high is None else high,
        good_scores=tuple(ordered[::-1].tolist()),
    )


def on_average(record: ThresholdRecord, *, proven: bool) -> ThresholdRecord:
    """The threshold above the r-th largest leave-one-part-out score of n parts, with (2 r - 1) / (n + 1) <= the target.

    That is the largest share of good parts that are rejected, on average over the draw of the n parts. Let x be one
    more good part, and s(x; B) its score by the bank B of all n. Of each pair i, j of the n + 1 parts, let i win where
    its score, by the bank of the parts other than these two, is the larger one. If x is rejected, it wins against every
    part i whose leave-one-out score is not above the r-th largest, n - r + 1 parts at least: the bank without i is a
    part of B, so that s(x; B without i) >= s(x; B) > that score of i. Of n + 1 parts that play each other, m that win w
    games or more each win w m <= m (m - 1) / 2 + m (n + 1 - m) together, so that m <= 2 (n + 1 - w) - 1; with
    w = n - r + 1 these are 2 r - 1. All parts are equally likely to be among them.

    This needs a score that no further entry of the bank raises, and a bank without i that is the bank of a fit without
    i: `proven` says whether it is. Where r = 1 is still above the target, the record says how many more parts it takes.

    Args:
        record: that of `certify` for the same scores, with the target.

    Source: Barber, Candes, Ramdas and Tibshirani 2021, "Predictive inference with the jackknife+" (Annals of
    Statistics), theorem 1, of which this is the proof; that the plain jackknife inherits it where more parts lower each
    score is ours. That no bound with confidence follows: Bian and Barber 2023, "Training-conditional coverage for
    distribution-free predictive inference" (Electronic Journal of Statistics).
    """
    n, target = record.n_groups, record.target_false_alarm_rate
    rank = max(1, math.floor((target * (n + 1) + 1) / 2 + 1e-9))
    needed = math.ceil(1 / target - 1e-9) - 1
    ordered = np.array(record.good_scores)[::-1]
    threshold, low, high = _above(ordered, float(ordered[rank - 1]), record.margin)
    return replace(
        record,
        threshold=threshold,
        method="leave_one_out",
        certified_false_alarm_rate=None,
        certified=False,
        rank=rank,
        more_groups_needed=max(0, needed - n),
        gap_low=low,
        gap_high=high,
        band_low=min(record.band_low, low),
        band_high=2 * threshold - low if high is None else high,
        on_average=OnAverage((2 * rank - 1) / (n + 1), proven),
    )


def certify_like(record: ThresholdRecord, scores: np.ndarray, groups: Sequence[str]) -> ThresholdRecord:
    """`certify` of another gauge's scores (m,) of good images, with the rate, confidence and margin of `record`."""
    return certify(
        scores,
        groups,
        false_alarm_rate=record.target_false_alarm_rate,
        confidence=record.confidence,
        margin=record.margin,
    )


def thresholds_of(record: ThresholdRecord) -> list[float]:
    """A threshold in each gap between good scores that is wide enough for one by the rules of `certify`, ascending."""
    ordered = np.array(record.good_scores)[::-1]
    found = (_above(ordered, float(score), record.margin) for score in ordered)
    return sorted({low: threshold for threshold, low, _ in found}.values())


def _above(ordered: np.ndarray, least: float, margin: float) -> tuple[float, float, float | None]:
    """A threshold in the first gap among descending scores, above `least`, that is wide enough, and the gap's ends."""
    distance = margin * max(abs(least), float(np.median(np.abs(ordered))), 1e-12)
    distinct = np.unique(ordered)
    position = int(np.searchsorted(distinct, least, side="right")) - 1
    low = least
    while position + 1 < len(distinct) and distinct[position + 1] - low < 2 * distance:
        position += 1
        low = float(distinct[position])
    high = float(distinct[position + 1]) if position + 1 < len(distinct) else None
    return low + distance, low, high
