"""gonogo detectors: the values of fit.detector, and the options of each. Nothing here imports torch."""

import argparse
import ast
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.detectors import DETECTORS
from gonogo.errors import UsageError

BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of", "min_length": "of length >="}


@dataclass(frozen=True)
class Option:
    """One option of a detector. `default` counts where it is not `required`.

    Attributes:
        kind: the type of the value, as Python writes it.
        choices: the allowed values, where they are a list.
        bounds: of a number, by pydantic's names; `min_length` is that of a list.
    """

    name: str
    kind: str
    required: bool
    default: Any
    choices: list[str | int]
    bounds: dict[str, float]
    description: str

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return " | ".join([*map(str, self.choices), *(["null"] if "None" in self.kind else [])])
        bounds = ", ".join(f"{BOUNDS[name]} {bound:g}" for name, bound in self.bounds.items())
        return self.kind.replace("None", "null") + (f" {bounds}" if bounds else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a detector; default: list them all")


def run(arguments: argparse.Namespace) -> Answer:
    """List the detectors, or describe one."""
    name = arguments.name
    if name is None:
        summaries = [(known, documentation(known)[0]) for known in DETECTORS]
        report = [{"name": known, "summary": summary} for known, summary in summaries]
        return Answer({"ok": True, "detectors": report}, in_columns(summaries))
    if name not in DETECTORS:
        raise UsageError(f"no detector {name!r}; choose one of {', '.join(DETECTORS)}", command="gonogo detectors")
    from gonogo.detectors.options import DETECTOR_OPTIONS
    from gonogo.model.fit_params import FitParams

    summary, about, score = documentation(name)
    options, shared = list(options_of(DETECTOR_OPTIONS[name])), [field.name for field in fields(FitParams)]
    report_of_one = {
        "name": name,
        "made_by": DETECTORS[name].partition(":")[2],
        "summary": summary,
        "about": about,
        "score": score,
        "options": [asdict(option) for option in options],
        "shared_options": shared,
    }
    rows = [
        (
            f"  {option.name}",
            "required" if option.required else _as_yaml(option.default),
            option.allowed,
            option.description,
        )
        for option in options
    ]
    text = [
        f"{name}: {summary}",
        "",
        *([about, ""] if about else []),
        score,
        "",
        in_columns([("  option", "default", "allowed", ""), *rows], head=True),
        "",
        f"with every detector: {', '.join(shared)}; params.yaml explains them",
    ]
    return Answer({"ok": True, **report_of_one}, "\n".join(text))


def documentation(name: str) -> tuple[str, str, str]:
    """The first sentence of a detector's module, the rest of that docstring, and the docstring of its class.

    They are read from the module's file, since importing it imports torch.
    """
    module, _, class_name = DETECTORS[name].partition(":")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    summary, _, about = (ast.get_docstring(tree) or "").partition("\n\n")
    of_class = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    return summary.replace("\n", " "), about, ast.get_docstring(of_class) or ""


def options_of(kind: type[Any]) -> Iterator[Option]:
    """The options that a dataclass of `DETECTOR_OPTIONS` has, from its annotations."""
    from pydantic.fields import FieldInfo

    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        info = FieldInfo.from_annotation(hints[field.name])
        bounds = {
            bound: getattr(constraint, bound)
            for constraint in info.metadata
            for bound in BOUNDS
            if getattr(constraint, bound, None) is not None
        }
        required = field.default is MISSING
        default = None if required else list(field.default) if isinstance(field.default, tuple) else field.default
        kind_of_value, choices = _type_of(info.annotation)
        yield Option(field.name, kind_of_value, required, default, choices, bounds, info.description or "")


def _type_of(hint: Any) -> tuple[str, list[str | int]]:
    """The type in Python's notation, and the values of a Literal."""
    if get_origin(hint) is Literal:
        choices = list(get_args(hint))
        return type(choices[0]).__name__, choices
    if get_origin(hint) in (Union, UnionType):
        kinds = [_type_of(each) for each in get_args(hint)]
        return " | ".join(kind for kind, _ in kinds), [choice for _, choices in kinds for choice in choices]
    if hint is type(None):
        return "None", []
    if get_args(hint):  # Sequence[int]
        return f"list[{', '.join(_type_of(each)[0] for each in get_args(hint))}]", []
    return str(hint.__name__), []


def _as_yaml(default: Any) -> str:
    return "null" if default is None else str(default)
