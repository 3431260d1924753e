"""gonogo recipes: list the recipes, which are named sets of changes of params.yaml, describe one, or apply it."""

import argparse
import json
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.cli.names import PARAMS, RECIPES, known_categories, known_recipe
from gonogo.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from gonogo.project.recipes import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = (
        "gonogo recipes [-h] [--json] [NAME]\n"
        "       gonogo recipes apply NAME [--category NAME] [--write | --run [--name NAME]] [--json]"
    )
    parser.description = (
        "A recipe is a named set of changes of params.yaml, a YAML file in recipes/. `apply` checks a recipe against "
        "every category and shows what it would change; nothing changes without --write or --run."
    )
    parser.add_argument("words", nargs="*", metavar="[apply] NAME", help="a recipe; default: list them all")
    parser.add_argument("--category", metavar="NAME", help="change this category alone, as an override")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="change params.yaml")
    action.add_argument("--run", action="store_true", help="change it and run it with `dvc exp run`")
    parser.add_argument("--name", dest="experiment", metavar="NAME", help="name of the experiment of --run")


def run(arguments: argparse.Namespace) -> Answer:
    """List the recipes, describe one, or apply it.

    Raises:
        UsageError: the words or options do not make one of these, or there is no such recipe.
    """
    if message := _contradiction(arguments):
        raise UsageError(message, command="gonogo recipes")
    from gonogo.project.recipes import read_recipe, recipe_names

    words = arguments.words
    if not RECIPES.is_dir():
        raise ConfigError(f"{RECIPES}/: no such folder; run this in the project's root")
    if not words:
        recipes = [read_recipe(RECIPES, name) for name in recipe_names(RECIPES)]
        report = [{"name": recipe.name, "description": recipe.description} for recipe in recipes]
        text = in_columns([(recipe.name, recipe.description) for recipe in recipes]) if recipes else "none in recipes/"
        return Answer({"ok": True, "recipes": report}, text)
    recipe = known_recipe(words[-1], command="gonogo recipes")
    return _applied(recipe, arguments) if len(words) > 1 else _described(recipe)


def _contradiction(arguments: argparse.Namespace) -> str | None:
    applies = arguments.words[:1] == ["apply"]
    if len(arguments.words) != 2 if applies else len(arguments.words) > 1:
        return "expected NAME, or apply NAME"
    if not applies and (arguments.category or arguments.write or arguments.run):
        return "--category, --write and --run need apply NAME"
    if arguments.experiment and not arguments.run:
        return "--name needs --run"
    return None


def _described(recipe: "Recipe") -> Answer:
    lines = [
        f"  {section}.{key}: {json.dumps(value)}"
        for section, values in recipe.sections.items()
        for key, value in values.items()
    ]
    report = {"ok": True, "name": recipe.name, "description": recipe.description, "sections": recipe.sections}
    return Answer(report, "\n".join([f"{recipe.name}: {recipe.description}", *lines]))


def _applied(recipe: "Recipe", arguments: argparse.Namespace) -> Answer:
    """What a recipe changes, after it was written or run if an option says so."""
    from gonogo.project.dvc import run_dvc
    from gonogo.project.recipes import changes, write_changes

    if arguments.category is not None:
        known_categories([arguments.category], command="gonogo recipes")
    made = changes(PARAMS, recipe, arguments.category)
    if arguments.write:
        write_changes(PARAMS, made)
    if arguments.run:
        named = ["--name", arguments.experiment] if arguments.experiment else []
        run_dvc("exp", "run", *named, *(word for change in made for word in ("-S", change.option)))
    report = {
        "ok": True,
        "name": recipe.name,
        "changes": [change.to_dict() for change in made],
        "written": arguments.write or arguments.run,
    }
    return Answer(report, "\n".join(map(str, made)) or f"{PARAMS} has these values already")
