"""A folder into which a camera or a copy writes: its files, each once it is complete."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gonogo.errors import DataError
from gonogo.line.inputs import Item, walk


class HotFolder:
    """Looks again and again. A file is complete when neither size nor time of change has moved for `settle` seconds.

    Seconds are those of this machine's own clock, so that the clock of a network drive does not matter. A file that is
    moved in at once is complete at once, and waits as long as any other.
    """

    def __init__(
        self, folder: Path, *, settle: float, without: set[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch `folder` and what is below it, but for the folders in `without`, by absolute path.

        Raises:
            DataError: there is no such folder.
        """
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder; --watch needs one that is there")
        self.folder, self.settle, self.without, self._clock = folder, settle, without, clock
        self._seen: dict[Path, tuple[str, float, bool]] = {}  # key, since when, whether it was given out
        self.waiting = False  # whether a file is there that is not complete yet

    def forget(self, path: Path) -> None:
        """The file has gone: one that comes in its place is another, even if it looks the same."""
        self._seen.pop(path, None)

    def complete(self) -> Iterator[Item]:
        """Files that have become complete since the last look; each content of a file once.

        Raises:
            DataError: the folder cannot be listed.
        """
        now = self._clock()
        seen: dict[Path, tuple[str, float, bool]] = {}
        self.waiting = False
        try:
            paths = list(walk(self.folder, self.without))
        except OSError as error:
            raise DataError(f"{self.folder} cannot be listed: {error.strerror or error}") from error
        ready = []
        for path in paths:
            item = Item(str(path), path, path.relative_to(self.folder))
            key, since, given = self._seen.get(path, ("", now, False))
            if key != item.key:
                since, given = now, False
            if not given and now - since >= self.settle:
                ready.append(item)
                given = True
            self.waiting |= not given
            seen[path] = (item.key, since, given)
        self._seen = seen
        yield from ready
