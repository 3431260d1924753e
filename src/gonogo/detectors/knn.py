"""Nearest neighbours: an image is as anomalous as the good images nearest to it are far.

Source: Ramaswamy, Rastogi and Shim 2000, "Efficient Algorithms for Mining Outliers from Large Data Sets" (SIGMOD):
the distance to the k-th neighbour; Angiulli and Pizzuti 2002, "Fast Outlier Detection in High Dimensional Spaces"
(PKDD): the mean over the k neighbours. Deviation: a new image is judged by the fit images, not a set by itself.
"""

from collections.abc import Collection
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.backbones.backbone import LITE0
from gonogo.detectors.backbones.pooled_features import Kind, PooledFeatures
from gonogo.detectors.contract import Detector
from gonogo.detectors.training.forecast import Forecast


class KNearestNeighbours(Detector):
    """Score: l2 distance to the k-th nearest fit image, or the mean over the k nearest, in the features' unit."""

    localises = False
    rows_: Tensor

    def __init__(
        self,
        *,
        features: Kind = "backbone",
        backbone: str = LITE0,
        layers: Annotated[list[int], Field(min_length=1)] = [2, 3],  # noqa: B006  read, never changed
        weights: str = "pretrained",
        weights_sha256: str | None = None,
        image_size: Annotated[int, Field(ge=4)] = 256,
        n_neighbors: Annotated[int, Field(ge=1)] = 5,
        distance: Literal["kth", "mean"] = "kth",
    ) -> None:
        """`n_neighbors` is k, or the number of fit images if there are fewer; the others as in `PooledFeatures`.

        `distance` is that to the k-th neighbour, or the mean of those to all k."""
        super().__init__()
        self.image_size = image_size
        self.n_neighbors = n_neighbors
        self.distance = distance
        self.rows = PooledFeatures(
            features,
            backbone=backbone,
            layers=layers,
            weights=weights,
            weights_sha256=weights_sha256,
            image_size=image_size,
        )
        self.register_buffer("rows_", None)

    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        self.learn(rows_=self.rows.fit_rows(batches, detector="knn", progress=progress))
        return self

    def forecast(self, batches: Collection[Tensor]) -> Forecast:
        return self.rows.forecast(batches, copies=3)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        score, grid, _ = self.matched(pixels)
        return score, grid

    def matched(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.require_fitted()
        return self._scored(pixels, self.rows_)

    def places(self) -> Tensor:
        self.require_fitted()
        numbers = torch.arange(len(self.rows_))
        return torch.stack([numbers, torch.zeros_like(numbers)], dim=1)

    def distance_to(self, pixels: Tensor, entries: Tensor) -> Tensor:
        distance: Tensor = (self.rows(pixels) - self.rows_[entries[:, 0, 0]]).norm(dim=1)
        return distance.view(-1, 1, 1)

    def left_out(self, pixels: Tensor, own: range) -> tuple[Tensor, Tensor]:
        """The distances to fit images of other parts; where there is none, to all."""
        self.require_fitted()
        others = torch.cat([self.rows_[: own.start], self.rows_[own.stop :]])
        score, grid, _ = self._scored(pixels, others if len(others) else self.rows_)
        return score, grid

    def _scored(self, pixels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        distances = l2(self.rows(pixels), rows)  # (n, m)
        nearest, index = distances.topk(min(self.n_neighbors, len(rows)), dim=1, largest=False)
        score = nearest[:, -1] if self.distance == "kth" else nearest.mean(dim=1)
        return score, score.view(-1, 1, 1), index[:, :1, None]

    def facts(self) -> dict[str, str | int | float]:
        return self.rows.facts()


def l2(rows: Tensor, others: Tensor) -> Tensor:
    """(n, m) distances of rows (n, d) to others (m, d), from differences: exact also where they nearly vanish.

    It holds n * m * d numbers: 6 MB for one image against ten thousand of 152 dimensions.
    """
    return (rows[:, None] - others).square().sum(dim=2).sqrt()
