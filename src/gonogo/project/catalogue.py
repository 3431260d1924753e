"""The detectors and their options, read from the source text: nothing is imported, so that listing them needs no torch.

What is said stands where the detector is: the sentence is that of its file, options are those of its constructor with
its defaults and ranges, and their descriptions those of its docstring. tests/cli/test_catalogue.py holds all of it
against the classes themselves.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
BOUNDS = {
    "ge": ">=",
    "gt": ">",
    "le": "<=",
    "lt": "<",
    "multiple_of": "a multiple of",
    "min_length": "at least so many:",
}


@dataclass(frozen=True)
class Option:
    """One option of a detector. `default` counts where it is not `required`.

    Attributes:
        kind: of the value, as Python writes it.
        choices: what it may be, where that is a list.
        bounds: of a number, by pydantic's names; `min_length` is that of a list.
    """

    name: str
    kind: str
    required: bool
    default: Any
    choices: list[str | int] = field(default_factory=list)
    bounds: dict[str, float] = field(default_factory=dict)
    description: str = ""

    @property
    def allowed(self) -> str:
        """What the value may be, for people."""
        if self.choices:
            return " | ".join([*map(str, self.choices), *(["null"] if "None" in self.kind else [])])
        bounds = ", ".join(f"{BOUNDS[name]} {bound:g}" for name, bound in self.bounds.items())
        return self.kind.replace("None", "null") + (f" {bounds}" if bounds else "")


@dataclass(frozen=True)
class Entry:
    """One detector: its key in `fit.detector`, its class, what its file and its class say, and its options."""

    name: str
    made_by: str
    summary: str
    about: str
    score: str
    options: list[Option]


def detectors() -> list[Entry]:
    """Every detector, in the order of the registry."""
    return list(_entries(_module("gonogo.detectors"), "DETECTORS"))


def fields_of(module: str, name: str) -> list[str]:
    """The names of the fields of a dataclass, by the module and the name of it."""
    return [
        node.target.id
        for node in _module(module).classes[name].body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def constant(module: str, name: str) -> Any:
    """The value of a constant of a module, by the names of both."""
    return ast.literal_eval(_module(module).values[name])


@dataclass(frozen=True)
class _Module:
    """One file's text as a tree: its docstring, and where its names come from."""

    docstring: str
    classes: dict[str, ast.ClassDef]
    values: dict[str, ast.expr]
    imports: dict[str, str]


@cache
def _module(name: str) -> _Module:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8"))
    values: dict[str, ast.expr] = {}
    imports: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            values[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gonogo"):
            imports |= {alias.name: str(node.module) for alias in node.names}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return _Module(ast.get_docstring(tree) or "", classes, values, imports)


def _entries(registry: _Module, table: str) -> Iterator[Entry]:
    listed = registry.values[table]
    assert isinstance(listed, ast.Dict)
    for key, value in zip(listed.keys, listed.values, strict=True):
        assert isinstance(key, ast.Constant)
        assert isinstance(value, ast.Name)
        module = _module(registry.imports[value.id])
        made = module.classes[value.id]
        summary, _, about = module.docstring.partition("\n\n")
        yield Entry(
            name=str(key.value),
            made_by=value.id,
            summary=summary.replace("\n", " "),
            about=about,
            score=ast.get_docstring(made) or "",
            options=list(_options(module, made)),
        )


def _options(module: _Module, made: ast.ClassDef) -> Iterator[Option]:
    init = next(node for node in made.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        choices: list[str | int] = []
        bounds: dict[str, float] = {}
        assert argument.annotation is not None
        kind = _kind(argument.annotation, module, choices, bounds)
        value = None if default is None else ast.literal_eval(_resolved(default, module)[0])
        description = _description(argument.arg, module, made)
        yield Option(argument.arg, kind, default is None, value, choices, bounds, description)


def _kind(node: ast.expr, module: _Module, choices: list[str | int], bounds: dict[str, float]) -> str:
    """The annotation without its ranges and lists, which are added to `bounds` and `choices`."""
    node, module = _resolved(node, module)
    if isinstance(node, ast.BinOp):
        return " | ".join(_kind(side, module, choices, bounds) for side in (node.left, node.right))
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
        assert isinstance(node.slice, ast.Tuple)
        inner, *others = node.slice.elts
        for call in others:
            assert isinstance(call, ast.Call)
            bounds |= {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        return _kind(inner, module, choices, bounds)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
        values = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        choices += [ast.literal_eval(value) for value in values]
        return type(choices[0]).__name__
    return ast.unparse(node)


def _resolved(node: ast.expr, module: _Module) -> tuple[ast.expr, _Module]:
    """What a name of `module` stands for, and the module that says so; anything else as it is."""
    while isinstance(node, ast.Name):
        if node.id in module.values:
            node = module.values[node.id]
        elif node.id in module.imports:
            module = _module(module.imports[node.id])
        else:
            break
    return node, module


def _description(option: str, module: _Module, made: ast.ClassDef) -> str:
    """What docstrings say of one option: those of its class, or of the class that they say it is as in."""
    texts = [ast.get_docstring(node) or "" for node in made.body if isinstance(node, ast.FunctionDef)]
    for text in texts:
        if found := re.search(rf"^    {option}: (.*(?:\n {{8}}.*)*)", text, re.MULTILINE):
            return " ".join(found[1].split())
    for text in texts:
        if found := re.search(rf"`{option}` is ([^;.]*)", text):
            return " ".join(found[1].split())
    for other in re.findall(r"[Aa]s in\s+`(\w+)`", " ".join(texts)):
        for there in map(_module, sorted(set(module.imports.values()))):
            if other in there.classes and other != made.name:
                known = there.classes[other]  # where weights_sha256, for one, is the sha256 that goes with weights
                return _description(option, there, known) or _description(option.rpartition("_")[2], there, known)
    return ""
