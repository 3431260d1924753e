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
    """Write the image ROC (fpr, tpr) and precision-recall (recall, precision) points of the test images."""
    scores, labels = evaluation.test.scores.astype(np.float64), evaluation.test.labels
    fpr, tpr, _ = roc_curve(scores, labels)
    write_rows(roc, [{"fpr": float(x), "tpr": float(y)} for x, y in zip(fpr, tpr, strict=True)])
    precision, recall, _ = precision_recall_curve(scores, labels)
    write_rows(pr, [{"recall": float(x), "precision": float(y)} for x, y in zip(recall, precision, strict=True)])
