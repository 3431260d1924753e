"""The memory that images may take: counted as their bytes arrive, in all and for each key.

What is left of the budget beside the loaded bundle is shared out: a quarter for images that are received or wait, a
quarter for the batches that are scored, and half for the one large image that may be worked on at a time.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gonogo.compute.memory import machine_bytes, resident_bytes
from gonogo.errors import ConfigError
from gonogo.inference.scorer import BATCH_BYTES
from gonogo.service.problems import Problem
from gonogo.service.settings import MEBIBYTE, Settings

SHARE_OF_MACHINE = 0.75  # of its memory, or of its control group's; the budget where none is set
SHARE_OF_KEY = 0.5  # of the bytes, and of the images that wait, for all keys
RETRY_SECONDS = 1


class Hold:
    """Bytes that are held for one image, from its first byte until everyone who works on it has left."""

    def __init__(self, budget: "MemoryBudget", key: str) -> None:
        self._budget, self._key, self._n_bytes, self._n_users = budget, key, 0, 1

    def add(self, n_bytes: int) -> None:
        """Hold more bytes.

        Raises:
            Problem: too many are held already; these are not.
        """
        self._budget.take(self._key, n_bytes)
        self._n_bytes += n_bytes

    def join(self) -> None:
        """Keep the bytes until one more `leave`."""
        self._n_users += 1

    def leave(self) -> None:
        """Give the bytes back if all others have left."""
        self._n_users -= 1
        if not self._n_users:
            self._budget.give_back(self._key, self._n_bytes)
            self._n_bytes = 0


class Holds:
    """The holds of the images of one request."""

    def __init__(self, budget: "MemoryBudget", key: str) -> None:
        self._budget, self._key, self._open = budget, key, set[Hold]()

    def new(self) -> Hold:
        """A hold of no bytes yet."""
        hold = Hold(self._budget, self._key)
        self._open.add(hold)
        return hold

    def end(self, hold: Hold) -> None:
        """Leave a hold that the request needs no more."""
        self._open.remove(hold)
        hold.leave()

    def end_all(self) -> None:
        """Leave those that have not ended."""
        for hold in list(self._open):
            self.end(hold)


class MemoryBudget:
    """Counts what is held, and has the limits of what is worked on; threads may share it.

    Attributes:
        total: bytes that the whole process may take.
        batch_limit: bytes that the images of one batch may need.
        large_limit: bytes that one large image may need, alone.
        held_limit: bytes of all images that are received or wait; `key_limit` is for those of one key.
    """

    def __init__(self, settings: Settings, *, reserved: int = 0) -> None:
        """Share out the budget, once all networks are loaded; `reserved`: bytes that those beside the bundle work in.

        Raises:
            ConfigError: too little is left beside the bundle.
        """
        loaded = resident_bytes() + reserved
        self.total = settings.memory or int(SHARE_OF_MACHINE * machine_bytes()) or 4096 * MEBIBYTE
        left = self.total - loaded
        self.batch_limit = min(BATCH_BYTES, left // 4 // settings.workers)
        self.large_limit, self.held_limit = left // 2, left // 4
        self.key_limit = int(SHARE_OF_KEY * self.held_limit)
        if self.key_limit < settings.max_image:
            needed = loaded + 4 * settings.max_image / SHARE_OF_KEY
            raise ConfigError(
                f"memory is {self.total // MEBIBYTE} MiB, of which the bundle takes {loaded // MEBIBYTE}; at least "
                f"{needed / MEBIBYTE:.0f} MiB are needed for images of up to {settings.max_image // MEBIBYTE} MiB"
            )
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()  # bytes by the id of the key

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return self._held.total()

    @contextmanager
    def holds(self, key: str) -> Iterator["Holds"]:
        """The holds of one request, which end with the context if they have not ended before."""
        holds = Holds(self, key)
        try:
            yield holds
        finally:
            holds.end_all()

    def take(self, key: str, n_bytes: int) -> None:
        """Count bytes as held.

        Raises:
            Problem: there are too many, of this key or in all; its header Retry-After says when to try again.
        """
        with self._lock:
            of_key, in_all = self._held[key] + n_bytes, self._held.total() + n_bytes
            if of_key > self.key_limit or in_all > self.held_limit:
                whose = "this key" if of_key > self.key_limit else "all keys"
                raise Problem(
                    "busy",
                    f"the images of {whose} take all the memory that they may; try again in {RETRY_SECONDS} s",
                    headers={"Retry-After": str(RETRY_SECONDS), "Connection": "close"},
                )
            self._held[key] = of_key

    def give_back(self, key: str, n_bytes: int) -> None:
        """Count bytes as held no more."""
        with self._lock:
            self._held[key] -= n_bytes
            if not self._held[key]:
                del self._held[key]
