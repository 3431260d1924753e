"""gonogo thresholds: what a gauge would do at other thresholds."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.evaluation.accuracy.operating_points import OperatingPoint, ScoresByKind, operating_points
from gonogo.files import read_rows, read_sealed
from gonogo.params import Params, project_path
from gonogo.reports.operating_page import write_operating_page


def run(arguments: Namespace) -> Answer:
    """The operating points of one category, and their page where it is asked for."""
    category = arguments.category
    Params(Path("params.yaml"), category)  # refuses one that the project does not have
    rows = read_rows(project_path("plots", "records", f"{category}.csv"))
    record = ThresholdRecord.from_dict(read_sealed(project_path("models", category))["threshold"])
    scores = ScoresByKind.from_rows(rows)
    points = operating_points(scores, record, arguments.at)
    if arguments.page is not None:
        write_operating_page(arguments.page, scores, record, category=category)
    report = {"ok": True, "category": category, "threshold": record.threshold, "confidence": record.confidence}
    return Answer(report | {"points": [point.to_dict() for point in points]}, _table(points, record))


def _table(points: Sequence[OperatingPoint], record: ThresholdRecord) -> str:
    """The points for people, the gauge's own threshold marked by a star."""
    types = list(points[0].recall_by_type)
    rows = [["", "threshold", "certified", "all at once", "false alarms", "recall", *types]]
    for point in points:
        limits = ("–" if limit is None else f"≤ {limit:.1%}" for limit in (point.certified, point.certified_for_all))
        measured = (point.false_alarms, point.recall, *point.recall_by_type.values())
        mark = "*" if point.threshold == record.threshold else ""
        shares = ("–" if rate is None else str(rate) for rate in measured)
        rows.append([mark, f"{point.threshold:.6g}", *limits, *shares])
    return in_columns(rows, head=True)
