"""The measurements of a search, one line of JSON each: what a killed search has measured is not measured again."""

import json
import os
from pathlib import Path
from typing import Any

from gonogo.errors import PipelineError
from gonogo.files import sync_folder

try:
    import fcntl
except ImportError:  # Windows has no such lock: a second search of the same category is not refused there
    fcntl = None  # type: ignore[assignment]

Row = dict[str, Any]


class Journal:
    """Rows in a file that only grows. Each is on the disk before the search goes on.

    The first line is the identity of the search: everything that a measurement depends on. A file with another
    identity is begun anew, since its measurements would not compare.

    Attributes:
        rows: those of the file, in their order.
        began_anew: whether there was a file with another identity.
    """

    def __init__(self, path: Path, identity: Row) -> None:
        """Open the file, or make it; half a line that a killed search left at its end is dropped.

        Raises:
            PipelineError: another process writes it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise PipelineError(f"another process writes {path}; wait for its end, or end it") from error
        self._file.seek(0)
        content = self._file.read()
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        first = {"identity": json.loads(json.dumps(identity))}
        self.rows: list[Row] = []
        self.began_anew = bool(lines) and _row(lines[0]) != first
        if lines and not self.began_anew:
            self._file.truncate(content.rfind(b"\n") + 1)
            self.rows = [row for line in lines[1:] if (row := _row(line)) is not None]
            return
        self._file.truncate(0)
        self._write(first)
        sync_folder(path.parent)

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns."""
        self._write(row)
        self.rows.append(json.loads(json.dumps(row)))

    def close(self) -> None:
        """Close the file, so that another process can go on."""
        self._file.close()

    def _write(self, row: Row) -> None:
        self._file.write(json.dumps(row, allow_nan=False, sort_keys=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _row(line: bytes) -> Row | None:
    """The row of a line; None where it is none, as after a disk that lost a block: it is measured again."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
