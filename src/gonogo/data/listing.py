"""What files that list images share: finding them, reading their lines, and following the paths in them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gonogo.data.tree import alternatives
from gonogo.errors import ConfigError, DataError


def existing_file(raw: Path, folder: Path, file: str) -> Path:
    """The file `folder`/`file`.

    Raises:
        ConfigError: it is not there, or does not lie below `raw`, where it would be nobody's dependency.
    """
    path = folder / file
    if not path.is_file():
        above = path.parent if path.parent.is_dir() else folder
        raise ConfigError(f"{path} is no file{alternatives(path.name, sorted(p.name for p in above.iterdir()))}")
    if not path.resolve().is_relative_to(raw.resolve()):
        raise ConfigError(f"{path} lies outside the raw folder {raw}; move it below, beside the images that it lists")
    return raw / os.path.relpath(path, raw)


def listed_path(raw: Path, folder: Path, text: str, where: str) -> Path:
    """The path `text`, relative to `folder`, as a path below `raw`; whether it exists is for prepare to report.

    Raises:
        DataError: it leads outside `raw`, separates its folders as Windows does, or is there in another case alone.
    """
    if "\\" in text:
        raise DataError(f"{where}: {text!r} has a backslash; write / between folders")
    below = Path(os.path.relpath(folder / text, raw))
    if below.parts[:1] == ("..",):
        raise DataError(f"{where}: {text!r} lies outside the raw folder {raw}; list files below it")
    path = raw / below
    if not path.exists() and (other := _in_other_case(path)) is not None:
        raise DataError(f"{where}: {text!r} is not there, but {other} is; write it in the same case")
    return path


def _in_other_case(path: Path) -> Path | None:
    """The file that differs from `path` in the case of letters alone."""
    parent = path.parent if path.parent.is_dir() else _in_other_case(path.parent) if path.parent != path else None
    there = parent.iterdir() if parent is not None and parent.is_dir() else ()
    return next((one for one in there if one.name.casefold() == path.name.casefold()), None)


def read_text(path: Path) -> str:
    """The text of `path`, without the mark that some editors put before it.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error


def json_content(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it is not UTF-8, or no JSON.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: {error}") from error


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of a file that holds one per line, after where it stands; empty lines are passed over.

    Raises:
        DataError: a line holds no JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        where = f"{path}, line {number}"
        if line.strip():
            yield where, _object(line, where)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: expected a JSON object on one line: {error}") from error
    if not isinstance(entry, dict):
        raise DataError(f"{where}: expected a JSON object, got {line.strip()[:60]!r}")
    return entry
