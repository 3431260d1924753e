"""The images of a store as files, each named by the SHA-256 of its bytes, which no other user can read."""

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from gonogo.files import sync_folder
from gonogo.store.private import make_private_folder, make_private_inside, write_private

ORPHAN_AGE = 3600  # seconds; the row of a younger file may not be committed yet
PROBE = ".probe"


class ImageFiles:
    """A folder of images, in 256 folders by the first two digits of their names."""

    def __init__(self, folder: Path) -> None:
        """Make the folders that are not there.

        Raises:
            OSError: they cannot be made.
        """
        self.folder = folder
        make_private_folder(folder)
        for byte in range(256):  # all of them now, so that no image has to wait for its folder
            make_private_folder(folder / f"{byte:02x}")
        sync_folder(folder)

    def path_of(self, sha256: str) -> Path:
        """The path of an image's file. The hash is one that was computed here, never text from a client."""
        return self.folder / sha256[:2] / sha256

    def paths(self) -> Iterator[Path]:
        """All files, those included that were not written to their end."""
        return self.folder.glob("??/*")

    def write(self, sha256: str, data: bytes) -> None:
        """Write an image's file, unless it is there, and return when it is on the disk.

        Several threads may write the same image at once.

        Raises:
            OSError: it cannot be written.
        """
        with suppress(FileNotFoundError):  # it was removed as an old one at this moment: it is written again
            return self._write(self.path_of(sha256), data)
        return self._write(self.path_of(sha256), data)

    def _write(self, path: Path, data: bytes) -> None:
        if path.exists() and path.read_bytes() == data:  # a cut of power may have left the name without the bytes
            os.utime(path)  # no orphan, even if its row is still to come
        else:
            partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
            try:
                write_private(partial, data)
                partial.replace(path)
            except OSError:
                with suppress(OSError):
                    partial.unlink()
                raise
        descriptor = os.open(path, os.O_RDWR)  # by its final name, so that one call synchronises name and bytes
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)

    def remove(self, sha256s: Iterable[str]) -> None:
        """Remove the files of images, those that are not there excepted.

        Raises:
            OSError: one cannot be removed.
        """
        for sha256 in sha256s:
            self.path_of(sha256).unlink(missing_ok=True)

    def remove_orphans(self, kept: Callable[[list[str]], set[str]]) -> int:
        """Remove the files that no row names, and make the others private; returns how many were removed.

        Nothing waits for this: it looks at one of the 256 folders after the other. A file that was written within
        ORPHAN_AGE stays, since its row may be on its way.

        Args:
            kept: the names among those given that a row keeps.

        Raises:
            OSError: a file cannot be removed.
        """
        n_removed = 0
        for folder in sorted(self.folder.glob("??")):
            make_private_inside(folder)
            names = [path.name for path in folder.iterdir()]
            for name in set(names) - kept(names):
                with suppress(FileNotFoundError):  # another service removes orphans too
                    if time.time() - (folder / name).stat().st_mtime > ORPHAN_AGE:
                        (folder / name).unlink()
                        n_removed += 1
        return n_removed

    def probe(self) -> None:
        """Write a small file to the disk and remove it.

        Raises:
            OSError: that cannot be done, and no image can be written either.
        """
        path = self.folder / f"{PROBE}.{os.getpid()}"
        try:
            write_private(path, b"x" * 4096, sync=True)
        finally:
            path.unlink(missing_ok=True)
