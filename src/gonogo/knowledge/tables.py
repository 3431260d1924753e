"""Knowledge from files: a folder of CSV tables as a spreadsheet writes them, or the JSON-LD that an export writes.

The folder has any of `modes.csv effects.csv causes.csv controls.csv actions.csv links.csv priorities.csv`; the columns
are those of `graph.FIELDS`, `graph.Link` and `priority.COLUMNS`.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gonogo.errors import DataError
from gonogo.files import read_json
from gonogo.knowledge.exchange import SUFFIX, given_in
from gonogo.knowledge.graph import Given
from gonogo.knowledge.priority import Priorities, priorities_of

TABLES = {
    "modes.csv": "mode",
    "effects.csv": "effect",
    "causes.csv": "cause",
    "controls.csv": "control",
    "actions.csv": "action",
    "links.csv": "link",
}
PRIORITIES_TABLE = "priorities.csv"


class Loaded(NamedTuple):
    """The rows of the files, and the table of priorities where there is one."""

    given: list[Given]
    priorities: Priorities | None


def read_knowledge(path: Path) -> Loaded:
    """The knowledge in a folder of tables, or in a JSON-LD file; it is not checked yet, but for the priorities.

    Raises:
        DataError: there is no such folder or file, a table has another name, or cannot be read.
    """
    if path.is_file():
        if path.suffix != SUFFIX:
            raise DataError(f"{path} is no knowledge; expected a folder of CSV tables, or a file that ends in {SUFFIX}")
        return Loaded(given_in(read_json(path), path.name), None)
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder of CSV tables nor a file that ends in {SUFFIX}")
    known = {*TABLES, PRIORITIES_TABLE}
    found = {table.name: table for table in sorted(path.glob("*.csv"))}
    if not found or set(found) - known:
        named = min(set(found) - known, default="no table")
        raise DataError(f"{path} has {named}; expected some of {', '.join(sorted(known))}")
    given = [
        Given(where, kind, row) for name, kind in TABLES.items() if name in found for where, row in _rows(found[name])
    ]
    priorities = priorities_of(list(_rows(found[PRIORITIES_TABLE]))) if PRIORITIES_TABLE in found else None
    return Loaded(given, priorities)


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a table with where each stands; cells that are empty are left out, but for those of priorities."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for row in reader:
                where = f"{path.name}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise DataError(f"{where}: expected {len(reader.fieldnames or ())} cells, as in the first line")
                if any(value.strip() for value in row.values()):
                    yield where, row
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error
