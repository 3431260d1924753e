"""Doing what is needed next, in threads, while something else is done."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

N_THREADS = 8  # that decode ahead of a training; a GPU waits for fewer
N_AHEAD = 32  # images decoded and not yet asked for


def read_ahead(
    read: Callable[[T], U], wanted: Iterable[T], *, threads: int = N_THREADS, ahead: int = N_AHEAD
) -> Iterator[U]:
    """`read` of each wanted item, in their order, while `threads` already read the next ones, `ahead` at most."""
    items = iter(wanted)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[U]] = deque(pool.submit(read, item) for item in islice(items, ahead))
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(read, item) for item in islice(items, 1))
        finally:
            for future in waiting:
                future.cancel()
