"""The accuracy of a gauge's boxes on the test images: average precision, and precision and recall at its threshold."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from gonogo.calibration.boxes import HIT, BoxClasses, Boxes, matched, overlaps
from gonogo.calibration.certificate import ThresholdRecord
from gonogo.detectors.boxes.average_precision import mean_average_precision
from gonogo.evaluation.accuracy.metrics import binomial_interval
from gonogo.evaluation.accuracy.resampling import bootstrap_intervals
from gonogo.evaluation.boxes.coco import coco_precision
from gonogo.evaluation.boxes.resampled import OVERLAPS, resampled_precision, resampled_rate
from gonogo.images.dataset import Dataset, Record
from gonogo.model.inspection import alike
from gonogo.model.inspector import Inspector

NOTHING = "nothing"  # in the confusions: what no labelled box, or no found one, is
BOX_COLUMNS = ("image", "kind", "label", "x", "y", "width", "height", "score", "overlaps")


@dataclass(frozen=True)
class BoxResults:
    """The boxes of each test image, found and labelled, those found best first."""

    records: Sequence[Record]
    found: Sequence[Boxes]
    labelled: Sequence[Boxes]
    classes: BoxClasses


def find_boxes(inspector: Inspector, dataset: Dataset, records: Sequence[Record], classes: BoxClasses) -> BoxResults:
    """Look for boxes in each record's image; a few of one size go through the network together."""
    found: list[Boxes] = []
    images = dataset.images_of(records)
    for group in alike(records, inspector.at_once):
        found += inspector.inspect_with_boxes(np.stack(list(islice(images, len(group)))))[2]
    return BoxResults(records, found, [labelled_boxes(record, classes) for record in records], classes)


def labelled_boxes(record: Record, classes: BoxClasses) -> Boxes:
    """The labelled boxes of a record; those of a class that no fit image shows are numbered beyond the others."""
    numbers = {name: number for number, name in enumerate(classes.names)}
    corners = [[b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]] for b in record.boxes]
    return Boxes(
        np.array(corners, dtype=np.float64).reshape(-1, 4),
        np.array([numbers.get(str(box["label"]), len(numbers)) for box in record.boxes], dtype=np.int64),
        np.ones(len(corners)),
    )


def box_metrics(
    results: BoxResults, record: ThresholdRecord, *, n_resamples: int, confidence: float, seed: int, most: int
) -> dict[str, float | int | str | bool]:
    """All metrics of boxes, with intervals.

    Average precision looks at boxes of any score, `most` of each image. Precision, recall and confusions are those of
    the boxes at or above the certified threshold. The limits of a class's recall are exact for independent defects; the
    bootstrap intervals draw whole parts.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        UndefinedMetricError: no box is labelled.
    """
    names, n_classes = results.classes.names, len(results.classes.names)
    strangers = {label for one in results.records for b in one.boxes if (label := str(b["label"])) not in names}
    n_known = n_classes + bool(strangers)
    precision = coco_precision(results.found, results.labelled, n_known, most=most)
    metrics: dict[str, float | int | str | bool] = {
        "map_50": precision.map_50,
        "map_75": precision.map_75,
        "map_50_95": precision.map_50_95,
        "max_detections": most,
        "n_labelled_boxes": sum(map(len, results.labelled)),
    }
    metrics |= {f"map_50_size.{size}": value for size, value in precision.map_50_by_size.items()}
    for number, name in enumerate(names):
        if number in precision.ap_50:
            metrics[f"ap_50.{name}"] = precision.ap_50[number]
            metrics[f"ap_50_95.{name}"] = precision.ap_50_95[number]
    shown = [boxes.where(boxes.scores >= record.threshold) for boxes in results.found]
    hits = [_hits(ours, truth) for ours, truth in zip(shown, results.labelled, strict=True)]
    metrics |= _at_threshold(shown, results.labelled, hits, names, confidence)
    metrics |= _confusions(shown, results.labelled, [*names, *(["other"] if strangers else [])])
    for name, value in results.classes.confidences(record.threshold).items():
        metrics[f"confidence.{name}"] = value
    statistics = {
        "map_50": resampled_precision(results.found, results.labelled, n_known, [0.5]),
        "map_50_95": resampled_precision(results.found, results.labelled, n_known, OVERLAPS.tolist()),
        "box_recall": resampled_rate([int(h.sum()) for h in hits], [len(boxes) for boxes in results.labelled]),
    }
    if any(map(len, shown)):
        statistics["box_precision"] = resampled_rate([int(h.sum()) for h in hits], [len(boxes) for boxes in shown])
    groups = [one.group_id for one in results.records]
    intervals = bootstrap_intervals(statistics, groups, n_resamples=n_resamples, confidence=confidence, seed=seed)
    for name, (low, high) in intervals.items():
        metrics[f"{name}_low"], metrics[f"{name}_high"] = low, high
    return metrics


def baseline_map_50(regions: Sequence[Sequence[Any]], results: BoxResults, label: str) -> float:
    """mAP at an overlap of 0.5 of a trivial gauge: the regions in which each image differs from the mean good one.

    Args:
        regions: of each image, with `box` and `peak`, by which they are ranked.
        results: the labelled boxes of the same images.
        label: the class that every region is called: the most frequent one of the fit images.
    """
    number = list(results.classes.names).index(label)
    found = []
    for of_image in regions:
        ranked = sorted(of_image, key=lambda region: -region.peak)
        corners = [[x, y, x + width, y + height] for x, y, width, height in (region.box for region in ranked)]
        scores = np.array([region.peak for region in ranked], dtype=np.float64)
        found.append(Boxes(np.array(corners, dtype=np.float64).reshape(-1, 4), np.full(len(ranked), number), scores))
    return mean_average_precision(found, results.labelled, len(results.classes.names))


def box_rows(results: BoxResults, threshold: float) -> list[dict[str, Any]]:
    """A row for each labelled box, and for each found one at or above the threshold, in pixels of the image.

    `overlaps` is the largest overlap with a box of the other kind and the same class.
    """
    names = [*results.classes.names, "other"]
    rows = []
    for record, ours, truth in zip(results.records, results.found, results.labelled, strict=True):
        shown = ours.where(ours.scores >= threshold)
        for kind, boxes, others in (("labelled", truth, shown), ("found", shown, truth)):
            for corners, number, score in zip(
                boxes.corners, boxes.classes.tolist(), boxes.scores.tolist(), strict=True
            ):
                x0, y0, x1, y1 = corners.tolist()
                overlap = float(overlaps(corners[None], others.of_class(number).corners).max(initial=0.0))
                values = (record.path, kind, names[number], x0, y0, x1 - x0, y1 - y0, score, overlap)
                rows.append(dict(zip(BOX_COLUMNS, values, strict=True)))
    return rows


def _hits(found: Boxes, labelled: Boxes) -> np.ndarray:
    """(k,) bool: which found boxes are those of a labelled defect of their class."""
    hits = np.zeros(len(found), dtype=bool)
    for number in set(found.classes.tolist()):
        of_class = found.classes == number
        hits[of_class] = matched(found.where(of_class), labelled.of_class(number), HIT) >= 0
    return hits


def _at_threshold(
    shown: Sequence[Boxes],
    labelled: Sequence[Boxes],
    hits: Sequence[np.ndarray],
    names: Sequence[str],
    confidence: float,
) -> dict[str, float | int | str | bool]:
    """Precision and recall of all boxes, and the recall of each class with exact limits."""
    n_found, n_labelled, n_hits = sum(map(len, shown)), sum(map(len, labelled)), sum(int(h.sum()) for h in hits)
    metrics: dict[str, float | int | str | bool] = {"n_found_boxes": n_found, "box_recall": n_hits / n_labelled}
    if n_found:
        metrics["box_precision"] = n_hits / n_found
    for number, name in enumerate(names):
        wanted = sum(int((boxes.classes == number).sum()) for boxes in labelled)
        got = sum(int((h & (boxes.classes == number)).sum()) for h, boxes in zip(hits, shown, strict=True))
        if wanted:
            low, high = binomial_interval(got, wanted, confidence=confidence)
            metrics |= {
                f"box_recall.{name}": got / wanted,
                f"box_recall_low.{name}": low,
                f"box_recall_high.{name}": high,
            }
    return metrics


def _confusions(
    shown: Sequence[Boxes], labelled: Sequence[Boxes], names: Sequence[str]
) -> dict[str, float | int | str | bool]:
    """How often a labelled class was found as which, whatever the classes: pairs by their overlap alone."""
    counts: Counter[tuple[str, str]] = Counter()
    for found, truth in zip(shown, labelled, strict=True):
        partners = matched(found, truth, HIT)
        for place, number in zip(partners.tolist(), found.classes.tolist(), strict=True):
            counts[NOTHING if place < 0 else names[truth.classes[place]], names[number]] += 1
        for place in set(range(len(truth))) - set(partners.tolist()):
            counts[names[truth.classes[place]], NOTHING] += 1
    return {f"confusion.{true}.{found}": number for (true, found), number in sorted(counts.items())}
