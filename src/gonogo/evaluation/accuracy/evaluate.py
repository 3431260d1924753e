"""The accuracy of a fitted gauge on the test images, on raw scores and at the original resolution."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Annotated

import numpy as np
from pydantic import Field

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.probability import ProbabilityRecord
from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import certify_like
from gonogo.detectors.boxes.labelled import FindsBoxes
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.options import MeanImageOptions
from gonogo.errors import ConfigError, DataError, UndefinedMetricError
from gonogo.evaluation.accuracy.metrics import (
    auroc,
    binomial_interval,
    calibration_errors,
    image_statistics,
    random_metrics,
)
from gonogo.evaluation.accuracy.pixel_metrics import BinnedPixels, MaskOverlap, PixelTally, random_pixel_metrics
from gonogo.evaluation.accuracy.resampling import bootstrap_values, percentile_interval, resampled_metrics
from gonogo.evaluation.accuracy.synthetic import synthetic_auroc
from gonogo.evaluation.boxes.box_accuracy import BoxResults, baseline_map_50, box_metrics, find_boxes
from gonogo.evaluation.metric_table import ACCURACY
from gonogo.images.dataset import Dataset, Record
from gonogo.images.size import ImageSize
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import Gauge, Inspection, inspect_calibrate, inspect_records, inspect_side_by_side
from gonogo.model.inspector import Inspector
from gonogo.model.refit import refitted
from gonogo.model.saved import Model

Metrics = dict[str, float | int | str | bool]

ROUNDING = 1e-6  # of single precision: the score of an image varies so much with the images it is inspected with


@dataclass(frozen=True)
class EvaluateParams:
    """The `evaluate` section.

    Attributes:
        n_resamples: of the bootstrap, over parts.
        interval_confidence: of all intervals.
        baseline_size: side of the mean good image, in pixels; where the gauge sees no square, it has about as many
            pixels in the gauge's shape.
        synthetic_images: so many calibrate images, evenly spaced, are damaged for `synthetic_auroc`; all where there
            are fewer.
        seeds: fits with so many seeds, that of the run and those after it, whose lowest and highest figures are written
            beside each metric; 1: no other fit.
    """

    n_resamples: Annotated[int, Field(ge=100)]
    interval_confidence: Annotated[float, Field(gt=0, lt=1)]
    baseline_size: Annotated[int, Field(ge=4)]
    synthetic_images: Annotated[int, Field(ge=1)]
    seeds: Annotated[int, Field(ge=1)] = 1


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a gauge, and the scores and regions that they were computed from.

    Attributes:
        metrics: the content of the metrics file.
        calibrate, test: inspections of the calibrate and of the test images.
        record: the gauge's threshold.
        probability: from score to probability; None where the gauge states none.
        baseline_scores: (n,) float32 of the test images, their distances to the mean good image.
        boxes: of the test images, of a gauge that finds boxes; otherwise None.
        resampled: the values (n_resamples,) of each metric of maps on the resamples of its interval.
    """

    metrics: Metrics
    calibrate: Inspection
    test: Inspection
    baseline_scores: np.ndarray
    record: ThresholdRecord
    probability: ProbabilityRecord | None
    boxes: BoxResults | None = None
    resampled: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        return self.record.threshold


def evaluate(model: Model, dataset: Dataset, params: EvaluateParams, *, seed: int) -> Evaluation:
    """Metrics of `model` on the test images, with intervals; beside them the mean-image baseline, and chance.

    A metric that has no value on these images, such as the recall where none is defective, is absent, and named under
    `absent`; so is a metric of ranks where all scores are equal. Both thresholds, of scores and of pixels, are the
    model's own, from calibrate images; nothing of the test set enters a score or a threshold. Pixels outside the ROI
    count as passed, so that a defect there is missed. `synthetic_auroc` is computed from the calibrate images alone, so
    that a search may use it; it is absent where the model was fitted on them.

    Raises:
        DataError: the model was fitted on other data, so that a test image may be one of its fit images.
        ConfigError: other seeds are wanted, and the threshold is none that a single fit gives.
    """
    fitted_on = model.manifest["data_fingerprint"]
    if fitted_on != dataset.fingerprint:
        raise DataError(
            f"{dataset.folder}: the model was fitted on data {fitted_on[:12]}, this is {dataset.fingerprint[:12]}; "
            "fit again"
        )
    test_records = dataset.with_role("test")
    record = model.threshold
    if params.seeds > 1 and isinstance(model.inspector.detector, FindsBoxes):
        raise ConfigError(
            f"evaluate.seeds is {params.seeds}; a gauge that finds boxes is not fitted again, which takes as long as "
            "its training: set evaluate.seeds to 1"
        )
    if params.seeds > 1 and (record.method != "holdout" or record.grown):
        what = "calibrate.grow_bank is true" if record.grown else f"calibrate.method is {record.method}"
        raise ConfigError(
            f"evaluate.seeds is {params.seeds} and {what}; fits with other seeds get their thresholds by holdout "
            "alone, and their banks do not grow: set evaluate.seeds to 1 or the other to its default"
        )
    compared, binned = _baseline(model, dataset, params, seed), BinnedPixels()
    pixels = _PixelAccuracy(dataset, model.rule.params, binned)
    gauges = [Gauge(model.inspector, model.rule, pixels.add), compared.gauge]
    test, mean_image = inspect_side_by_side(gauges, dataset, test_records)
    baseline = compared.accuracy(mean_image, localises=model.inspector.detector.localises)
    calibrate = _calibrate_inspection(model, dataset)
    accuracy = _image_accuracy(test, record.threshold)
    if model.inspector.detector.localises:
        accuracy |= pixels.metrics()
    facts: Metrics = model.manifest["detector"]["facts"]
    metrics: Metrics = {**facts, **accuracy}
    absent = sorted(ACCURACY.keys() - accuracy.keys())
    if absent:
        metrics["absent"] = ", ".join(absent)
    for name in accuracy.keys() & baseline.keys():
        metrics[f"{name}_baseline"] = baseline[name]
        ours, theirs = accuracy[name], baseline[name]  # a lift above 0 is better
        metrics[f"{name}_lift"] = ours - theirs if ACCURACY[name].better == "more" else theirs - ours
    by_chance = random_metrics(int((~test.labels).sum()), int(test.labels.sum())) | pixels.by_chance()
    metrics |= {f"{name}_random": value for name, value in by_chance.items() if name in accuracy}
    of_maps = binned.resampled()
    statistics = resampled_metrics(test.scores.astype(np.float64), test.labels, record.threshold) | of_maps
    of_accuracy = {name: statistics[name] for name in accuracy if ACCURACY[name].has_interval}
    resampled = bootstrap_values(of_accuracy, test.groups, n_resamples=params.n_resamples, seed=seed)
    for name, values in resampled.items():
        low, high = percentile_interval(name, values, params.interval_confidence)
        metrics[f"{name}_low"], metrics[f"{name}_high"] = low, high
    metrics |= _validation_metrics(model, calibrate, test)
    metrics |= _counts(test, record.threshold, params.interval_confidence)
    metrics |= {
        "interval_confidence": params.interval_confidence,
        "threshold": record.threshold,
        "calibrate_method": record.method,
        "certified": record.certified,
        "uncertain_rate": float(np.mean([record.uncertain(float(score)) for score in test.scores])),
        "more_groups_needed": record.more_groups_needed,
        "data_fingerprint": dataset.fingerprint,
        "detector": model.manifest["detector"]["name"],
    }
    if record.certified_false_alarm_rate is not None:
        metrics["certified_false_alarm_rate"] = record.certified_false_alarm_rate
    if record.holds_out:  # otherwise the gauge has learned from the calibrate images
        with suppress(UndefinedMetricError):
            metrics["synthetic_auroc"] = synthetic_auroc(
                model.inspector,
                dataset,
                calibrate,
                model.rule.params,
                seed=seed,
                n_damaged=params.synthetic_images,
            )
    if params.seeds > 1:
        others = [refitted(model, dataset, seed=other) for other in range(seed + 1, seed + params.seeds)]
        every = [
            accuracy | {"threshold": record.threshold},
            *(_accuracy_of(other, model, dataset) for other in others),
        ]
        metrics |= {"n_seeds": params.seeds, **_spread(every)}
    if model.rule.threshold is not None:
        metrics["pixel_threshold"] = model.rule.threshold.threshold
    boxes = _box_results(model, dataset, test_records)
    if boxes is not None:
        metrics |= _box_accuracy(boxes, model, dataset, params, seed)
    kept = {name: values for name, values in resampled.items() if name in of_maps}
    return Evaluation(metrics, calibrate, test, mean_image.scores, record, model.probability, boxes, kept)


def _box_results(model: Model, dataset: Dataset, records: Sequence[Record]) -> BoxResults | None:
    detector = model.inspector.detector
    if not isinstance(detector, FindsBoxes):
        return None
    return find_boxes(model.inspector, dataset, records, detector.box_classes())


def _box_accuracy(boxes: BoxResults, model: Model, dataset: Dataset, params: EvaluateParams, seed: int) -> Metrics:
    """Metrics of the boxes, beside the regions of the mean-image baseline where the test images have labels."""
    if not any(map(len, boxes.labelled)):
        return {}
    metrics = box_metrics(
        boxes,
        model.threshold,
        n_resamples=params.n_resamples,
        confidence=params.interval_confidence,
        seed=seed,
        most=model.inspector.detector.options.max_boxes,
    )
    fitted = dataset.with_role("fit")
    baseline = Inspector(MeanImage(MeanImageOptions(image_size=model.inspector.input_size.written)))
    good = [record for record in fitted if record.label == 0] or fitted
    baseline.detector.fit(FitImages(baseline, dataset, good), seed=seed)
    _, rule = inspect_calibrate(baseline, dataset, model.rule.params)
    regions = inspect_records(baseline, dataset, boxes.records, rule=rule).regions
    labels = Counter(str(box["label"]) for record in fitted for box in record.boxes)
    most_frequent = max(sorted(labels), key=lambda label: labels[label])
    value = baseline_map_50(regions, boxes, most_frequent)
    return metrics | {"map_50_baseline": value, "map_50_lift": float(metrics["map_50"]) - value}


def _calibrate_inspection(model: Model, dataset: Dataset) -> Inspection:
    """The good images that the threshold comes from, with the scores that the fit gave them, and without regions.

    By the method `cross` these are the scores by the gauges of the other folds, by `leave_one_out` those by the bank
    without each part, and of a bank that has grown those before it did.
    """
    scores = {entry["image"]: entry["score"] for entry in model.manifest["calibrated_on"]}
    records = [record for record in dataset.records if record.path in scores]
    return Inspection(records, np.array([scores[record.path] for record in records], dtype=np.float32))


def _validation_metrics(model: Model, calibrate: Inspection, test: Inspection) -> dict[str, float]:
    """Metrics that need labelled images of the role validate; none where there are none.

    `validation_auroc` is computed without a test image. The errors of the stated probabilities are those on the test
    images.
    """
    metrics = {}
    rows = model.manifest.get("validated_on", [])
    scores = np.concatenate([calibrate.scores, [row["score"] for row in rows]])
    labels = np.array([False] * len(calibrate.records) + [row["label"] == 1 for row in rows])
    with suppress(UndefinedMetricError):
        metrics["validation_auroc"] = auroc(scores, labels)
    if model.probability is not None:
        stated = np.array([model.probability.of(float(score)) for score in test.scores])
        with suppress(UndefinedMetricError):
            errors = calibration_errors(stated, test.labels, rate=model.probability.defect_rate)
            metrics |= {f"probability_{name}": value for name, value in errors.items()}
    return metrics


def _baseline(model: Model, dataset: Dataset, params: EvaluateParams, seed: int) -> "_Compared":
    """The distance to the mean good image, with thresholds by the model's own rules."""
    size = ImageSize.of_area(params.baseline_size, model.inspector.input_size.aspect)
    baseline = Inspector(MeanImage(MeanImageOptions(image_size=size)), model.rule.params.inside)
    baseline.detector.fit(FitImages(baseline, dataset, dataset.with_role("fit")), seed=seed)
    return _Compared(baseline, model, dataset)


def _accuracy_of(inspector: Inspector, model: Model, dataset: Dataset) -> dict[str, float]:
    """Another fitted inspector on the test images: accuracy and threshold, by the rules of the model's thresholds."""
    compared = _Compared(inspector, model, dataset)
    (test,) = inspect_side_by_side([compared.gauge], dataset, dataset.with_role("test"))
    return compared.accuracy(test, localises=model.inspector.detector.localises)


class _Compared:
    """Another fitted inspector, with thresholds by the rules of the model's, and what is measured of its maps."""

    def __init__(self, inspector: Inspector, model: Model, dataset: Dataset) -> None:
        regions = model.rule.params
        calibrate, rule = inspect_calibrate(inspector, dataset, regions)
        self.threshold = certify_like(model.threshold, calibrate.scores, calibrate.groups).threshold
        self._pixels = _PixelAccuracy(dataset, regions)
        self.gauge = Gauge(inspector, rule, self._pixels.add)

    def accuracy(self, test: Inspection, *, localises: bool) -> dict[str, float]:
        """Accuracy and threshold, from the inspection of the test images, at which the gauge looked once."""
        metrics = _image_accuracy(test, self.threshold) | {"threshold": self.threshold}
        return metrics | self._pixels.metrics() if localises else metrics


def _spread(accuracies: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The lowest and the highest value of each metric that all of the fits have."""
    names = set.intersection(*(set(one) for one in accuracies))
    values = {name: [one[name] for one in accuracies] for name in sorted(names)}
    lows = {f"{name}_seeds_low": min(of_all) for name, of_all in values.items()}
    return lows | {f"{name}_seeds_high": max(of_all) for name, of_all in values.items()}


def _image_accuracy(inspection: Inspection, threshold: float) -> dict[str, float]:
    """The image metrics that have a value; scores that are equal but for rounding rank nothing, though they would."""
    scores, metrics = inspection.scores.astype(np.float64), {}
    for name, statistic in image_statistics(threshold).items():
        if ACCURACY[name].kind == "ranks" and np.ptp(scores) <= ROUNDING * np.abs(scores).max():
            continue
        with suppress(UndefinedMetricError):
            metrics[name] = statistic(scores, inspection.labels)
    return metrics


class _PixelAccuracy:
    """Metrics of maps and of the pixels in their regions, from test images that are added one at a time."""

    def __init__(self, dataset: Dataset, regions: RegionParams, binned: BinnedPixels | None = None) -> None:
        """Start without images; `binned` takes in each of them too."""
        self._dataset, self._regions, self._binned = dataset, regions, binned
        self._tally, self._overlap = PixelTally(), MaskOverlap()
        self._n_marked, self._n_inspected = 0, 0  # pixels of good images
        self._lowest, self._highest = np.inf, -np.inf  # of all maps

    def add(self, record: Record, anomaly_map: np.ndarray, marked: np.ndarray) -> None:
        """Take in an image's map (h, w) and the pixels in its regions (h, w) bool."""
        n_inspected = int(self._regions.roi_mask(*marked.shape).sum()) if record.label == 0 else 0
        if n_inspected:
            self._n_marked += int(marked.sum())
            self._n_inspected += n_inspected
        mask = self._dataset.mask_of(record)
        if self._binned is not None:
            self._binned.add(anomaly_map, mask, marked, n_inspected=n_inspected)
        if mask is not None:
            self._lowest = min(self._lowest, float(anomaly_map.min()))
            self._highest = max(self._highest, float(anomaly_map.max()))
            self._tally.add(anomaly_map, mask)
            self._overlap.add(marked, mask)

    def by_chance(self) -> dict[str, float]:
        """What maps of random values would give."""
        if not self._tally.n_defective or not self._tally.n_normal:
            return {}
        return asdict(random_pixel_metrics(self._tally.n_normal, self._tally.n_defective))

    def metrics(self) -> dict[str, float]:
        """The metrics that have a value on the images added; those of masks need an image with one."""
        metrics = {}
        if self._n_inspected:
            metrics["pixel_false_positive_rate"] = self._n_marked / self._n_inspected
        if self._tally.n_defective:
            metrics["seg_f1"] = self._overlap.f1()
            with suppress(UndefinedMetricError):  # masks may cover every pixel
                metrics |= asdict(self._tally.metrics()) if self._lowest < self._highest else {}
        return metrics


def _counts(inspection: Inspection, threshold: float, confidence: float) -> Metrics:
    """Counts, and the exact limits of `EXACT_LIMITS`: where nothing went wrong, a bootstrap says that nothing can."""
    rejected = inspection.scores.astype(np.float64) >= threshold
    good, defective = ~inspection.labels, inspection.labels
    n_good, n_false_alarms = int(good.sum()), int((rejected & good).sum())
    n_defective, n_found = int(defective.sum()), int((rejected & defective).sum())
    counts: Metrics = {
        "n_good": n_good,
        "n_defective": n_defective,
        "n_false_alarms": n_false_alarms,
        "n_misses": n_defective - n_found,
    }
    if n_good:
        counts["false_alarm_rate_exact_high"] = binomial_interval(n_false_alarms, n_good, confidence=confidence)[1]
    if n_defective:
        counts["recall_exact_low"] = binomial_interval(n_found, n_defective, confidence=confidence)[0]
    return counts
