"""Operating points of a gauge: other thresholds, each with its certified bound and the rates on the test images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.threshold import certified_rate, thresholds_of
from gonogo.errors import ConfigError, UndefinedMetricError
from gonogo.evaluation.accuracy.metrics import binomial_interval, n_found

LISTED = 40  # thresholds of the table, at most


@dataclass(frozen=True)
class Rate:
    """`k` of `n` test images were rejected: their share, and its exact limits at the record's confidence."""

    k: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.k / self.n

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold with its certified bounds and its rates on the test images.

    Attributes:
        certified: at most this share of good parts is rejected, with the record's confidence, if this threshold was
            chosen before the calibrate scores were seen; None where the method certifies nothing.
        certified_for_all: the same for all listed thresholds at once, so that one may be chosen among them afterwards.
        false_alarms: rate on the good test images; None where there are none.
        recall: rate on the defective test images; None where there are none.
        recall_by_type: the same for each defect type.
    """

    threshold: float
    certified: float | None
    certified_for_all: float | None
    false_alarms: Rate | None
    recall: Rate | None
    recall_by_type: Mapping[str, Rate]

    def to_dict(self) -> dict[str, Any]:
        """The point as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ScoresByKind:
    """Scores of the test images: of the good ones, and of the defective ones by defect type."""

    good: Sequence[float]
    by_type: Mapping[str, Sequence[float]]

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Self:
        """The scores in per-image records, as the evaluate stage makes them or as read from its file."""
        tested = [row for row in rows if row["role"] == "test"]
        good = [float(row["score"]) for row in tested if not int(row["label"])]
        by_type: dict[str, list[float]] = {}
        for row in sorted((row for row in tested if int(row["label"])), key=lambda row: str(row["defect_type"])):
            by_type.setdefault(row["defect_type"], []).append(float(row["score"]))
        return cls(good, by_type)

    @property
    def defective(self) -> list[float]:
        """The scores of all defective images."""
        return [score for scores in self.by_type.values() for score in scores]


def operating_points(
    scores: ScoresByKind, record: ThresholdRecord, thresholds: Sequence[float] | None = None
) -> list[OperatingPoint]:
    """The operating point at each threshold, the lowest first.

    Args:
        scores: of the test images.
        record: threshold record of the gauge, with the good scores that the certified bounds come from.
        thresholds: None: the gauge's own, and one in each gap between good scores that is wide enough for one. Of more
            than `LISTED` gaps, all of the highest are listed, and an ever smaller share of the lower ones.

    Raises:
        ConfigError: a threshold is not a finite number.

    Source: `certified_rate` for one threshold; Bonferroni 1936 for all of them at once.
    """
    if thresholds is None:
        thresholds = _listed(record)
    if not thresholds or not np.isfinite(thresholds).all():
        raise ConfigError(f"thresholds: expected finite numbers, got {list(thresholds)}")
    chosen = sorted(set(thresholds))
    n_claims = len({_rank(record, threshold) for threshold in chosen})
    return [_point(scores, record, threshold, n_claims) for threshold in chosen]


def thresholds_at(scores: ScoresByKind, recalls: Sequence[float]) -> list[float]:
    """For each share, the highest threshold that rejects so many of the defective test images.

    Raises:
        ConfigError: a share is not in (0, 1].
        UndefinedMetricError: no test image is defective.
    """
    if not scores.by_type:
        raise UndefinedMetricError("a recall needs a defective test image, and there is none")
    return [sorted(scores.defective)[-n_found(len(scores.defective), recall)] for recall in recalls]


@lru_cache(maxsize=4096)
def _limits(k: int, n: int, confidence: float) -> tuple[float, float]:
    return binomial_interval(k, n, confidence=confidence)


def _listed(record: ThresholdRecord) -> list[float]:
    own = _rank(record, record.threshold)
    others = [one for one in reversed(thresholds_of(record)) if _rank(record, one) != own]
    if len(others) > LISTED:
        places = np.unique(np.geomspace(1, len(others), LISTED).round().astype(int))
        others = [others[place - 1] for place in places.tolist()]
    return [record.threshold, *others]


def _rank(record: ThresholdRecord, threshold: float) -> int:
    """The rank of the largest good score below the threshold; 1 is the largest; n + 1 where none of n lies below."""
    return 1 + sum(score >= threshold for score in record.good_scores)


def _point(scores: ScoresByKind, record: ThresholdRecord, threshold: float, n_claims: int) -> OperatingPoint:
    def certified(confidence: float) -> float | None:
        if record.certified_false_alarm_rate is None:
            return None
        rank = _rank(record, threshold)
        return certified_rate(record.n_groups, rank, confidence) if rank <= record.n_groups else 1.0

    def rate(rated: Sequence[float]) -> Rate:
        k = sum(score >= threshold for score in rated)
        return Rate(k, len(rated), *_limits(k, len(rated), record.confidence))

    return OperatingPoint(
        threshold=threshold,
        certified=certified(record.confidence),
        certified_for_all=certified(1 - (1 - record.confidence) / n_claims),
        false_alarms=rate(scores.good) if scores.good else None,
        recall=rate(scores.defective) if scores.by_type else None,
        recall_by_type={name: rate(own) for name, own in scores.by_type.items()},
    )
