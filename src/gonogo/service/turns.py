"""Turns of those who want to work at the same time: the keys take turns, and none waits for the queue of another."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Queues(Generic[Item]):
    """What waits, in a queue for each key. The next turn is that of the key whose last turn is the longest ago."""

    def __init__(self) -> None:
        self._by_key: OrderedDict[str, deque[Item]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    def put(self, key: str, item: Item) -> None:
        """Add an item at the end of its key's queue."""
        self._by_key.setdefault(key, deque()).append(item)

    def pop(self, suits: Callable[[Item], bool] = lambda _: True) -> Item | None:
        """Remove and return the item whose turn is the next, of those that suit; None if there is none."""
        for key, queue in self._by_key.items():
            for item in queue:
                if suits(item):
                    self._by_key.move_to_end(key)
                    self.remove(key, item)
                    return item
        return None

    def remove(self, key: str, item: Item) -> None:
        """Remove an item that waits for its turn no more."""
        self._by_key[key].remove(item)
        if not self._by_key[key]:
            del self._by_key[key]


class Turns:
    """At most `n_at_once` work at a time; the others wait for their turns. For one event loop."""

    def __init__(self, n_at_once: int) -> None:
        self._n_free = n_at_once
        self._waiting: Queues[asyncio.Future[None]] = Queues()

    async def take(self, key: str) -> None:
        """Return when it is the caller's turn; a caller that is cancelled before has taken none."""
        if self._n_free:
            self._n_free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.put(key, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(key, turn)
            else:  # it came in the same moment
                self.end()
            raise

    def end(self) -> None:
        """End a turn, and begin the next one."""
        turn = self._waiting.pop(lambda turn: not turn.done())
        if turn is None:
            self._n_free += 1
        else:
            turn.set_result(None)
