"""A stage of the pipeline, run through DVC, and the metrics that it wrote: for train, eval, export and bench."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.cli.names import PARAMS, known_categories
from gonogo.errors import ConfigError, PipelineError

if TYPE_CHECKING:
    from gonogo.params import Section


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
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML with sections and values as in params.yaml, which a recipe and -S override",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check every value of every category, say what would run, and end"
    )


def run_stage(
    stage: str, arguments: argparse.Namespace, *, settings: Sequence[str] = (), alone_after: str | None = None
) -> Answer:
    """Run a stage through DVC: the metrics that it wrote, by category; with `--dry-run` what would run.

    Before anything runs, every value is read for every category as its stages read it.

    Args:
        arguments: those of `add_stage_arguments`; values of `-S` win over those of `--config`.
        settings: KEY=VALUE, as `experiment_option` takes them, between the two; with any of the three it is an
            experiment of DVC, without `dvc repro`.
        alone_after: a stage that is brought up to date first; then `stage` alone runs, even if nothing has changed.

    Raises:
        ConfigError: a setting names no parameter, or a value is wrong for a category.
        PipelineError: DVC failed, or the stage wrote no metrics.
        UsageError: the project does not have one of the categories.
    """
    from gonogo.cli.stage_text import summary_text
    from gonogo.params import Params, read_yaml
    from gonogo.project.dvc import run_dvc
    from gonogo.project.preflight import check_values
    from gonogo.project.settings import experiment_option
    from gonogo.project.stage_metrics import measured

    categories = known_categories(arguments.categories, command=f"gonogo {arguments.command}")
    content = read_yaml(PARAMS)
    given = _of_file(arguments.config, content)
    given += [experiment_option(one, content) for one in (*settings, *arguments.set)]
    # By key, so that the last value of one wins.
    settings = list({option.lstrip("+~").partition("=")[0]: option for option in given}.values())
    known = check_values(PARAMS, settings, wanted=categories)
    calls: list[list[str]] = []
    only: list[str] = []
    if alone_after is not None:
        calls.append(["repro", *_targets(alone_after, categories)])
        only = ["--single-item", "--force"]
    command = ["exp", "run"] if settings else ["repro"]
    words = [word for setting in settings for word in ("-S", setting)]
    calls.append([*command, *only, *words, *_targets(stage, categories)])
    if arguments.dry_run:
        commands = [f"dvc {shlex.join(call)}" for call in calls]
        text = "\n".join([f"the values of {', '.join(known)} are right; this would run:", *commands])
        return Answer({"ok": True, "stage": stage, "settings": settings, "checked": known, "would_run": commands}, text)
    for call in calls:
        run_dvc(*call)
    found = {name: measured(stage, name) for name in categories or Params(PARAMS).categories}
    if missing := [name for name, metrics in found.items() if metrics is None]:
        raise PipelineError(f"stage {stage} wrote no metrics of {', '.join(missing)}; check dvc.yaml")
    text = "\n".join(summary_text(stage, name, metrics) for name, metrics in found.items() if metrics is not None)
    return Answer({"ok": True, "stage": stage, "settings": settings, "categories": found}, text)


def _of_file(config: Path | None, content: "Section") -> list[str]:
    """The values of a `--config` file that `content` of params.yaml does not have, as `experiment_option` gives them.

    Raises:
        ConfigError: it is no YAML of sections, or names what no section has.
    """
    if config is None:
        return []
    from gonogo.params import read_yaml
    from gonogo.project.recipes import ABSENT, differences
    from gonogo.project.settings import experiment_option

    if not config.is_file():
        raise ConfigError(f"--config {config}: no such file")
    changes = [change for change in differences(content, read_yaml(config)) if change.new is not ABSENT]
    try:
        return [experiment_option(change.option.removeprefix("+"), content) for change in changes]
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}") from None


def _targets(stage: str, categories: list[str]) -> list[str]:
    """DVC's names of a stage for some categories, or for all."""
    return [f"{stage}@{name}" for name in categories] or [stage]
