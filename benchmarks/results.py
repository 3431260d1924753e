"""Results as JSON: rows of figures, each with the machine, the versions and the commit that they were measured on."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gonogo.compute.memory import machine_bytes
from gonogo.evaluation.speed.bench import cpu_name
from gonogo.files import read_json, write_json
from gonogo.project.git import git

ROOT = Path(__file__).resolve().parents[1]

Row = dict[str, Any]


def origin(threads: int, versions: Mapping[str, str]) -> Row:
    """What every row says of itself; the commit ends with -dirty where the code that was measured has changed since."""
    machine = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_mb": round(machine_bytes() / 1e6),
        "threads": threads,
        "os": platform.system(),
        "python": platform.python_version(),
    }
    return {"machine": machine, "versions": dict(versions), "commit": commit()}


def commit() -> str:
    """The hash of the last commit."""
    changed = git(ROOT, "status", "--porcelain", "--", "src", "benchmarks", ":!benchmarks/*.json")
    return git(ROOT, "rev-parse", "HEAD").strip() + ("-dirty" if changed else "")


def resident_mb(process: int) -> float:
    """Resident memory of a process, on Linux; 0 where it has just ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def read_rows(path: Path) -> list[Row]:
    """The rows measured so far; none where there is no file."""
    return list(read_json(path)["rows"]) if path.is_file() else []


def add_row(path: Path, row: Row, *, key: Sequence[str]) -> None:
    """Write `row` in the place of the one whose values at `key` are the same, or after the others."""
    rows = read_rows(path)
    same = [number for number, old in enumerate(rows) if is_at(old, row, key)]
    if same:
        rows[same[0]] = row
    else:
        rows.append(row)
    write_json(path, {"rows": rows})


def is_at(row: Mapping[str, Any], other: Mapping[str, Any], key: Sequence[str]) -> bool:
    """Whether both have the same values at `key`."""
    return all(row.get(name) == other.get(name) for name in key)
