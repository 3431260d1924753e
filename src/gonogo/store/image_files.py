"""The images of a store as files, each named by the SHA-256 of its bytes."""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gonogo.files import sync_folder


class ImageFiles:
    """A folder of images, in 256 folders by the first two digits of their names."""

    def __init__(self, folder: Path) -> None:
        """Make the folders that are not there.

        Raises:
            OSError: they cannot be made.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for byte in range(256):  # all of them now, so that no image has to wait for its folder
            (folder / f"{byte:02x}").mkdir(exist_ok=True)
        sync_folder(folder)

    def path_of(self, sha256: str) -> Path:
        """The path of an image's file. The hash is one that was computed here, never text from a client."""
        return self.folder / sha256[:2] / sha256

    def paths(self) -> Iterator[Path]:
        """All files, those included that were not written to their end."""
        return self.folder.glob("*/*")

    def write(self, sha256: str, data: bytes) -> None:
        """Write an image's file, unless it is there, and return when it is on the disk.

        Several threads may write the same image at once.

        Raises:
            OSError: it cannot be written.
        """
        path = self.path_of(sha256)
        if not path.exists() or path.read_bytes() != data:  # a cut of power may have left the name without the bytes
            partial = path.with_name(f"{sha256}.{secrets.token_hex(4)}.partial")
            try:
                partial.write_bytes(data)
                partial.replace(path)
            except OSError:
                with suppress(OSError):
                    partial.unlink()
                raise
        with path.open("r+b") as file:  # opened by its final name, so that one call synchronises name and bytes
            os.fsync(file.fileno())
        sync_folder(path.parent)
