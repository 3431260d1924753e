"""Curves as CSV, which DVC plots and anything else reads."""

from pathlib import Path

import numpy as np

from gonogo.evaluation.accuracy.evaluate import Evaluation
from gonogo.evaluation.accuracy.metrics import precision_recall_curve, roc_curve
from gonogo.files import write_rows


def write_curves(evaluation: Evaluation, *, roc: Path, pr: Path) -> None:
    """Write the image ROC (fpr, tpr) and precision-recall (recall, precision) points of the test images.

    Where good or defective ones are lacking there is no curve, and a file holds its header alone.
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
