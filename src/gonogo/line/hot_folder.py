"""A hot folder, into which a camera or another program writes: its files, each as soon as it is complete."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gonogo.errors import DataError
from gonogo.line.inputs import Item, walk


class HotFolder:
    """Lists the folder again and again. A file is complete if size and time of change have been the same for some time.

    That time is measured by this machine's clock, so that the clock of a network drive does not matter. A file that
    is moved into the folder is complete from the start, and waits as long as any other.

    Attributes:
        waiting: whether the last look found a file that is not complete yet.
    """

    def __init__(
        self, folder: Path, *, settle: float, without: set[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch `folder` and its subfolders.

        Args:
            settle: seconds without a change after which a file is complete.
            without: absolute paths of subfolders that are left out.
            clock: gives the time in seconds.

        Raises:
            DataError: there is no such folder.
        """
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; --watch needs an existing one")
        self.folder, self.settle, self.without, self._clock = folder, settle, without, clock
        self._seen: dict[Path, tuple[str, float, bool]] = {}  # key, time of its last change, whether it was returned
        self.waiting = False

    def forget(self, path: Path) -> None:
        """Forget a file that was moved away: a file that takes its place is a new one, even if it looks the same."""
        self._seen.pop(path, None)

    def complete(self) -> Iterator[Item]:
        """Files that have become complete since the last look. A file that is written again is returned again.

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
            key, since, returned = self._seen.get(path, ("", now, False))
            if key != item.key:
                since, returned = now, False
            if not returned and now - since >= self.settle:
                ready.append(item)
                returned = True
            self.waiting |= not returned
            seen[path] = (item.key, since, returned)
        self._seen = seen
        yield from ready
