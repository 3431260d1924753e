"""What an extra brings is enough for what it is for, however much else a developer has installed."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import gonogo.cli.commands
from extras import refusing
from gonogo.cli.main import COMMANDS

ROOMS = {"": ("inference", "line"), "serve": ("service", "store", "cases", "knowledge", "monitoring"), "pipeline": ()}
ON_REQUEST = {"serve": {"gonogo.reports.drift_page"}}  # what an option of a command with less names the extra for
IMPORTING = """
from importlib import import_module, util
from pkgutil import walk_packages
modules, rooms = (words.split() for words in sys.argv[1:])
for name in modules:
    (import_module if name.startswith("gonogo") else util.find_spec)(name)
for name in rooms:
    room = import_module(f"gonogo.{name}")
    for module in walk_packages(room.__path__, f"{room.__name__}."):
        if module.name != "gonogo.store.migrations.env":  # which Alembic runs, with a connection
            import_module(module.name)
"""


def imported(body: Iterable[ast.AST]) -> Iterator[str]:
    """The modules that a file imports, at its start or where it uses them.

    Those of its type hints are left out, and those of a `try`, which says itself what is missing.
    """
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Try):
            continue
        if isinstance(node, ast.ImportFrom):
            yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from imported(ast.iter_child_nodes(node))


def of_commands(extra: str) -> set[str]:
    folder = Path(gonogo.cli.commands.__path__[0])
    names = [name for name, command in COMMANDS.items() if (command.extra or "") == extra]
    files = [folder / f"{name.replace('-', '_')}.py" for name in names]
    modules = {module for file in files for module in imported(ast.parse(file.read_text("utf-8")).body)}
    return {name if name.startswith("gonogo") else name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("extra", ROOMS, ids=["no extra", "serve", "pipeline"])
def test_every_module_of_its_rooms_and_commands_is_imported_with_the_packages_of_an_extra(extra):
    modules, rooms = " ".join(sorted(of_commands(extra) | ON_REQUEST.get(extra, set()))), " ".join(ROOMS[extra])
    program = [sys.executable, "-c", refusing(*filter(None, [extra])) + IMPORTING, modules, rooms]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_what_an_extra_does_not_bring_is_not_there():
    program = [sys.executable, "-c", refusing("serve") + "import fastapi, PIL, pydantic_core; import torch"]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert "No module named 'torch': it is blocked" in result.stderr
