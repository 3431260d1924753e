"""The trivial baseline: distance to the mean good image. A detector that is no better than it is of no use."""

from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor

from gonogo.detectors.anomaly_map import image_score
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import MeanImageOptions
from gonogo.errors import DataError


class MeanImage(Detector):
    """Score: root mean squared difference to the mean good image, in grey levels; map: the same per pixel."""

    mean_: Tensor

    def __init__(self, options: MeanImageOptions) -> None:
        """Nothing is learned yet."""
        super().__init__()
        self.options: MeanImageOptions = options
        self.smoothing = options.smoothing
        self.register_buffer("mean_", None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        total, n_images = torch.zeros(3, *self.image_size, dtype=torch.float64), 0
        for number, batch in enumerate(batches, start=1):
            total += batch.double().sum(dim=0).cpu()
            n_images += len(batch)
            context.progress("mean", number, len(batches), {})
        if not n_images:
            raise DataError("fit.detector mean_image needs at least one fit image")
        self.set_learned(mean_=(total / n_images).float())
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        squared = (pixels - self.mean_).square()
        grid = squared.mean(dim=1).sqrt()
        if self.options.top_share is not None:
            return image_score(grid, self.options.top_share), grid
        return squared.mean(dim=(1, 2, 3)).sqrt(), grid
