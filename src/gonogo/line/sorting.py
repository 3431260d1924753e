"""Judged files moved into good, reject, unknown and error, each by one rename: it is always in exactly one place."""

import os
from itertools import count
from pathlib import Path

from gonogo.errors import DataError
from gonogo.line.inputs import Item
from gonogo.line.journal import Row

FOLDERS = {"pass": "good", "reject": "reject", "unknown": "unknown", "error": "error"}  # by verdict


class Sorter:
    """Moves files below `folder`. A name that is taken there gets a number, and nothing is ever overwritten."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._planned: set[Path] = set()

    def plan(self, row: Row, item: Item) -> None:
        """Write into the row where its file will be; a row without a file stays as it is."""
        if item.path is None or not os.path.lexists(item.path):
            return
        wanted = self.folder / FOLDERS[row.get("verdict", "error")] / item.within
        for number in count(1):
            free = wanted if number == 1 else wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}")
            if free not in self._planned and not os.path.lexists(free):
                break
        self._planned.add(free)
        row["moved_to"] = str(free)

    def move(self, row: Row) -> None:
        """Move the row's file to where it was planned.

        Raises:
            DataError: it cannot be moved by a rename.
        """
        if "moved_to" not in row:
            return
        target = Path(row["moved_to"])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(row["file"]).rename(target)
        except OSError as error:
            raise DataError(
                f"{row['file']} cannot be moved to {target}: {error.strerror or error}; --sort needs a folder on the "
                "same file system that may be written, and files that nobody else moves"
            ) from error
        self._planned.discard(target)
