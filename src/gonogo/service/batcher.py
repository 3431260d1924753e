"""Batches calls that many threads make at the same time, without a thread of its own and without a delay.

A call that finds nothing in progress is worked on at once, by the thread that made it. Calls that arrive meanwhile
wait; the one whose turn comes then works on a batch of all that are compatible, for itself and for the others. Batches
therefore grow with the load.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from gonogo.service.turns import Queues

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
        work: takes items, and returns for each an outcome, or an exception for its caller.
        weight: of an item. The weights of a batch add up to at most 1, unless the batch is one heavy item.
        batch_key: only items with equal keys go into one batch.
        whose: the key whose item it is; the keys take turns.
        wanted: asked when an item comes and when its turn does; one that is not wanted any more is left out.
        n_at_once: number of batches that are worked on at the same time.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], list[Outcome | Exception]],
        *,
        weight: Callable[[Item], float],
        batch_key: Callable[[Item], Hashable] = lambda _: None,
        whose: Callable[[Item], str] = lambda _: "",
        wanted: Callable[[Item], bool] = lambda _: True,
        n_at_once: int = 1,
    ) -> None:
        self._work, self._weight, self._batch_key, self._whose, self._wanted = work, weight, batch_key, whose, wanted
        self._lock, self._n_free = threading.Lock(), n_at_once
        self._waiting: Queues[_Call[Item, Outcome]] = Queues()

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
        if not self._wanted(item):
            raise UnwantedError
        own: _Call[Item, Outcome] = _Call(item)
        with self._lock:
            free = self._n_free > 0
            self._n_free -= free
            if not free:
                self._waiting.put(self._whose(item), own)
        if not free:
            own.event.wait()
        if not own.finished:
            self._work_on_batch(own)
        if isinstance(own.outcome, Exception):
            raise own.outcome
        return own.outcome  # type: ignore[return-value]  # None only where Outcome may be

    def _work_on_batch(self, first: _Call[Item, Outcome]) -> None:
        """Work on one batch, then let the thread of the call whose turn is the next work on another one."""
        with self._lock:
            batch = self._take_batch(first)
        outcomes: list[Outcome | Exception]
        try:
            outcomes = self._work([call.item for call in batch])
        except Exception as error:
            outcomes = [error] * len(batch)
        with self._lock:
            successor = self._next_wanted()
            if successor is None:
                self._n_free += 1
            else:
                successor.event.set()
        for call, outcome in zip(batch, outcomes, strict=True):
            call.finish(outcome)

    def _take_batch(self, first: _Call[Item, Outcome]) -> list[_Call[Item, Outcome]]:
        batch, key, remaining = [first], self._batch_key(first.item), 1 - self._weight(first.item)

        def fits(item: Item) -> bool:
            return self._batch_key(item) == key and self._weight(item) <= remaining + ROUNDING

        while (call := self._next_wanted(fits)) is not None:
            remaining -= self._weight(call.item)
            batch.append(call)
        return batch

    def _next_wanted(self, fits: Callable[[Item], bool] = lambda _: True) -> _Call[Item, Outcome] | None:
        while (call := self._waiting.pop(lambda call: fits(call.item))) is not None:
            if self._wanted(call.item):
                return call
            call.finish(UnwantedError())
        return None
