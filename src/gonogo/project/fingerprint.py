"""The code that a script depends on, as one hash per file: what it imports, directly or not, and those packages' data.

The imports are read from the source text, so that nothing is imported and an import inside a function counts too. A
string such as "gonogo.detectors.pca:PCA" or "gonogo.detectors.pca", by which a registry names what it imports when it
is asked for, is an import as well.
"""

import ast
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

PACKAGE = "gonogo"
NAMES_A_MODULE = re.compile(rf"{PACKAGE}(?:\.\w+)+(?::\w+)?")


def fingerprint(script: Path, *, package: Path, beside: Sequence[Path] = ()) -> str:
    """One line `SHA-256  path` for each file that `script` depends on, sorted by path.

    Args:
        script: the Python file to follow; modules that lie beside it are followed too.
        package: the folder of the package `gonogo`.
        beside: other files that a change of the results may come from, as the pinned versions.
    """
    root = package.parent
    lines = {path.relative_to(root).as_posix(): path for path in closure(script, package=package)}
    lines |= {f"{path.parent.name}/{path.name}": path for path in _scripts(script)}
    lines |= {path.name: path for path in beside}
    return "".join(f"{_sha256(path)}  {name}\n" for name, path in sorted(lines.items()))


def closure(script: Path, *, package: Path) -> set[Path]:
    """Every file of the package that `script` imports, directly or not, with the data files of its folders.

    A folder's data files, as the templates of `reports`, are those at any depth that are no Python.
    """
    found: set[Path] = set()
    waiting = [*_scripts(script)]
    while waiting:
        for module in _imports(waiting.pop()):
            for path in _files_of(module, package):
                if path not in found:
                    found.add(path)
                    waiting.append(path)
    folders = {path.parent for path in found} - {package}
    return found | {path for folder in folders for path in _data_files(folder)}


def _scripts(script: Path) -> list[Path]:
    """The script and the modules beside it that it imports, directly or not."""
    found, waiting = [script], [script]
    while waiting:
        for module in _imports(waiting.pop()):
            path = script.parent / f"{module}.py"
            if "." not in module and path.is_file() and path not in found:
                found.append(path)
                waiting.append(path)
    return found


@lru_cache(maxsize=1024)
def _imports(path: Path) -> frozenset[str]:
    """Dotted names that the file imports anywhere, or names in a string as a registry does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMES_A_MODULE.fullmatch(node.value):
            names.add(node.value.partition(":")[0])
    return frozenset(names)


@lru_cache(maxsize=4096)
def _files_of(module: str, package: Path) -> tuple[Path, ...]:
    """The package's files that an import of `module` runs: its own, and the `__init__.py` of each folder above it."""
    first, *parts = module.split(".")
    if first != PACKAGE:
        return ()
    folder, files = package, [package / "__init__.py"]
    for part in parts:
        if (folder / part / "__init__.py").is_file():
            folder = folder / part
            files.append(folder / "__init__.py")
        else:
            if (folder / f"{part}.py").is_file():
                files.append(folder / f"{part}.py")
            break
    return tuple(files)


@lru_cache(maxsize=256)
def _data_files(folder: Path) -> tuple[Path, ...]:
    return tuple(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    )


@lru_cache(maxsize=1024)
def _sha256(path: Path) -> str:
    # Line ends are those of git's own copy, so that a checkout on Windows has the same fingerprints.
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
