"""PaDiM: one Gaussian per place of the grid; an image's patches are judged by what is usual at their own place.

Source: Defard et al. 2021, "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization"
(ICPR). Deviations: two layers of the default backbone, not three, so that the grid is 32 x 32 and not 64 x 64, with a
quarter of the memory; coarser layers are brought to the first one's grid bilinearly, not by repetition; images are not
cropped; the score is the maximum of the grid, before the map is smoothed. `shrinkage` is an addition, off by default.
"""

import math
import time
from collections.abc import Collection
from functools import partial
from typing import Self

import torch
from torch import Tensor

from gonogo.compute.progress import Progress
from gonogo.detectors.anomaly_map import image_score
from gonogo.detectors.backbones.patch_features import PatchFeatures
from gonogo.detectors.backbones.weights import weights_fact
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import PaDiMOptions
from gonogo.detectors.parts import PartState, map_parts
from gonogo.detectors.training.forecast import MB, Forecast, probe_images
from gonogo.errors import ConfigError, DataError, NotFittedError


class PaDiM(Detector):
    """Score: Mahalanobis distance of the most anomalous patch to the good ones at its place; map: that of each patch.

    The learned state has gh * gw * d * (d + 1) numbers, whatever the number of fit images; fitting holds three times
    that and one batch. A grid of 64 x 64 with d = 100 would be 164 MB, one of 32 x 32 is 41 MB.
    """

    features_: Tensor
    mean_: Tensor
    whitening_: Tensor
    n_images: int | None = None  # fit images, set by `fit`; not saved

    def __init__(self, options: PaDiMOptions) -> None:
        """Build the backbone's architecture; `load_weights` brings its weights, or a saved model does."""
        super().__init__()
        self.options: PaDiMOptions = options
        self.smoothing = options.smoothing
        self.patch_features = PatchFeatures(options.backbone, options.layers, self.image_size, neighbourhood=1)
        for name in ("features_", "mean_", "whitening_"):
            self.register_buffer(name, None)

    @torch.no_grad()
    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        self.load_weights()
        gaussians: Gaussians | None = None
        gaussians_of = partial(self._gaussians_of, seed=seed, room=context.room)
        for found in map_parts(batches, gaussians_of, context.progress):
            if not found:
                continue
            part = Gaussians(int(found["n"]), found["mean"], found["scatter"])
            if gaussians is None:
                chosen, gaussians = found["chosen"], part
            else:
                gaussians.join(part)
        if gaussians is None or gaussians.n < 2:
            raise DataError(f"fit.detector padim needs at least 2 fit images, got {gaussians.n if gaussians else 0}")
        self.n_images = gaussians.n
        mean, covariance = gaussians.mean.float(), gaussians.scatter.div_(gaussians.n - 1)
        if self.options.shrinkage == "oas":
            shrink_oas(covariance, gaussians.n)
        covariance.diagonal(dim1=1, dim2=2).add_(self.options.epsilon)
        self.set_learned(features_=chosen, mean_=mean, whitening_=whitening(covariance))
        return self

    @torch.no_grad()
    def _gaussians_of(
        self, batches: Collection[Tensor], first: int, progress: Progress, *, seed: int, room: int | None
    ) -> PartState:
        """The Gaussians of these batches, and the dimensions chosen for them; an empty state if there is no batch."""
        gaussians: Gaussians | None = None
        for number, batch in enumerate(batches, start=1):
            features = self.patch_features(batch)  # (b, gh, gw, all dimensions)
            if gaussians is None:
                chosen = self._draw_features(features.shape[3], seed)
                self._require_room(features.shape[1] * features.shape[2], room)
                n_places = features.shape[1] * features.shape[2]
                gaussians = Gaussians.none(n_places, self.options.n_features, features.device)
            gaussians.add(features[..., chosen])
            progress("covariance", number, len(batches), {})
        if gaussians is None:
            return {}
        found = {"n": torch.tensor(gaussians.n), "mean": gaussians.mean, "scatter": gaussians.scatter}
        return found | {"chosen": chosen}

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        probe = probe_images(batches, self.patch_features)
        b, gh, gw, _ = probe.shape
        memory = self._require_room(gh * gw, context.room)
        whole = Gaussians.none(gh * gw, self.options.n_features, torch.device("cpu"))
        batch = torch.rand(b, gh, gw, self.options.n_features)
        whole.add(batch)  # warms up
        start = time.perf_counter()
        whole.add(batch)
        added = time.perf_counter()
        whitening(torch.eye(self.options.n_features, dtype=torch.float64).expand(gw, -1, -1))
        seconds = probe.n_batches * (probe.seconds + added - start) + gh * (time.perf_counter() - added)
        how = f"a Gaussian of {self.options.n_features} dimensions at each of {gh * gw:,} places"
        return Forecast(memory, seconds, how)

    def _require_room(self, places: int, room: int | None) -> int:
        """Bytes that fitting holds at its peak: a float64 scatter and its float32 factor, whatever the images.

        Raises:
            ConfigError: that is more than `room` bytes.
        """
        memory = places * (12 * self.options.n_features**2 + 32 * self.options.n_features)
        if room is not None and memory > room:
            fits = int((math.sqrt(256 + 12 * room / places) - 16) / 12)  # dimensions
            raise ConfigError(
                f"fit.memory_budget_mb leaves {room / MB:,.1f} MB; Gaussians of "
                f"{self.options.n_features} dimensions at "
                f"{places:,} places need {memory / MB:,.1f} MB. Give it more, set fit.n_features to {fits} at most, or "
                "take a coarser first layer or a smaller fit.image_size"
            )
        return memory

    def _draw_features(self, n_available: int, seed: int) -> Tensor:
        if self.options.n_features > n_available:
            raise ConfigError(
                f"fit.n_features is {self.options.n_features}; these layers have {n_available} dimensions"
            )
        shuffled = torch.randperm(n_available, generator=torch.Generator().manual_seed(seed))
        return shuffled[: self.options.n_features].sort().values

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        features = self.patch_features(pixels)[..., self.features_]  # (n, gh, gw, d)
        centred = features.flatten(1, 2) - self.mean_  # (n, p, d)
        white = self.whitening_ @ centred.permute(1, 2, 0)  # (p, d, n)
        grid = white.square().sum(dim=1).sqrt().T.reshape(features.shape[:3])
        return image_score(grid, self.options.top_share), grid

    def score_without(self, pixels: Tensor, part_images: range) -> tuple[Tensor, Tensor]:
        """Distances to the Gaussians of the other images, by a downdate of rank one from those to the Gaussians of all.

        Exact where `epsilon` is small beside the variances: a Gaussian of n - 1 images has (n - 1) / (n - 2) of it
        here. Of several images of the same part, each is left out alone. With two fit images, none is left out.

        Source: Sherman and Morrison 1950, "Adjustment of an inverse matrix corresponding to a change in one element of
        a given matrix"; as the deleted residuals of Cook and Weisberg 1982, "Residuals and Influence in Regression".
        """
        if self.n_images is None:
            raise NotFittedError("the number of fit images is not saved; fit again")
        score, grid = self(pixels)
        n = self.n_images
        if n < 3:
            return score, grid
        squared = grid.double().square()
        left = (1 - n / (n - 1) ** 2 * squared).clamp(min=1e-5)  # 0 where no other image varies likewise
        grid = (n**2 / (n - 1) ** 2 * (n - 2) / (n - 1) * squared / left).sqrt().float()
        return image_score(grid, self.options.top_share), grid

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return {
            "weights": weights_fact(self.options.weights),
            "n_gaussians": len(self.mean_),
            "n_features": len(self.features_),
        }


class Gaussians:
    """Mean (p, d) and scatter (p, d, d) of the patches at each of p places, in float64, from one pass over n images.

    The covariance is scatter / (n - 1).

    Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
    """

    def __init__(self, n: int, mean: Tensor, scatter: Tensor) -> None:
        self.n, self.mean, self.scatter = n, mean, scatter

    @classmethod
    def none(cls, places: int, n_features: int, device: torch.device) -> Self:
        """Those of no image."""
        mean = torch.zeros(places, n_features, dtype=torch.float64, device=device)
        return cls(0, mean, torch.zeros(places, n_features, n_features, dtype=torch.float64, device=device))

    def add(self, features: Tensor) -> None:
        """Take in the patches (b, gh, gw, d) of b images."""
        patches = features.flatten(1, 2).transpose(0, 1).double()  # (p, b, d)
        b = patches.shape[1]
        mean = patches.mean(dim=1)
        away = mean - self.mean
        # The images about their own mean, and that mean about the one so far: one product for both.
        rows = torch.cat([patches - mean[:, None], (self.n * b / (self.n + b)) ** 0.5 * away[:, None]], dim=1)
        self.scatter.baddbmm_(rows.transpose(1, 2), rows)
        self.n += b
        self.mean += b / self.n * away

    def join(self, other: "Gaussians") -> None:
        """Add the images of `other`: except for rounding, the same as adding them one by one."""
        away = other.mean - self.mean
        row = (self.n * other.n / (self.n + other.n)) ** 0.5 * away[:, None]  # (p, 1, d)
        self.scatter += other.scatter
        self.scatter.baddbmm_(row.transpose(1, 2), row)
        self.n += other.n
        self.mean += other.n / self.n * away


def shrink_oas(covariance: Tensor, n: int) -> None:
    """Move sample covariances (p, d, d) towards a multiple of the identity, in place, each by its own share.

    The share follows from the covariance and the number of samples alone, so that it needs no second pass; fewer
    samples than dimensions shrink much, many samples hardly.

    Source: Chen, Wiesel, Eldar and Hero 2010, "Shrinkage Algorithms for MMSE Covariance Estimation", equation 23.
    """
    d = covariance.shape[1]
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    trace = diagonal.sum(dim=1)  # (p,)
    square = torch.linalg.vector_norm(covariance, dim=(1, 2)).square()  # the trace of the covariance squared
    least = trace.square() / d
    gap = ((n + 1 - 2 / d) * (square - least)).clamp(min=torch.finfo(square.dtype).tiny)
    share = (((1 - 2 / d) * square + trace.square()) / gap).clamp(0, 1)
    covariance.mul_((1 - share)[:, None, None])
    diagonal.add_((share * trace / d)[:, None])


def whitening(covariance: Tensor) -> Tensor:
    """W (p, d, d) float32, lower triangular, with |W x| the Mahalanobis length of x: the inverse Cholesky factor."""
    factors = torch.empty(covariance.shape, dtype=torch.float32, device=covariance.device)
    identity = torch.eye(covariance.shape[1], dtype=covariance.dtype, device=covariance.device)
    for factor, matrix in zip(factors, covariance, strict=True):  # one at a time: nothing else of this size is kept
        factor.copy_(torch.linalg.solve_triangular(torch.linalg.cholesky(matrix), identity, upper=False))
    return factors
