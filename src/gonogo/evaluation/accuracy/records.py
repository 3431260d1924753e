"""The records of an evaluation as rows of CSV files: images, regions and curves, for DVC's plots and the pages."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.calibration.regions import Region
from gonogo.evaluation.accuracy.evaluate import Evaluation
from gonogo.evaluation.accuracy.metrics import precision_recall_curve, roc_curve
from gonogo.evaluation.boxes.box_accuracy import BOX_COLUMNS, box_rows
from gonogo.evaluation.metric_table import BASELINE, CHANCE, GAUGE
from gonogo.files import write_rows
from gonogo.images.dataset import Record
from gonogo.images.roles import Role

ROC_COLUMNS, PR_COLUMNS = ("of", "fpr", "tpr"), ("of", "recall", "precision")
REGION_COLUMNS = (
    "image",
    *("x", "y", "width", "height"),
    "area",
    *("centroid_x", "centroid_y"),
    *("peak", "mean"),
    *("solidity", "elongation"),
)


def per_image_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per calibrate and test image, with unrounded scores; regions are looked for in test images alone.

    By the method `cross`, the fit images that other gauges scored have the role calibrate too.
    """
    calibrate, test = evaluation.calibrate, evaluation.test
    return [
        *(
            _image_row(evaluation, "calibrate", record, float(score))
            for record, score in zip(calibrate.records, calibrate.scores, strict=True)
        ),
        *(
            _image_row(evaluation, "test", record, float(score), regions)
            for record, score, regions in zip(test.records, test.scores, test.regions, strict=True)
        ),
    ]


def _image_row(
    evaluation: Evaluation, role: Role, record: Record, score: float, regions: list[Region] | None = None
) -> dict[str, Any]:
    return {
        "image": record.path,
        "role": role,
        "label": record.label,
        "defect_type": record.defect_type,
        "group_id": record.group_id,
        "score": score,
        "threshold": evaluation.threshold,
        "verdict": "reject" if score >= evaluation.threshold else "pass",
        "p_value": evaluation.record.p_value(score),
        "uncertain": int(evaluation.record.uncertain(score)),
        "probability": "" if evaluation.probability is None else evaluation.probability.of(score),
        "n_regions": "" if regions is None else len(regions),
        "region_area": "" if regions is None else sum(region.area for region in regions),
    }


def region_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per region of a test image, in pixels of the image; `REGION_COLUMNS` names its columns."""
    return [
        dict(
            zip(
                REGION_COLUMNS,
                (
                    record.path,
                    *region.box,
                    region.area,
                    *region.centroid,
                    *(region.peak, region.mean),
                    *(region.solidity, region.elongation),
                ),
                strict=True,
            )
        )
        for record, regions in zip(evaluation.test.records, evaluation.test.regions, strict=True)
        for region in regions
    ]


def write_regions(path: Path, evaluation: Evaluation) -> None:
    """Write the regions of the test images or, of a gauge that finds boxes, the boxes labelled and found."""
    if evaluation.boxes is None:
        write_rows(path, region_rows(evaluation), REGION_COLUMNS)
    else:
        write_rows(path, box_rows(evaluation.boxes, evaluation.threshold), BOX_COLUMNS)


def write_curves(evaluation: Evaluation, *, roc: Path, pr: Path) -> None:
    """Write the image ROC (fpr, tpr) and precision-recall (recall, precision) points of the test images.

    The column `of` says whose curve a point is on: the gauge's, that of the distance to the mean good image, or that of
    chance. Where the test images are all good or all defective there is no curve, and each file has its header alone.
    """
    labels = evaluation.test.labels
    roc_points, pr_points = [], []
    if labels.any() and not labels.all():
        share = float(labels.mean())
        for of, found in ((GAUGE, evaluation.test.scores), (BASELINE, evaluation.baseline_scores)):
            scores = found.astype(np.float64)
            fpr, tpr, _ = roc_curve(scores, labels)
            precision, recall, _ = precision_recall_curve(scores, labels)
            roc_points += _points(of, fpr, tpr)
            pr_points += _points(of, recall, precision)
        roc_points += _points(CHANCE, (0.0, 1.0), (0.0, 1.0))
        pr_points += _points(CHANCE, (0.0, 1.0), (share, share))
    write_rows(roc, [dict(zip(ROC_COLUMNS, point, strict=True)) for point in roc_points], ROC_COLUMNS)
    write_rows(pr, [dict(zip(PR_COLUMNS, point, strict=True)) for point in pr_points], PR_COLUMNS)


def _points(of: str, x: Iterable[float], y: Iterable[float]) -> list[tuple[str, float, float]]:
    return [(of, float(across), float(up)) for across, up in zip(x, y, strict=True)]
