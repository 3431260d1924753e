"""The memory and the time that a fit will take, estimated from the first few fit images."""

import itertools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from gonogo.compute.memory import machine_bytes, resident_bytes
from gonogo.errors import DataError

MB = 1e6  # bytes; every figure that is printed is in these
N_PROBED = 4  # fit images that are read to measure how long one takes; the first of them warms up


@dataclass(frozen=True)
class Forecast:
    """The memory and the time of one fit.

    memory: bytes that it holds at its peak, on top of the process as it is once the backbone has seen an image.
    seconds: a rough figure, up to four times too low or too high, by which a benchmark leaves out what takes hours; it
        is not told to anyone who waits: progress says how long the rest takes.
    how: what it keeps in memory, in words.
    passing: bytes beside these that come and go while an image is looked at, as far as they were seen.
    """

    memory: int
    seconds: float
    how: str
    passing: int = 0

    @property
    def peak_mb(self) -> float:
        """The largest size of this process, in MB, if the fit began now."""
        return (resident_bytes() + self.passing + self.memory) / MB

    @property
    def sentence(self) -> str:
        """The memory beside that of the machine, for the person who waits."""
        sentence = f"forecast {self.peak_mb:,.0f} MB: {self.how}"
        if 0 < machine_bytes() < self.peak_mb * MB:
            sentence += f"; this machine has {machine_bytes() / MB:,.0f} MB, so set fit.memory_budget_mb"
        return sentence


@dataclass(frozen=True)
class Probe:
    """Figures from the first fit images: the number of batches, the shape of one's features, and seconds for each."""

    n_batches: int
    shape: tuple[int, ...]
    seconds: float

    @property
    def all_seconds(self) -> float:
        """Seconds to read all fit images and compute their features once."""
        return self.n_batches * self.seconds


@torch.no_grad()
def probe_images(batches: Collection[Tensor], features: Callable[[Tensor], Tensor]) -> Probe:
    """Read the first batches and compute their `features`, (n, ...) of a batch's pixels.

    Raises:
        DataError: there is no batch.
    """
    shape, times, start = None, [], time.perf_counter()
    for batch in itertools.islice(batches, N_PROBED):
        found = features(batch)
        shape = shape or tuple(found.shape)
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    if shape is None:
        raise DataError("there is no fit image; the fit needs some to forecast and to learn from")
    return Probe(len(batches), shape, min(times[1:] or times))
