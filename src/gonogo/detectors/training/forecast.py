"""What a fit will take, said before it starts; a budget of memory is kept, or refused with numbers.

The budget counts the whole process: `PROCESS_BYTES` are set aside for Python, torch, timm and a small backbone with
its work space, and a detector plans with the rest, its `room`. The plan follows from the options and the number and
size of the fit images alone, so that a fit gives the same bits on a machine where the process happens to be larger;
whether plan and process together keep the budget is then looked at before anything is kept.
"""

import itertools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gonogo.compute.memory import machine_bytes, peak_bytes, resident_bytes
from gonogo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gonogo.detectors.contract import Detector

MB = 1e6  # bytes; every figure that is printed is in these
PROCESS_BYTES = 600_000_000
N_TRIED = 4  # fit images that are read to see how long one takes; the first of them warms up


@dataclass(frozen=True)
class Forecast:
    """What one fit takes.

    memory: bytes that it holds at its peak, on top of the process as it is once the backbone has seen an image.
    seconds: on this machine, as it is loaded now; what training or a solver takes is left out where `how` says so.
    how: what it keeps, in words.
    """

    memory: int
    seconds: float
    how: str

    @property
    def sentence(self) -> str:
        """Forecast and machine, for the person who waits."""
        peak = resident_bytes() + self.memory
        said = f"forecast {peak / MB:,.0f} MB and {self.seconds:,.0f} s: {self.how}"
        if 0 < machine_bytes() < peak:
            said += f"; this machine has {machine_bytes() / MB:,.0f} MB, so set fit.memory_budget_mb"
        return said


@dataclass(frozen=True)
class Probe:
    """What the first fit images told: how many batches there are, the shape of one's features, seconds for each."""

    n_batches: int
    shape: tuple[int, ...]
    seconds: float

    @property
    def all_seconds(self) -> float:
        """Of reading all fit images and computing their features once."""
        return self.n_batches * self.seconds


@torch.no_grad()
def probe_images(batches: Collection[Tensor], features: Callable[[Tensor], Tensor]) -> Probe:
    """Read the first batches and compute their `features`, (n, ...) of a batch's pixels.

    Raises:
        DataError: there is no batch.
    """
    shape, times, start = None, [], time.perf_counter()
    for batch in itertools.islice(batches, N_TRIED):
        found = features(batch)
        shape = shape or tuple(found.shape)
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    if shape is None:
        raise DataError("there is no fit image; the fit needs some to forecast and to learn from")
    return Probe(len(batches), shape, min(times[1:] or times))


def forecast(detector: "Detector", batches: Collection[Tensor], *, budget_mb: float | None) -> Forecast:
    """What `fit` of these batches will take, after giving the detector its room in a budget of `budget_mb`.

    Raises:
        ConfigError: the budget cannot be kept; the message says what is needed.
        DataError: there is no fit image.
    """
    detector.room = None if budget_mb is None else int(budget_mb * MB) - PROCESS_BYTES
    if detector.room is not None and detector.room <= 0:
        raise ConfigError(
            f"fit.memory_budget_mb is {budget_mb:,g}; {PROCESS_BYTES / MB:,.0f} MB are set aside for Python, torch and "
            "a backbone, before an image is kept. It bounds the whole process: give it more, or null for no limit"
        )
    expected = detector.forecast(batches)
    peak = resident_bytes() + expected.memory
    if budget_mb is not None and peak > budget_mb * MB:
        raise ConfigError(
            f"fit.memory_budget_mb is {budget_mb:,g}; this fit needs {peak / MB:,.0f} MB ({expected.how}; the process "
            f"holds {(peak - expected.memory) / MB:,.0f} MB already). Raise the budget, or take fewer fit images, a "
            "smaller fit.image_size or fewer features"
        )
    return expected


def fit_costs(start: float, expected: Forecast) -> dict[str, float]:
    """What a fit took since `start`, of `perf_counter`, beside the seconds expected; and the process's peak, in MB."""
    return {
        "fit_s": time.perf_counter() - start,
        "forecast_s": expected.seconds,
        "peak_memory_mb": peak_bytes() / MB,
    }
