"""Files and folders that only the user who runs gonogo can read: images of parts, verdicts and keys are no one else's.

On Windows, where these bits mean nothing, the folder's own permissions hold.
"""

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

FOLDER, FILE = 0o700, 0o600
OTHERS = 0o077  # the bits of the group and of everyone else
log = logging.getLogger("gonogo.store")


def make_private_folder(folder: Path) -> None:
    """Make a folder if it is not there, and take it from other users if it is.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=FOLDER)
    make_private(folder)


def make_private(path: Path) -> None:
    """Take a file or folder that is there from other users; where the system refuses, only the log says so."""
    try:
        status = path.stat()
        if status.st_mode & OTHERS:
            path.chmod(FOLDER if stat.S_ISDIR(status.st_mode) else FILE)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s can be read by other users, and that cannot be changed: %s", path, error.strerror)


def make_private_inside(folder: Path) -> None:
    """Take all files of a folder from other users."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mode & OTHERS:
                    make_private(Path(entry.path))


def write_private(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a new file that only this user can read; with `sync`, return when it is on the disk.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())
