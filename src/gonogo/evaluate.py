"""What a fitted gauge achieves on the test images, on raw scores and at the original resolution."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from gonogo.detectors.mean_image import MeanImage
from gonogo.errors import DataError, UndefinedMetricError
from gonogo.inspection import Inspection, inspect_records
from gonogo.inspector import FitImages, Inspector
from gonogo.manifest import Manifest
from gonogo.metrics import (
    auroc,
    average_precision,
    binomial_interval,
    bootstrap_intervals,
    f1_oracle,
    pixel_metrics,
    verdict_metrics,
)
from gonogo.model import Model
from gonogo.threshold import certify

Metrics = dict[str, float | int | str | bool]


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
    masks: list[np.ndarray | None]
    threshold: float


def evaluate(model: Model, manifest: Manifest, params: EvaluateParams, *, seed: int) -> Evaluation:
    """Metrics of `model` on the test images, with intervals, and of the mean-image baseline beside them.

    The threshold is the model's own, from calibrate images; nothing of the test set enters a score or a threshold.

    Raises:
        DataError: the model was fitted on other data, so that a test image may be one of its fit images.
        UndefinedMetricError: the test images lack good or defective ones.
    """
    fitted_on = model.manifest["data_fingerprint"]
    if fitted_on != manifest.fingerprint:
        raise DataError(
            f"{manifest.folder}: the model was fitted on data {fitted_on[:12]}, this is {manifest.fingerprint[:12]}; "
            "fit again"
        )
    test_records, calibrate_records = manifest.with_role("test"), manifest.with_role("calibrate")
    localises = bool(model.inspector.detector.localises)
    test = inspect_records(model.inspector, manifest, test_records, keep_maps=True)
    calibrate = inspect_records(model.inspector, manifest, calibrate_records)
    masks = [manifest.mask_of(record) for record in test_records]
    record = model.threshold

    baseline = Inspector(MeanImage(image_size=params.baseline_size))
    baseline.detector.fit(FitImages(baseline, manifest, manifest.with_role("fit")), seed=seed)
    trivial_calibrate = inspect_records(baseline, manifest, calibrate_records)
    trivial_threshold = certify(
        trivial_calibrate.scores,
        trivial_calibrate.groups,
        false_alarm_rate=record.target_false_alarm_rate,
        confidence=record.confidence,
        margin=record.margin,
    ).threshold
    trivial = inspect_records(baseline, manifest, test_records, keep_maps=True)

    ours = _point_metrics(test, masks if localises else [], record.threshold)
    theirs = _point_metrics(trivial, masks if localises else [], trivial_threshold)
    facts: Metrics = model.manifest["detector"]["facts"]
    metrics: Metrics = {**facts, **ours}
    for name in ours:
        metrics[f"{name}_baseline"] = theirs[name]
        gain = ours[name] - theirs[name]
        metrics[f"{name}_lift"] = -gain if name == "false_alarm_rate" else gain  # a lift above 0 is better
    for name, (low, high) in _intervals(test, record.threshold, params, seed).items():
        metrics[f"{name}_low"], metrics[f"{name}_high"] = low, high
    metrics |= _rates_exactly(test, record.threshold, params.interval_confidence)
    metrics |= {
        "interval_confidence": params.interval_confidence,
        "threshold": record.threshold,
        "certified": record.certified,
        "certified_false_alarm_rate": record.certified_false_alarm_rate,
        "more_groups_needed": record.more_groups_needed,
        "data_fingerprint": manifest.fingerprint,
        "detector": model.manifest["detector"]["name"],
    }
    return Evaluation(metrics, calibrate, test, masks, record.threshold)


def per_image_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per calibrate and test image: the per-image records, with unrounded scores."""
    return [
        {
            "image": record.path,
            "role": record.role,
            "label": record.label,
            "defect_type": record.defect_type,
            "group_id": record.group_id,
            "score": float(score),
            "threshold": evaluation.threshold,
            "verdict": "reject" if float(score) >= evaluation.threshold else "pass",
        }
        for inspection in (evaluation.calibrate, evaluation.test)
        for record, score in zip(inspection.records, inspection.scores, strict=True)
    ]


def _point_metrics(inspection: Inspection, masks: list[np.ndarray | None], threshold: float) -> dict[str, float]:
    scores, labels = inspection.scores.astype(np.float64), inspection.labels
    verdicts = verdict_metrics(scores, labels, threshold)
    metrics = {
        "image_auroc": auroc(scores, labels),
        "image_ap": average_precision(scores, labels),
        "false_alarm_rate": verdicts.false_alarm_rate,
        "recall": verdicts.recall,
        "precision": verdicts.precision,
        "f1": verdicts.f1,
        "f1_oracle": f1_oracle(scores, labels),
    }
    known = [(m, mask) for m, mask in zip(inspection.anomaly_maps, masks, strict=False) if mask is not None]
    if any(mask.any() for _, mask in known):
        metrics |= asdict(pixel_metrics([m for m, _ in known], [mask for _, mask in known]))
    return metrics


def _intervals(
    inspection: Inspection, threshold: float, params: EvaluateParams, seed: int
) -> dict[str, tuple[float, float]]:
    statistics: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "image_auroc": auroc,
        "image_ap": average_precision,
        "false_alarm_rate": lambda scores, labels: _rate(scores, ~labels, threshold),
        "recall": lambda scores, labels: _rate(scores, labels, threshold),
    }
    return bootstrap_intervals(
        statistics,
        inspection.scores.astype(np.float64),
        inspection.labels,
        groups=inspection.groups,
        n_resamples=params.n_resamples,
        confidence=params.interval_confidence,
        seed=seed,
    )


def _rate(scores: np.ndarray, chosen: np.ndarray, threshold: float) -> float:
    if not chosen.any():
        raise UndefinedMetricError("a rejection rate needs at least one image")
    return float((scores[chosen] >= threshold).mean())


def _rates_exactly(inspection: Inspection, threshold: float, confidence: float) -> Metrics:
    """Counts, and Clopper-Pearson limits of the false-alarm rate: a bootstrap of no false alarm at all is [0, 0]."""
    counts = verdict_metrics(inspection.scores, inspection.labels, threshold)
    _, high = binomial_interval(counts.false_alarms, counts.n_good, confidence=confidence)
    return {
        "n_good": counts.n_good,
        "n_defective": counts.n_defective,
        "n_false_alarms": counts.false_alarms,
        "n_misses": counts.misses,
        "false_alarm_rate_exact_high": high,
    }
