"""The time from an encoded file to a verdict, one image at a time."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path


def milliseconds(judge: Callable[[Path], object], images: Iterable[Path]) -> list[float]:
    """What `judge` takes for each of the images, in turn."""
    taken = []
    for path in images:
        start = time.perf_counter()
        judge(path)
        taken.append((time.perf_counter() - start) * 1e3)
    return taken
