"""What a gauge would do at other thresholds: certified from good parts, and measured on the test images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.threshold import certified_rate, thresholds_of
from gonogo.errors import ConfigError
from gonogo.evaluation.accuracy.metrics import binomial_interval

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
    """One threshold and what is known about it.

    Attributes:
        certified: at most this share of good parts is rejected, with the record's confidence, if this threshold was
            chosen before the calibrate scores were seen; None where the method certifies nothing.
        certified_for_all: the same for all listed thresholds at once, so that one may be chosen among them afterwards.
        false_alarms: of good test images; None where there is none.
        recall: of defective test images, of all and by defect type.
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
    """Scores of the test images: of good parts, and of defective ones by type."""

    good: Sequence[float]
    by_type: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Self:
        """From per-image records, as the evaluate stage makes them or as read from its file."""
        tested = [row for row in rows if row["role"] == "test"]
        good = [float(row["score"]) for row in tested if not int(row["label"])]
        by_type: dict[str, list[float]] = {}
        for row in sorted((row for row in tested if int(row["label"])), key=lambda row: str(row["defect_type"])):
            by_type.setdefault(row["defect_type"], []).append(float(row["score"]))
        return cls(good, by_type)

    @property
    def defective(self) -> list[float]:
        """Of all types."""
        return [score for scores in self.by_type.values() for score in scores]


def operating_points(
    scores: ScoresByKind, record: ThresholdRecord, thresholds: Sequence[float] | None = None
) -> list[OperatingPoint]:
    """What is known of each threshold, the lowest first.

    Args:
        scores: of the test images.
        record: of the gauge, with the good scores that certify.
        thresholds: None: the gauge's own, and one in each gap between good scores that is wide enough for one; of more
            than `LISTED` gaps the highest, and ever fewer below.

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
    """The threshold lies above the so-many-th largest good score; one more than there are, below all."""
    return 1 + sum(score >= threshold for score in record.good_scores)


def _point(scores: ScoresByKind, record: ThresholdRecord, threshold: float, n_claims: int) -> OperatingPoint:
    def certified(confidence: float) -> float | None:
        if record.method == "tail":
            return None
        rank = _rank(record, threshold)
        return certified_rate(record.n_groups, rank, confidence) if rank <= record.n_groups else 1.0

    def rate(of: Sequence[float]) -> Rate:
        k = sum(score >= threshold for score in of)
        return Rate(k, len(of), *_limits(k, len(of), record.confidence))

    return OperatingPoint(
        threshold=threshold,
        certified=certified(record.confidence),
        certified_for_all=certified(1 - (1 - record.confidence) / n_claims),
        false_alarms=rate(scores.good) if scores.good else None,
        recall=rate(scores.defective) if scores.by_type else None,
        recall_by_type={name: rate(of) for name, of in scores.by_type.items()},
    )
