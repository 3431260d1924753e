"""The records of an evaluation as rows of CSV files: images, regions and curves, for DVC's plots and the pages."""

from pathlib import Path
from typing import Any

import numpy as np

from gonogo.calibration.regions import Region
from gonogo.evaluation.accuracy.evaluate import Evaluation
from gonogo.evaluation.accuracy.metrics import precision_recall_curve, roc_curve
from gonogo.evaluation.boxes.box_accuracy import BOX_COLUMNS, box_rows
from gonogo.files import write_rows
from gonogo.images.dataset import Record
from gonogo.images.roles import Role

REGION_COLUMNS = ("image", "x", "y", "width", "height", "area", "centroid_x", "centroid_y", "peak", "mean")


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
                (record.path, *region.box, region.area, *region.centroid, region.peak, region.mean),
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

    Where the test images are all good or all defective there is no curve, and each file has its header alone.
    """
    scores, labels = evaluation.test.scores.astype(np.float64), evaluation.test.labels
    roc_points, pr_points = [], []
    if labels.any() and not labels.all():
        fpr, tpr, _ = roc_curve(scores, labels)
        precision, recall, _ = precision_recall_curve(scores, labels)
        roc_points = [{"fpr": float(x), "tpr": float(y)} for x, y in zip(fpr, tpr, strict=True)]
        pr_points = [{"recall": float(x), "precision": float(y)} for x, y in zip(recall, precision, strict=True)]
    write_rows(roc, roc_points, ("fpr", "tpr"))
    write_rows(pr, pr_points, ("recall", "precision"))
