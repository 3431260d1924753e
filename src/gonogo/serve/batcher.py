"""Micro-batching: a function of many things is called in a thread of its own with all that came during its last call.

Nobody waits for a batch to fill: alone, a thing goes at once; under load, batches grow by themselves.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")


class Batcher(Generic[Thing, Outcome]):
    """Calls `work` with things that are `alike`, in the order in which they came, one call at a time.

    `work` returns an outcome for each, or the exception that its submitter is to get. The weights of the things of one
    call add up to at most 1, except for one thing alone.
    """

    def __init__(
        self,
        work: Callable[[list[Thing]], list[Outcome | Exception]],
        *,
        weight: Callable[[Thing], float],
        alike: Callable[[Thing], Hashable] = lambda _: None,
    ) -> None:
        self._work, self._weight, self._alike = work, weight, alike
        self._waiting: deque[tuple[Thing, asyncio.Future[Outcome]]] = deque()
        self._thread = ThreadPoolExecutor(1)
        self._running: asyncio.Task[None] | None = None

    def submit(self, thing: Thing) -> "asyncio.Future[Outcome]":
        """The future outcome of `thing`. Cancelled before its batch begins, it is left out."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((thing, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return future

    async def close(self) -> None:
        """Return when all that was submitted is done."""
        while self._running is not None:
            await asyncio.wait([self._running])
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._call(batch)
        finally:
            self._running = None

    def _next(self) -> "list[tuple[Thing, asyncio.Future[Outcome]]]":
        batch: list[tuple[Thing, asyncio.Future[Outcome]]] = []
        room = 1.0
        while self._waiting:
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
            outcomes = await loop.run_in_executor(self._thread, self._work, [thing for thing, _ in batch])
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
