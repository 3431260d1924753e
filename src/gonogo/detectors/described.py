"""What `fit.detector` may be, for people: each detector's documentation, and its options with their ranges.

Nothing here imports torch.
"""

import ast
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gonogo.detectors import DETECTORS

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
