"""A hot folder, into which a camera or another program writes: its files, each as soon as it is complete.

What a look costs depends on what changes, and not on what is there: a folder is listed again when its time of change
says so, files that are not complete yet are looked at each time, and of those that were given out a few in turn.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gonogo.errors import DataError
from gonogo.images.unread import Unread
from gonogo.line.inputs import Item, Stamp, list_folder, no_file, not_listed, stamp_of

POLL = 0.2  # seconds between two looks, at least
SHARE = 0.1  # of the time that looks may take
LISTED_AGAIN = 5.0  # seconds after which a folder is listed whatever its time of change says; on some that is coarse
N_LOOKED_AT = 200  # files that were given out and are looked at again in one look


@dataclass
class _File:
    stamp: Stamp | None  # None: it has not been looked at, or is out of reach
    since: float  # when it had this stamp first
    given: bool = False


@dataclass
class _Folder:
    path: Path
    mtime_ns: int = -1
    since: float = 0.0  # when it had this time of change first
    listed: float = 0.0
    folders: list[str] = field(default_factory=list)
    files: dict[str, _File] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)  # names of files that were not given out yet
    odd: set[str] = field(default_factory=set)  # names of what is no regular file
    unread: set[str] = field(default_factory=set)  # names of files that are not read, and of links to folders
    error: str | None = None


class HotFolder:
    """Looks into the folder again and again. A file is complete if it has been the same for some time.

    That time is measured by this machine's clock, so that the clock of a network drive does not matter. A file that
    is moved into the folder is complete from the start, and waits as long as any other.

    Attributes:
        waiting: whether a file is not complete yet.
        unread: what has come since the look before and is not read.
        outage: why the folder itself could not be listed by the last look; None if it could.
        pause: seconds until the next look, so that looks take at most SHARE of the time.
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
        self._folders: dict[Path, _Folder] = {}
        self._given: OrderedDict[tuple[Path, str], None] = OrderedDict()  # the one looked at last is the last
        self.waiting, self.unread = False, Unread()
        self.outage: str | None = None
        self.pause = POLL

    def forget(self, path: Path) -> None:
        """Forget a file that was moved away or has changed: what has its name is a new one, even if it looks alike."""
        folder = self._folders.get(path.parent)
        if folder is not None and path.name in folder.files:
            folder.files[path.name] = _File(None, self._clock())
            folder.incomplete.add(path.name)
            self.waiting = True

    def complete(self) -> list[Item]:
        """Files that have become complete since the last look, by name. A file that is written again is given again.

        What cannot be judged (a folder that cannot be listed, what is no regular file) is an item with an error, once
        for as long as it lasts.
        """
        now, begun = self._clock(), time.monotonic()
        self.unread = Unread()
        found = self._list_changed(now)
        if self.outage is None:
            self._look_at_some_given(now)
            found += [item for folder in self._folders.values() for item in self._completed(folder, now)]
            self.waiting = any(folder.incomplete for folder in self._folders.values())
        self.pause = max(POLL, (time.monotonic() - begun) / SHARE)
        return sorted(found, key=lambda item: item.within.parts)

    def _list_changed(self, now: float) -> list[Item]:
        """List the folders that may have changed; the items of what cannot be judged."""
        known, self._folders = self._folders, {}
        found: list[Item] = []
        waiting = [self.folder]
        while waiting:
            path = waiting.pop()
            folder = known.get(path) or _Folder(path)
            try:
                found += self._listed(folder, now)
                error = None
            except OSError as caught:
                error = caught
            if error is not None and path == self.folder:
                self.outage, self._folders = error.strerror or str(error), known
                return []
            if isinstance(error, FileNotFoundError | NotADirectoryError):  # it has vanished since its parent was listed
                continue
            said = None if error is None else error.strerror or str(error)
            if error is not None and folder.error != said:
                found.append(not_listed(path, error))
            folder.error = said
            self._folders[path] = folder
            waiting += [path / name for name in folder.folders]
        self.outage = None
        return found

    def _listed(self, folder: _Folder, now: float) -> list[Item]:
        """List a folder if it may have changed; the items of what has come and is no regular file.

        Raises:
            OSError: it cannot be listed.
        """
        mtime_ns = folder.path.stat().st_mtime_ns
        if mtime_ns != folder.mtime_ns:
            folder.mtime_ns, folder.since = mtime_ns, now
        elif now - folder.since >= LISTED_AGAIN and now - folder.listed < LISTED_AGAIN:
            return []
        listing = list_folder(folder.path, self.without)
        folder.listed, folder.folders = now, listing.folders
        names = {name for name, is_file in listing.images.items() if is_file}
        folder.incomplete = {name for name in names if name not in folder.files or name in folder.incomplete}
        folder.files = {name: folder.files.get(name) or _File(None, now) for name in names}
        odd = set(listing.images) - names
        items = [no_file(folder.path / name, self._within(folder, name)) for name in odd - folder.odd]
        folder.odd = odd
        self.unread.add(str(folder.path), [name for name in listing.unread if name not in folder.unread])
        self.unread.links += [str(folder.path / name) for name in listing.links if name not in folder.unread]
        folder.unread = {*listing.unread, *listing.links}
        return items

    def _completed(self, folder: _Folder, now: float) -> list[Item]:
        """The files of a folder that are complete now and were not before."""
        found = []
        for name in list(folder.incomplete):
            path, file = folder.path / name, folder.files[name]
            stamp = error = None
            try:
                stamp = Stamp.of(path)
            except FileNotFoundError:
                folder.incomplete.discard(name)
                del folder.files[name]
                continue
            except OSError as caught:
                error = f"{path} cannot be read as an image: {caught.strerror or caught}"
            if stamp != file.stamp:
                file.stamp, file.since = stamp, now
            if error is not None:
                found.append(Item(str(path), None, self._within(folder, name), error=error))
            elif now - file.since >= self.settle:
                found.append(Item(str(path), path, self._within(folder, name), stamp=stamp))
            else:
                continue
            folder.incomplete.discard(name)
            file.given = True
            self._given[folder.path, name] = None
        return found

    def _look_at_some_given(self, now: float) -> None:
        """Look whether files that were given out were written again: a few of them, in turn."""
        for _ in range(min(N_LOOKED_AT, len(self._given))):
            (place, name), _ = self._given.popitem(last=False)
            folder = self._folders.get(place)
            file = None if folder is None else folder.files.get(name)
            if folder is None or file is None or not file.given:
                continue
            stamp = stamp_of(place / name)
            if name not in folder.incomplete and _content(stamp) != _content(file.stamp):
                file.stamp, file.since = stamp, now
                folder.incomplete.add(name)
            self._given[place, name] = None

    def _within(self, folder: _Folder, name: str) -> Path:
        return (folder.path / name).relative_to(self.folder)


def _content(stamp: Stamp | None) -> tuple[int, int] | None:
    """What the key of an item depends on."""
    return None if stamp is None else (stamp.size, stamp.mtime_ns)
