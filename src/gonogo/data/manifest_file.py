"""A manifest: one CSV or JSON-lines file that lists images and what is known of each."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from gonogo.data.listing import existing_file, json_lines, listed_path, read_text
from gonogo.data.names import BAD, GOOD, says
from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import alternatives, name_in
from gonogo.errors import ConfigError, DataError
from gonogo.images.roles import ROLES, TEST, TRAIN, Role

COLUMNS = ("path", "label", "role", "mask", "category", "group_id", "defect_type")
LABELS = {"0": 0, "1": 1}
PATH_NAMES = ("filename", "file_name", "filepath", "file_path", "file", "image", "image_path", "img", "img_path")
DELIMITERS = (",", ";", "\t")
ROLES_BY_NAME: dict[str, tuple[Role, ...]] = {
    "": ROLES,
    "train": TRAIN,
    "fit": ("fit",),
    "calibrate": ("calibrate",),
    "test": TEST,
}

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class ManifestFile:
    """A table of images, for data that no layout of folders describes.

    Columns, or keys of each line: `path` and `label`; and where they are known `role`, `mask`, `category`, `group_id`
    and `defect_type`. No other is allowed; `filename` and the like stand for `path`, and case does not matter. Columns
    are separated by commas, semicolons or tabs, as in the header. `label` is 0 or good, 1 or anomalous, or another
    word for these, such as OK and NG. `role` is train (fit or calibrate), fit, calibrate, test or empty (any).
    Paths are relative to the folder of the file.

    Attributes:
        file: below the raw folder; .csv and .tsv are tables with a header, .jsonl holds a JSON object per line.
        name: the category's name in the file; None: the gauge's own. Without the column, every row belongs to it.
    """

    file: str
    name: str | None = None

    def places(self, category: str, raw: Path) -> Places:
        """The folders of the listed images, all of which should be listed; none where the table has categories."""
        path = existing_file(raw, raw, self.file)
        rows = read_rows(path)
        if any("category" in row for _, row in rows):
            return Places()
        return Places(sorted({listed_path(raw, path.parent, row["path"], where).parent for where, row in rows}))

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """The rows of the category in the order of the file. A defective row without a defect type is an "anomaly"."""
        path = existing_file(raw, raw, self.file)
        rows = _of_category(path, read_rows(path), self.name or category)
        seen: dict[str, tuple[str, int]] = {}
        for where, row in rows:
            sample = _sample(raw, path.parent, where, row)
            if sample.name in seen:
                before, label = seen[sample.name]
                labels = "" if label == sample.label else f", with label {label} and then {sample.label}"
                raise DataError(f"{where}: {sample.name} stands already in {before}{labels}; keep one row per image")
            seen[sample.name] = where, sample.label
            yield sample


def read_rows(path: Path) -> list[tuple[str, Row]]:
    """The rows of a manifest, each after where it stands.

    Raises:
        ConfigError: the file is named like no manifest.
        DataError: it lists no image, or a column is missing, unknown or there twice.
    """
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".jsonl": _json_rows}
    if path.suffix.lower() not in readers:
        raise ConfigError(f"{path}: expected a file whose name ends in {' or '.join(readers)}, got {path.suffix!r}")
    rows = list(readers[path.suffix.lower()](path))
    if not rows:
        raise DataError(f"{path} lists no image")
    return rows


def _csv_rows(path: Path) -> Iterator[tuple[str, Row]]:
    lines = _csv_lines(path)
    _, names = next(lines, ("", []))
    header = [_column(name) for name in names]
    _check_columns(f"{path}, line 1", header)
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path}, line 1: column {repeated[0]!r} stands there twice")
    for where, fields in lines:
        if len(fields) != len(header):
            raise DataError(f"{where}: expected {len(header)} fields as in the header, got {len(fields)}")
        yield where, dict(zip(header, map(str.strip, fields), strict=True))


def _column(name: str) -> str:
    """The column that a header means, whatever the case."""
    plain = name.strip().casefold()
    return "path" if plain in PATH_NAMES else plain


def _delimiter(header: str) -> str:
    """What separates the columns of a table: that which splits off `path` and `label`, or else a comma."""
    splits = {mark: [_column(name.strip('"')) for name in header.split(mark)] for mark in DELIMITERS}
    return next((mark for mark, names in splits.items() if {"path", "label"} <= set(names)), ",")


def _csv_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    # Strict, because a quotation mark that is never closed would take the rest of the file for one field.
    text = read_text(path)
    reader = csv.reader(StringIO(text), strict=True, delimiter=_delimiter(text.partition("\n")[0]))
    try:
        yield from ((f"{path}, line {reader.line_num}", fields) for fields in reader if fields)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: no CSV: {error}") from error


def _json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    for where, entry in json_lines(path):
        entry = {_column(key): value for key, value in entry.items()}
        _check_columns(where, list(entry))
        for key, value in entry.items():
            if isinstance(value, bool) or not isinstance(value, str | int | None):
                raise DataError(f"{where}: {key} must be text or an integer, got {value!r}")
        yield where, {key: "" if value is None else str(value).strip() for key, value in entry.items()}


def _check_columns(where: str, names: list[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise DataError(f"{where}: unknown column {name!r}{alternatives(name, COLUMNS)}")
    for name in ("path", "label"):
        if name not in names:
            raise DataError(f"{where}: no column {name!r} among {names}")


def _of_category(path: Path, rows: list[tuple[str, Row]], name: str) -> list[tuple[str, Row]]:
    if not any("category" in row for _, row in rows):
        return rows
    for where, row in rows:
        if not row.get("category"):
            raise DataError(f"{where}: no category, though other rows have one; name it in every row or in none")
    chosen = [(where, row) for where, row in rows if row["category"] == name]
    if not chosen:
        there = sorted({row["category"] for _, row in rows})
        raise ConfigError(f"{path} has no row of category {name!r}{alternatives(name, there)}")
    return chosen


def _sample(raw: Path, folder: Path, where: str, row: Row) -> Sample:
    if not row["path"]:
        raise DataError(f"{where}: the path is empty")
    label, role, kind, mask = (
        _label(row["label"], where),
        row.get("role", ""),
        row.get("defect_type", ""),
        row.get("mask", ""),
    )
    if role not in ROLES_BY_NAME:
        raise DataError(f"{where}: role {role!r}; write train, fit, calibrate or test, or leave it empty")
    if label == 1 and role not in ("", "test"):
        raise DataError(f"{where}: a defective part cannot have role {role!r}; write test or leave it empty")
    if kind and (kind == "good") != (label == 0):
        raise DataError(f"{where}: label {row['label']} contradicts defect_type {kind!r}")
    if label == 0 and mask:
        raise DataError(f"{where}: a good part has no mask, got {mask!r}; leave it empty or label the part 1")
    image = listed_path(raw, folder, row["path"], where)
    return Sample(
        name=name_in(raw, image),
        image=image,
        label=label,
        defect_type=kind or ("anomaly" if label else "good"),
        roles=ROLES_BY_NAME[role],
        group_id=row.get("group_id") or None,
        mask=listed_path(raw, folder, mask, where) if mask else None,
    )


def _label(text: str, where: str) -> int:
    if text in LABELS:
        return LABELS[text]
    if says(text, GOOD) or says(text, BAD):
        return int(says(text, BAD))
    raise DataError(f"{where}: label {text!r}; write 0 or good, 1 or anomalous")
