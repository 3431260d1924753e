"""A file of rows that survives a kill: JSON lines, appended in batches that are on the disk before what follows.

A kill can leave an incomplete last line. The next start removes it, and judges that image again. A file whose new place
another process took, or that was not moved at all, has a second row of the same key: the last one holds.

A start reads the rows since the last piece of `gonogo.line.checkpoint`, and what was learnt from those before is there.
"""

import filecmp
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gonogo.errors import DataError, IntegrityError
from gonogo.files import sync_folder
from gonogo.inference.scorer import ERROR
from gonogo.line.checkpoint import PIECE, Checkpoint
from gonogo.line.inputs import Item, stamp_of

try:
    import fcntl
except ImportError:  # Windows has no such lock: a second start on the same file is not refused there
    fcntl = None  # type: ignore[assignment]

Row = dict[str, Any]


class Learner(Protocol):
    """What learns from the rows of a journal, and goes on from what it gave to be kept."""

    def learn(self, row: Row) -> object:
        """Learn from the first row of a key."""

    def kept(self) -> Mapping[str, Any]:
        """What it has learnt, with what came since the last call, as JSON values."""

    def resume(self, kept: Sequence[Mapping[str, Any]]) -> None:
        """Go on after all that it gave, in its order.

        Raises:
            ValueError, KeyError, TypeError: it learns in another way now, or this is damaged; it is as it was.
        """


class Journal:
    """The rows of one bundle in one file.

    Attributes:
        verdicts: the label of each row's verdict, by the row's key; about 150 bytes of memory for each row.
        uncertain: keys of the rows whose verdict is uncertain.
        unmoved: rows whose file was to be moved and is still in its old place, by the file's name.
    """

    def __init__(self, path: Path, *, fingerprint: str, learner: Learner | None = None) -> None:
        """Open the file, or make it; remove an incomplete last line and read the rows.

        Args:
            fingerprint: of the bundle or set of bundles, which every row must name.
            learner: is given the first row of each key that the file has, in their order.

        Raises:
            DataError: it has rows of another bundle, another process is writing it, or it cannot be opened or is no
                regular file.
            IntegrityError: a line before the last is not a row.
        """
        self.path = path
        self.verdicts: dict[bytes, str] = {}
        self.uncertain: set[bytes] = set()
        self.unmoved: dict[str, Row] = {}
        if os.path.lexists(path) and not path.is_file():
            raise DataError(f"{path} is no regular file; rows are kept in one, which is read again at each start")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{path} is in use by another process; wait for its end, or name another file") from error
        except OSError as error:
            raise DataError(f"{path} cannot be opened: {error.strerror or error}") from error
        self._fingerprint, self._learner = fingerprint, learner
        self._checkpoint = Checkpoint(path.with_name(f"{path.name}.checkpoint"), self._file)
        self._n_lines = 0  # complete rows
        self._n_kept = 0  # rows that the checkpoint has
        self._new: dict[str, str] = {}  # labels of the rows since then, by their key
        self._read(self._resumed())
        sync_folder(path.parent)
        self.keep()

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows; they are on the disk when this returns."""
        self._file.write(b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._n_lines += len(rows)
        for row in rows:
            self._remember(row)

    def keep(self) -> None:
        """Write the next piece of the checkpoint, if there is enough for one.

        To be called when the files of all rows are in their places, or among `unmoved`.
        """
        if self._n_lines - self._n_kept < PIECE:
            return
        piece = {
            "bundle": self._fingerprint,
            "rows": self._n_lines,
            "verdicts": self._new,
            "uncertain": [key for key in self._new if bytes.fromhex(key) in self.uncertain],
            "unmoved": list(self.unmoved.values()),
            "learnt": None if self._learner is None else self._learner.kept(),
        }
        try:
            self._checkpoint.add(piece, offset=self._file.seek(0, os.SEEK_END), anew=not self._n_kept)
        except OSError as error:
            raise DataError(f"{self.path}.checkpoint cannot be written: {error.strerror or error}") from error
        self._n_kept, self._new = self._n_lines, {}

    def close(self) -> None:
        """Close the file, so that another process can use it."""
        self._file.close()

    def has(self, row: Row) -> bool:
        """Whether there is a row of the same key."""
        return bytes.fromhex(row["key"]) in self.verdicts

    def _resumed(self) -> int:
        """Go on where the checkpoint is, and return how far into the file that is."""
        pieces = self._checkpoint.read()
        try:
            if not pieces or pieces[-1]["bundle"] != self._fingerprint:
                return 0
            verdicts = {bytes.fromhex(key): str(label) for piece in pieces for key, label in piece["verdicts"].items()}
            uncertain = {bytes.fromhex(key) for piece in pieces for key in piece["uncertain"]}
            rows, offset, unmoved = int(pieces[-1]["rows"]), int(pieces[-1]["offset"]), pieces[-1]["unmoved"]
            if self._learner is not None:
                self._learner.resume([piece["learnt"] for piece in pieces])
        except (ValueError, KeyError, TypeError, AttributeError):
            return 0
        self.verdicts, self.uncertain = verdicts, uncertain
        self._n_lines = self._n_kept = rows
        for row in unmoved:
            self._check_moved(row)
        return offset

    def _read(self, start: int) -> None:
        self._file.seek(start)
        n_bytes = start  # of the complete rows
        incomplete: int | None = None  # number of a line that is not a row
        for number, line in enumerate(self._file, start=1 + self._n_lines):
            if incomplete is not None:
                raise IntegrityError(
                    f"{self.path}, line {incomplete} is not a row of gonogo score; the file was changed: name another "
                    "file"
                )
            row = _parse_row(line)
            if row is None:
                incomplete = number
                continue
            if row["bundle"] != self._fingerprint:
                raise DataError(
                    f"{self.path} has rows of the bundle {row['bundle'][:12]}, this is {self._fingerprint[:12]}; "
                    "name another file"
                )
            n_bytes += len(line)
            if self._learner is not None and not self.has(row):
                try:
                    self._learner.learn(row)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise IntegrityError(
                        f"{self.path}, line {number} is not a row of gonogo score: {error!r}"
                    ) from error
            self._n_lines = number
            self._remember(row)
            self.unmoved.pop(row["file"], None)
            if "moved_to" in row:
                self._check_moved(row)
        if incomplete is not None:
            self._file.truncate(n_bytes)
        self._file.seek(0, os.SEEK_END)

    def _remember(self, row: Row) -> None:
        key = bytes.fromhex(row["key"])
        self.verdicts[key] = self._new[row["key"]] = label_of(row)
        if row.get("uncertain"):
            self.uncertain.add(key)

    def _check_moved(self, row: Row) -> None:
        """Remember the row if its file is still in its old place.

        A kill may have left something in the new place: an empty file, which reserved the name, or on another file
        system a copy.
        """
        path, target = Path(row["file"]), Path(row["moved_to"])
        stamp, reserved = stamp_of(path), stamp_of(target)
        if stamp is None or Item(row["file"], path, path, stamp=stamp).key != row["key"]:
            return
        if reserved is not None and stamp.size and not reserved.size:
            target.unlink()
        elif reserved is not None and (reserved.device == stamp.device or not same_content(path, target)):
            return
        self.unmoved[row["file"]] = row


def same_content(one: Path, other: Path) -> bool:
    """Whether both are regular files that can be read and have the same content."""
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def label_of(row: Row) -> str:
    """`pass`, `reject`, `uncertain` or `unknown`; `error` for the row of an image that could not be read."""
    return str(row.get("verdict", ERROR))


def _parse_row(line: bytes) -> Row | None:
    """The row in a line; None if the line is not a complete row."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    complete = line.endswith(b"\n") and isinstance(row, dict) and {"file", "key", "bundle"} <= set(row)
    return row if complete else None
