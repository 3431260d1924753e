"""Batches calls that many threads make at the same time, without a thread of its own and without a delay.

A call that finds nothing in progress is worked on at once, by the thread that made it. Calls that arrive meanwhile
wait; the first of them then works on a batch of all that are compatible, for itself and for the others. Batches
therefore grow with the load.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
ROUNDING = 1e-9  # of a sum of weights


class UnwantedError(Exception):
    """An item was not wanted any more when its turn came."""


class _Call(Generic[Item, Outcome]):
    """An item that waits, and later its outcome. `event` is set then, or when its thread has to work on a batch."""

    def __init__(self, item: Item) -> None:
        self.item, self.event = item, threading.Event()
        self.outcome: Outcome | Exception | None = None
        self.finished = False

    def finish(self, outcome: Outcome | Exception) -> None:
        self.outcome, self.finished = outcome, True
        self.event.set()


class Batcher(Generic[Item, Outcome]):
    """Called with an item by many threads at once, it returns the outcome that `work` gives for the item, or raises it.

    Args:
        work: takes items in the order in which they arrived, and returns for each an outcome, or an exception for its
            caller.
        weight: of an item. The weights of a batch add up to at most 1, unless the batch is one heavy item.
        batch_key: only items with equal keys go into one batch.
        wanted: asked when an item's turn comes; an item that is not wanted any more is left out.
        n_at_once: number of batches that are worked on at the same time.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], list[Outcome | Exception]],
        *,
        weight: Callable[[Item], float],
        batch_key: Callable[[Item], Hashable] = lambda _: None,
        wanted: Callable[[Item], bool] = lambda _: True,
        n_at_once: int = 1,
    ) -> None:
        self._work, self._weight, self._batch_key, self._wanted = work, weight, batch_key, wanted
        self._lock, self._n_free = threading.Lock(), n_at_once
        self._waiting: deque[_Call[Item, Outcome]] = deque()

    @property
    def n_waiting(self) -> int:
        """Number of items whose turn has not come."""
        return len(self._waiting)

    def __call__(self, item: Item) -> Outcome:
        """The outcome of `item`.

        Raises:
            UnwantedError: it was not wanted any more.
            Exception: the one that `work` raised, or gave for this item.
        """
        own: _Call[Item, Outcome] = _Call(item)
        with self._lock:
            free = self._n_free > 0
            self._n_free -= free
            if not free:
                self._waiting.append(own)
        if not free:
            own.event.wait()
        if not own.finished:
            self._work_on_batch(own)
        if isinstance(own.outcome, Exception):
            raise own.outcome
        return own.outcome  # type: ignore[return-value]  # None only where Outcome may be

    def _work_on_batch(self, first: _Call[Item, Outcome]) -> None:
        """Work on one batch, then let the thread of the first waiting call work on the next one."""
        with self._lock:
            batch = self._take_batch(first)
        outcomes: list[Outcome | Exception]
        try:
            outcomes = self._work([call.item for call in batch])
        except Exception as error:
            outcomes = [error] * len(batch)
        with self._lock:
            successor = self._first_wanted()
            if successor is None:
                self._n_free += 1
            else:
                self._waiting.popleft()
                successor.event.set()
        for call, outcome in zip(batch, outcomes, strict=True):
            call.finish(outcome)

    def _take_batch(self, first: _Call[Item, Outcome]) -> list[_Call[Item, Outcome]]:
        batch, remaining = [first], 1 - self._weight(first.item)
        while (call := self._first_wanted()) is not None:
            remaining -= self._weight(call.item)
            if remaining < -ROUNDING or self._batch_key(first.item) != self._batch_key(call.item):
                break
            batch.append(self._waiting.popleft())
        return batch

    def _first_wanted(self) -> _Call[Item, Outcome] | None:
        while self._waiting:
            if self._wanted(self._waiting[0].item):
                return self._waiting[0]
            self._waiting.popleft().finish(UnwantedError())
        return None
