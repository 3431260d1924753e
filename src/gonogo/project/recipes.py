"""Recipes: named overlays of params.yaml, one YAML file each, applied to all categories or to one."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gonogo.detectors.backbones.weights import LITE0
from gonogo.detectors.options import side_multiple
from gonogo.errors import ConfigError
from gonogo.images.size import ImageSize
from gonogo.model.fit_params import FitParams, fit_section
from gonogo.params import VARIANT_KEYS, Params, Section, read_yaml
from gonogo.text import alternatives

SECTIONS = ("fit", "calibrate", "regions")
SHARED = {field.name for field in fields(FitParams)}  # of `fit`, whatever the detector
SIZE = "image_size"
ABSENT: Any = object()


@dataclass(frozen=True)
class Recipe:
    """What the file says: a sentence for people, and the sections that it changes."""

    name: str
    description: str
    sections: dict[str, Section]


@dataclass(frozen=True)
class Change:
    """One parameter that a recipe changes. `old` or `new` is ABSENT where the key comes or goes."""

    path: tuple[str, ...]
    old: Any
    new: Any

    def __str__(self) -> str:
        old, new = ("-" if value is ABSENT else json.dumps(value) for value in (self.old, self.new))
        return f"{'.'.join(self.path)}: {old} -> {new}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values; without `old` or `new` where the key comes or goes."""
        values = {"old": self.old, "new": self.new}
        return {"path": ".".join(self.path)} | {name: value for name, value in values.items() if value is not ABSENT}

    @property
    def option(self) -> str:
        """The change as `dvc exp run -S` takes it."""
        key = ".".join(self.path)
        if self.new is ABSENT:
            return f"~{key}"
        return f"{'+' if self.old is ABSENT else ''}{key}={_as_option(self.new)}"


def recipe_names(folder: Path) -> list[str]:
    """The recipes in `folder`: one per YAML file, by its stem."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_recipe(folder: Path, name: str) -> Recipe:
    """Read `folder`/`name`.yaml.

    Raises:
        ConfigError: there is no such recipe, or it has no description, or a section that recipes may not change.
    """
    if name not in recipe_names(folder):
        raise ConfigError(f"no recipe {name!r} in {folder}; {alternatives(name, recipe_names(folder))}")
    path = folder / f"{name}.yaml"
    content = read_yaml(path)
    description = content.pop("description", None)
    if not isinstance(description, str):
        raise ConfigError(f"{path}: description is {description!r}; say in a sentence what the recipe is for")
    for section, values in content.items():
        if section not in SECTIONS or not isinstance(values, dict):
            raise ConfigError(f"{path}: {section} is no section that a recipe changes; allowed: {', '.join(SECTIONS)}")
    return Recipe(name, description, content)


def changes(params: Path, recipe: Recipe, category: str | None = None) -> list[Change]:
    """What the recipe changes in `params`, for all categories or, as an override, for one; nothing is written.

    Where the recipe names a detector, the options of the one before it go, since they do not transfer; otherwise
    single keys change.

    Raises:
        ConfigError: the category is unknown, or the result is not valid for a category; the message names the key.
    """
    from gonogo.calibration.regions import RegionParams  # where they are used: recipes are listed without scipy
    from gonogo.calibration.threshold import CalibrateParams

    before = read_yaml(params)
    after = copy.deepcopy(before)
    if category is not None:
        Params(params, category)
        target = after.setdefault("overrides", {}).setdefault(category, {})
    else:
        target = after
    for name, values in recipe.sections.items():
        standing = target.get(name) or {}
        shape = Params(params, category).section(name).get(SIZE)
        if VARIANT_KEYS.get(name) in values:
            standing = {key: value for key, value in standing.items() if key in SHARED}
        target[name] = {**standing, **_in_shape(values, shape)}
    if category is None:
        _keep_shapes(after, recipe.sections.get("fit", {}))
    for known in after["categories"]:
        checked = Params(params, known, content=after)
        fit_section(checked)
        checked.values("calibrate", CalibrateParams)
        checked.values("regions", RegionParams)
    return list(differences(before, after))


def _in_shape(values: Section, shape: Any) -> Section:
    """The values of a recipe, its size in the shape of another one: a recipe's square stands for its area."""
    if not isinstance(shape, list) or not isinstance(values.get(SIZE), int):
        return values
    standing, multiple = ImageSize.of(shape), side_multiple(values.get("backbone", LITE0))
    if standing.has_area_of(values[SIZE], multiple=multiple):
        return {**values, SIZE: shape}
    return {**values, SIZE: ImageSize.of_area(values[SIZE], standing.aspect, multiple=multiple).written}


def _keep_shapes(after: Section, values: Section) -> None:
    """Give each category that overrides `fit` by a shape, and by no detector of its own, the recipe's size in it."""
    for override in (after.get("overrides") or {}).values():
        own = (override or {}).get("fit") or {}
        if isinstance(own.get(SIZE), list) and VARIANT_KEYS["fit"] not in own and SIZE in values:
            own[SIZE] = _in_shape(values, own[SIZE])[SIZE]


def write_changes(params: Path, made: list[Change]) -> None:
    """Make the changes in `params`; the comments of what stays stay."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    document = yaml.load(params.read_text(encoding="utf-8"))
    for change in made:
        place = document
        for key in change.path[:-1]:
            place = place.setdefault(key, {})
        if change.new is ABSENT:
            del place[change.path[-1]]
        else:
            place[change.path[-1]] = change.new
    partial = params.with_name(params.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        yaml.dump(document, file)
    partial.replace(params)


def _as_option(value: Any) -> str:
    """JSON, but for the keys of mappings, which Hydra's grammar wants without quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_as_option(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def differences(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[Change]:
    """The changes that make `after` of `before`, two contents of a params.yaml."""
    if isinstance(after, dict) and (isinstance(before, dict) or before is ABSENT):
        known = {} if before is ABSENT else before
        for key in [*known, *(key for key in after if key not in known)]:
            yield from differences(known.get(key, ABSENT), after.get(key, ABSENT), (*path, key))
    elif before is ABSENT or after is ABSENT or before != after:
        yield Change(path, before, after)
