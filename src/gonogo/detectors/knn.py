"""Nearest neighbours: an image is as anomalous as the good images nearest to it are far.

Source: Ramaswamy, Rastogi and Shim 2000, "Efficient Algorithms for Mining Outliers from Large Data Sets" (SIGMOD):
the distance to the k-th neighbour; Angiulli and Pizzuti 2002, "Fast Outlier Detection in High Dimensional Spaces"
(PKDD): the mean over the k neighbours. Deviation: a new image is judged by the fit images, not a set by itself.
"""

from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.backbones.pooled_features import PooledFeatures
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.memory_bank.distance import l2
from gonogo.detectors.options import KNNOptions
from gonogo.detectors.training.forecast import Forecast
from gonogo.errors import DataError


class KNearestNeighbours(Detector):
    """Score: l2 distance to the k-th nearest fit image, or the mean over the k nearest, in the features' unit."""

    localises = False
    rows_: Tensor

    def __init__(self, options: KNNOptions) -> None:
        """Build the backbone's architecture; `load_weights` brings its weights, or a saved model does."""
        super().__init__()
        self.options: KNNOptions = options
        self.rows = PooledFeatures(options)
        self.register_buffer("rows_", None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        self.load_weights()
        self.set_learned(rows_=self.rows.fit_rows(batches, detector="knn", progress=context.progress))
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        return self.rows.forecast(batches, copies=3)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        score, grid, _ = self.score_with_nearest(pixels)
        return score, grid

    def score_with_nearest(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.require_fitted()
        return self._scored(pixels, self.rows_)

    def bank_places(self) -> Tensor:
        self.require_fitted()
        numbers = torch.arange(len(self.rows_))
        return torch.stack([numbers, torch.zeros_like(numbers)], dim=1)

    def distance_to(self, pixels: Tensor, entries: Tensor) -> Tensor:
        distance: Tensor = (self.rows(pixels) - self.rows_[entries[:, 0, 0]]).norm(dim=1)
        return distance.view(-1, 1, 1)

    def score_without(self, pixels: Tensor, part_images: range) -> tuple[Tensor, Tensor]:
        """Distances to the fit images of other parts; if there are none, to all."""
        self.require_fitted()
        others = torch.cat([self.rows_[: part_images.start], self.rows_[part_images.stop :]])
        score, grid, _ = self._scored(pixels, others if len(others) else self.rows_)
        return score, grid

    def require_growing(self) -> None:
        """With any options, a further row raises no score."""

    def grow(self, batches: Collection[Tensor], first: int, *, progress: Progress = no_progress) -> Self:
        """Add the rows of all images.

        Raises:
            DataError: there are fewer rows than `n_neighbors`, so that more of them would count and not nearer ones.
        """
        self.require_fitted()
        if len(self.rows_) < self.options.n_neighbors:
            raise DataError(
                f"fit.n_neighbors is {self.options.n_neighbors}, but there are {len(self.rows_)} fit images: with more "
                "of them a score can rise; take fewer neighbours"
            )
        more = self.rows.fit_rows(batches, detector="knn", progress=progress)
        self.set_learned(rows_=torch.cat([self.rows_, more]))
        return self

    def leaves_out_exactly(self) -> bool:
        return True

    def _scored(self, pixels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        distances = l2(self.rows(pixels), rows)  # (n, m)
        nearest, index = distances.topk(min(self.options.n_neighbors, len(rows)), dim=1, largest=False)
        score = nearest[:, -1] if self.options.distance == "kth" else nearest.mean(dim=1)
        return score, score.view(-1, 1, 1), index[:, :1, None]

    def fit_facts(self) -> dict[str, str | int | float]:
        return self.rows.fit_facts()
