"""gonogo train, eval, export, bench: a stage of the pipeline and what it needs, through DVC, and what it measured."""

from argparse import Namespace
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.cli.commands.recipes import known_recipe
from gonogo.cli.stage_text import summary_text
from gonogo.errors import PipelineError, UsageError
from gonogo.params import Params
from gonogo.project.dvc import run_dvc
from gonogo.project.recipes import changes
from gonogo.project.stage_metrics import measured

PARAMS = Path("params.yaml")


def run(arguments: Namespace) -> Answer:
    """Run the stage for the categories named, or for all, and gather its metrics.

    With a recipe or settings it is an experiment of DVC, which writes them into params.yaml; without, `dvc repro`.
    """
    stage, named = arguments.stage, arguments.categories
    known = Params(PARAMS).categories
    if unknown := [name for name in named if name not in known]:
        raise UsageError(
            f"{PARAMS} has no category {', '.join(unknown)}; it has {', '.join(known)}",
            command=arguments.called,
        )
    options = [word for setting in _settings(arguments) for word in ("-S", setting)]
    only: list[str] = []
    if stage == "bench":  # DVC holds a stage for done whose inputs are as before; a time is asked for now
        run_dvc("repro", *_targets("parity", named))
        only = ["--single-item", "--force"]
    command = ["exp", "run"] if options else ["repro"]
    run_dvc(*command, *only, *options, *_targets(stage, named))
    found = {name: measured(stage, name) for name in named or Params(PARAMS).categories}
    if missing := [name for name, metrics in found.items() if metrics is None]:
        raise PipelineError(f"stage {stage} left no metrics of {', '.join(missing)}; look at dvc.yaml")
    text = "\n".join(summary_text(stage, name, metrics) for name, metrics in found.items() if metrics is not None)
    return Answer({"ok": True, "stage": stage, "settings": options[1::2], "categories": found}, text)


def _settings(arguments: Namespace) -> list[str]:
    """What is to be changed first, as `dvc exp run -S` takes it; what a person set comes last, and wins."""
    settings = list(arguments.set)
    if arguments.stage == "bench":
        return settings if arguments.n is None else [f"bench.runs={arguments.n}", *settings]
    if arguments.stage == "fit" and arguments.recipe is not None:
        recipe = known_recipe(arguments.recipe, command=arguments.called)
        places = arguments.categories or [None]  # named ones are changed alone, as overrides
        return [change.option for place in places for change in changes(PARAMS, recipe, place)] + settings
    return settings


def _targets(stage: str, categories: list[str]) -> list[str]:
    """DVC's names of the stage, for the categories or for all."""
    return [f"{stage}@{name}" for name in categories] or [stage]
