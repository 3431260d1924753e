"""gonogo compare: how two revisions differ in metrics and verdicts, and whether the tolerances allow it."""

import argparse
import sys
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.cli.exit_status import DONE, REJECTED

TOLERANCES = Path("tolerances.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Compare two revisions of a project, or one with the workspace: metrics with intervals, verdicts that changed, "
        "and the tolerances of tolerances.yaml. Exit status 0: all are met; 1: a metric is beyond its tolerance."
    )
    parser.add_argument("old", metavar="REV", help="the revision to compare with: a commit, branch or tag")
    parser.add_argument("new", metavar="REV", nargs="?", help="the revision to compare; default: the workspace")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write report.md and pictures of changed images")
    parser.add_argument(
        "--picture-url", default="", metavar="URL", help="prefix of the pictures' addresses in report.md"
    )
    parser.add_argument("--tolerances", type=Path, metavar="FILE", help="default: tolerances.yaml, if it exists")
    parser.add_argument("--other-data", action="store_true", help="compare although the images of a category differ")


def run(arguments: argparse.Namespace) -> Answer:
    """Compare the revisions, and write the report with its pictures if `--out` is given."""
    from gonogo.images.dataset import read_dataset
    from gonogo.params import Params, project_path
    from gonogo.project.compare import compare, render, write_comparison
    from gonogo.project.revision import Revisions

    comparison = compare(
        Revisions(Path(), arguments.old, arguments.new),
        records=project_path("plots", "records").as_posix(),
        tolerances=arguments.tolerances or (TOLERANCES if TOLERANCES.is_file() else None),
        other_data=arguments.other_data,
    )
    if arguments.out is not None:
        raw, prepared = Params(Path("params.yaml")).raw, project_path("prepared")
        write_comparison(
            arguments.out, comparison, lambda category: read_dataset(prepared / category, raw), arguments.picture_url
        )
    gate = comparison.gate
    if gate is not None and not arguments.json:
        print(f"gonogo: {gate.sentence}", file=sys.stderr)
    status = DONE if gate is None or gate.passed else REJECTED
    return Answer({"ok": True, **comparison.to_dict()}, render(comparison, {}).rstrip(), status)
