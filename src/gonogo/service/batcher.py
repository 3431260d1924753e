"""Micro-batching among threads: who comes while nobody works does the work, for itself and for all who came meanwhile.

Nobody waits for a batch to fill, and alone nobody waits for another thread: a thing is worked on by the thread that
brought it. Under load, batches grow by themselves.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")
ROUNDING = 1e-9  # of a sum of weights


class UnwantedError(Exception):
    """Nobody wanted a thing any more when its turn came."""


class _Place(Generic[Thing, Outcome]):
    """A thing that waits, and later what came of it; `woken` then, or when it is this one's turn to work."""

    def __init__(self, thing: Thing) -> None:
        self.thing, self.woken = thing, threading.Event()
        self.outcome: Outcome | Exception | None = None
        self.done = False

    def end(self, outcome: Outcome | Exception) -> None:
        self.outcome, self.done = outcome, True
        self.woken.set()


class Batcher(Generic[Thing, Outcome]):
    """Called with a thing by many threads at once, it returns what `work` gives for it, or raises that.

    `work` takes things that are `alike`, in the order in which they came, and returns an outcome for each, or the
    exception that its bringer is to get. The weights of the things of one batch add up to at most 1, except for one
    thing alone. So many batches are worked on `at_once`. A thing that is not `wanted` when its turn comes is left out.
    """

    def __init__(
        self,
        work: Callable[[list[Thing]], list[Outcome | Exception]],
        *,
        weight: Callable[[Thing], float],
        alike: Callable[[Thing], Hashable] = lambda _: None,
        wanted: Callable[[Thing], bool] = lambda _: True,
        at_once: int = 1,
    ) -> None:
        self._work, self._weight, self._alike, self._wanted = work, weight, alike, wanted
        self._lock, self._n_free = threading.Lock(), at_once
        self._waiting: deque[_Place[Thing, Outcome]] = deque()

    @property
    def n_waiting(self) -> int:
        """Things whose turn has not come."""
        return len(self._waiting)

    def __call__(self, thing: Thing) -> Outcome:
        """The outcome of `thing`.

        Raises:
            UnwantedError: it was not wanted any more.
            Exception: what `work` raised or gave for it.
        """
        own: _Place[Thing, Outcome] = _Place(thing)
        with self._lock:
            free = self._n_free > 0
            self._n_free -= free
            if not free:
                self._waiting.append(own)
        if not free:
            own.woken.wait()
        if not own.done:
            self._work_from(own)
        if isinstance(own.outcome, Exception):
            raise own.outcome
        return own.outcome  # type: ignore[return-value]  # None only where Outcome may be

    def _work_from(self, first: _Place[Thing, Outcome]) -> None:
        """One batch; then it is the turn of the first who waits."""
        with self._lock:
            batch = self._with_alike(first)
        outcomes: list[Outcome | Exception]
        try:
            outcomes = self._work([place.thing for place in batch])
        except Exception as error:
            outcomes = [error] * len(batch)
        with self._lock:
            successor = self._first_wanted()
            if successor is None:
                self._n_free += 1
            else:
                self._waiting.popleft()
                successor.woken.set()
        for place, outcome in zip(batch, outcomes, strict=True):
            place.end(outcome)

    def _with_alike(self, first: _Place[Thing, Outcome]) -> list[_Place[Thing, Outcome]]:
        batch, room = [first], 1 - self._weight(first.thing)
        while (place := self._first_wanted()) is not None:
            room -= self._weight(place.thing)
            if room < -ROUNDING or self._alike(first.thing) != self._alike(place.thing):
                break
            batch.append(self._waiting.popleft())
        return batch

    def _first_wanted(self) -> _Place[Thing, Outcome] | None:
        while self._waiting:
            if self._wanted(self._waiting[0].thing):
                return self._waiting[0]
            self._waiting.popleft().end(UnwantedError())
        return None
