"""ECOD: how far out an image lies in the tails of each feature's empirical distribution.

Source: Li et al. 2022, "ECOD: Unsupervised Outlier Detection Using Empirical Cumulative Distribution Functions"
(TKDE), algorithm 1. Deviations: a new image joins the fit images in the distribution, alone, so that its score does
not depend on what else is scored; the skewness is that of the fit images; the step of a distribution is a ramp of
`ramp` standard deviations just outside each value, so that rounding cannot move a score by a whole step.
"""

from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor

from gonogo.detectors.backbones.pooled_features import PooledFeatures
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import ECODOptions
from gonogo.detectors.training.forecast import Forecast

_LEAST_RAMP = 1e-4  # in the features' unit: where a feature is constant, its rounding is not news


class ECOD(Detector):
    """Score: -log of the tail probability summed over features, the largest of left, right and each one's own tail."""

    localises = False
    rows_: Tensor
    skewness_: Tensor
    ramps_: Tensor

    def __init__(self, options: ECODOptions) -> None:
        """Build the backbone's architecture; `load_weights` brings its weights, or a saved model does."""
        super().__init__()
        self.options: ECODOptions = options
        self.rows = PooledFeatures(options)
        for name in ("rows_", "skewness_", "ramps_"):
            self.register_buffer(name, None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        self.load_weights()
        rows = self.rows.fit_rows(batches, detector="ecod", progress=context.progress)
        centred = rows.double() - rows.double().mean(dim=0)
        variance = centred.square().sum(dim=0) / (len(rows) - 1)
        skewness = centred.pow(3).mean(dim=0) / variance.pow(1.5).clamp(min=torch.finfo(torch.float64).tiny)
        self.set_learned(
            rows_=rows,
            skewness_=skewness.float(),
            ramps_=(self.options.ramp * variance.sqrt()).clamp(min=_LEAST_RAMP).float(),
        )
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        return self.rows.forecast(batches, copies=7)  # most of them in double precision

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        n = len(self.rows_) + 1
        ahead = (self.rows(pixels)[:, None] - self.rows_) / self.ramps_  # (n, m, d)
        left = -((1 + (1 + ahead).clamp(0, 1).sum(dim=1)) / n).log()  # (n, d), of P(X <= x)
        right = -((1 + (1 - ahead).clamp(0, 1).sum(dim=1)) / n).log()  # (n, d), of P(X >= x)
        own = torch.where(self.skewness_ < 0, left, right)
        score = torch.stack([left.sum(dim=1), right.sum(dim=1), own.sum(dim=1)]).amax(dim=0)
        return score, score.view(-1, 1, 1)

    def fit_facts(self) -> dict[str, str | int | float]:
        return self.rows.fit_facts()
