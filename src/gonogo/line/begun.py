"""Which items are in work, in a file: one that ends the process, by whatever it does to it, is known at the next start.

A native library may crash on an image, or the system may end a process that takes too much memory. Such an item has no
row, and would be met again by each start. Its key is written before the work on it begins and taken out with its row.
An item that was in work when an earlier start ended is judged alone, so that it is known which one it was, and after
MOST_STARTS such ends no more. A start that ends in an orderly way leaves no trace.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gonogo.errors import DataError

MOST_STARTS = 3
MOST_LINES = 20_000  # after which the file is written anew


class Begun:
    """Keys of items in work. The file has a line for each: `+KEY` when the work begins, `-KEY` with its row.

    A line is not forced to the disk: it survives the end of the process, and need not survive that of the machine.
    """

    def __init__(self, path: Path) -> None:
        """Read what an earlier start left. The file is made when the first item begins.

        Raises:
            DataError: it cannot be read.
        """
        self.path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._n_lines = 0
        try:
            text = path.read_text(encoding="ascii", errors="replace") if path.exists() else ""
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        self._ended: Counter[str] = Counter()  # starts that ended while an item was in work, by its key
        for line in text.splitlines():
            if line.startswith("+"):
                self._ended[line[1:]] += 1
            else:
                self._ended.pop(line[1:], None)
        self._open: set[str] = set()

    def n_ended(self, key: str) -> int:
        """How many starts have ended while the item was in work."""
        return self._ended[key]

    def begin(self, key: str) -> None:
        """The work on an item begins. Several threads may call this.

        Raises:
            DataError: the file cannot be written.
        """
        with self._lock:
            self._open.add(key)
            self._write(f"+{key}\n")

    def done(self, keys: Iterable[str]) -> None:
        """The items have a row."""
        with self._lock:
            done = list(keys)
            self._open.difference_update(done)
            for key in done:
                self._ended.pop(key, None)
            if self._file is not None:
                self._write("".join(f"-{key}\n" for key in done))
            if self._n_lines > MOST_LINES:
                self._rewrite([*self._ended.elements(), *self._open])

    def close(self) -> None:
        """The start ends in an orderly way: no item is suspected any more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        with suppress(OSError):  # it was never made, or its folder is gone
            self.path.unlink()

    def _write(self, lines: str) -> None:
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
            os.write(self._file, lines.encode())  # at once, so that lines of two threads are not mixed
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._n_lines += lines.count("\n")

    def _rewrite(self, keys: Iterable[str]) -> None:
        assert self._file is not None
        os.ftruncate(self._file, 0)
        self._n_lines = 0
        self._write("".join(f"+{key}\n" for key in keys))
