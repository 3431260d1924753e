"""What a start has learnt from the rows of a journal, kept beside it, so that the next start need not read them again.

A file of JSON lines that is only added to: each is a piece, with what came since the piece before and how far it goes.
It holds nothing that the journal does not say. A file that is damaged, is of another journal or was learnt in another
way is begun anew, and the journal is read from its first row.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

PIECE = 1024  # rows
TAIL = 4096  # bytes before the end of what was read, by which a journal is known again
FORMAT = 1


class Checkpoint:
    """The pieces of a journal in one file."""

    def __init__(self, path: Path, journal: BinaryIO) -> None:
        """Open it when there is something to read or to write.

        Args:
            path: of the file; it need not be there.
            journal: that the pieces are of, open for reading.
        """
        self._path, self._journal = path, journal

    def read(self) -> list[dict[str, Any]]:
        """The pieces; none where they are not of this journal."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except OSError:
            return []
        pieces = []
        for line in lines[:-1]:  # what a kill left incomplete is after the last end of a line
            try:
                piece = json.loads(line)
            except ValueError:
                return []
            if not isinstance(piece, dict) or piece.get("format") != FORMAT:
                return []
            pieces.append(piece)
        try:
            is_same = not pieces or pieces[-1]["tail"] == self._tail(pieces[-1]["offset"])
        except (KeyError, TypeError, ValueError, OSError):
            return []
        if lines[-1]:
            os.truncate(self._path, sum(len(line) + 1 for line in lines[:-1]))
        return pieces if is_same else []

    def add(self, piece: Mapping[str, Any], *, offset: int, anew: bool) -> None:
        """Add a piece, which is on the disk when this returns.

        Args:
            piece: what came since the piece before, as JSON values.
            offset: how far into the journal it goes, in bytes.
            anew: whether it is the first one, and takes the place of the file.

        Raises:
            OSError: it cannot be written.
        """
        line = {"format": FORMAT, "offset": offset, "tail": self._tail(offset), **piece}
        with self._path.open("wb" if anew else "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _tail(self, offset: int) -> str:
        """SHA-256 of the last bytes of the journal before `offset`; of the journal as it is, where it is shorter."""
        at = self._journal.tell()
        try:
            self._journal.seek(max(0, offset - TAIL))
            return hashlib.sha256(self._journal.read(min(offset, TAIL))).hexdigest()
        finally:
            self._journal.seek(at)
