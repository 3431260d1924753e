"""A file of rows that survives a kill: JSON lines, appended in batches that are on the disk before anything follows.

A kill can leave one torn line, the last. The next start removes it, and judges that image again.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gonogo.errors import DataError, IntegrityError
from gonogo.files import sync_folder
from gonogo.line.inputs import Item

try:
    import fcntl
except ImportError:  # Windows: two starts at once are the user's to avoid
    fcntl = None  # type: ignore[assignment]

Row = dict[str, Any]


class Journal:
    """The rows of one bundle in one file.

    Attributes:
        verdicts: of each row's key, `pass`, `reject` or `error`; about 150 bytes of memory for each row.
        uncertain: keys whose verdict is uncertain.
        unmoved: by name, rows of files that were to be moved and are still where they were.
    """

    def __init__(self, path: Path, *, fingerprint: str) -> None:
        """Open the file, mend its end and read its rows; made if it is not there.

        Raises:
            DataError: it has rows of another bundle, another start is at work in it, or it cannot be opened.
            IntegrityError: a line that is not the last is no row.
        """
        self.path = path
        self.verdicts: dict[bytes, str] = {}
        self.uncertain: set[bytes] = set()
        self.unmoved: dict[str, Row] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{path} is in use by another start; wait for its end, or name another file") from error
        except OSError as error:
            raise DataError(f"{path} cannot be opened: {error.strerror or error}") from error
        self._read(fingerprint)
        sync_folder(path.parent)

    def append(self, rows: Sequence[Row]) -> None:
        """Add the rows, and return when they are on the disk."""
        self._file.write(b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows))
        self._file.flush()
        os.fsync(self._file.fileno())
        for row in rows:
            self._remember(row)

    def close(self) -> None:
        """Let another start have the file."""
        self._file.close()

    def _read(self, fingerprint: str) -> None:
        self._file.seek(0)
        whole = 0  # bytes of rows that are whole
        torn: int | None = None  # number of a line that is no row
        for number, line in enumerate(self._file, start=1):
            if torn is not None:
                raise IntegrityError(f"{self.path}, line {torn} is no row; the file was changed: name another one")
            row = _row(line)
            if row is None:
                torn = number
                continue
            if row["bundle"] != fingerprint:
                raise DataError(
                    f"{self.path} has rows of the bundle {row['bundle'][:12]}, this is {fingerprint[:12]}; "
                    "name another file"
                )
            whole += len(line)
            self._remember(row)
            if "moved_to" in row:
                self._check_moved(row)
        if torn is not None:
            self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)

    def _remember(self, row: Row) -> None:
        key = bytes.fromhex(row["key"])
        self.verdicts[key] = row.get("verdict", "error")
        if row.get("uncertain"):
            self.uncertain.add(key)

    def _check_moved(self, row: Row) -> None:
        path = Path(row["file"])
        self.unmoved.pop(row["file"], None)
        if path.exists() and not Path(row["moved_to"]).exists() and Item(row["file"], path, path).key == row["key"]:
            self.unmoved[row["file"]] = row


def _row(line: bytes) -> Row | None:
    """The row, or None where the line is torn."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(row, dict) and {"file", "key", "bundle"} <= set(row)
    return row if whole else None
