"""Turns of those who want to work at the same time: the keys take turns, and none waits for the queue of another."""

import asyncio
from collections import OrderedDict, deque


class Turns:
    """At most `n_at_once` work at a time; the others wait, and the keys take turns. For one event loop."""

    def __init__(self, n_at_once: int) -> None:
        self._n_free = n_at_once
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, key: str) -> None:
        """Return when it is the caller's turn; a caller that is cancelled before has taken none."""
        if self._n_free:
            self._n_free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(key, turn)
            else:  # it came in the same moment
                self.end()
            raise

    def end(self) -> None:
        """End a turn; the next one is that of the key whose last turn is the longest ago."""
        while self._waiting:
            key, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[key] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._n_free += 1

    def _forget(self, key: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(key, deque())
        if turn in queue:
            queue.remove(turn)
        if not queue:
            self._waiting.pop(key, None)
