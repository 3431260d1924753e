"""Fit images processed in parts, so that several processes can share the work."""

from collections.abc import Callable, Collection, Iterator
from typing import Protocol, runtime_checkable

from torch import Tensor

from gonogo.compute.progress import Progress

PartState = dict[str, Tensor]  # the result for one part of the fit images


# Called as (batches, number of the first of them, progress).
MapPart = Callable[[Collection[Tensor], int, Progress], PartState]


@runtime_checkable
class DistributedBatches(Protocol):
    """Batches that can be processed part by part, also by other processes than this one."""

    def __getitem__(self, index: int) -> Tensor:
        """One batch, read by this process."""

    def __len__(self) -> int:
        """The number of batches."""

    @property
    def n_parts(self) -> int:
        """The number of parts, which does not depend on who processes them."""

    def map_parts(self, function: MapPart, progress: Progress) -> Iterator[PartState]:
        """The results of `function` for each part, in their order."""


def map_parts(batches: Collection[Tensor], function: MapPart, progress: Progress) -> Iterator[PartState]:
    """The results of `function` for each part of the batches, in their order; plain batches are one part."""
    if isinstance(batches, DistributedBatches):
        return batches.map_parts(function, progress)
    return iter([function(batches, 0, progress)])
