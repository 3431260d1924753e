"""Cases from folders of labelled images, so that a new line begins with the archive of an old one.

Each folder in the archive is named by a type of defect and holds images of it, in folders of its own or not. What is
known about them can stand in a CSV file beside the folders, `cases.csv`, with the columns `file` (relative to the
archive) or `defect_type`, and any of `severity` (1 to 10), `cause`, `remedy`, `note` and `part`. A row about a file
counts more than one about its type.
"""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gonogo.cases.learn import put_case, require_cases
from gonogo.errors import DataError, ImageError
from gonogo.images.reading import SUFFIXES, decode, file_bytes
from gonogo.inference.scorer import Scorer
from gonogo.store.cases import FACTS
from gonogo.store.store import Store

GOOD = {"good", "ok", "okay", "normal", "gut"}  # folders that hold no defects
TABLE = "cases.csv"
BY = "gonogo cases import"
LONGEST = 2_000  # characters of a text
MOST_SEVERE = 10


@dataclass(frozen=True)
class Outcome:
    """What became of an image: `error` says why it is no case."""

    file: str
    is_new: bool
    error: str | None = None


def import_archive(store: Store, scorer: Scorer, folder: Path, *, part_pattern: str | None = None) -> Iterator[Outcome]:
    """Make a case of each image of an archive. The same image, imported again, is the same case.

    Args:
        store: keeps the cases.
        scorer: of the category that the archive is of.
        folder: the archive.
        part_pattern: regular expression; its first group, in an image's path, is the part that the image shows.

    Raises:
        DataError: the bundle gives no features and finds no boxes, the folder has no folders of images, or its table
            is wrong.
    """
    require_cases(scorer)
    facts = _table(folder)
    found = _images(folder)
    if not found:
        raise DataError(
            f"{folder} has no images of defects; expected a folder for each type of defect, such as scratch/1.png"
        )
    unused = {name for kind, name in facts if kind == "file"} - {
        path.relative_to(folder).as_posix() for path, _ in found
    }
    if unused:
        raise DataError(f"{folder / TABLE} names {min(unused)}, which is not among the images; correct the table")
    for path, defect_type in found:
        yield _import(store, scorer, folder, path, defect_type, facts, part_pattern)


def _import(
    store: Store,
    scorer: Scorer,
    folder: Path,
    path: Path,
    defect_type: str,
    facts: Mapping[tuple[str, str], dict[str, str]],
    part_pattern: str | None,
) -> Outcome:
    name = path.relative_to(folder).as_posix()
    try:
        data = file_bytes(path)
        pixels = decode(data, path)[0]
        verdict = scorer.score_one(pixels, path, features=True)
    except ImageError as error:
        return Outcome(name, False, str(error))
    sha256 = hashlib.sha256(data).hexdigest()
    known = facts.get(("defect_type", defect_type), {}) | facts.get(("file", name), {})
    matched = None if part_pattern is None else re.search(part_pattern, name)
    case = {
        "id": hashlib.sha256(f"{scorer.category}\n{sha256}".encode()).hexdigest()[:32],
        "inspection": None,
        "source": name,
        "image": sha256,
        "part": known.get("part") or (matched[1] if matched else None),
        "category": scorer.category,
        "defect_type": defect_type,
    }
    is_new = put_case(store, scorer, case, pixels, verdict)
    told = {fact: known[fact] for fact in FACTS if known.get(fact)}
    values = {**told, **({"severity": int(told["severity"])} if "severity" in told else {})}
    if values and {fact: values.get(fact) for fact in FACTS} != _last_facts(store, str(case["id"])):
        store.cases.describe(str(case["id"]), values, by=BY, key="")
    return Outcome(name, is_new)


def _last_facts(store: Store, case_id: str) -> dict[str, object]:
    (row,) = store.cases.with_ids([case_id])
    return {fact: row[fact] for fact in FACTS}


def _images(folder: Path) -> list[tuple[Path, str]]:
    """The images of an archive with their types, in the order of their paths."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected one with a folder for each type of defect")
    return [
        (path, path.relative_to(folder).parts[0])
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and len(path.relative_to(folder).parts) > 1
        and path.relative_to(folder).parts[0].lower() not in GOOD
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]


def _table(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """What the table says, by ("file", path) or ("defect_type", type).

    Raises:
        DataError: it cannot be read as the docstring of the module says.
    """
    path = folder / TABLE
    if not path.is_file():
        return {}
    known: dict[tuple[str, str], dict[str, str]] = {}
    allowed = {"file", "defect_type", "part", *FACTS}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            unknown = set(reader.fieldnames or ()) - allowed
            if unknown:
                raise DataError(
                    f"{path} has the column {min(unknown)!r}; expected some of {', '.join(sorted(allowed))}"
                )
            for row in reader:
                values = {name: (value or "").strip() for name, value in row.items() if name is not None}
                known[_subject(values, f"{path}, line {reader.line_num}")] = {
                    name: value for name, value in values.items() if value and name not in ("file", "defect_type")
                }
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error
    return known


def _subject(values: Mapping[str, str], where: str) -> tuple[str, str]:
    severity = values.get("severity", "")
    if severity and (not severity.isdecimal() or not 1 <= int(severity) <= MOST_SEVERE):
        raise DataError(f"{where}: severity is {severity!r}; expected a whole number from 1 to {MOST_SEVERE}")
    for name, value in values.items():
        if len(value) > LONGEST:
            raise DataError(f"{where}: {name} has {len(value)} characters; at most {LONGEST} are kept")
    for kind in ("file", "defect_type"):
        if values.get(kind):
            return kind, values[kind]
    raise DataError(f"{where}: expected a file or a defect_type that the row is about, got neither")
