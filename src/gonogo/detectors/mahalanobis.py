"""Mahalanobis distance of a whole image to one Gaussian of good images.

Source: Rippel et al. 2021, "Modeling the Distribution of Normal Data in Pre-Trained Deep Features for Anomaly
Detection" (ICPR); the shrinkage is Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional
covariance matrices", scikit-learn's. Deviations: one Gaussian over all layers, not the sum of one for each; a millionth
of the mean variance is added to every dimension, since two images are shrunk by nothing and leave a singular matrix.
"""

from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor

from gonogo.detectors.backbones.pooled_features import PooledFeatures
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import MahalanobisOptions
from gonogo.detectors.training.forecast import Forecast
from gonogo.errors import DataError


class Mahalanobis(Detector):
    """Score: Mahalanobis distance, without a unit; for Gaussian rows its square averages their dimension."""

    localises = False
    mean_: Tensor
    whitening_: Tensor

    def __init__(self, options: MahalanobisOptions) -> None:
        """Build the backbone's architecture; `load_weights` brings its weights, or a saved model does."""
        super().__init__()
        self.options: MahalanobisOptions = options
        self.rows = PooledFeatures(options)
        self.register_buffer("mean_", None)
        self.register_buffer("whitening_", None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        from sklearn.covariance import LedoitWolf

        self.load_weights()
        rows = self.rows.fit_rows(batches, detector="mahalanobis", progress=context.progress).double()
        gaussian = LedoitWolf().fit(rows.numpy())
        covariance = torch.from_numpy(gaussian.covariance_)
        mean_variance = covariance.diagonal().mean()
        if mean_variance <= 0:
            raise DataError("fit.detector mahalanobis needs fit images that differ; these are all the same")
        identity = torch.eye(len(covariance), dtype=covariance.dtype)
        covariance += 1e-6 * mean_variance * identity
        whitening = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), identity, upper=False)
        self.set_learned(mean_=torch.from_numpy(gaussian.location_).float(), whitening_=whitening.float())
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        from sklearn.covariance import LedoitWolf  # noqa: F401  now, so that the process that is measured has it

        return self.rows.forecast(batches, copies=11)  # in double precision, and scikit-learn's own

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        white = (self.rows(pixels) - self.mean_) @ self.whitening_.T  # (n, d)
        score = white.square().sum(dim=1).sqrt()
        return score, score.view(-1, 1, 1)

    def fit_facts(self) -> dict[str, str | int | float]:
        return self.rows.fit_facts()
