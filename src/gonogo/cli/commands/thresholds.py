"""gonogo thresholds: false alarms and recall of a gauge at other thresholds."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.cli.names import known_categories

if TYPE_CHECKING:
    from gonogo.calibration.certificate import ThresholdRecord
    from gonogo.evaluation.accuracy.operating_points import OperatingPoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "List thresholds of one gauge of the project: the false-alarm rate that is certified, and false alarms and "
        "recall on the test images, with intervals. Without --at and --recall: one threshold in each gap of the good "
        "parts' scores."
    )
    parser.add_argument("category", metavar="CATEGORY", help="a category that dvc repro has evaluated")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--at", type=float, nargs="+", metavar="SCORE", help="the thresholds to list")
    chosen.add_argument(
        "--recall",
        type=float,
        nargs="+",
        metavar="SHARE",
        help="list the highest threshold at which so many of the defective test images are rejected, such as 0.95",
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="write an HTML page with a threshold to move")


def run(arguments: argparse.Namespace) -> Answer:
    """The operating points of one category; writes their page if `--page` is given."""
    from gonogo.calibration.certificate import ThresholdRecord
    from gonogo.evaluation.accuracy.operating_points import ScoresByKind, operating_points, thresholds_at
    from gonogo.files import read_rows, read_sealed
    from gonogo.params import project_path
    from gonogo.reports.operating_page import write_operating_page

    (category,) = known_categories([arguments.category], command="gonogo thresholds")
    rows = read_rows(project_path("plots", "records", f"{category}.csv"))
    record = ThresholdRecord.from_dict(read_sealed(project_path("models", category))["threshold"])
    scores = ScoresByKind.from_rows(rows)
    thresholds = arguments.at if arguments.recall is None else thresholds_at(scores, arguments.recall)
    points = operating_points(scores, record, thresholds)
    if arguments.page is not None:
        write_operating_page(arguments.page, scores, record, category=category)
    report = {"ok": True, "category": category, "threshold": record.threshold, "confidence": record.confidence}
    is_asked = bool(arguments.at or arguments.recall)
    return Answer(report | {"points": [point.to_dict() for point in points]}, _table(points, record, exact=is_asked))


def _table(points: "Sequence[OperatingPoint]", record: "ThresholdRecord", *, exact: bool) -> str:
    """The points as a table; a star marks the gauge's own threshold.

    With `exact`, thresholds have all their digits: one that is a score of the test images, rounded up, rejects fewer.
    """
    types = list(points[0].recall_by_type)
    rows = [["", "threshold", "certified", "all at once", "false alarms", "recall", *types]]
    for point in points:
        limits = ("–" if limit is None else f"≤ {limit:.1%}" for limit in (point.certified, point.certified_for_all))
        measured = (point.false_alarms, point.recall, *point.recall_by_type.values())
        mark = "*" if point.threshold == record.threshold else ""
        shares = ("–" if rate is None else str(rate) for rate in measured)
        written = repr(point.threshold) if exact else f"{point.threshold:.6g}"
        rows.append([mark, written, *limits, *shares])
    return in_columns(rows, head=True)
