"""Micro-batching: a function of many things is called in a thread with all that came while none was free for it.

Nobody waits for a batch to fill: alone, a thing goes at once; under load, batches grow by themselves.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")


class Batcher(Generic[Thing, Outcome]):
    """Calls `work` with things that are `alike`, in the order in which they came, in so many `threads` at once.

    `work` returns an outcome for each, or the exception that its submitter is to get. The weights of the things of one
    call add up to at most 1, except for one thing alone. Threads that are free share what is waiting.
    """

    def __init__(
        self,
        work: Callable[[list[Thing]], list[Outcome | Exception]],
        *,
        weight: Callable[[Thing], float],
        alike: Callable[[Thing], Hashable] = lambda _: None,
        threads: int = 1,
    ) -> None:
        self._work, self._weight, self._alike = work, weight, alike
        self._waiting: deque[tuple[Thing, asyncio.Future[Outcome]]] = deque()
        self._n_threads, self._threads = threads, ThreadPoolExecutor(threads)
        self._running: set[asyncio.Task[None]] = set()

    def submit(self, thing: Thing) -> "asyncio.Future[Outcome]":
        """The future outcome of `thing`. Cancelled before its batch begins, it is left out."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((thing, future))
        loop.call_soon(self._begin)  # with what is submitted beside it
        return future

    async def close(self) -> None:
        """Return when all that was submitted is done."""
        self._begin()
        while self._running:
            await asyncio.wait(self._running)
            await asyncio.sleep(0)  # what ended begins the next call
        self._threads.shutdown()

    def _begin(self) -> None:
        while (n_free := self._n_threads - len(self._running)) and self._waiting:
            batch = self._next(math.ceil(len(self._waiting) / n_free))
            if not batch:
                return
            running = asyncio.create_task(self._call(batch))
            self._running.add(running)
            running.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._begin()

    def _next(self, most: int) -> "list[tuple[Thing, asyncio.Future[Outcome]]]":
        batch: list[tuple[Thing, asyncio.Future[Outcome]]] = []
        room = 1.0
        while self._waiting and len(batch) < most:
            thing, future = self._waiting[0]
            if not future.done():
                room -= self._weight(thing)
                if batch and (room < 0 or self._alike(batch[0][0]) != self._alike(thing)):
                    break
                batch.append((thing, future))
            self._waiting.popleft()
        return batch

    async def _call(self, batch: "list[tuple[Thing, asyncio.Future[Outcome]]]") -> None:
        loop = asyncio.get_running_loop()
        try:
            outcomes = await loop.run_in_executor(self._threads, self._work, [thing for thing, _ in batch])
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
