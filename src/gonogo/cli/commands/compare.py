"""gonogo compare: what a change did, and whether the gate lets it pass."""

import sys
from argparse import Namespace
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.images.dataset import read_dataset
from gonogo.params import Params, project_path
from gonogo.project.compare import compare, render, write_comparison
from gonogo.project.revision import Revisions

TOLERANCES = Path("tolerances.yaml")


def run(arguments: Namespace) -> Answer:
    """Compare, write the report and its pictures where they are asked for, and say what the gate says."""
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
    passed = gate is None or gate.passed
    return Answer({"ok": True, **comparison.to_dict()}, render(comparison, {}).rstrip(), passed)
