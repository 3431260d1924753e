"""A threshold and its certificate. Standard library only: the scorer reads it from the bundle."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Method = Literal["holdout", "cross", "leave_one_out", "tail"]


@dataclass(frozen=True)
class Tail:
    """The generalised Pareto distribution of the largest good scores, and how well it fits them.

    Attributes:
        start: the score beyond which it holds.
        shape, scale: its parameters, of exceedances over `start`.
        n_exceedances: how many scores it was fitted to.
        goodness_p_value: how often scores drawn from it would fit it worse, by the Anderson-Darling statistic.
        threshold_low, threshold_high: the threshold's bootstrap interval at the record's confidence.
    """

    start: float
    shape: float
    scale: float
    n_exceedances: int
    goodness_p_value: float
    threshold_low: float
    threshold_high: float


@dataclass(frozen=True)
class OnAverage:
    """What is known of a threshold above the leave-one-part-out scores of a memory bank.

    Attributes:
        false_alarm_rate: at most this share of good parts is rejected, on average over the draw of the good parts that
            the gauge was made of: (2 rank - 1) / (n_groups + 1). One draw can lie above it; no confidence goes with it.
        proven: whether the bank without a part is the bank that a fit without this part gives, which the proof needs.
            Otherwise the rate is an estimate.
    """

    false_alarm_rate: float
    proven: bool


@dataclass(frozen=True)
class ThresholdRecord:
    """A threshold and its certificate. `score >= threshold` is anomalous.

    By the method `holdout`, with probability `confidence` over the draw of the calibrate images, the rate of good parts
    that score at or above `threshold` is at most `certified_false_alarm_rate`. By `cross` that rate is an estimate, and
    by `tail` there is none: a model says at which score the target lies. By `leave_one_out` there is none either:
    `on_average` says what is known, which is less.

    Attributes:
        method: how the good scores were obtained, and how the threshold is derived from them.
        n_calibrate, n_groups: good images scored, and the parts that they show.
        rank: the threshold lies above the so-many-th largest of the parts' scores.
        margin: relative distance that it keeps from the score below.
        gap_low, gap_high: the good scores that it lies between; none lies above where `gap_high` is None.
        band_low, band_high: the threshold's own confidence band; see `uncertain`.
        good_scores: one of each part, its largest, ascending.
        folds: gauges that scored each other's parts, by the method cross; otherwise None.
        tail: by the method tail; otherwise None.
        on_average: by the method leave_one_out; otherwise None.
        grown: the patches of the calibrate images were added to the memory bank after the threshold was certified, so
            that `good_scores` are those by the smaller bank. No score is higher by the larger one.
        calibrate_fingerprint: SHA-256 over the images scored, their parts and their content.
        date: of the calibration, in UTC, as 2026-11-21.
    """

    threshold: float
    method: Method
    target_false_alarm_rate: float
    certified_false_alarm_rate: float | None
    confidence: float
    certified: bool
    n_calibrate: int
    n_groups: int
    rank: int
    more_groups_needed: int
    margin: float
    gap_low: float
    gap_high: float | None
    band_low: float
    band_high: float
    good_scores: tuple[float, ...]
    folds: int | None = None
    tail: Tail | None = None
    on_average: OnAverage | None = None
    grown: bool = False
    calibrate_fingerprint: str | None = None
    date: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values; `gap_high` is null above the largest score."""
        return asdict(self) | {"good_scores": list(self.good_scores)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The record that `to_dict` wrote.

        Raises:
            TypeError: a key is missing, unknown or of another kind.
            ValueError: a number is not finite, or there is no good score.
        """
        tail, average = content.get("tail"), content.get("on_average")
        record = cls(
            **{
                **content,
                "good_scores": tuple(float(score) for score in content["good_scores"]),
                "tail": None if tail is None else Tail(**tail),
                "on_average": None if average is None else OnAverage(**average),
            }
        )
        numbers = (record.threshold, record.band_low, record.band_high, *record.good_scores)
        if not record.good_scores or not all(math.isfinite(number) for number in numbers):
            raise ValueError("its threshold, its band or a good score is not a finite number")
        return record

    @property
    def holds_out(self) -> bool:
        """Whether the gauge has learned nothing from the images that the good scores are of."""
        return self.method in ("holdout", "tail") and not self.grown

    def p_value(self, score: float) -> float:
        """The probability that a new good part scores at least as high.

        Valid where the part is exchangeable with the calibrate parts; never below 1 / (n_groups + 1).

        Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"; inductive conformal p-value.
        """
        n = len(self.good_scores)
        return (1 + n - bisect_left(self.good_scores, score)) / (n + 1)

    def uncertain(self, score: float) -> bool:
        """Whether the verdict could have been the other one, had other good parts been drawn to calibrate.

        The score lies within the threshold's own confidence band: from the lower confidence limit of the score that
        the target share of good parts exceeds, up to the next good score above the threshold or, where there is none,
        as far above the largest one as the threshold keeps from it, twice.
        """
        return self.band_low <= score <= self.band_high

    @property
    def sentence(self) -> str:
        """The certificate in words; for `cross` the estimate, for `leave_one_out` the mean, for `tail` the model."""
        if self.method == "tail":
            assert self.tail is not None
            return (
                f"a model, not a guarantee: {self.target_false_alarm_rate:.2%} of good parts are rejected if the tail "
                f"of their scores is generalised Pareto (fits with p = {self.tail.goodness_p_value:.2f}); the "
                f"threshold's {self.confidence:.0%} interval is {self.tail.threshold_low:.4g} to "
                f"{self.tail.threshold_high:.4g}, from {self.tail.n_exceedances} of {self._parts}"
            )
        if self.on_average is not None:
            kind = "on average" if self.on_average.proven else "an estimate of the average"
            claim = (
                f"not certified; {kind}: at most {self.on_average.false_alarm_rate:.2%} of good parts are rejected, "
                f"over all draws of {self._parts}, each scored by the memory bank without its own patches"
            )
            return claim if not self.more_groups_needed else f"{claim}; {self._short}"
        assert self.certified_false_alarm_rate is not None
        rate = f"at most {self.certified_false_alarm_rate:.2%} of good parts are rejected"
        if self.method == "cross":
            claim = (
                f"an estimate, not a guarantee: {rate}, from {self._parts}, each scored by one of "
                f"{self.folds} gauges that did not see it, if this one scores good parts as they do"
            )
            return claim if not self.more_groups_needed else f"{claim}; {self._short}"
        claim = f"{rate}, with {self.confidence:.0%} confidence, from {self._parts}"
        if self.grown:
            claim += ", whose patches have joined the memory bank since, which raises no score"
        if self.certified:
            return f"certified: {claim}"
        return f"NOT certified at the target of {self.target_false_alarm_rate:.2%}: {claim}; {self._short}"

    @property
    def _parts(self) -> str:
        """The good parts that were counted, and how: images of one part count once."""
        n_images = "one image of each" if self.n_calibrate == self.n_groups else f"{self.n_calibrate} images of them"
        return f"{self.n_groups} good parts ({n_images})"

    @property
    def _short(self) -> str:
        return f"{self.more_groups_needed} more are needed for the target"
