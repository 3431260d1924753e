"""PCA reconstruction error: what the principal components of good images cannot explain.

Source: Jackson and Mudholkar 1979, "Control procedures for residuals associated with principal component
analysis" (the Q statistic, here as a root mean square in grey levels).
"""

from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor

from gonogo.detectors.anomaly_map import image_score
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import PCAOptions
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.errors import DataError, NotFittedError


class PCAReconstruction(Detector):
    """Score: root mean squared residual of the pixels, in grey levels; map: the same per pixel over the channels."""

    mean_: Tensor
    components_: Tensor
    scatter: Tensor | None = None  # (k,) sum of the fit images' squared coordinates on each component; not saved
    n_images: int = 0

    def __init__(self, options: PCAOptions) -> None:
        """Nothing is learned yet."""
        super().__init__()
        self.options: PCAOptions = options
        self.smoothing = options.smoothing
        self.register_buffer("mean_", None)
        self.register_buffer("components_", None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        from sklearn.decomposition import PCA

        rows = [row for batch in batches for row in batch.flatten(1)]
        if len(rows) < 2:
            raise DataError(f"fit.detector pca needs at least 2 fit images, got {len(rows)}")
        pca = PCA(n_components=self.options.explained_variance, svd_solver="full", random_state=seed)
        pca.fit(torch.stack(rows).cpu().numpy())  # (n, 3 * h * w)
        explained = 0.0
        for count, share in enumerate(pca.explained_variance_ratio_, start=1):
            explained += float(share)
            context.progress("components", count, len(pca.explained_variance_ratio_), {"explained_variance": explained})
        self.n_images, self.scatter = len(rows), torch.from_numpy((len(rows) - 1) * pca.explained_variance_).float()
        self.set_learned(
            mean_=torch.from_numpy(pca.mean_).float(), components_=torch.from_numpy(pca.components_).float()
        )
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        from sklearn.decomposition import PCA  # noqa: F401  now, so that the process that is measured has it

        probe = probe_images(batches, lambda batch: batch.flatten(1))
        n, d = probe.n_batches * probe.shape[0], probe.shape[1]
        how = f"{n:,} rows of {d:,} grey levels, the decomposition's own time not counted"
        return Forecast(9 * 4 * n * d, probe.all_seconds, how)  # scikit-learn's copies and the decomposition's

    def score_without(self, pixels: Tensor, part_images: range) -> tuple[Tensor, Tensor]:
        """The residuals over 1 - leverage, the share of itself that an image explains: components are kept as they are.

        Source: the deleted residuals of Cook and Weisberg 1982, "Residuals and Influence in Regression".
        """
        if self.scatter is None:
            raise NotFittedError("the scatter of the fit images along the components is not saved; fit again")
        score, grid = self(pixels)
        coordinates = (pixels.flatten(1) - self.mean_) @ self.components_.T
        leverage = 1 / self.n_images + (coordinates.square() / self.scatter).sum(dim=1)
        left = (1 - leverage).clamp(min=1e-5)
        return score / left, grid / left[:, None, None]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        centred = pixels.flatten(1) - self.mean_
        residual = centred - (centred @ self.components_.T) @ self.components_
        squared = residual.view_as(pixels).square()
        grid = squared.mean(dim=1).sqrt()
        if self.options.top_share is not None:
            return image_score(grid, self.options.top_share), grid
        return squared.mean(dim=(1, 2, 3)).sqrt(), grid
