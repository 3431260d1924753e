"""Settings such as fit.coreset_ratio=0.02, as `dvc exp run -S` takes them."""

import copy
import re
from collections.abc import Collection, Iterable
from dataclasses import fields

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gonogo.errors import ConfigError
from gonogo.params import Section
from gonogo.text import alternatives, meant


def experiment_option(setting: str, content: Section) -> str:
    """The setting in the form that DVC takes: with a `+` where it adds an option that params.yaml does not list.

    Args:
        setting: KEY=VALUE, where KEY is SECTION.OPTION or overrides.CATEGORY.SECTION.OPTION. One that begins with `+`
            or `~` is in DVC's own form already.
        content: of params.yaml.

    Raises:
        ConfigError: there is no such section, category or option; the message has the names that are close to it. Or
            it has no `=`, and does not take anything out.
    """
    key, equals, _ = setting.partition("=")
    if setting[:1] == "~" or (equals and setting[0] == "+"):
        return setting
    if not equals or not key:
        raise ConfigError(f"{setting!r} is no setting; expected KEY=VALUE, as fit.coreset_ratio=0.02")
    path = key.split(".")
    if _is_listed(path, content):
        return setting
    sections = [name for name, value in content.items() if isinstance(value, dict) and name != "overrides"]
    if path[0] == "overrides":
        if len(path) < 4:
            raise ConfigError(f"{key}: expected overrides.CATEGORY.SECTION.OPTION=VALUE")
        _require(path[1], [*content.get("categories", []), *(content.get("overrides") or {})], f"{key}: category")
        path = path[2:]
    _require(path[0], content if len(path) == 1 else sections, f"{key}: section")
    if len(path) > 1:
        listed = content[path[0]]
        _require(path[1], [*listed, *_options(path[0])], f"{key}: option of {path[0]}")
    return f"+{setting}"


def applied(settings: Iterable[str], content: Section) -> Section:
    """A copy of `content` of params.yaml with settings in it, each as `experiment_option` returns it.

    Raises:
        ConfigError: a value is no YAML, or a key lies in something that is no section.
    """
    after = copy.deepcopy(content)
    for setting in settings:
        key, _, text = setting.lstrip("+~").partition("=")
        *above, last = key.split(".")
        place = after
        for name in above:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{key}: {name} is no section")
        if setting.startswith("~"):
            place.pop(last, None)
        else:
            try:
                place[last] = YAML(typ="safe", pure=True).load(re.sub(r"([{,]\s*\w+):(?=\S)", r"\1: ", text))
            except YAMLError:
                raise ConfigError(f"{key} is {text!r}, which YAML does not read as a value") from None
    return after


def _is_listed(path: list[str], content: Section) -> bool:
    place: object = content
    for name in path:
        if not isinstance(place, dict) or name not in place:
            return False
        place = place[name]
    return True


def _options(section: str) -> list[str]:
    """The options that a section may have besides those that stand in params.yaml: those of every variant."""
    if section == "fit":
        from gonogo.detectors.options import DETECTOR_OPTIONS

        return [field.name for kind in DETECTOR_OPTIONS.values() for field in fields(kind)]
    if section == "prepare":
        from gonogo.data import SOURCES, source_class

        kinds = [source_class(name) for name in SOURCES]
        return [field.name for kind in kinds for field in fields(kind)]  # type: ignore[arg-type]
    return []


def _require(name: str, known: Collection[str], what: str) -> None:
    if name in known:
        return
    raise ConfigError(f"{what} {name!r} is unknown; {meant(name, known) or alternatives(name, known)}")
