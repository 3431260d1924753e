"""PatchCore: distance of an image's patches to a small memory bank of good patches.

Source: Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection" (CVPR).
Deviations: features are concatenated as they are, without the authors' adaptive pooling to 1,024 dimensions; the
coreset is chosen in full dimension, not after a random projection, and is the exact greedy one; neighbours are
exact. The bank is centred by its mean, which changes no distance and costs fewer digits in single precision.
"""

import math
from collections.abc import Collection
from typing import Annotated, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gonogo.backbone import LITE0
from gonogo.coreset import greedy_coreset
from gonogo.detectors.contract import Detector, Progress, no_progress
from gonogo.errors import DataError
from gonogo.patch_features import PatchFeatures


class PatchCore(Detector):
    """Score: l2 distance of the most anomalous patch to its nearest patch in the bank; map: that of each patch."""

    mean_: Tensor
    memory_bank_: Tensor
    bank_neighbours_: Tensor
    covering_radius_: Tensor

    def __init__(
        self,
        *,
        backbone: str = LITE0,
        layers: Annotated[list[int], Field(min_length=1)] = [2, 3],  # noqa: B006  read, never changed
        weights: str = "pretrained",
        weights_sha256: str | None = None,
        image_size: Annotated[int, Field(ge=32)] = 256,
        coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 0.01,
        reweight: bool = False,
        n_reweight: Annotated[int, Field(ge=2)] = 9,
        smoothing: Annotated[float, Field(ge=0)] = 4.0,
    ) -> None:
        """Build the backbone's architecture; `fit` loads its weights, a saved model brings them.

        Args:
            backbone: timm's name. `layers`, `weights` and `weights_sha256` as in `Backbone`.
            image_size: pixels are resized to (image_size, image_size).
            coreset_ratio: share of the fit images' patches that the memory bank keeps.
            reweight: the paper's equation 7, which lowers the score where the bank is sparse.
            n_reweight: the bank's patches around the nearest one that equation 7 looks at.
            smoothing: Gaussian sigma of the map, in pixels at `image_size`.
        """
        super().__init__()
        self.image_size = image_size
        self.smoothing = smoothing
        self.coreset_ratio = coreset_ratio
        self.reweight = reweight
        self.n_reweight = n_reweight
        self.weights = weights
        self.weights_sha256 = weights_sha256
        self.patch_features = PatchFeatures(backbone, layers, image_size)
        for name in ("mean_", "memory_bank_", "bank_neighbours_", "covering_radius_"):
            self.register_buffer(name, None)

    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        features = []
        self.patch_features.load(self.weights, self.weights_sha256)
        for number, batch in enumerate(batches, start=1):
            features.append(self.patch_features(batch).flatten(0, 2))  # (b * gh * gw, d)
            progress("features", number, len(batches), {})
        patches = torch.cat(features) if features else torch.empty(0, 0)
        if len(patches) < 2:
            raise DataError("fit.detector patchcore needs at least one fit image")
        mean = patches.mean(dim=0)
        patches -= mean
        n_select = max(2, math.ceil(self.coreset_ratio * len(patches)))
        first = int(torch.randint(len(patches), (), generator=torch.Generator().manual_seed(seed)))
        coreset = greedy_coreset(
            patches,
            n_select,
            first=first,
            on_step=lambda done, total, radius: progress("coreset", done, total, {"covering_radius": radius}),
        )
        bank = patches[coreset.indices]
        neighbours = proximity(bank, bank).topk(min(self.n_reweight, len(bank)), dim=1).indices
        self.learn(
            mean_=mean,
            memory_bank_=bank,
            bank_neighbours_=neighbours,
            covering_radius_=torch.tensor(coreset.covering_radius),
        )
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        features = self.patch_features(pixels)  # (n, gh, gw, d)
        patches = features.flatten(1, 2) - self.mean_  # (n, p, d)
        index = proximity(patches, self.memory_bank_).argmax(dim=2)  # (n, p)
        # Measured again as a difference: near zero, the product's rounding would be all that is left of it.
        distance = (patches - self.memory_bank_[index]).norm(dim=2)
        grid = distance.view(features.shape[:3])
        score, worst = distance.max(dim=1)
        if self.reweight:
            score = score * self._weight(patches, index, worst)
        return score, grid

    def _weight(self, patches: Tensor, index: Tensor, worst: Tensor) -> Tensor:
        """Equation 7: 1 - softmax of the distances from the worst patch to its match and the match's neighbours."""
        patch = patches.gather(1, worst.view(-1, 1, 1).expand(-1, 1, patches.shape[2]))  # (n, 1, d)
        match = index.gather(1, worst[:, None])[:, 0]  # (n,)
        around = self.memory_bank_[self.bank_neighbours_[match]]  # (n, k, d); the match itself comes first
        share: Tensor = (patch - around).norm(dim=2).softmax(dim=1)[:, 0]
        return 1 - share

    def facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return {
            "weights": self.weights if self.weights in ("pretrained", "random") else "file",
            "bank_patches": len(self.memory_bank_),
            "covering_radius": float(self.covering_radius_),
        }


def proximity(rows: Tensor, bank: Tensor) -> Tensor:
    """(..., p, m): half the negative squared l2 distance of rows (..., p, d) to bank (m, d), plus a constant per row.

    One matrix product, norms included; enough to say which patch of the bank is nearest.
    """
    half_norms = 0.5 * bank.square().sum(dim=1, keepdim=True)
    return F.pad(rows, (0, 1), value=1.0) @ torch.cat([bank, -half_norms], dim=1).T
