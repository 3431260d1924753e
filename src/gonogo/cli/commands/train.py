"""gonogo train: fit gauges on good images and certify their thresholds, by the stage fit."""

import argparse

from gonogo.cli.answer import Answer
from gonogo.cli.names import PARAMS, known_categories, known_recipe
from gonogo.cli.stages import add_stage_arguments, run_stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_stage_arguments(parser, "fit")
    parser.add_argument(
        "--recipe", metavar="NAME", help="set the values of a recipe; with CATEGORY as overrides of these categories"
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Run the stage, with the values of the recipe and of `-S`, which comes last and wins."""
    settings: list[str] = []
    if arguments.recipe is not None:
        from gonogo.project.recipes import changes

        recipe = known_recipe(arguments.recipe, command="gonogo train")
        names: list[str | None] = [*known_categories(arguments.categories, command="gonogo train")] or [None]
        settings = [step.option for name in names for step in changes(PARAMS, recipe, name)]
    return run_stage("fit", arguments, settings=settings)
