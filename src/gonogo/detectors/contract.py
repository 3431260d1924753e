"""What every detector is: a torch module that learns from good images and scores others.

A detector sees float pixels (n, 3, image_size, image_size) in [0, 255], already resized by the `Inspector`.
What it learns are buffers whose names end in `_`; they are None until `fit`, and are all that is saved.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.errors import NotFittedError


@runtime_checkable
class Remembers(Protocol):
    """A detector whose score is a distance to a memory bank, and that knows where each entry of the bank is from."""

    def matched(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` gives, and the number of the entry that is nearest to each cell, (n, gh, gw) int64.

        The nearest in l2, of several at one distance any: a weight of the entry, or other neighbours that count, do
        not matter.
        """

    def places(self) -> Tensor:
        """(m, 2): the number, from 0 in the order of the fit, of the image that each entry is of, and of its cell.

        Cells are counted row by row. An image of the fit is a view, or a tile of one, where there are some.
        """

    def distance_to(self, pixels: Tensor, entries: Tensor) -> Tensor:
        """(n, gh, gw) distance of each cell to the entry with the number that `entries` (n, gh, gw) gives it."""


class Detector(nn.Module, ABC):
    """The contract; tests/contract/test_detectors.py holds every registered detector to it.

    A grid is 0 or more, as a distance is: the `Inspector` writes 0 where it does not look, for "nothing here".
    """

    image_size: int
    smoothing: float = 0.0  # Gaussian sigma for the map, in pixels at image_size
    localises: bool = True  # False: the map is constant, and no pixel metric is computed
    checkpoints: Checkpoints | None = None  # set before `fit`, which goes on from there if it is one that trains
    room: int | None = None  # bytes that `fit` may hold at once, beside the process; set before it. None: no limit

    @abstractmethod
    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        """Learn from batches of good images, (b, 3, image_size, image_size) in [0, 255], on the detector's device.

        All batches have the same number of images, but the last, which may have fewer.

        Raises:
            DataError: there are too few images for the options.
        """

    def forecast(self, batches: Collection[Tensor]) -> Forecast:
        """What `fit` of these batches takes within `room`, from a look at the first few: nothing is learned.

        Without its own forecast, a detector is taken for one that keeps no image and computes next to nothing.

        Raises:
            ConfigError: `room` is too little, whatever is done.
            DataError: there is no fit image.
        """
        tried = probe_images(batches, lambda batch: batch)
        return Forecast(8 * math.prod(tried.shape), tried.all_seconds, "no image is kept")

    @abstractmethod
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and grid of patch scores (n, gh, gw) of (n, 3, image_size, image_size); higher: more anomalous.

        Raises:
            NotFittedError: before `fit`.
        """

    def left_out(self, pixels: Tensor, own: range) -> tuple[Tensor, Tensor]:
        """What `forward` gives of fit images, had the fit not seen them: score (n,) and grid (n, gh, gw).

        Nothing is fitted again, so that this is near and not exact, and each detector says what it leaves out. One
        without a way of its own leaves out nothing.

        Args:
            pixels: as in `forward`.
            own: the numbers, from 0 in the order of the fit, of all images that show the same part as these.

        Raises:
            NotFittedError: there was no `fit`, or what it needs of it is not saved and the model was loaded since.
        """
        score, grid = self(pixels)
        return score, grid

    @property
    def stride(self) -> int:
        """Pixels by which a tile may be shifted so that its cells still lie on those of the whole: a backbone's."""
        return max((part.stride for part in self.modules() if isinstance(part, Backbone)), default=1)

    def facts(self) -> dict[str, str | int | float]:
        """What a report should say about this detector, e.g. where its weights come from."""
        return {}

    def learn(self, **buffers: Tensor) -> None:
        """Set learned buffers, laid out as a saved model's are: strides, too, decide how a sum is rounded."""
        for name, value in buffers.items():
            self.register_buffer(name, value.contiguous())

    def require_fitted(self) -> None:
        """Raise NotFittedError while a learned buffer is missing."""
        missing = [name for name, value in self.named_buffers_with_none() if value is None]
        if missing:
            raise NotFittedError(f"{type(self).__name__} has no {missing[0]} yet; call fit or load a fitted model")

    def named_buffers_with_none(self) -> list[tuple[str, Tensor | None]]:
        """The detector's own buffers, also those not learned yet."""
        return list(self._buffers.items())

    def restore(self, state: dict[str, Tensor]) -> Self:
        """Take over a saved `state_dict`, bit for bit."""
        for name, value in self.named_buffers_with_none():
            if value is None and name in state:
                self.register_buffer(name, torch.empty_like(state[name]))
        self.load_state_dict(state, strict=True)
        return self
