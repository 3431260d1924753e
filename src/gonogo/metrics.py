"""Metrics of scores and maps. Rank metrics see raw values: only their order matters, and ties count exactly.

Scores and maps: higher is more anomalous, any unit. Labels and masks: True is anomalous.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import integrate, ndimage, stats

from gonogo.errors import ConfigError, ShapeError, UndefinedMetricError

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)

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


@dataclass(frozen=True)
class PixelMetrics:
    """How well maps find the defects' pixels."""

    pixel_auroc: float
    pixel_ap: float
    aupro_30: float
    aupro_05: float


def pixel_metrics(anomaly_maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> PixelMetrics:
    """Pixel AUROC, pixel AP and AUPRO at 0.30 and 0.05, exactly, from one sort of all pixels.

    Args:
        anomaly_maps: n maps (h, w); images may differ in size.
        masks: n masks (h, w) bool, each of its map's size.

    Raises:
        ShapeError: a mask does not fit its map, or a value is not finite.
        UndefinedMetricError: no defect pixel, or no normal one.
    """
    true, false, pro = _pixel_counts(anomaly_maps, masks)
    return PixelMetrics(
        pixel_auroc=_area_below(false / false[-1], true / true[-1], 1.0),
        pixel_ap=_area_of_steps(true, false),
        aupro_30=_area_below(false / false[-1], pro / pro[-1], 0.30),
        aupro_05=_area_below(false / false[-1], pro / pro[-1], 0.05),
    )


def aupro(anomaly_maps: Sequence[np.ndarray], masks: Sequence[np.ndarray], *, fpr_limit: float) -> float:
    """Area under mean region overlap against false-positive rate up to `fpr_limit`, scaled to [0, 1].

    A small region counts as much as a large one. Only the order of the map values matters.

    Args:
        anomaly_maps: n maps (h, w). Higher is more anomalous; any unit.
        masks: n masks (h, w) bool. Regions are 8-connected, counted per image.
        fpr_limit: largest false-positive rate integrated, in (0, 1].

    Raises:
        ConfigError: `fpr_limit` outside its range.
        ShapeError: a mask does not fit its map, or a value is not finite.
        UndefinedMetricError: no defect pixel, or no normal one.

    Source: Bergmann et al. 2021 (IJCV), section 4.3; checked against a brute-force loop in tests/test_metrics.py.
    """
    if not 0 < fpr_limit <= 1:
        raise ConfigError(f"fpr_limit: expected a rate in (0, 1], got {fpr_limit}")
    _, false, pro = _pixel_counts(anomaly_maps, masks)
    return _area_below(false / false[-1], pro / pro[-1], fpr_limit)


def seg_f1(defect_masks: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> float:
    """F1 of the marked pixels, over all pixels of all images together: a threshold's worth, not a map's.

    Args:
        defect_masks: n masks (h, w) bool, what a gauge marks; images may differ in size.
        masks: n masks (h, w) bool, the truth, each of its defect mask's size.

    Raises:
        ShapeError: a mask does not fit the other.
        UndefinedMetricError: no defect pixel.

    Source: Heckler-Kram et al. 2025, "The MVTec AD 2 Dataset", where it is SegF1.
    """
    hits, errors = 0, 0
    for number, (marked, mask) in enumerate(zip(defect_masks, masks, strict=True)):
        if marked.shape != mask.shape or marked.dtype != np.bool_ or mask.dtype != np.bool_:
            raise ShapeError(
                f"image {number}: expected two masks (h, w) bool, got {marked.shape} {marked.dtype} and "
                f"{mask.shape} {mask.dtype}"
            )
        hits += int((marked & mask).sum())
        errors += int((marked ^ mask).sum())
    if not any(mask.any() for mask in masks):
        raise UndefinedMetricError("SegF1 needs defect pixels, got none")
    return 2 * hits / (2 * hits + errors)


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


def _area_below(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Area under the polyline from (0, 0) through (x, y), up to x = `limit`, divided by `limit`."""
    x, y = np.concatenate([[0.0], x]), np.concatenate([[0.0], y])
    last = int(np.searchsorted(x, limit, side="right"))  # the first point beyond the limit
    at_limit = np.interp(limit, x[last - 1 : last + 1], y[last - 1 : last + 1])
    area = integrate.trapezoid(np.append(y[:last], at_limit), np.append(x[:last], limit))
    return float(min(area / limit, 1.0))


def _pixel_counts(
    anomaly_maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Defect pixels, normal pixels and region overlap, cumulated at each distinct map value, descending."""
    values, normal, overlap = _pixels(anomaly_maps, masks)
    order = np.argsort(values)[::-1]
    ends = _ends_of_ties(values[order])
    false = np.cumsum(normal[order], dtype=np.float64)[ends]
    return ends + 1.0 - false, false, np.cumsum(overlap[order])[ends]


def _pixels(
    anomaly_maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pixels as (N,): map values, whether normal, and the share of its region that a defect pixel is."""
    if len(anomaly_maps) != len(masks):
        raise ShapeError(f"expected one mask per map, got {len(anomaly_maps)} maps and {len(masks)} masks")
    shares = []
    for number, (anomaly_map, mask) in enumerate(zip(anomaly_maps, masks, strict=True)):
        fits = anomaly_map.ndim == 2 and mask.shape == anomaly_map.shape and mask.dtype == np.bool_
        if not fits or 0 in mask.shape:
            raise ShapeError(
                f"image {number}: expected map (h, w) and mask (h, w) bool, got {anomaly_map.shape} and "
                f"{mask.shape} {mask.dtype}; threshold masks first"
            )
        if not np.isfinite(anomaly_map).all():
            raise ShapeError(f"image {number}: its map holds values that are not finite")
        regions, _ = ndimage.label(mask, EIGHT_CONNECTED)
        areas = np.bincount(regions.ravel()).astype(np.float64)
        areas[0] = np.inf
        shares.append((1 / areas)[regions].ravel())
    defective = np.concatenate([mask.ravel() for mask in masks]) if len(masks) else np.zeros(0, dtype=bool)
    if defective.all() or not defective.any():
        raise UndefinedMetricError(f"defect and normal pixels are needed, got {defective.sum()} of {defective.size}")
    values = np.concatenate([anomaly_map.ravel() for anomaly_map in anomaly_maps])
    return values, ~defective, np.concatenate(shares)
