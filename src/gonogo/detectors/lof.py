"""Local outlier factor: how much sparser the fit images lie around an image than around its neighbours.

Source: Breunig, Kriegel, Ng and Sander 2000, "LOF: Identifying Density-Based Local Outliers" (SIGMOD). Deviations: a
new image is judged by the densities of the fit images, which it does not change (scikit-learn's `novelty`); exactly k
neighbours count, also where more lie at the k-th distance.
"""

import time
from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor

from gonogo.detectors.backbones.pooled_features import PooledFeatures
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.memory_bank.distance import l2
from gonogo.detectors.options import LOFOptions
from gonogo.detectors.training.forecast import Forecast


class LocalOutlierFactor(Detector):
    """Score: mean density of the k nearest fit images, over the image's own; about 1 in the midst of good ones."""

    localises = False
    rows_: Tensor
    k_distances_: Tensor
    densities_: Tensor

    def __init__(self, options: LOFOptions) -> None:
        """Build the backbone's architecture; `load_weights` brings its weights, or a saved model does."""
        super().__init__()
        self.options: LOFOptions = options
        self.rows = PooledFeatures(options)
        for name in ("rows_", "k_distances_", "densities_"):
            self.register_buffer(name, None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        self.load_weights()
        rows = self.rows.fit_rows(batches, detector="lof", progress=context.progress)
        k = min(self.options.n_neighbors, len(rows) - 1)
        nearest, index = torch.empty(len(rows), k), torch.empty(len(rows), k, dtype=torch.int64)
        for number, row in enumerate(rows):  # one at a time: nothing of (m, m) is held
            distances = l2(row[None], rows)[0]
            distances[number] = torch.inf  # no image is its own neighbour
            nearest[number], index[number] = distances.topk(k, largest=False)
        k_distances = nearest[:, -1]
        self.set_learned(
            rows_=rows,
            k_distances_=k_distances,
            densities_=reachability_density(nearest, k_distances[index]),
        )
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        return self.rows.forecast(batches, copies=5, work=lambda n, d: n * _seconds_of_one(n, d))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        return self._scored(l2(self.rows(pixels), self.rows_))

    def score_without(self, pixels: Tensor, part_images: range) -> tuple[Tensor, Tensor]:
        """The factor among the fit images of other parts, with unchanged densities; if those are too few, among all."""
        self.require_fitted()
        distances = l2(self.rows(pixels), self.rows_)
        if len(self.rows_) - len(part_images) >= min(self.options.n_neighbors, len(self.rows_) - 1):
            distances[:, part_images.start : part_images.stop] = torch.inf
        return self._scored(distances)

    def _scored(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Score and grid of n images from their distances (n, m) to the fit images."""
        nearest, index = distances.topk(min(self.options.n_neighbors, len(self.rows_) - 1), dim=1, largest=False)
        own = reachability_density(nearest, self.k_distances_[index])
        score = self.densities_[index].mean(dim=1) / own
        return score, score.view(-1, 1, 1)

    def fit_facts(self) -> dict[str, str | int | float]:
        return self.rows.fit_facts()


def reachability_density(distances: Tensor, k_distances: Tensor) -> Tensor:
    """(n,): definition 6, from the distances to k neighbours and those neighbours' own k-distances, both (n, k).

    The least distance keeps the density of more than k images that are all the same finite.
    """
    return 1 / torch.maximum(distances, k_distances).mean(dim=1).clamp(min=1e-10)


def _seconds_of_one(n: int, d: int) -> float:
    rows = torch.rand(n, d)
    start = time.perf_counter()
    l2(rows[:1], rows)
    return time.perf_counter() - start
