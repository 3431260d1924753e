"""Apply a recipe to params.yaml, after showing and checking what it changes.

    python tools/recipe.py                          list the recipes
    python tools/recipe.py fast                     show what it would change
    python tools/recipe.py fast --write             change params.yaml
    python tools/recipe.py fast --category brick    for one category, as an override
    python tools/recipe.py fast --run --name fast   run it as an experiment; params.yaml changes as DVC changes it

A recipe is a YAML file in recipes/: a description and what it changes in fit, calibrate or regions.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gonogo.errors import ConfigError
from gonogo.recipes import changes, read_recipe, recipe_names, write_changes

RECIPES, PARAMS = Path("recipes"), Path("params.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", help="its name; without one, all are listed")
    parser.add_argument("--category", help="change this category alone, as an override")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="change params.yaml")
    action.add_argument("--run", action="store_true", help="run it through `dvc exp run`")
    parser.add_argument("--name", help="of the experiment that --run makes")
    arguments = parser.parse_args(argv)
    try:
        if arguments.recipe is None:
            for name in recipe_names(RECIPES):
                print(f"{name:18} {read_recipe(RECIPES, name).description}")
            return 0
        made = changes(PARAMS, read_recipe(RECIPES, arguments.recipe), arguments.category)
    except ConfigError as error:
        print(f"recipe: {error}", file=sys.stderr)
        return 2
    print("\n".join(map(str, made)) or "params.yaml says so already")
    if arguments.write:
        write_changes(PARAMS, made)
    if arguments.run:
        options = [word for change in made for word in ("-S", change.option)]
        named = ["--name", arguments.name] if arguments.name else []
        return subprocess.run(["dvc", "exp", "run", *named, *options], check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
