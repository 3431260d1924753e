"""Which files of the library a Python file imports, directly or not, found in the source text's syntax tree."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"


def imported_modules(path: Path) -> set[str]:
    """Dotted names that `path` imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def file_of(module: str) -> Path | None:
    """The library's file of `module`, if it is one of ours."""
    base = SOURCE.joinpath(*module.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def import_closure(script: Path) -> set[str]:
    """Paths, relative to the root, of every library file that `script` needs, package files included."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for module in imported_modules(waiting.pop()):
            parts = module.split(".")
            for depth in range(1, len(parts) + 1):
                path = file_of(".".join(parts[:depth]))
                if path is not None and path not in found:
                    found.add(path)
                    waiting.append(path)
    return {path.relative_to(ROOT).as_posix() for path in found}
