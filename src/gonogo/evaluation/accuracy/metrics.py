"""Metrics of scores. Rank metrics see raw values: only their order matters, and ties count exactly.

Scores: higher is more anomalous, any unit. Labels: True is anomalous.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gonogo.errors import ConfigError, ShapeError, UndefinedMetricError

Statistic = Callable[[np.ndarray, np.ndarray], float]


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that an anomalous score exceeds a normal one, ties counted one half.

    Args:
        scores: (n,).
        labels: (n,) bool.

    Raises:
        UndefinedMetricError: one of the two classes is absent.

    Source: Mann and Whitney 1947.
    """
    scores, labels = _checked(scores, labels, both_classes=True)
    n_anomalous = int(labels.sum())
    ranks = stats.rankdata(scores)
    u = ranks[labels].sum() - n_anomalous * (n_anomalous + 1) / 2
    return float(u / (n_anomalous * (len(labels) - n_anomalous)))


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Sum over thresholds of precision times the gain in recall, without interpolation.

    Raises:
        UndefinedMetricError: one of the two classes is absent.
    """
    scores, labels = _checked(scores, labels, both_classes=True)
    true, false, _ = _counts(scores, labels.astype(np.float64), (~labels).astype(np.float64))
    return _area_of_steps(true, false)


def roc_curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False-positive rates, true-positive rates and thresholds (k,), from (0, 0) up to (1, 1).

    The first threshold is infinite; each further one is a distinct score, and `score >= threshold` is anomalous.

    Raises:
        UndefinedMetricError: one of the two classes is absent.
    """
    scores, labels = _checked(scores, labels, both_classes=True)
    true, false, thresholds = _counts(scores, labels.astype(np.float64), (~labels).astype(np.float64))
    zero = np.zeros(1)
    return (
        np.concatenate([zero, false / false[-1]]),
        np.concatenate([zero, true / true[-1]]),
        np.concatenate([[np.inf], thresholds]),
    )


def precision_recall_curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precisions, recalls and thresholds (k,) at each distinct score, recall growing.

    Raises:
        UndefinedMetricError: one of the two classes is absent.
    """
    scores, labels = _checked(scores, labels, both_classes=True)
    true, false, thresholds = _counts(scores, labels.astype(np.float64), (~labels).astype(np.float64))
    return true / (true + false), true / true[-1], thresholds


def f1_oracle(scores: np.ndarray, labels: np.ndarray) -> float:
    """The best F1 that any threshold would give on these very scores: a ceiling, not a result.

    Raises:
        UndefinedMetricError: one of the two classes is absent.
    """
    scores, labels = _checked(scores, labels, both_classes=True)
    true, false, _ = _counts(scores, labels.astype(np.float64), (~labels).astype(np.float64))
    return float((2 * true / (true + false + true[-1])).max())


@dataclass(frozen=True)
class VerdictMetrics:
    """Verdicts at one threshold. Precision and F1 are 0 where nothing is rejected."""

    false_alarm_rate: float
    recall: float
    precision: float
    f1: float
    n_good: int
    n_defective: int
    false_alarms: int
    misses: int


def verdict_metrics(scores: np.ndarray, labels: np.ndarray, threshold: float) -> VerdictMetrics:
    """Compare `score >= threshold` with the labels, in float64 as the scorer does.

    Raises:
        ShapeError: the threshold is not a number.
        UndefinedMetricError: one of the two classes is absent.
    """
    scores, labels = _checked(scores, labels, both_classes=True)
    if np.isnan(threshold):
        raise ShapeError(f"threshold: expected a number, got {threshold}; no score compares with it")
    rejected = scores.astype(np.float64) >= threshold  # numpy would round the threshold to float32 scores
    hits, false_alarms = int((rejected & labels).sum()), int((rejected & ~labels).sum())
    n_defective = int(labels.sum())
    n_good = len(labels) - n_defective
    return VerdictMetrics(
        false_alarm_rate=false_alarms / n_good,
        recall=hits / n_defective,
        precision=hits / (hits + false_alarms) if hits + false_alarms else 0.0,
        f1=2 * hits / (2 * hits + false_alarms + n_defective - hits),
        n_good=n_good,
        n_defective=n_defective,
        false_alarms=false_alarms,
        misses=n_defective - hits,
    )


def image_statistics(threshold: float) -> dict[str, Statistic]:
    """The image metrics as functions of scores (n,) and labels (n,) bool; each raises where it has no value."""
    return {
        "image_auroc": auroc,
        "image_ap": average_precision,
        "false_alarm_rate": lambda scores, labels: _rate(scores, ~labels, threshold),
        "recall": lambda scores, labels: _rate(scores, labels, threshold),
        "precision": lambda scores, labels: verdict_metrics(scores, labels, threshold).precision,
        "f1": lambda scores, labels: verdict_metrics(scores, labels, threshold).f1,
        "f1_oracle": f1_oracle,
    }


def calibration_errors(
    probabilities: np.ndarray, labels: np.ndarray, *, rate: float, n_bins: int = 10
) -> dict[str, float]:
    """How far stated probabilities are from what happens, where a share `rate` of the images were anomalous.

    `brier` is the mean squared distance to the labels; `ece` the expected calibration error: over bins of equal width,
    the distance between mean probability and share of anomalous images, weighed by the images in it. Images of either
    label are weighed to `rate`.

    Args:
        probabilities: (n,) in [0, 1].
        labels: (n,) bool.

    Raises:
        UndefinedMetricError: one of the two classes is absent.

    Source: Brier 1950; Naeini, Cooper and Hauskrecht 2015 for the bins.
    """
    probabilities, labels = _checked(probabilities, labels, both_classes=True)
    weights = np.where(labels, rate / labels.sum(), (1 - rate) / (~labels).sum())
    bins = np.minimum((probabilities * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, weights * (probabilities - labels), minlength=n_bins)
    return {"brier": float((weights * (probabilities - labels) ** 2).sum()), "ece": float(np.abs(gaps).sum())}


def bootstrap_intervals(
    statistics: Mapping[str, Statistic],
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    groups: Sequence[str],
    n_resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of statistics of (scores, labels), resampling groups: shots of one part are one draw.

    A resample on which a statistic is undefined is left out of that statistic's distribution.

    Args:
        statistics: by name, functions of scores (n,) and labels (n,) bool.
        groups: n group ids.
        n_resamples: how many resamples are drawn.
        confidence: of the two-sided interval, in (0, 1).
        seed: of the resampling.

    Raises:
        ConfigError: `confidence` outside its range.
        UndefinedMetricError: there is no score, or a statistic is undefined on every resample.

    Source: Efron 1979; the cluster bootstrap of Davison and Hinkley 1997, section 3.8.
    """
    scores, labels = _checked(scores, labels, both_classes=False)
    _require_confidence(confidence)
    if len(groups) != len(scores):
        raise ShapeError(f"groups: expected {len(scores)} ids, one per score, got {len(groups)}")
    if not len(scores):
        raise UndefinedMetricError("a bootstrap needs at least one score, got none")
    _, group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    members = [np.flatnonzero(group_of == number) for number in range(int(group_of.max()) + 1)]
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in statistics}
    for _ in range(n_resamples):
        chosen = np.concatenate([members[number] for number in rng.integers(len(members), size=len(members))])
        for name, statistic in statistics.items():
            try:
                drawn[name].append(statistic(scores[chosen], labels[chosen]))
            except UndefinedMetricError:
                continue
    tail = (1 - confidence) / 2
    intervals = {}
    for name, values in drawn.items():
        if not values:
            raise UndefinedMetricError(f"{name} is undefined on all {n_resamples} resamples; there are too few groups")
        low, high = np.quantile(values, [tail, 1 - tail])
        intervals[name] = (float(low), float(high))
    return intervals


def binomial_interval(k: int, n: int, *, confidence: float) -> tuple[float, float]:
    """Exact two-sided limits of a rate of which `k` of `n` were seen.

    Raises:
        ConfigError: `confidence` outside its range.
        UndefinedMetricError: n is 0, or k is not among 0 to n.

    Source: Clopper and Pearson 1934.
    """
    _require_confidence(confidence)
    if not 0 <= k <= n or n == 0:
        raise UndefinedMetricError(f"a rate needs 0 <= k <= n and n > 0, got k = {k}, n = {n}")
    interval = stats.binomtest(k, n).proportion_ci(confidence_level=confidence, method="exact")
    return float(interval.low), float(interval.high)


def _checked(scores: np.ndarray, labels: np.ndarray, *, both_classes: bool) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 1 or labels.shape != scores.shape:
        raise ShapeError(f"scores and labels: expected (n,) and (n,), got {scores.shape} and {labels.shape}")
    if not np.isfinite(scores).all():
        raise ShapeError(f"scores: expected finite values, got {int((~np.isfinite(scores)).sum())} that are not")
    if not np.isin(labels, (0, 1)).all():
        raise ShapeError("labels: expected 0 or False for good and 1 or True for anomalous")
    labels = labels.astype(bool)
    if both_classes and (labels.all() or not labels.any()):
        raise UndefinedMetricError(f"both classes are needed, got {int(labels.sum())} anomalous of {len(labels)}")
    return scores, labels


def _rate(scores: np.ndarray, chosen: np.ndarray, threshold: float) -> float:
    if not chosen.any():
        raise UndefinedMetricError("a rejection rate needs at least one image")
    return float((scores[chosen] >= threshold).mean())


def _require_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: expected a share in (0, 1), got {confidence}")


def _ends_of_ties(descending: np.ndarray) -> np.ndarray:
    """Positions of the last of each run of equal values."""
    return np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(descending) - 1)


def _counts(
    scores: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cumulated positive and negative weight at each distinct score, descending, and those scores."""
    order = np.argsort(scores)[::-1]
    ends = _ends_of_ties(scores[order])
    return np.cumsum(positive[order])[ends], np.cumsum(negative[order])[ends], scores[order][ends]


def _area_of_steps(true: np.ndarray, false: np.ndarray) -> float:
    """Average precision from cumulated counts."""
    gains = np.diff(true, prepend=0.0)
    return float((gains * true / (true + false)).sum() / true[-1])
