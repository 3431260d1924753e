"""Files sorted into the folders good, reject, uncertain, unknown and error, so that each is always in one place.

That is a rename on one file system. To another one, such as a network drive, a file is copied under a hidden name, gets
its name when the copy is on the disk, and its original is removed then.
"""

import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

from gonogo.errors import DataError
from gonogo.files import read_regular, sync_folder
from gonogo.inference.scorer import ERROR, PASS, REJECT, UNCERTAIN, UNKNOWN
from gonogo.line.inputs import Item, Stamp, stamp_of
from gonogo.line.journal import Row, label_of, same_content
from gonogo.line.names import fitting

FOLDERS = {  # by the label of the verdict
    PASS: "good",
    REJECT: "reject",
    UNCERTAIN: "uncertain",
    UNKNOWN: "unknown",
    ERROR: "error",
}
Outcome = Literal["moved", "taken", "changed"]

OF_THE_FOLDER = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO)  # not of the file that is moved
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

    def move(self, row: Row, stamp: Stamp | None, *, again: bool = False) -> Outcome:
        """Move the row's file to its planned place.

        Args:
            stamp: of the content that was judged.
            again: whether an earlier start may have ended after it had copied the file there and before the original
                was removed.

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
            return _moved(source, target, stamp, again=again)
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

    def _is_free(self, path: Path) -> bool:
        return path not in self._planned and not os.path.lexists(path)


def _moved(source: Path, target: Path, stamp: Stamp, *, again: bool) -> Outcome:
    try:
        rename_exclusively(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return _moved_by_copy(source, target, stamp, again=again)
    if not _is_judged(target, stamp):
        _put_back(target, source)
        return "changed"
    return "moved"


def _moved_by_copy(source: Path, target: Path, stamp: Stamp, *, again: bool) -> Outcome:
    """Move a file to another file system; no kill at any moment loses it.

    Raises:
        FileExistsError: there is something called `target`.
        OSError: the file cannot be copied, or its original not be removed; there is no copy then.
    """
    partial = _hidden(target)
    try:
        data, status = read_regular(source)
        if Stamp.in_status(status) != stamp:
            return "changed"
        if not (again and same_content(source, target)):
            _write_through(partial, data)
            with suppress(OSError):  # of a file system that has no such times or modes
                shutil.copystat(source, partial)
            rename_exclusively(partial, target)
        sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)
    try:
        removed = _removed(source, stamp)
    except BaseException:
        target.unlink()
        raise
    if not removed:
        target.unlink()
    return "moved" if removed else "changed"


def _removed(path: Path, stamp: Stamp) -> bool:
    """Remove a file if it is still the one that was judged.

    It is looked at under a name that nobody else has, so that what gets its own name meanwhile is not removed.
    """
    hidden = _hidden(path)
    rename_exclusively(path, hidden)
    if not _is_judged(hidden, stamp):
        _put_back(hidden, path)
        return False
    hidden.unlink()
    return True


def _is_judged(path: Path, stamp: Stamp) -> bool:
    """Whether a file that was renamed is the one that was judged."""
    found = stamp_of(path)
    return found is not None and found.but_for_renames == stamp.but_for_renames


def _write_through(path: Path, data: bytes) -> None:
    """Write a new file, and return when it is on the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _hidden(path: Path) -> Path:
    """A name beside `path` that nobody else has, and that is neither judged nor shown."""
    return path.with_name(fitting(f".{path.name}", f".{secrets.token_hex(4)}.partial"))


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
        f"{row['file']} cannot be moved to {target}: {error.strerror or error}; --sort needs a writable folder"
    )
