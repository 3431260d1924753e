"""Names in arguments that a project must have: of categories and of recipes."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gonogo.errors import UsageError
from gonogo.text import alternatives

if TYPE_CHECKING:
    from gonogo.project.recipes import Recipe

PARAMS, RECIPES = Path("params.yaml"), Path("recipes")


def known_categories(names: Iterable[str], *, command: str) -> list[str]:
    """The names, once the project has a category of each.

    Args:
        command: the command that asks, for the error.

    Raises:
        UsageError: the project does not have one of them; the message has those that it has.
    """
    from gonogo.params import Params

    wanted, known = list(names), Params(PARAMS).categories
    for name in wanted:
        if name not in known:
            raise UsageError(f"{PARAMS} has no category {name!r}; {alternatives(name, known)}", command=command)
    return wanted


def known_recipe(name: str, *, command: str, folder: Path = RECIPES) -> "Recipe":
    """A recipe by its name.

    Args:
        command: the command that asks, for the error.
        folder: that has the recipes.

    Raises:
        UsageError: there is no recipe of that name; the message has those that there are.
    """
    from gonogo.project.recipes import read_recipe, recipe_names

    if name not in (names := recipe_names(folder)):
        raise UsageError(f"no recipe {name!r} in {folder}; {alternatives(name, names)}", command=command)
    return read_recipe(folder, name)
