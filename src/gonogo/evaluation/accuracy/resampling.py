"""Bootstrap intervals of image metrics, resampling parts: all shots of one part are drawn together.

A resample is a count for each image: how often it was drawn. A metric of many resamples is then computed at once, from
one sorting of the scores; scikit-learn, called for each resample, would take minutes where this takes a second.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from gonogo.compute.arrays import UNREADABLE, load_arrays, save_arrays
from gonogo.errors import IntegrityError, ShapeError, UndefinedMetricError
from gonogo.evaluation.accuracy.metrics import AT_RECALL, ROUNDING, checked, require_confidence

BLOCK = 1 << 22  # counts at a time: 32 MiB of float64

# A metric by resample: from counts (r, n) to values (r,), NaN where it is undefined.
Resampled = Callable[[np.ndarray], np.ndarray]


def bootstrap_intervals(
    statistics: Mapping[str, Resampled],
    groups: Sequence[str],
    *,
    n_resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of statistics; a resample on which one is undefined is left out of its distribution.

    Args:
        statistics: by name, as `resampled_metrics` gives them for the images' scores and labels.
        groups: n group ids, one per image.
        n_resamples: how many resamples are drawn.
        confidence: of the two-sided interval, in (0, 1).
        seed: of the resampling.

    Raises:
        ConfigError: `confidence` outside its range.
        UndefinedMetricError: there is no image, or a statistic is undefined on every resample.

    Source: Efron 1979; the cluster bootstrap of Davison and Hinkley 1997, section 3.8.
    """
    require_confidence(confidence)
    drawn = bootstrap_values(statistics, groups, n_resamples=n_resamples, seed=seed)
    return {name: percentile_interval(name, values, confidence) for name, values in drawn.items()}


def bootstrap_values(
    statistics: Mapping[str, Resampled], groups: Sequence[str], *, n_resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """The values (n_resamples,) of each statistic, NaN where one is undefined; as `bootstrap_intervals` draws them.

    Raises:
        UndefinedMetricError: there is no image.
    """
    if not len(groups):
        raise UndefinedMetricError("a bootstrap needs at least one image, got none")
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for counts in _resamples(groups, n_resamples, np.random.default_rng(seed)):
        for name, statistic in statistics.items():
            drawn[name].append(statistic(counts))
    return {name: np.concatenate(blocks) for name, blocks in drawn.items()}


def save_resampled(path: Path, drawn: Mapping[str, np.ndarray]) -> None:
    """Write the values (r,) of statistics on resamples as a compressed .npz file; equal values give equal bytes."""
    save_arrays(path, {name: np.asarray(values, dtype=np.float32) for name, values in sorted(drawn.items())})


def load_resampled(path: Path) -> dict[str, np.ndarray]:
    """Read what `save_resampled` wrote; nothing is unpickled.

    Raises:
        IntegrityError: the file is missing, damaged or holds something else.
    """
    try:
        return load_arrays(path)
    except UNREADABLE as error:
        raise IntegrityError(f"{path} does not hold the values of metrics on resamples; run dvc repro") from error


def percentile_interval(name: str, values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The two-sided percentile interval of resampled values (r,), those that are NaN left out.

    Raises:
        UndefinedMetricError: all are; `name` is what the message calls the statistic.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        raise UndefinedMetricError(f"{name} is undefined on all {len(values)} resamples; there are too few groups")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def resampled_metrics(scores: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, Resampled]:
    """The image metrics that get an interval, as functions of the counts of resamples.

    On one resample each equals the function of `gonogo.evaluation.accuracy.metrics` on the images drawn, up to
    rounding, and is NaN where that one raises.

    Args:
        scores: (n,).
        labels: (n,) bool.
        threshold: of the verdicts.

    Raises:
        ShapeError: as the metrics do.
    """
    scores, labels = checked(scores, labels, both_classes=False)
    rejected = scores.astype(np.float64) >= threshold
    order = np.argsort(scores)[::-1]
    descending = scores[order]
    ends = np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(scores) - 1)  # the last of each tie

    def rejections(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """True and false positives (r, k) at each distinct score, descending; the last ones are those of all images."""
        _require_counts(counts, len(scores))
        sorted_counts = counts[:, order]
        true = np.cumsum(sorted_counts * labels[order], axis=1)[:, ends]
        return true, np.cumsum(sorted_counts, axis=1)[:, ends] - true

    def image_auroc(counts: np.ndarray) -> np.ndarray:
        true, false = rejections(counts)
        before = np.concatenate([np.zeros((len(true), 1)), true[:, :-1]], axis=1)
        area = (np.diff(false, prepend=0.0) * (true + before) / 2).sum(axis=1)
        return _ratio(area, true[:, -1] * false[:, -1])

    def image_ap(counts: np.ndarray) -> np.ndarray:
        true, false = rejections(counts)
        precision = true / np.maximum(true + false, 1)
        gain = (np.diff(true, prepend=0.0) * precision).sum(axis=1)
        return _ratio(np.where(false[:, -1] > 0, gain, np.nan), true[:, -1])

    def at_recall(recall: float) -> Resampled:
        def false_alarm_rate(counts: np.ndarray) -> np.ndarray:
            true, false = rejections(counts)
            wanted = np.ceil(true[:, -1:] * recall - ROUNDING)
            first = (true >= np.maximum(wanted, 1)).argmax(axis=1)
            alarms = np.where(true[:, -1] > 0, false[np.arange(len(false)), first], np.nan)
            return _ratio(alarms, false[:, -1])

        return false_alarm_rate

    def rate(chosen: np.ndarray) -> Resampled:
        def rejection_rate(counts: np.ndarray) -> np.ndarray:
            _require_counts(counts, len(scores))
            return _ratio(counts @ (rejected & chosen).astype(float), counts @ chosen.astype(float))

        return rejection_rate

    def f1(counts: np.ndarray) -> np.ndarray:
        _require_counts(counts, len(scores))
        n_defective, n_good = counts @ labels.astype(float), counts @ (~labels).astype(float)
        n_rejected, hits = counts @ rejected.astype(float), counts @ (rejected & labels).astype(float)
        return _ratio(np.where(n_good > 0, 2 * hits, np.nan), np.where(n_defective > 0, n_rejected + n_defective, 0.0))

    return {
        "image_auroc": image_auroc,
        "image_ap": image_ap,
        "false_alarm_rate": rate(~labels),
        "recall": rate(labels),
        "f1": f1,
        **{name: at_recall(recall) for name, recall in AT_RECALL.items()},
    }


def _resamples(groups: Sequence[str], n_resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Blocks of counts (r, n) float64; a resample draws as many groups as there are, whole and with replacement."""
    _, group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    n_groups = int(group_of.max()) + 1
    rows = max(1, BLOCK // len(groups))
    for first in range(0, n_resamples, rows):
        drawn = [rng.integers(n_groups, size=n_groups) for _ in range(min(rows, n_resamples - first))]
        times = np.stack([np.bincount(numbers, minlength=n_groups) for numbers in drawn])
        yield times[:, group_of].astype(np.float64)


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """(r,) numerators over denominators, NaN where one is 0."""
    ratios = np.full(len(numerators), np.nan)
    np.divide(numerators, denominators, out=ratios, where=denominators > 0)
    return ratios


def _require_counts(counts: np.ndarray, n_images: int) -> None:
    if counts.shape[1:] != (n_images,):
        raise ShapeError(f"counts: expected (r, {n_images}), one per image, got {counts.shape}")
