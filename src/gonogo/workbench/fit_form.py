"""The form of a fit: a detector's options with their ranges, and what a filled form changes in params.yaml."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gonogo.detectors import DETECTORS
from gonogo.detectors.described import Option, documentation, options_of
from gonogo.detectors.names import detector_name
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError
from gonogo.model.fit_params import FitParams
from gonogo.params import Params
from gonogo.project.recipes import Recipe, changes, read_recipe
from gonogo.project.runs import require_inside

RECIPES = Path("recipes")
PREFIX = "option."  # before the name of an option, in the names of a form's fields


@dataclass(frozen=True)
class Field:
    """An option as a field of the form; `value` is what the project has now, as YAML, or the default."""

    option: Option
    value: str

    @property
    def name(self) -> str:
        """Of the field."""
        return PREFIX + self.option.name


def detector_of(params: Params) -> str:
    """The detector that a category has now; as it is written, where there is no such detector."""
    written = str(params.section("fit", shared=_SHARED).get("detector"))
    with suppress(ConfigError):
        return detector_name(written)
    return written


def fields_of(detector: str, params: Params) -> list[Field]:
    """The form's fields for a detector.

    Raises:
        ConfigError: there is no such detector.
    """
    if detector not in DETECTORS:
        raise ConfigError(f"there is no detector {detector!r}; choose one of {', '.join(DETECTORS)}")
    section = params.section("fit", shared=_SHARED)
    current = section if detector_of(params) == detector else {}
    found = []
    for option in options_of(DETECTOR_OPTIONS[detector]):
        value = current.get(option.name, None if option.required else option.default)
        found.append(Field(option, "" if value is None else as_yaml(value)))
    return found


def summary_of(detector: str) -> str:
    """What the detector is, in a sentence."""
    return documentation(detector)[0]


def settings_of_form(params: Path, category: str, form: Mapping[str, str]) -> list[str]:
    """What a filled form changes, as `dvc exp run -S` takes it. Fields that are as they were change nothing.

    Args:
        form: `detector`, `recipe`, `false_alarm_rate`, and a field for each option; what is empty stays as it is.

    Raises:
        ConfigError: a value is not allowed, or leads out of the project; the message has what is.
    """
    own, settings = Params(params, category), []
    if recipe := form.get("recipe", ""):
        settings += [step.option for step in changes(params, read_recipe(RECIPES, recipe), category)]
    detector = form.get("detector") or detector_of(own)
    as_they_are = {field.name: field.value for field in fields_of(detector, own)}
    values: dict[str, Any] = {} if detector == detector_of(own) else {"detector": detector}
    for name, text in form.items():
        if name.startswith(PREFIX) and text.strip() and text.strip() != as_they_are.get(name):
            values[name.removeprefix(PREFIX)] = value_of(text, name.removeprefix(PREFIX))
    sections: dict[str, dict[str, Any]] = {"fit": values} if values else {}
    if rate := form.get("false_alarm_rate", "").strip():
        sections["calibrate"] = {"false_alarm_rate": value_of(rate, "false_alarm_rate")}
    if sections:
        settings += [step.option for step in changes(params, Recipe("form", "what a form changes", sections), category)]
    require_inside(settings, Path())
    return settings


def value_of(text: str, name: str) -> Any:
    """The value that a field's text stands for, as YAML 1.2 reads it.

    Raises:
        ConfigError: it is no YAML, or more than one value.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise ConfigError(f"{name} is {text!r}, which YAML does not read as a value") from None


def as_yaml(value: Any) -> str:
    """A value as params.yaml has it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {as_yaml(each)}' for key, each in value.items())}}}"
    return str(value)


_SHARED = list(FitParams.__dataclass_fields__)
