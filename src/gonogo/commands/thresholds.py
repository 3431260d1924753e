"""gonogo thresholds: what a gauge would do at other thresholds."""

from argparse import Namespace
from pathlib import Path

from gonogo.commands import Answer
from gonogo.config import Params, project_path
from gonogo.files import read_manifest, read_rows
from gonogo.operating_points import ScoresByKind, operating_points, table, write_operating_page
from gonogo.threshold_record import ThresholdRecord


def run(arguments: Namespace) -> Answer:
    """The operating points of one category, and their page where it is asked for."""
    category = arguments.category
    Params(Path("params.yaml"), category)  # refuses one that the project does not have
    rows = read_rows(project_path("plots", "records", f"{category}.csv"))
    record = ThresholdRecord.from_dict(read_manifest(project_path("models", category))["threshold"])
    scores = ScoresByKind.of(rows)
    points = operating_points(scores, record, arguments.at)
    if arguments.page is not None:
        write_operating_page(arguments.page, scores, record, category=category)
    report = {"ok": True, "category": category, "threshold": record.threshold, "confidence": record.confidence}
    return Answer(report | {"points": [point.to_dict() for point in points]}, table(points, record))
