"""The arguments of the commands that list what there is and run the stages; `gonogo.cli.commands` has what they do."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gonogo.cli.line_arguments import count

STAGES = {  # the command: its stage, what it does
    "train": ("fit", "fit a gauge on good images and certify its threshold"),
    "eval": ("evaluate", "measure a gauge on the test images, beside a trivial baseline"),
    "export": ("parity", "write a gauge as ONNX, and its bundle if the two agree"),
    "bench": ("bench", "time a bundle on this machine, now"),
}
LISTS = {
    "detectors": "list the detectors, or describe one with its options",
    "backbones": "list the backbones whose weights are here or whose names match, or describe one",
    "categories": "list the project's categories, or describe one",
}


def add_project_commands(commands: Any, of_pipeline: Callable[[str], Callable[[argparse.Namespace], int]]) -> None:
    """Add them to argparse's `commands`; `of_pipeline` gives the command in a file of `gonogo.cli.answer`."""
    init = commands.add_parser(
        "init",
        help="make a project of a folder of images",
        description="Look at a folder of images, say what is in it, and write a project for it that `dvc repro` runs. "
        "The images stay where they are.",
    )
    init.add_argument("images", type=Path, metavar="IMAGES", help="a folder; docs/data.md lists the layouts")
    init.add_argument(
        "--into", type=Path, default=Path(), metavar="DIR", help="the project's folder; default: this one"
    )
    init.set_defaults(command=of_pipeline("init"))
    for name, (stage, help_) in STAGES.items():
        parser = commands.add_parser(name, help=help_, description=_description(stage, help_))
        _add_stage(parser, stage)
        parser.set_defaults(command=of_pipeline("stages"), stage=stage, called=parser.prog)
    for name, help_ in LISTS.items():
        parser = commands.add_parser(name, help=help_)
        what = "NAME or 'PATTERN*'" if name == "backbones" else "NAME"
        parser.add_argument("name", nargs="?", metavar="NAME", help=f"{what}; without it, all are listed")
        parser.set_defaults(command=of_pipeline(name))
    _add_recipes(commands, of_pipeline("recipes"))


def _description(stage: str, help_: str) -> str:
    return (
        f"{help_[0].upper()}{help_[1:]}: the stage {stage} of the pipeline through DVC, with what it needs, skipped "
        "where nothing has changed. With -S it is an experiment, and params.yaml keeps what was set."
    )


def _add_stage(parser: argparse.ArgumentParser, stage: str) -> None:
    parser.add_argument("categories", nargs="*", metavar="CATEGORY", help="of params.yaml; without one, all")
    parser.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="as fit.coreset_ratio=0.02; repeatable"
    )
    if stage == "fit":
        parser.add_argument(
            "--recipe", metavar="NAME", help="set what it says; with CATEGORY for those alone, as overrides"
        )
    if stage == "bench":
        parser.add_argument("--n", type=count, metavar="N", help="runs to time; sets bench.runs")


def _add_recipes(commands: Any, command: Callable[[argparse.Namespace], int]) -> None:
    parser = commands.add_parser(
        "recipes",
        help="list the recipes, describe one, or apply it",
        usage="gonogo recipes [-h] [--json] [NAME]\n"
        "       gonogo recipes apply NAME [--category NAME] [--write | --run [--name NAME]] [--json]",
        description="Recipes are named sets of changes of params.yaml, a YAML file each in recipes/. Apply checks one "
        "against every category and shows what it would change; nothing changes without --write or --run.",
    )
    parser.add_argument("words", nargs="*", metavar="[apply] NAME", help="without a name, all are listed")
    parser.add_argument("--category", metavar="NAME", help="change this category alone, as an override")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="change params.yaml")
    action.add_argument("--run", action="store_true", help="run it through `dvc exp run`")
    parser.add_argument("--name", dest="experiment", metavar="NAME", help="of the experiment that --run makes")

    def checked(arguments: argparse.Namespace) -> int:
        applies = arguments.words[:1] == ["apply"]
        if len(arguments.words) != 2 if applies else len(arguments.words) > 1:
            parser.error("expected NAME, or apply NAME")
        if not applies and (arguments.category or arguments.write or arguments.run):
            parser.error("--category, --write and --run go with apply NAME")
        if arguments.experiment and not arguments.run:
            parser.error("--name goes with --run")
        return command(arguments)

    parser.set_defaults(command=checked)
