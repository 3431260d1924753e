"""Images that a list names: a file of JSON lines, or a category's data set by the indexes of its images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gonogo.errors import DataError
from gonogo.images.dataset import Dataset
from gonogo.line.inputs import Item


def batch_items(batch: Path) -> Iterator[Item]:
    """The images of a batch, in the order of its lines.

    A line is a JSON object with `path`, or a path alone as a JSON string; relative paths are relative to the batch's
    folder. What else the object says stands in the image's row under `given`. A line that is neither is an item with an
    error, so that the others are still judged.

    Raises:
        DataError: the file cannot be read, or has no line but blank ones.
    """
    is_empty = True
    try:
        with batch.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    is_empty = False
                    yield _item_of_line(batch, number, line)
    except OSError as error:
        raise DataError(f"{batch} cannot be read as a batch: {error.strerror or error}") from error
    if is_empty:
        raise DataError(f"{batch} has no line; expected a JSON object with the key path on each")


def dataset_items(dataset: Dataset, indexes: Sequence[int]) -> Iterator[Item]:
    """Images of a category's data set by their indexes, from 0, in the order of its manifest; none: all of test.

    The rows have index, role, label and defect type under `given`. An image that has changed since prepare is an error.

    Raises:
        DataError: there is no such index, or no image of test.
    """
    records = dataset.records
    if wrong := [index for index in indexes if not 0 <= index < len(records)]:
        raise DataError(f"{dataset.folder} has the indexes 0 to {len(records) - 1}; got {wrong[0]}")
    chosen = list(indexes) or [index for index, record in enumerate(records) if record.role == "test"]
    if not chosen:
        raise DataError(f"{dataset.folder} has no image of test; name others with --index")
    for index in chosen:
        record, path = records[index], dataset.path_of(records[index])
        known = {"index": index, "role": record.role, "label": record.label, "defect_type": record.defect_type}
        yield Item(str(path), path, Path(path.name), given=known, sha256=dataset.file_sha256(record))


def _item_of_line(batch: Path, number: int, line: str) -> Item:
    name = f"{batch}, line {number}"
    try:
        said: Any = json.loads(line)
    except ValueError as error:
        return Item(name, None, Path(batch.name), error=f"{name}: no JSON: {error}")
    if isinstance(said, str):
        said = {"path": said}
    if not isinstance(said, Mapping) or not isinstance(said.get("path"), str) or not said["path"]:
        return Item(name, None, Path(batch.name), error=f"{name}: expected an object with the key path, a text")
    path = batch.parent / said["path"]
    given = {key: value for key, value in said.items() if key != "path"}
    return Item(str(path), path, Path(path.name), given=given or None)
