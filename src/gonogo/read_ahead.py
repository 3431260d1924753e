"""Reading what is needed next while something else is computed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

N_THREADS = 8  # that decode ahead of a training; a GPU waits for fewer
N_AHEAD = 32  # images decoded and not yet asked for


def read_ahead(read: Callable[[T], U], wanted: Iterable[T]) -> Iterator[U]:
    """`read` of each wanted item, in their order, while threads already read the next ones."""
    items = iter(wanted)
    with ThreadPoolExecutor(N_THREADS) as threads:
        waiting: deque[Future[U]] = deque(threads.submit(read, item) for item in islice(items, N_AHEAD))
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(threads.submit(read, item) for item in islice(items, 1))
        finally:
            for future in waiting:
                future.cancel()
