"""A stage of the pipeline, run through DVC, and the metrics that it wrote: for train, eval, export and bench."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.errors import PipelineError, UsageError

PARAMS = Path("params.yaml")


def add_stage_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    """Add the arguments that these commands share, and describe the stage."""
    parser.description = (
        f"{parser.description} This runs the stage {stage} of the pipeline and the stages that it needs through DVC, "
        "but none whose inputs are unchanged. With -S it is an experiment, and params.yaml keeps the values."
    )
    parser.add_argument("categories", nargs="*", metavar="CATEGORY", help="of params.yaml; default: all of them")
    parser.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="as fit.coreset_ratio=0.02; repeatable"
    )


def chosen_categories(arguments: argparse.Namespace) -> list[str]:
    """The categories in the arguments; empty for all of the project.

    Raises:
        UsageError: the project does not have one of them.
    """
    from gonogo.params import Params

    known = Params(PARAMS).categories
    if unknown := [name for name in arguments.categories if name not in known]:
        raise UsageError(
            f"{PARAMS} has no category {', '.join(unknown)}; it has {', '.join(known)}",
            command=f"gonogo {arguments.command}",
        )
    return list(arguments.categories)


def run_stage(stage: str, categories: list[str], settings: Sequence[str], *, alone_after: str | None = None) -> Answer:
    """Run a stage through DVC: the metrics that it wrote, by category.

    Args:
        categories: empty: all of the project.
        settings: KEY=VALUE, as `experiment_option` takes them; with settings it is an experiment of DVC, without
            `dvc repro`.
        alone_after: a stage that is brought up to date first; then `stage` alone runs, even if nothing has changed.

    Raises:
        ConfigError: a setting names no parameter.
        PipelineError: DVC failed, or the stage wrote no metrics.
    """
    from gonogo.cli.stage_text import summary_text
    from gonogo.params import Params, read_yaml
    from gonogo.project.dvc import run_dvc
    from gonogo.project.settings import experiment_option
    from gonogo.project.stage_metrics import measured

    content = read_yaml(PARAMS)
    settings = [experiment_option(setting, content) for setting in settings]
    only: list[str] = []
    if alone_after is not None:
        run_dvc("repro", *_targets(alone_after, categories))
        only = ["--single-item", "--force"]
    command = ["exp", "run"] if settings else ["repro"]
    options = [word for setting in settings for word in ("-S", setting)]
    run_dvc(*command, *only, *options, *_targets(stage, categories))
    found = {name: measured(stage, name) for name in categories or Params(PARAMS).categories}
    if missing := [name for name, metrics in found.items() if metrics is None]:
        raise PipelineError(f"stage {stage} wrote no metrics of {', '.join(missing)}; check dvc.yaml")
    text = "\n".join(summary_text(stage, name, metrics) for name, metrics in found.items() if metrics is not None)
    return Answer({"ok": True, "stage": stage, "settings": list(settings), "categories": found}, text)


def _targets(stage: str, categories: list[str]) -> list[str]:
    """DVC's names of a stage for some categories, or for all."""
    return [f"{stage}@{name}" for name in categories] or [stage]
