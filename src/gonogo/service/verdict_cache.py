"""Verdicts that were given lately, by the content of the image and the bundle: a repeated image is not scored again."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from gonogo.store.schema import Row


@dataclass(frozen=True)
class KnownVerdict:
    """What a verdict says, as the columns of an inspection's row, and what the image is."""

    row: Row
    format: str
    width: int
    height: int


class VerdictCache:
    """The last `most` verdicts that were asked for; threads may share it. Nothing of it outlives the process.

    Another bundle has another fingerprint, so that none of its verdicts is taken for that of the one in use.
    """

    def __init__(self, most: int | None) -> None:
        """Keep nothing where `most` is None."""
        self._most, self._lock = most or 0, threading.Lock()
        self._known: OrderedDict[tuple[str, str], KnownVerdict] = OrderedDict()

    def get(self, sha256: str, fingerprint: str) -> KnownVerdict | None:
        """The verdict of this bundle on an image of this content; None where it is not known."""
        with self._lock:
            found = self._known.get((sha256, fingerprint))
            if found is not None:
                self._known.move_to_end((sha256, fingerprint))
            return found

    def put(self, sha256: str, known: KnownVerdict) -> None:
        """Remember a verdict, and forget the one that was asked for the longest ago."""
        if not self._most:
            return
        with self._lock:
            self._known[sha256, known.row["bundle"]] = known
            self._known.move_to_end((sha256, known.row["bundle"]))
            while len(self._known) > self._most:
                self._known.popitem(last=False)
