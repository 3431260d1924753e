"""Metrics of scores. Rank metrics see raw values: only their order matters, and ties count exactly.

Scores: higher is more anomalous, any unit. Labels: True is anomalous. The rank metrics are scikit-learn's, imported
where they are used, since it takes a while.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import special

from gonogo.errors import ConfigError, ShapeError, UndefinedMetricError

Statistic = Callable[[np.ndarray, np.ndarray], float]

AT_RECALL = {f"false_alarm_rate_at_recall_{percent}": percent / 100 for percent in (90, 95, 99)}
ROUNDING = 1e-9  # of a number of images times a share


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that an anomalous score exceeds a normal one, ties counted one half.

    Args:
        scores: (n,).
        labels: (n,) bool.

    Raises:
        UndefinedMetricError: one of the two classes is absent.

    Source: scikit-learn's `roc_auc_score`.
    """
    from sklearn.metrics import roc_auc_score

    scores, labels = checked(scores, labels, both_classes=True)
    with _unlimited():
        return float(roc_auc_score(labels, scores))


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Sum over thresholds of precision times the gain in recall, without interpolation.

    Raises:
        UndefinedMetricError: one of the two classes is absent.

    Source: scikit-learn's `average_precision_score`.
    """
    from sklearn.metrics import average_precision_score

    scores, labels = checked(scores, labels, both_classes=True)
    with _unlimited():
        return float(average_precision_score(labels, scores))


def roc_curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False-positive rates, true-positive rates and thresholds (k,), from (0, 0) up to (1, 1).

    The first threshold is infinite; each further one is a distinct score, and `score >= threshold` is anomalous.

    Raises:
        UndefinedMetricError: one of the two classes is absent.

    Source: scikit-learn's `roc_curve`, with every threshold kept.
    """
    from sklearn.metrics import roc_curve as curve

    scores, labels = checked(scores, labels, both_classes=True)
    with _unlimited():
        fpr, tpr, thresholds = curve(labels, scores, drop_intermediate=False)
    return fpr, tpr, thresholds


def precision_recall_curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precisions, recalls and thresholds (k,) at each distinct score, recall growing.

    Raises:
        UndefinedMetricError: one of the two classes is absent.

    Source: scikit-learn's `precision_recall_curve` in reverse order, without its last point (recall 0, precision 1),
        which belongs to no threshold.
    """
    from sklearn.metrics import precision_recall_curve as curve

    scores, labels = checked(scores, labels, both_classes=True)
    with _unlimited():
        precision, recall, thresholds = curve(labels, scores)
    return precision[-2::-1], recall[-2::-1], thresholds[::-1]


def f1_oracle(scores: np.ndarray, labels: np.ndarray) -> float:
    """The best F1 that any threshold would give on these very scores: a ceiling, not a result.

    Raises:
        UndefinedMetricError: one of the two classes is absent.
    """
    precision, recall, _ = precision_recall_curve(scores, labels)
    found = recall > 0
    return float((2 * precision[found] * recall[found] / (precision[found] + recall[found])).max())


def false_alarm_rate_at(scores: np.ndarray, labels: np.ndarray, *, recall: float) -> float:
    """The share of good images rejected at the highest threshold that rejects the share `recall` of the anomalous ones.

    The threshold is chosen on these very scores: how well they separate, and no promise for other images.

    Raises:
        ConfigError: `recall` is no share in (0, 1].
        UndefinedMetricError: one of the two classes is absent.
    """
    scores, labels = checked(scores, labels, both_classes=True)
    threshold = np.sort(scores[labels])[-n_found(int(labels.sum()), recall)]
    return float((scores[~labels] >= threshold).mean())


def n_found(n_defective: int, recall: float) -> int:
    """The least number of `n_defective` images that are the share `recall` of them, whatever the product rounds to.

    Raises:
        ConfigError: `recall` is no share in (0, 1].
    """
    if not 0 < recall <= 1:
        raise ConfigError(f"recall: expected a share in (0, 1], got {recall}")
    return math.ceil(n_defective * recall - ROUNDING)


def random_metrics(n_good: int, n_defective: int) -> dict[str, float]:
    """What scores drawn at random give on average, for the metrics of ranks; none where one of the classes is absent.

    Source: for average precision, Bestgen 2015, "Exact expected average precision of the random baseline for system
        evaluation"; for the others, the places of `n_defective` numbers among n_good, drawn uniformly.
    """
    n = n_good + n_defective
    if not n_good or not n_defective:
        return {}
    harmonic = float(special.digamma(n + 1) - special.digamma(1))
    average_precision = (harmonic + (n_defective - 1) / (n - 1) * (n - harmonic)) / n
    rates = {name: n_found(n_defective, recall) / (n_defective + 1) for name, recall in AT_RECALL.items()}
    return {"image_auroc": 0.5, "image_ap": average_precision, **rates}


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
    scores, labels = checked(scores, labels, both_classes=True)
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
        **{name: partial(false_alarm_rate_at, recall=recall) for name, recall in AT_RECALL.items()},
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
    probabilities, labels = checked(probabilities, labels, both_classes=True)
    weights = np.where(labels, rate / labels.sum(), (1 - rate) / (~labels).sum())
    bins = np.minimum((probabilities * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, weights * (probabilities - labels), minlength=n_bins)
    return {"brier": float((weights * (probabilities - labels) ** 2).sum()), "ece": float(np.abs(gaps).sum())}


def binomial_interval(k: int, n: int, *, confidence: float) -> tuple[float, float]:
    """Exact two-sided limits of a rate of which `k` of `n` were seen.

    Raises:
        ConfigError: `confidence` outside its range.
        UndefinedMetricError: n is 0, or k is not among 0 to n.

    Source: Clopper and Pearson 1934.
    """
    require_confidence(confidence)
    if not 0 <= k <= n or n == 0:
        raise UndefinedMetricError(f"a rate needs 0 <= k <= n and n > 0, got k = {k}, n = {n}")
    low, high = (1 - confidence) / 2, (1 + confidence) / 2
    return (
        float(special.betaincinv(k, n - k + 1, low)) if k > 0 else 0.0,
        float(special.betaincinv(k + 1, n - k, high)) if k < n else 1.0,
    )


def checked(scores: np.ndarray, labels: np.ndarray, *, both_classes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) and labels (n,) bool.

    Raises:
        ShapeError: their shapes differ, a score is not finite, or a label is neither 0 nor 1.
        UndefinedMetricError: `both_classes` are needed and one is absent.
    """
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


def _unlimited() -> np.errstate:
    """scikit-learn subtracts neighbouring scores, whose difference may exceed the largest float; it stays nonzero."""
    return np.errstate(over="ignore", invalid="ignore")


def _rate(scores: np.ndarray, chosen: np.ndarray, threshold: float) -> float:
    if not chosen.any():
        raise UndefinedMetricError("a rejection rate needs at least one image")
    return float((scores[chosen] >= threshold).mean())


def require_confidence(confidence: float) -> None:
    """Do nothing, or refuse.

    Raises:
        ConfigError: it is no share in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: expected a share in (0, 1), got {confidence}")
