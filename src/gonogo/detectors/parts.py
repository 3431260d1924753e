"""Fit images looked at in parts, so that several processes can share the work."""

from collections.abc import Callable, Collection, Iterator
from typing import Protocol, runtime_checkable

from torch import Tensor

from gonogo.compute.progress import Progress

PartState = dict[str, Tensor]  # what a look at some fit images leaves


# Called as (batches, number of the first of them, progress).
MapPart = Callable[[Collection[Tensor], int, Progress], PartState]


@runtime_checkable
class InParts(Protocol):
    """Batches that others than this process can look at, some at a time."""

    def __getitem__(self, index: int) -> Tensor:
        """One of them, for this process."""

    def __len__(self) -> int:
        """How many there are."""

    @property
    def n_parts(self) -> int:
        """How many parts there are, whoever looks at them."""

    def look(self, look: MapPart, progress: Progress) -> Iterator[PartState]:
        """What `look` leaves of each part, in their order."""


def map_parts(batches: Collection[Tensor], look: MapPart, progress: Progress) -> Iterator[PartState]:
    """What `look` leaves of each part of the batches, in their order; most often there is one part, all of them."""
    return batches.look(look, progress) if isinstance(batches, InParts) else iter([look(batches, 0, progress)])
