"""One-class support vector machine: the smoothest region that leaves out at most a share nu of the good images.

Source: Schölkopf et al. 2001, "Estimating the Support of a High-Dimensional Distribution"; solved by scikit-learn's
libsvm. Deviation: the score is a growing function of the negative decision function, see `OneClassSVM`.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from gonogo.detectors.backbones.pooled_features import PooledFeatures
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.memory_bank.distance import l2
from gonogo.detectors.options import OneClassSVMOptions
from gonogo.detectors.training.forecast import Forecast
from gonogo.errors import DataError

LIBSVM_CACHE_BYTES = 200_000_000  # of the kernel, by default


class OneClassSVM(Detector):
    """Score: -log of the mean kernel to the support vectors, weighted by their coefficients; 0 or more.

    The decision function is exp(-score) * sum of the coefficients - rho, so both order images alike. It ends at -rho:
    in single precision all images far away would tie there, whereas the logarithm goes on growing with distance. The
    kernel is exp(-gamma * squared l2) with gamma = 1 / (d * variance of all features), scikit-learn's "scale".
    """

    localises = False
    support_vectors_: Tensor
    log_weights_: Tensor
    gamma_: Tensor
    boundary_: Tensor

    def __init__(self, options: OneClassSVMOptions) -> None:
        """Build the backbone's architecture; `load_weights` brings its weights, or a saved model does."""
        super().__init__()
        self.options: OneClassSVMOptions = options
        self.rows = PooledFeatures(options)
        for name in ("support_vectors_", "log_weights_", "gamma_", "boundary_"):
            self.register_buffer(name, None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        from sklearn.svm import OneClassSVM as Machine

        self.load_weights()
        rows = self.rows.fit_rows(batches, detector="ocsvm", progress=context.progress).double().numpy()
        spread = rows.shape[1] * rows.var()
        if spread <= 0:
            raise DataError("fit.detector ocsvm needs fit images that differ; these are all one grey")
        machine = Machine(kernel="rbf", gamma=1 / spread, nu=self.options.nu).fit(rows)
        coefficients = torch.from_numpy(machine.dual_coef_[0])
        rho = -float(machine.intercept_[0])
        self.set_learned(
            support_vectors_=torch.from_numpy(machine.support_vectors_).float(),
            log_weights_=(coefficients / coefficients.sum()).log().float(),
            gamma_=torch.tensor(1 / spread, dtype=torch.float32),
            boundary_=torch.tensor(float(coefficients.sum()) / rho, dtype=torch.float32).log(),
        )
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        from sklearn.svm import OneClassSVM  # noqa: F401  now, so that the process that is measured has it

        rows = self.rows.forecast(batches, copies=6)  # in double precision, and libsvm's own
        how = f"{rows.how}, the solver's own time not counted"
        return replace(rows, memory=rows.memory + LIBSVM_CACHE_BYTES, how=how)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        exponents = -self.gamma_ * l2(self.rows(pixels), self.support_vectors_).square()  # (n, m)
        score = -torch.logsumexp(exponents + self.log_weights_, dim=1).clamp(max=0)  # weights sum to 1 but for rounding
        return score, score.view(-1, 1, 1)

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return self.rows.fit_facts() | {
            "support_vectors": len(self.support_vectors_),
            "score_at_decision_0": float(self.boundary_),
        }
