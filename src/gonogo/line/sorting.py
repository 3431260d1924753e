"""Files sorted into the folders good, reject, unknown and error by a rename, so that each is always in one place."""

import os
from itertools import count
from pathlib import Path

from gonogo.errors import DataError
from gonogo.inference.scorer import ERROR, PASS, REJECT, UNKNOWN
from gonogo.line.inputs import Item
from gonogo.line.journal import Row, label_of

FOLDERS = {PASS: "good", REJECT: "reject", UNKNOWN: "unknown", ERROR: "error"}  # by the label of the verdict


class Sorter:
    """Moves files into folders below `folder`. A name that is taken there gets a number; nothing is overwritten."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._planned: set[Path] = set()

    def plan(self, row: Row, item: Item) -> None:
        """Write into the row, as `moved_to`, where its file will be moved; nothing if there is no file."""
        if item.path is None or not os.path.lexists(item.path):
            return
        wanted = self.folder / FOLDERS[label_of(row)] / item.within
        for number in count(1):
            free = wanted if number == 1 else wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}")
            if free not in self._planned and not os.path.lexists(free):
                break
        self._planned.add(free)
        row["moved_to"] = str(free)

    def move(self, row: Row) -> None:
        """Move the row's file to its planned place.

        Raises:
            DataError: the rename fails.
        """
        if "moved_to" not in row:
            return
        target = Path(row["moved_to"])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(row["file"]).rename(target)
        except OSError as error:
            raise DataError(
                f"{row['file']} cannot be moved to {target}: {error.strerror or error}; --sort needs a writable folder "
                "on the same file system, and no other program may move the files"
            ) from error
        self._planned.discard(target)
