"""SoftPatch: a PatchCore whose fit images may hold defects, as outlying patches are left out or trusted less.

Source: Xi et al. 2022, "SoftPatch: Unsupervised Anomaly Detection with Noisy Data" (NeurIPS), with the local outlier
factor of Breunig et al. 2000 (SIGMOD) as its noise discriminator. Each patch is compared with those at its place in
the other fit images; the worst `removed_share` of all patches never reaches the coreset, and the factors of the
others stay beside the bank and multiply the distances to it.
Deviations: those of our PatchCore; a patch is matched with the entry whose distance times factor is least, where the
paper takes the nearest one's factor, so that of two entries equally near rounding would choose the score; the factor is
computed in full dimension, where the authors' code projects to 128 at random; the factor multiplies the l2 distance, as
in the paper, where the authors' code takes faiss's squared one;
`lof_neighbors` is the paper's 6, which the authors' command line passes under a name that their class does not read,
so that their published code runs with 5.
"""

import math
import time
from collections.abc import Collection
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.backbones.backbone import LITE0
from gonogo.detectors.backbones.patch_features import PatchFeatures
from gonogo.detectors.contract import Detector
from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.detectors.memory_bank.patch_stream import Plan, selection_bytes, selection_seconds
from gonogo.detectors.patchcore import nearest_index, not_of, places_of
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.errors import DataError

_CHUNK_BYTES = 64 << 20  # of the distances within the places that are looked at together


class SoftPatch(Detector):
    """Score: the largest of the map; map: least l2 distance of each patch to one in the bank, times that one's LOF.

    A local outlier factor is near 1 for a patch as dense as its neighbours and larger for a lonely one.
    """

    mean_: Tensor
    memory_bank_: Tensor
    bank_weights_: Tensor
    covering_radius_: Tensor
    bank_places_: Tensor  # (m, 2) int32: as `places` gives them

    def __init__(
        self,
        *,
        backbone: str = LITE0,
        layers: Annotated[list[int], Field(min_length=1)] = [2, 3],  # noqa: B006  read, never changed
        weights: str = "pretrained",
        weights_sha256: str | None = None,
        image_size: Annotated[int, Field(ge=32)] = 256,
        coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 0.01,
        lof_neighbors: Annotated[int, Field(ge=1)] = 6,
        removed_share: Annotated[float, Field(ge=0, lt=1)] = 0.15,
        smoothing: Annotated[float, Field(ge=0)] = 4.0,
    ) -> None:
        """Build the backbone's architecture; `fit` loads its weights, a saved model brings them.

        Args:
            backbone: timm's name. `layers`, `weights` and `weights_sha256` as in `Backbone`.
            image_size: pixels are resized to (image_size, image_size).
            coreset_ratio: share of the fit images' patches that the memory bank keeps.
            lof_neighbors: patches of other images, at the same place, that a patch's outlier factor looks at.
            removed_share: of all patches, those with the largest factors, which the coreset is not chosen from.
            smoothing: Gaussian sigma of the map, in pixels at `image_size`.
        """
        super().__init__()
        self.image_size = image_size
        self.smoothing = smoothing
        self.coreset_ratio = coreset_ratio
        self.lof_neighbors = lof_neighbors
        self.removed_share = removed_share
        self.weights = weights
        self.weights_sha256 = weights_sha256
        self.patch_features = PatchFeatures(backbone, layers, image_size)
        for name in ("mean_", "memory_bank_", "bank_places_", "bank_weights_", "covering_radius_"):
            self.register_buffer(name, None)

    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        images = torch.empty(0)
        n_images = 0
        self.patch_features.load(self.weights, self.weights_sha256)
        for number, batch in enumerate(batches, start=1):
            features = self.patch_features(batch).flatten(1, 2)  # (b, p, d)
            if number == 1:  # one buffer: hundreds of tensors would leave holes in the heap when they go
                images = features.new_empty(len(batches) * len(features), *features.shape[1:])
            images[n_images : n_images + len(features)] = features
            n_images += len(features)
            progress("features", number, len(batches), {})
        if n_images <= self.lof_neighbors:
            raise DataError(
                f"fit.lof_neighbors is {self.lof_neighbors}, so softpatch needs at least {self.lof_neighbors + 1} fit "
                f"images, got {n_images}; add images or look at fewer neighbours"
            )
        images = images[:n_images]  # (n, p, d)
        n_places = images.shape[1]
        factors = _factors_by_place(images, self.lof_neighbors, progress).flatten()  # (n * p,)
        n_kept = len(factors) - int(self.removed_share * len(factors))
        kept = factors.argsort(stable=True)[:n_kept].sort().values
        patches = images.flatten(0, 1)[kept]
        del images
        mean = patches.mean(dim=0)
        patches -= mean
        n_select = min(max(2, math.ceil(self.coreset_ratio * len(factors))), n_kept)
        first = int(torch.randint(n_kept, (), generator=torch.Generator().manual_seed(seed)))
        coreset = greedy_coreset(
            patches,
            n_select,
            first=first,
            on_step=lambda done, total, radius: progress("coreset", done, total, {"covering_radius": radius}),
        )
        self.learn(
            mean_=mean,
            memory_bank_=patches[coreset.indices],
            bank_places_=places_of(kept[coreset.indices], n_places),
            bank_weights_=factors[kept[coreset.indices]],
            covering_radius_=torch.tensor(coreset.covering_radius),
        )
        return self

    def forecast(self, batches: Collection[Tensor]) -> Forecast:
        tried = probe_images(batches, self.patch_features)
        b, gh, gw, d = tried.shape
        n_images, places = tried.n_batches * b, gh * gw
        n_patches = n_images * places
        together = max(_CHUNK_BYTES, 8 * n_images * max(n_images, d))  # of the distances at a few places, or at one
        memory = max(4 * n_patches * d + 4 * together, selection_bytes(n_patches, d))
        some = torch.rand(1, min(n_images, 256), d)
        start = time.perf_counter()
        local_outlier_factors(some, min(self.lof_neighbors, some.shape[1] - 1))
        factors = (time.perf_counter() - start) * places * (n_images / some.shape[1]) ** 2
        n_select = max(2, math.ceil(self.coreset_ratio * n_patches))
        seconds = tried.all_seconds + factors + selection_seconds(Plan(n_patches, n_select, None, 0, memory), d)
        return Forecast(memory, seconds, f"all {n_patches:,} patches at once, a bank of {n_select:,}")

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        score, grid, _ = self.matched(pixels)
        return score, grid

    def matched(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.require_fitted()
        return self._scored(pixels, self.memory_bank_, self.bank_weights_)

    def places(self) -> Tensor:
        self.require_fitted()
        return self.bank_places_

    def distance_to(self, pixels: Tensor, entries: Tensor) -> Tensor:
        patches = (self.patch_features(pixels).flatten(1, 2) - self.mean_).view(*entries.shape, -1)
        distance: Tensor = (patches - self.memory_bank_[entries]).norm(dim=3) * self.bank_weights_[entries]
        return distance

    def left_out(self, pixels: Tensor, own: range) -> tuple[Tensor, Tensor]:
        """The distances to patches of the bank that come from other parts; where none does, the bank is left whole."""
        self.require_fitted()
        others = not_of(self.bank_places_, own)
        if not others.any():
            others = torch.ones_like(others)
        score, grid, _ = self._scored(pixels, self.memory_bank_[others], self.bank_weights_[others])
        return score, grid

    def _scored(self, pixels: Tensor, bank: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.patch_features(pixels)  # (n, gh, gw, d)
        patches = features.flatten(1, 2) - self.mean_  # (n, p, d)
        index = nearest_index(patches, bank, weights)  # (n, p)
        # Measured again as a difference: near zero, the product's rounding would be all that is left of it.
        distance = (patches - bank[index]).norm(dim=2) * weights[index]
        return distance.amax(dim=1), distance.view(features.shape[:3]), index.view(features.shape[:3])

    def facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return {
            "weights": self.weights if self.weights in ("pretrained", "random") else "file",
            "bank_patches": len(self.memory_bank_),
            "covering_radius": float(self.covering_radius_),
            "largest_bank_weight": float(self.bank_weights_.max()),
        }


def _factors_by_place(images: Tensor, n_neighbors: int, progress: Progress) -> Tensor:
    """(n, p) outlier factor of each patch of (n, p, d) among the patches at its place."""
    n_images, n_places = images.shape[:2]
    size = max(1, _CHUNK_BYTES // (8 * n_images * max(n_images, images.shape[2])))
    factors = []
    for start in range(0, n_places, size):
        places = images[:, start : start + size].transpose(0, 1)  # (g, n, d)
        factors.append(local_outlier_factors(places, n_neighbors))
        progress("outlier factors", start + len(places), n_places, {})
    return torch.cat(factors).T


def local_outlier_factors(groups: Tensor, n_neighbors: int) -> Tensor:
    """(g, n) float32 of g separate groups of n rows, (g, n, d): how much sparser a row lies than its neighbours do.

    Args:
        n_neighbors: k, in [1, n - 1]; the k nearest other rows of the group, no more where distances tie.

    Source: Breunig et al. 2000, definitions 3 to 7; as in scikit-learn, 1e-10 is added to a mean reachability
    distance, so that rows with k duplicates have a finite density.
    """
    rows = groups.double()
    rows = rows - rows.mean(dim=1, keepdim=True)  # fewer digits are lost in the product
    norms = rows.square().sum(dim=2)
    squared_l2 = norms[:, :, None] + norms[:, None] - 2 * rows @ rows.transpose(1, 2)
    l2 = squared_l2.clamp(min=0).sqrt()  # (g, n, n)
    l2.diagonal(dim1=1, dim2=2).fill_(math.inf)
    nearest = l2.topk(n_neighbors, dim=2, largest=False)
    k_distance = nearest.values[:, :, -1]
    reachability = torch.maximum(nearest.values, _of_neighbours(k_distance, nearest.indices))
    density = 1 / (reachability.mean(dim=2) + 1e-10)
    return (_of_neighbours(density, nearest.indices).mean(dim=2) / density).float()


def _of_neighbours(values: Tensor, neighbours: Tensor) -> Tensor:
    """(g, n, k): for each row the values (g, n) of its neighbours (g, n, k)."""
    return values.gather(1, neighbours.flatten(1)).view(neighbours.shape)
