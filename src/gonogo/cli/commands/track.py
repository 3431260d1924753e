"""gonogo track: a commit or an experiment as a run of MLflow, after the fact."""

import argparse
from dataclasses import asdict
from pathlib import Path

from gonogo.cli.answer import Answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Write parameters, metrics, the series of the fits and the files of a commit or DVC experiment as a run of "
        "MLflow, and register its gauges as versions, with the aliases that registry.jsonl gives them. MLflow is that "
        "of MLFLOW_TRACKING_URI, by default sqlite:///mlflow.db; nothing is read from it but what was tracked already."
    )
    parser.add_argument(
        "rev", nargs="?", default="HEAD", metavar="REV", help="a commit or DVC experiment; default: HEAD"
    )
    parser.add_argument("--name", default="gonogo", metavar="NAME", help="of the experiment in MLflow; gonogo")


def run(arguments: argparse.Namespace) -> Answer:
    """Track it; `gonogo.project.tracking` and `mlflow_runs` have the errors."""
    from gonogo.project.mlflow_runs import track
    from gonogo.project.registry import in_use, read_registry
    from gonogo.project.tracking import read_tracked

    tracked = read_tracked(Path(), arguments.rev)
    entries = read_registry()
    used = {
        (category, alias): entry.commit
        for category in tracked.categories
        for alias in ("staging", "production")
        if (entry := in_use(entries, category, alias)) is not None
    }
    made = track(tracked, name=arguments.name, in_use=used)
    text = f"{tracked.commit[:12]} {'is' if made.is_new else 'was already'} tracked at {made.uri} as run {made.id}; "
    text += ", ".join(f"{name} version {version}" for name, version in made.versions.items())
    return Answer({"ok": True, **asdict(made)}, text)
