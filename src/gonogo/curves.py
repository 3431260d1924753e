"""Curves and per-image records as CSV, which DVC plots and anything else reads."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.evaluate import Evaluation
from gonogo.files import write_text
from gonogo.metrics import precision_recall_curve, roc_curve


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows that share their keys; numbers keep every digit. `columns` names them where there may be no row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


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
