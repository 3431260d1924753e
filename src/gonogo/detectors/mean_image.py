"""The trivial baseline: distance to the mean good image. A detector that does not beat it has learned nothing."""

from collections.abc import Collection
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.contract import Detector
from gonogo.errors import DataError


class MeanImage(Detector):
    """Score: root mean squared difference to the mean good image, in grey levels; map: the same per pixel."""

    mean_: Tensor

    def __init__(
        self,
        *,
        image_size: Annotated[int, Field(ge=4)] = 64,
        smoothing: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        """Nothing is learned yet.

        Args:
            image_size: pixels are resized to (image_size, image_size).
            smoothing: Gaussian sigma of the map, in pixels at `image_size`.
        """
        super().__init__()
        self.image_size = image_size
        self.smoothing = smoothing
        self.register_buffer("mean_", None)

    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        total, n_images = torch.zeros(3, self.image_size, self.image_size, dtype=torch.float64), 0
        for number, batch in enumerate(batches, start=1):
            total += batch.double().sum(dim=0).cpu()
            n_images += len(batch)
            progress("mean", number, len(batches), {})
        if not n_images:
            raise DataError("fit.detector mean_image needs at least one fit image")
        self.learn(mean_=(total / n_images).float())
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        squared = (pixels - self.mean_).square()
        return squared.mean(dim=(1, 2, 3)).sqrt(), squared.mean(dim=1).sqrt()
