"""Parameters: YAML becomes typed, checked values once, at the door.

`params.yaml` has one section per stage and, under `overrides`, what a category does differently.
A section that picks a variant (`prepare.source`, `fit.detector`) carries that variant's options beside the
name; an override that names another variant drops the first one's options, since options do not transfer, and keeps
what the section says for every variant.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gonogo.errors import ConfigError
from gonogo.text import alternatives, meant, plain_name

Section = dict[str, Any]
T = TypeVar("T")
S = TypeVar("S")

VARIANT_KEYS = {"prepare": "source", "fit": "detector"}


def read_yaml(path: Path) -> Section:
    """Read YAML 1.2 as DVC does: 2e-06 is a number, `on` is a string.

    Raises:
        ConfigError: the file is missing, is not YAML or is not a mapping.
    """
    return _mapping(_text(path), path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; run this in the project's root") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not in UTF-8: {error}; save it so") from error


def _mapping(text: str, path: Path) -> Section:
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, got {type(content).__name__}")
    return content


def project_path(name: str, *parts: str, root: Path = Path()) -> Path:
    """The folder that `dvc.yaml` in the project's root calls `name` under `vars`, with `parts` below it.

    Raises:
        ConfigError: there is no dvc.yaml, or it has no such path.
    """
    file = root / "dvc.yaml"
    paths = _paths(_text(file), file)
    if name not in paths:
        raise ConfigError(f"{file}: vars has no path {name!r}")
    return root.joinpath(paths[name], *parts)


@lru_cache(maxsize=8)
def _paths(text: str, file: Path) -> dict[str, str]:
    """The paths under `vars`; a stage asks for a dozen, and to parse the whole file takes 0.1 s."""
    return {name: str(path) for entry in _mapping(text, file).get("vars", []) for name, path in entry.items()}


@dataclass(frozen=True)
class Variant(Generic[T, S]):
    """What a section picked: its name, the options that made it, and the section's values for every variant."""

    made: T
    name: str
    options: Section
    values: S


class Params:
    """The parameters of one category: each section merged with the category's overrides.

    `sections_read` lists what was asked for, so that a test can hold it against `dvc.yaml`.
    """

    def __init__(self, path: Path, category: str | None = None, *, content: Section | None = None) -> None:
        """Read `path`, or take `content` for what it holds; `category` must be one of its `categories`.

        Raises:
            ConfigError: an unknown category, or an override of a category or section that does not exist.
        """
        self.path = path
        self.category = category
        self.sections_read: set[str] = set()
        self._content = read_yaml(path) if content is None else content
        categories = self._top("categories", list)
        names = [name for name in categories if isinstance(name, str)]
        if not names or names != categories or len(set(names)) != len(names):
            raise ConfigError(
                f"{path}: categories is {categories!r}; expected one or more distinct names, in quotes where YAML "
                "would take them for something else, as '01', 'null' or '1e3'"
            )
        if category is not None and category not in categories:
            raise ConfigError(f"{path} has no category {category!r}; {alternatives(category, categories)}")
        sections = [k for k, v in self._content.items() if isinstance(v, dict) and k != "overrides"]
        for name, override in self._mapping("overrides", self._content.get("overrides")).items():
            if not isinstance(name, str):
                raise ConfigError(f"{path}: overrides.{name} is {name!r} and no name for YAML; write it in quotes")
            for section, values in self._mapping(f"overrides.{name}", override).items():
                if section not in sections and section in self._content:
                    raise ConfigError(
                        f"{path}: {section} is {self._content[section]!r}, and overrides.{name} changes options of it; "
                        "expected a mapping"
                    )
                if section not in sections:
                    raise ConfigError(
                        f"{path}: overrides.{name}: there is no section {section!r}; "
                        f"{alternatives(str(section), sections)}"
                    )
                self._mapping(f"overrides.{name}.{section}", values)

    def _mapping(self, where: str, value: Any) -> Section:
        """The value, empty where it is null; raises ConfigError where it is no mapping."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ConfigError(f"{self.path}: {where} is {value!r}; expected a mapping")
        return value

    def _top(self, key: str, kind: type) -> Any:
        if not isinstance(self._content.get(key), kind) or isinstance(self._content[key], bool):
            raise ConfigError(f"{self.path}: {key} is {self._content.get(key)!r}; expected a {kind.__name__}")
        return self._content[key]

    @property
    def seed(self) -> int:
        """The seed that every random choice of the run is derived from."""
        self.sections_read.add("seed")
        if (seed := int(self._top("seed", int))) < 0:
            raise ConfigError(f"{self.path}: seed is {seed}; expected a whole number of 0 or more")
        return seed

    @property
    def raw(self) -> Path:
        """The folder of the user's own images. DVC watches its files, as a dependency of prepare."""
        return Path(self._top("raw", str))

    @property
    def categories(self) -> list[str]:
        """The categories of the run, in the order of the file."""
        self.sections_read.add("categories")
        return list(self._top("categories", list))

    def overrides_by_section(self) -> dict[str, dict[str, Section]]:
        """What each category does differently in each section; an empty mapping where it does nothing differently."""
        sections = [name for name, value in self._content.items() if isinstance(value, dict) and name != "overrides"]
        overrides = self._content.get("overrides") or {}
        names = sorted({*self._top("categories", list), *overrides})
        return {
            name: {section: (overrides.get(name) or {}).get(section) or {} for section in sections} for name in names
        }

    def section(self, name: str, *, shared: Collection[str] = ()) -> Section:
        """Section `name` with the category's override merged over it; `shared` keys belong to no variant."""
        self.sections_read.add(name)
        merged = dict(self._top(name, dict))
        if self.category is None:
            return merged
        self.sections_read.add("overrides")
        override = ((self._content.get("overrides") or {}).get(self.category) or {}).get(name) or {}
        variant = VARIANT_KEYS.get(name)
        if variant in override and plain_name(str(override[variant])) != plain_name(str(merged.get(variant))):
            merged = {key: value for key, value in merged.items() if key in shared}
        return merged | override

    def values(self, name: str, kind: Callable[..., T]) -> T:
        """Section `name` as a checked `kind`, a dataclass with one field per key."""
        return build(kind, self.section(name), where=f"{self.path}: {name}")

    def variant(
        self,
        name: str,
        registry: Mapping[str, str | Callable[..., Any]],
        kind: Callable[..., S],
        *,
        named: Callable[[str], str] | None = None,
    ) -> "Variant[Any, S]":
        """The variant that section `name` picks from `registry`, and what the section says for every variant.

        Args:
            name: of the section.
            registry: the dataclass of each variant's options, by name; a string "module:Class" is imported if needed.
            kind: a dataclass with one field per key that stands in the section whatever the variant.
            named: the registry's name of what the section says, where a variant has further names; raises ConfigError.

        Raises:
            ConfigError: the name is not in the registry, a key is wrong, or options of another variant were left
                beside it; the message shows what to write instead.
        """
        shared = list(inspect.signature(kind).parameters)
        section = self.section(name, shared=shared)
        values = {key: section.pop(key) for key in shared if key in section}
        choice = section.pop(VARIANT_KEYS[name], None)
        if named is not None and isinstance(choice, str):
            try:
                choice = named(choice)
            except ConfigError as error:
                raise ConfigError(f"{self.path}: {name}.{VARIANT_KEYS[name]}: {error}") from error
        made = self._variant(name, registry, choice, section, shared)
        return Variant(made, str(choice), section, build(kind, values, where=f"{self.path}: {name}"))

    def _variant(
        self,
        name: str,
        registry: Mapping[str, str | Callable[..., Any]],
        choice: Any,
        options: Section,
        shared: Collection[str],
    ) -> Any:
        key = VARIANT_KEYS[name]
        if not isinstance(choice, str) or choice not in registry:
            raise ConfigError(f"{self.path}: {name}.{key} is {choice!r}; {alternatives(str(choice), registry)}")
        chosen = import_class(registry[choice])
        unknown = set(options) - set(inspect.signature(chosen).parameters)
        known = {option for other in registry.values() if unknown for option in _options_of(other)}
        left_over = [option for option in options if option in unknown & known]
        if left_over:
            raise ConfigError(
                f"{self.path}: {name}.{key} is {choice!r}, but {', '.join(left_over)} are options of another {key}. "
                f"To start from the defaults of {choice!r} in one category, write under overrides "
                f"`{self.category or 'CATEGORY'}: {{{name}: {{{key}: {choice}}}}}`; for all, replace the section"
            )
        return build(chosen, options, where=f"{self.path}: {name} ({choice})", beside=shared)


def import_class(target: str | Callable[..., Any]) -> Any:
    """The class that a registry names as "module:Class", after importing its module; anything else as it is."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _options_of(target: str | Callable[..., Any]) -> Collection[str]:
    return inspect.signature(import_class(target)).parameters


def build(kind: Callable[..., T], values: Section, *, where: str, beside: Collection[str] = ()) -> T:
    """Call `kind` with `values` after checking names, types and ranges against its signature.

    Where a key is a dataclass or a list of such, a mapping makes one in the same way. `beside` are keys that may stand
    next to those of `kind` and were taken out already; a message lists them too.

    Raises:
        ConfigError: an unknown, missing, mistyped or out-of-range key; each is named with what is allowed.
    """
    model, nested = _model_of(kind)
    fields = list(model.model_fields)
    values = {
        key: _built(nested[key], value, f"{where}.{key}") if key in nested else value for key, value in values.items()
    }
    try:
        checked = model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_sentence(problem, [*fields, *beside]) for problem in error.errors())
        raise ConfigError(f"{where}: {problems}") from error
    return kind(**{name: getattr(checked, name) for name in fields})


def _built(kind: Any, value: Any, where: str) -> Any:
    """The `kind` that a mapping makes; a list of such, where it is a list of mappings; anything else as it is."""
    if isinstance(value, list):
        return [_built(kind, one, f"{where}[{number}]") for number, one in enumerate(value)]
    return build(kind, value, where=where) if isinstance(value, dict) else value


@lru_cache(maxsize=256)
def _model_of(kind: Callable[..., Any]) -> tuple[type[BaseModel], dict[str, Any]]:
    """The model that checks the arguments of `kind`, and those of them that are dataclasses.

    To make one takes 3 ms, and a file of many categories asks for the same few once per category.
    """
    target = kind.__init__ if inspect.isclass(kind) else kind
    hints = get_type_hints(target, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (hints[parameter.name], ... if parameter.default is parameter.empty else parameter.default)
        for parameter in inspect.signature(kind).parameters.values()
    }
    nested = {name: inner for name in fields if (inner := _dataclass_in(hints[name])) is not None}
    checks = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return create_model("Options", __config__=checks, **fields), nested


def _dataclass_in(hint: Any) -> Any:
    """The dataclass that `hint` is or allows, as `Tiling | None` or `list[str | Exclusion]`; None if there is none."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for inner in get_args(hint) if (found := _dataclass_in(inner)) is not None), None)


def _sentence(problem: Any, allowed: list[str]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        question = meant(key, allowed)
        allows = f"{question and f'{question} '}allowed: {', '.join(allowed) or 'none'}"
        return f"unknown key {key!r} = {problem['input']!r}; {allows}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    reason = problem["ctx"]["error"] if problem["type"] == "value_error" else problem["msg"]  # our own words alone
    if problem["type"] in ("dataclass_exact_type", "dataclass_type", "dict_type"):
        reason = "expected a mapping of its keys"
    return f"{key} is {problem['input']!r}; {reason}"
