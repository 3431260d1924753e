"""One-class support vector machine: the smoothest region that leaves out at most a share nu of the good images.

Source: Schölkopf et al. 2001, "Estimating the Support of a High-Dimensional Distribution"; solved by scikit-learn's
libsvm. Deviation: the score is a growing function of the negative decision function, see `OneClassSVM`.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.backbones.backbone import LITE0
from gonogo.detectors.backbones.pooled_features import Kind, PooledFeatures
from gonogo.detectors.contract import Detector
from gonogo.detectors.knn import l2
from gonogo.detectors.training.forecast import Forecast
from gonogo.errors import DataError

LIBSVM_CACHE_BYTES = 200_000_000  # of the kernel, by default


class OneClassSVM(Detector):
    """Score: -log of the mean kernel to the support vectors, weighted by their coefficients; 0 or more.

    The decision function is exp(-score) * sum of the coefficients - rho, so both order images alike. It ends at -rho:
    in single precision all images far away would tie there, whereas the logarithm goes on growing with distance.
    """

    localises = False
    support_vectors_: Tensor
    log_weights_: Tensor
    gamma_: Tensor
    boundary_: Tensor

    def __init__(
        self,
        *,
        features: Kind = "backbone",
        backbone: str = LITE0,
        layers: Annotated[list[int], Field(min_length=1)] = [2, 3],  # noqa: B006  read, never changed
        weights: str = "pretrained",
        weights_sha256: str | None = None,
        image_size: Annotated[int, Field(ge=4)] = 256,
        nu: Annotated[float, Field(gt=0, le=1)] = 0.1,
    ) -> None:
        """`nu` is the share of fit images that may lie outside, and the least share that become support vectors.

        The kernel is exp(-gamma * squared l2) with gamma = 1 / (d * variance of all features), scikit-learn's "scale".
        The others as in `PooledFeatures`.
        """
        super().__init__()
        self.image_size = image_size
        self.nu = nu
        self.rows = PooledFeatures(
            features,
            backbone=backbone,
            layers=layers,
            weights=weights,
            weights_sha256=weights_sha256,
            image_size=image_size,
        )
        for name in ("support_vectors_", "log_weights_", "gamma_", "boundary_"):
            self.register_buffer(name, None)

    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        from sklearn.svm import OneClassSVM as Machine

        rows = self.rows.fit_rows(batches, detector="ocsvm", progress=progress).double().numpy()
        spread = rows.shape[1] * rows.var()
        if spread <= 0:
            raise DataError("fit.detector ocsvm needs fit images that differ; these are all one grey")
        machine = Machine(kernel="rbf", gamma=1 / spread, nu=self.nu).fit(rows)
        coefficients = torch.from_numpy(machine.dual_coef_[0])
        rho = -float(machine.intercept_[0])
        self.learn(
            support_vectors_=torch.from_numpy(machine.support_vectors_).float(),
            log_weights_=(coefficients / coefficients.sum()).log().float(),
            gamma_=torch.tensor(1 / spread, dtype=torch.float32),
            boundary_=torch.tensor(float(coefficients.sum()) / rho, dtype=torch.float32).log(),
        )
        return self

    def forecast(self, batches: Collection[Tensor]) -> Forecast:
        rows = self.rows.forecast(batches, copies=6)  # in double precision, and libsvm's own
        how = f"{rows.how}, the solver's own time not counted"
        return replace(rows, memory=rows.memory + LIBSVM_CACHE_BYTES, how=how)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        exponents = -self.gamma_ * l2(self.rows(pixels), self.support_vectors_).square()  # (n, m)
        score = -torch.logsumexp(exponents + self.log_weights_, dim=1).clamp(max=0)  # weights sum to 1 but for rounding
        return score, score.view(-1, 1, 1)

    def facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return self.rows.facts() | {
            "support_vectors": len(self.support_vectors_),
            "score_at_decision_0": float(self.boundary_),
        }
