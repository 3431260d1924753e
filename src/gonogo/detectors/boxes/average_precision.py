"""Average precision of found boxes against labelled ones, and the confidence of the best F1. Needs numpy alone.

`gonogo.evaluation.boxes` reports the figures of an installed COCO evaluation; this one chooses epochs and confidences.
"""

from collections.abc import Sequence

import numpy as np

from gonogo.calibration.boxes import BoxClasses, Boxes, matched

RECALLS = np.linspace(0, 1, 101)  # at which COCO reads precision
EVEN_CONFIDENCE = 0.5  # has the score 1 until the validate images say otherwise
USUAL_CONFIDENCE = 0.3  # has the score 1 in a class of which no validate image shows one that is found
LEAST = 1e-4  # confidence that may have the score 1, and its distance from 1


def average_precision(
    found: Sequence[Boxes], labelled: Sequence[Boxes], number: int, *, iou: float = 0.5
) -> float | None:
    """COCO's average precision of one class over all images: precision read at 101 recalls; None without a label.

    Source: cocoapi, PythonAPI/pycocotools/cocoeval.py; checked against pycocotools in tests/detectors/test_boxes.py.
    """
    hits, scores, n_labelled = hits_of(found, labelled, number, iou=iou)
    if not n_labelled:
        return None
    order = np.argsort(-scores, kind="mergesort")
    true = np.cumsum(hits[order])
    recall, precision = true / n_labelled, true / np.arange(1, len(true) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(places, len(precision))].mean())


def mean_average_precision(found: Sequence[Boxes], labelled: Sequence[Boxes], n_classes: int) -> float:
    """Mean over the classes that have a label, at an overlap of 0.5; 0 where none has."""
    values = [average_precision(found, labelled, number) for number in range(n_classes)]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else 0.0


def hits_of(
    found: Sequence[Boxes], labelled: Sequence[Boxes], number: int, *, iou: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Of one class, over all images: which found boxes hit (k,) bool, their scores (k,), and how many are labelled."""
    hits, scores, n_labelled = [np.zeros(0, dtype=bool)], [np.zeros(0)], 0
    for ours, truth in zip(found, labelled, strict=True):
        of_class, wanted = ours.of_class(number), truth.of_class(number)
        hits.append(matched(of_class, wanted, iou) >= 0)
        scores.append(of_class.scores)
        n_labelled += len(wanted)
    return np.concatenate(hits), np.concatenate(scores), n_labelled


def best_f1_score(found: Sequence[Boxes], labelled: Sequence[Boxes], number: int, *, iou: float = 0.5) -> float | None:
    """The lowest score of the boxes that give the class the best F1; None where no labelled box is found."""
    hits, scores, n_labelled = hits_of(found, labelled, number, iou=iou)
    if not hits.any():
        return None
    order = np.argsort(-scores, kind="mergesort")
    true = np.cumsum(hits[order])
    f1 = 2 * true / (n_labelled + np.arange(1, len(true) + 1))
    return float(scores[order][int(f1.argmax())])


def units_of(found: Sequence[Boxes], labelled: Sequence[Boxes], names: Sequence[str]) -> list[float]:
    """The confidence of each class that gives the best F1, by boxes of which `EVEN_CONFIDENCE` has the score 1."""
    even = BoxClasses(names, [EVEN_CONFIDENCE] * len(names))
    best = [best_f1_score(found, labelled, number) for number in range(len(names))]
    return [
        USUAL_CONFIDENCE if score is None else min(max(even.confidence(number, score), LEAST), 1 - LEAST)
        for number, score in enumerate(best)
    ]
