"""The records of an evaluation as rows of CSV files: images, regions and curves, for DVC's plots and the pages."""

from pathlib import Path
from typing import Any

import numpy as np

from gonogo.evaluation.accuracy.evaluate import Evaluation
from gonogo.evaluation.accuracy.metrics import precision_recall_curve, roc_curve
from gonogo.files import write_rows

REGION_COLUMNS = ("image", "x", "y", "width", "height", "area", "centroid_x", "centroid_y", "peak", "mean")


def per_image_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per calibrate and test image, with unrounded scores.

    By the method `cross`, the fit images that other gauges scored have the role calibrate too.
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
