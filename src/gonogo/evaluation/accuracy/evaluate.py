"""What a fitted gauge achieves on the test images, on raw scores and at the original resolution."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.probability import ProbabilityRecord
from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import certify_like
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.options import MeanImageOptions
from gonogo.errors import DataError, UndefinedMetricError
from gonogo.evaluation.accuracy.metrics import (
    auroc,
    binomial_interval,
    bootstrap_intervals,
    calibration_errors,
    image_statistics,
)
from gonogo.evaluation.accuracy.pixel_metrics import MaskOverlap, PixelMetrics, PixelTally
from gonogo.evaluation.accuracy.synthetic import synthetic_auroc
from gonogo.images.dataset import Dataset, Record
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import Inspection, inspect_calibrate, inspect_records
from gonogo.model.inspector import Inspector
from gonogo.model.saved import Model

Metrics = dict[str, float | int | str | bool]

REGION_COLUMNS = ("image", "x", "y", "width", "height", "area", "centroid_x", "centroid_y", "peak", "mean")
RANKING = ("image_auroc", "image_ap", "f1_oracle")  # say nothing where all scores are equal, though ties give a value
OF_PIXELS = ("pixel_false_positive_rate", "seg_f1", *(field.name for field in fields(PixelMetrics)))
WITH_INTERVAL = ("image_auroc", "image_ap", "false_alarm_rate", "recall")
LESS_IS_BETTER = ("false_alarm_rate", "pixel_false_positive_rate")


@dataclass(frozen=True)
class EvaluateParams:
    """The `evaluate` section."""

    n_resamples: Annotated[int, Field(ge=100)]
    interval_confidence: Annotated[float, Field(gt=0, lt=1)]
    baseline_size: Annotated[int, Field(ge=4)]
    sheet_cases: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Evaluation:
    """The metrics file, and the inspections that it and the pictures are made from."""

    metrics: Metrics
    calibrate: Inspection
    test: Inspection
    record: ThresholdRecord
    probability: ProbabilityRecord | None

    @property
    def threshold(self) -> float:
        return self.record.threshold


def evaluate(model: Model, dataset: Dataset, params: EvaluateParams, *, seed: int) -> Evaluation:
    """Metrics of `model` on the test images, with intervals, and of the mean-image baseline beside them.

    A metric that has no value on these images, such as the recall where none is defective, is absent, and named under
    `absent`; so is one of ranks where all scores are equal. Both thresholds, of scores and of pixels, are the model's
    own, from calibrate images; nothing of the test set enters a score or a threshold. What lies outside a ROI counts as
    passed, so that a defect there is missed. `synthetic_auroc` is of the calibrate images alone, and absent where they
    were fitted on: a search may look at it.

    Raises:
        DataError: the model was fitted on other data, so that a test image may be one of its fit images.
    """
    fitted_on = model.manifest["data_fingerprint"]
    if fitted_on != dataset.fingerprint:
        raise DataError(
            f"{dataset.folder}: the model was fitted on data {fitted_on[:12]}, this is {dataset.fingerprint[:12]}; "
            "fit again"
        )
    test_records = dataset.with_role("test")
    record = model.threshold
    theirs = _baseline_metrics(model, dataset, params, seed)
    pixels = _Pixels(dataset, model.rule.params)
    test = inspect_records(model.inspector, dataset, test_records, rule=model.rule, look=pixels.look)
    calibrate = _calibrated(model, dataset)
    ours = _point_metrics(test, record.threshold)
    if model.inspector.detector.localises:
        ours |= pixels.metrics()
    facts: Metrics = model.manifest["detector"]["facts"]
    metrics: Metrics = {**facts, **ours}
    missing = sorted({*image_statistics(0), *OF_PIXELS} - ours.keys())
    if missing:
        metrics["absent"] = ", ".join(missing)
    for name in ours.keys() & theirs.keys():
        metrics[f"{name}_baseline"] = theirs[name]
        better, worse = (theirs, ours) if name in LESS_IS_BETTER else (ours, theirs)
        metrics[f"{name}_lift"] = better[name] - worse[name]  # above 0 is better
    for name, (low, high) in _intervals(test, ours, record.threshold, params, seed).items():
        metrics[f"{name}_low"], metrics[f"{name}_high"] = low, high
    metrics |= _labelled(model, calibrate, test)
    metrics |= _rates_exactly(test, record.threshold, params.interval_confidence)
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
    if record.method != "cross":  # then the good images were fitted on
        with suppress(UndefinedMetricError):
            metrics["synthetic_auroc"] = synthetic_auroc(
                model.inspector, dataset, calibrate, model.rule.params, seed=seed
            )
    if model.rule.threshold is not None:
        metrics["pixel_threshold"] = model.rule.threshold.threshold
    return Evaluation(metrics, calibrate, test, record, model.probability)


def _calibrated(model: Model, dataset: Dataset) -> Inspection:
    """The good images that the threshold comes from: inspected anew or, where the gauge was fitted on them, as scored.

    Then by other gauges, of whose maps nothing is kept: those images have no regions.
    """
    if model.threshold.method != "cross":
        return inspect_records(model.inspector, dataset, dataset.with_role("calibrate"), rule=model.rule)
    scores = {entry["image"]: entry["score"] for entry in model.manifest["calibrated_on"]}
    records = [record for record in dataset.records if record.path in scores]
    return Inspection(
        records, np.array([scores[record.path] for record in records], dtype=np.float32), [[] for _ in records]
    )


def _labelled(model: Model, calibrate: Inspection, test: Inspection) -> dict[str, float]:
    """What the labelled images of the role validate give: a criterion that knows no test image, and a probability."""
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


def _baseline_metrics(model: Model, dataset: Dataset, params: EvaluateParams, seed: int) -> dict[str, float]:
    """What the distance to the mean good image achieves, with thresholds by the model's own rules."""
    regions = model.rule.params
    baseline = Inspector(MeanImage(MeanImageOptions(image_size=params.baseline_size)), regions.inside)
    baseline.detector.fit(FitImages(baseline, dataset, dataset.with_role("fit")), seed=seed)
    calibrate, rule = inspect_calibrate(baseline, dataset, regions)
    threshold = certify_like(model.threshold, calibrate.scores, calibrate.groups).threshold
    pixels = _Pixels(dataset, regions)
    test = inspect_records(baseline, dataset, dataset.with_role("test"), rule=rule, look=pixels.look)
    metrics = _point_metrics(test, threshold)
    return metrics | pixels.metrics() if model.inspector.detector.localises else metrics


def per_image_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per calibrate and test image: the per-image records, with unrounded scores.

    Images that were fitted on, and scored by gauges of which none was this one, have the role calibrate too.
    """
    return [
        {
            "image": record.path,
            "role": role,
            "label": record.label,
            "defect_type": record.defect_type,
            "group_id": record.group_id,
            "score": float(score),
            "threshold": evaluation.threshold,
            "verdict": "reject" if float(score) >= evaluation.threshold else "pass",
            "p_value": evaluation.record.p_value(float(score)),
            "uncertain": int(evaluation.record.uncertain(float(score))),
            "probability": "" if evaluation.probability is None else evaluation.probability.of(float(score)),
            "n_regions": len(regions),
            "region_area": sum(region.area for region in regions),
        }
        for role, inspection in (("calibrate", evaluation.calibrate), ("test", evaluation.test))
        for record, score, regions in zip(inspection.records, inspection.scores, inspection.regions, strict=True)
    ]


def region_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per region of a calibrate or test image, in pixels of the image; `REGION_COLUMNS` names its columns."""
    return [
        dict(
            zip(
                REGION_COLUMNS,
                (record.path, *region.box, region.area, *region.centroid, region.peak, region.mean),
                strict=True,
            )
        )
        for inspection in (evaluation.calibrate, evaluation.test)
        for record, regions in zip(inspection.records, inspection.regions, strict=True)
        for region in regions
    ]


def _point_metrics(inspection: Inspection, threshold: float) -> dict[str, float]:
    scores, metrics = inspection.scores.astype(np.float64), {}
    for name, statistic in image_statistics(threshold).items():
        if name in RANKING and scores.min() == scores.max():
            continue
        with suppress(UndefinedMetricError):
            metrics[name] = statistic(scores, inspection.labels)
    return metrics


class _Pixels:
    """Metrics of maps and of the pixels that regions mark, from test images that pass by one at a time."""

    def __init__(self, dataset: Dataset, regions: RegionParams) -> None:
        self._dataset, self._regions = dataset, regions
        self._tally, self._overlap = PixelTally(), MaskOverlap()
        self._n_marked, self._n_inspected = 0, 0  # pixels of good images
        self._lowest, self._highest = np.inf, -np.inf  # of all maps

    def look(self, record: Record, anomaly_map: np.ndarray, marked: np.ndarray) -> None:
        if record.label == 0:
            self._n_marked += int(marked.sum())
            self._n_inspected += int(self._regions.roi_mask(*marked.shape).sum())
        mask = self._dataset.mask_of(record)
        if mask is not None:
            self._lowest = min(self._lowest, float(anomaly_map.min()))
            self._highest = max(self._highest, float(anomaly_map.max()))
            self._tally.add(anomaly_map, mask)
            self._overlap.add(marked, mask)

    def metrics(self) -> dict[str, float]:
        """Those that have a value where the truth is known of so many images."""
        metrics = {}
        if self._n_inspected:
            metrics["pixel_false_positive_rate"] = self._n_marked / self._n_inspected
        if self._tally.n_defective:
            metrics["seg_f1"] = self._overlap.f1()
            with suppress(UndefinedMetricError):  # masks may cover every pixel
                metrics |= asdict(self._tally.metrics()) if self._lowest < self._highest else {}
        return metrics


def _intervals(
    inspection: Inspection, known: Iterable[str], threshold: float, params: EvaluateParams, seed: int
) -> dict[str, tuple[float, float]]:
    statistics = {name: image_statistics(threshold)[name] for name in known if name in WITH_INTERVAL}
    return bootstrap_intervals(
        statistics,
        inspection.scores.astype(np.float64),
        inspection.labels,
        groups=inspection.groups,
        n_resamples=params.n_resamples,
        confidence=params.interval_confidence,
        seed=seed,
    )


def _rates_exactly(inspection: Inspection, threshold: float, confidence: float) -> Metrics:
    """Counts, and Clopper-Pearson limits of the false-alarm rate: a bootstrap of no false alarm at all is [0, 0]."""
    rejected = inspection.scores.astype(np.float64) >= threshold
    good, defective = ~inspection.labels, inspection.labels
    n_good, n_false_alarms = int(good.sum()), int((rejected & good).sum())
    counts: Metrics = {
        "n_good": n_good,
        "n_defective": int(defective.sum()),
        "n_false_alarms": n_false_alarms,
        "n_misses": int((~rejected & defective).sum()),
    }
    if n_good:
        _, high = binomial_interval(n_false_alarms, n_good, confidence=confidence)
        counts["false_alarm_rate_exact_high"] = high
    return counts
