"""Files sorted into the folders good, reject, unknown and error by a rename, so that each is always in one place."""

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

from gonogo.errors import DataError
from gonogo.inference.scorer import ERROR, PASS, REJECT, UNKNOWN
from gonogo.line.inputs import Item, Stamp, stamp_of
from gonogo.line.journal import Row, label_of
from gonogo.line.names import fitting

FOLDERS = {PASS: "good", REJECT: "reject", UNKNOWN: "unknown", ERROR: "error"}  # by the label of the verdict
Outcome = Literal["moved", "taken", "changed"]

OF_THE_FOLDER = (errno.EXDEV, errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO)  # not of the file that is moved
NOT_A_FOLDER = (FileExistsError, NotADirectoryError)
AT_FDCWD, RENAME_NOREPLACE = -100, 1  # of Linux


class Sorter:
    """Moves files into folders below `folder`. A name that is taken there gets a number; nothing is overwritten.

    That holds for other processes that sort into the same folder, too: a file is moved only to a name that does not
    exist at that moment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._planned: set[Path] = set()

    def plan(self, row: Row, item: Item) -> None:
        """Write into the row, as `moved_to`, where its file will be moved; nothing if there is no file of this item.

        Raises:
            DataError: the folder cannot be made.
        """
        row.pop("moved_to", None)
        if item.stamp is None or item.changed:
            return
        wanted = self.folder / FOLDERS[label_of(row)] / item.within
        try:
            wanted.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            wanted = self.folder / FOLDERS[label_of(row)] / item.within.name
            if not isinstance(error, NOT_A_FOLDER) and error.errno != errno.ENAMETOOLONG:
                raise _unusable(row, wanted, error) from error
            _make(row, wanted)
        target = _first_free(wanted, self._is_free)
        self._planned.add(target)
        row["moved_to"] = str(target)

    def move(self, row: Row, stamp: Stamp | None) -> Outcome:
        """Move the row's file to its planned place.

        Args:
            stamp: of the content that was judged.

        Returns:
            "moved", or why the file is still where it was: its new name was "taken" by another process since it was
            planned, or the content has "changed" since it was judged, so that it must not be moved.

        Raises:
            OSError: this file cannot be moved.
            DataError: no file can be moved, since the folder cannot be used.
        """
        if "moved_to" not in row:
            return "moved"
        source, target = Path(row["file"]), Path(row["moved_to"])
        self._planned.discard(target)
        if stamp is None or stamp_of(source) != stamp:
            return "changed"
        try:
            rename_exclusively(source, target)
        except FileExistsError:
            return "taken"
        except FileNotFoundError:
            if stamp_of(source) is None:
                return "changed"
            _make(row, target)  # the folder was removed since it was made
            return "taken"
        except OSError as error:
            if error.errno in OF_THE_FOLDER or not os.access(target.parent, os.W_OK):
                raise _unusable(row, target, error) from error
            raise
        moved = stamp_of(target)
        if moved is None or moved.but_for_renames != stamp.but_for_renames:
            _put_back(target, source)
            return "changed"
        return "moved"

    def _is_free(self, path: Path) -> bool:
        return path not in self._planned and not os.path.lexists(path)


def rename_exclusively(source: Path, target: Path) -> None:
    """Rename a file; it never replaces another one, whichever process has made that.

    Raises:
        FileExistsError: there is something called `target`.
        OSError: the rename fails.
    """
    if os.name == "nt":
        source.rename(target)  # which refuses there what exists
        return
    renamed = _renameat2()
    if renamed is not None:
        number = renamed(os.fsencode(source), os.fsencode(target))
        if number == 0:
            return
        if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # of a file system that has no such rename
            raise OSError(number, os.strerror(number), str(target))
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # the name is this process's from now on
    try:
        source.replace(target)
    except OSError:
        target.unlink()
        raise


@cache
def _renameat2() -> Callable[[bytes, bytes], int] | None:
    """Linux's rename that never replaces a file: 0, or the number of its error. None on other systems."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)

    def rename(source: bytes, target: bytes) -> int:
        return ctypes.get_errno() if function(AT_FDCWD, source, AT_FDCWD, target, RENAME_NOREPLACE) else 0

    return rename


def _put_back(target: Path, source: Path) -> None:
    """Move what was moved by mistake back; if its name is taken, beside it."""
    while True:
        source.parent.mkdir(parents=True, exist_ok=True)
        try:
            rename_exclusively(target, _first_free(source, lambda path: not os.path.lexists(path)))
        except FileExistsError:
            continue
        return


def _first_free(wanted: Path, is_free: Callable[[Path], bool]) -> Path:
    """`wanted`, or with a number: a free one behind a taken one, found with few looks however many are taken."""

    def numbered(number: int) -> Path:
        return wanted if number == 1 else wanted.with_name(fitting(wanted.stem, f"_{number}{wanted.suffix}"))

    taken, free = 0, 1
    while not is_free(numbered(free)):
        taken, free = free, 2 * free
    while free - taken > 1:
        middle = (taken + free) // 2
        taken, free = (taken, middle) if is_free(numbered(middle)) else (middle, free)
    return numbered(free)


def _make(row: Row, target: Path) -> None:
    """Make the folder of `target`.

    Raises:
        DataError: it cannot be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(row, target, error) from error


def _unusable(row: Row, target: Path, error: OSError) -> DataError:
    return DataError(
        f"{row['file']} cannot be moved to {target}: {error.strerror or error}; --sort needs a writable folder on the "
        "same file system"
    )
