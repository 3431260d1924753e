"""Metrics of boxes as functions of how often each image was drawn: for bootstrap intervals over parts."""

from collections.abc import Sequence

import numpy as np

from gonogo.calibration.boxes import Boxes
from gonogo.detectors.boxes.average_precision import RECALLS, hits_of
from gonogo.evaluation.accuracy.resampling import Resampled

OVERLAPS = np.linspace(0.5, 0.95, 10)  # COCO's
AT_A_TIME = 1 << 22  # resampled boxes


def resampled_precision(
    found: Sequence[Boxes], labelled: Sequence[Boxes], n_classes: int, overlaps: Sequence[float]
) -> Resampled:
    """The mean average precision over classes and overlaps, of counts (r, n) of the images.

    A box's match in its image does not depend on the other images, so that each is matched once. On counts of 1 it is
    COCO's own figure.
    """
    parts = []
    for number in range(n_classes):
        wanted = np.array([int((boxes.classes == number).sum()) for boxes in labelled])
        image_of = np.repeat(np.arange(len(found)), [int((boxes.classes == number).sum()) for boxes in found])
        for overlap in overlaps:
            hits, scores, _ = hits_of(found, labelled, number, iou=overlap)
            order = np.argsort(-scores, kind="mergesort")
            parts.append((number, wanted, image_of[order], hits[order]))

    def resampled(counts: np.ndarray) -> np.ndarray:
        values = np.full((n_classes, len(overlaps), len(counts)), np.nan)
        for place, (number, wanted, image_of, hits) in enumerate(parts):
            values[number, place % len(overlaps)] = _average_precision(counts, wanted, image_of, hits)
        known = ~np.isnan(values)
        total = np.where(known, values, 0.0).sum(axis=(0, 1))
        return _ratio(total, known.sum(axis=(0, 1)))

    return resampled


def _average_precision(counts: np.ndarray, wanted: np.ndarray, image_of: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """(r,) of one class at one overlap; NaN where no labelled box was drawn. Boxes are sorted, best first."""
    n_labelled = counts @ wanted
    values = np.where(n_labelled > 0, 0.0, np.nan)
    if not len(hits):
        return values
    rows = max(1, AT_A_TIME // len(hits))
    for first in range(0, len(counts), rows):
        block = slice(first, first + rows)
        times = counts[block][:, image_of]
        true = np.cumsum(times * hits, axis=1)
        precision = true / np.maximum(np.cumsum(times, axis=1), 1)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for number, (row, total) in enumerate(zip(true, n_labelled[block], strict=True), start=first):
            if total > 0:
                places = np.searchsorted(row / total, RECALLS, side="left")
                reached = places < len(row)
                values[number] = precision[number - first, places[reached]].sum() / len(RECALLS)
    return values


def resampled_rate(numerators: Sequence[int], denominators: Sequence[int]) -> Resampled:
    """The rate of counts that each image has, such as of hits among its labelled boxes."""
    above, below = np.array(numerators, dtype=float), np.array(denominators, dtype=float)

    def rate(counts: np.ndarray) -> np.ndarray:
        n_above, n_below = counts @ above, counts @ below
        return _ratio(n_above, n_below)

    return rate


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """(r,) numerators over denominators, NaN where one is 0."""
    ratios = np.full(len(numerators), np.nan)
    np.divide(numerators, denominators, out=ratios, where=denominators > 0)
    return ratios
