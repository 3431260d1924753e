"""gonogo recipes: named sets of changes of params.yaml: listed, described, shown, written or run."""

import json
from argparse import Namespace
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.errors import ConfigError, UsageError
from gonogo.project.dvc import run_dvc
from gonogo.project.recipes import Recipe, changes, read_recipe, recipe_names, write_changes

RECIPES, PARAMS = Path("recipes"), Path("params.yaml")


def run(arguments: Namespace) -> Answer:
    """List them, describe the one that is named, or apply it."""
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


def known_recipe(name: str, *, command: str) -> Recipe:
    """The recipe of this project that a person named.

    Raises:
        UsageError: there is none of that name.
    """
    names = recipe_names(RECIPES)
    if name not in names:
        raise UsageError(
            f"no recipe {name!r} in {RECIPES}; choose one of {', '.join(names) or 'none'}", command=command
        )
    return read_recipe(RECIPES, name)


def _described(recipe: Recipe) -> Answer:
    lines = [
        f"  {section}.{key}: {json.dumps(value)}"
        for section, values in recipe.sections.items()
        for key, value in values.items()
    ]
    report = {"ok": True, "name": recipe.name, "description": recipe.description, "sections": recipe.sections}
    return Answer(report, "\n".join([f"{recipe.name}: {recipe.description}", *lines]))


def _applied(recipe: Recipe, arguments: Namespace) -> Answer:
    """What it changes, after it is written or run where that is asked for."""
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
    return Answer(report, "\n".join(map(str, made)) or f"{PARAMS} says so already")
