"""SoftPatch: a PatchCore whose fit images may show defects, since outlying patches are left out or weigh less.

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
from typing import Self

import torch
from torch import Tensor

from gonogo.compute.progress import Progress
from gonogo.detectors.anomaly_map import image_score
from gonogo.detectors.backbones.patch_features import PatchFeatures
from gonogo.detectors.backbones.weights import weights_fact
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.detectors.memory_bank.distance import nearest_index
from gonogo.detectors.memory_bank.patch_stream import (
    Plan,
    from_other_images,
    places_of,
    selection_bytes,
    selection_seconds,
)
from gonogo.detectors.options import SoftPatchOptions
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.errors import DataError

_CHUNK_BYTES = 64 << 20  # of the distances among the patches of several places, computed together


class SoftPatch(Detector):
    """Score: the largest of the map; map: least l2 distance of each patch to one in the bank, times that one's LOF.

    A local outlier factor is near 1 for a patch as dense as its neighbours and larger for a lonely one.
    """

    mean_: Tensor
    memory_bank_: Tensor
    bank_weights_: Tensor
    covering_radius_: Tensor
    bank_places_: Tensor  # (m, 2) int32, as in `bank_places`

    def __init__(self, options: SoftPatchOptions) -> None:
        """Build the backbone's architecture; `load_weights` brings its weights, or a saved model does."""
        super().__init__()
        self.options: SoftPatchOptions = options
        self.smoothing = options.smoothing
        self.patch_features = PatchFeatures(options.backbone, options.layers, self.image_size)
        for name in ("mean_", "memory_bank_", "bank_places_", "bank_weights_", "covering_radius_"):
            self.register_buffer(name, None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        images = torch.empty(0)
        n_images = 0
        self.load_weights()
        for number, batch in enumerate(batches, start=1):
            features = self.patch_features(batch).flatten(1, 2)  # (b, p, d)
            if number == 1:  # one buffer: hundreds of tensors would leave holes in the heap when they go
                images = features.new_empty(len(batches) * len(features), *features.shape[1:])
            images[n_images : n_images + len(features)] = features
            n_images += len(features)
            context.progress("features", number, len(batches), {})
        if n_images <= self.options.lof_neighbors:
            raise DataError(
                f"fit.lof_neighbors is {self.options.lof_neighbors}, so softpatch needs at least "
                f"{self.options.lof_neighbors + 1} fit images, got {n_images}; add images or take fewer neighbours"
            )
        images = images[:n_images]  # (n, p, d)
        n_places = images.shape[1]
        factors = _factors_by_place(images, self.options.lof_neighbors, context.progress).flatten()  # (n * p,)
        n_kept = len(factors) - int(self.options.removed_share * len(factors))
        kept = factors.argsort(stable=True)[:n_kept].sort().values
        patches = images.flatten(0, 1)[kept]
        del images
        mean = patches.mean(dim=0)
        patches -= mean
        n_select = min(max(2, math.ceil(self.options.coreset_ratio * len(factors))), n_kept)
        coreset = greedy_coreset(
            patches,
            n_select,
            on_step=lambda done, total, radius: context.progress("coreset", done, total, {"covering_radius": radius}),
        )
        self.set_learned(
            mean_=mean,
            memory_bank_=patches[coreset.indices],
            bank_places_=places_of(kept[coreset.indices], n_places),
            bank_weights_=factors[kept[coreset.indices]],
            covering_radius_=torch.tensor(coreset.covering_radius),
        )
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        probe = probe_images(batches, self.patch_features)
        b, gh, gw, d = probe.shape
        n_images, places = probe.n_batches * b, gh * gw
        n_patches = n_images * places
        together = max(_CHUNK_BYTES, 8 * n_images * max(n_images, d))  # of the distances at a few places, or at one
        memory = max(4 * n_patches * d + 4 * together, selection_bytes(n_patches, d))
        some = torch.rand(1, min(n_images, 256), d)
        start = time.perf_counter()
        local_outlier_factors(some, min(self.options.lof_neighbors, some.shape[1] - 1))
        factors = (time.perf_counter() - start) * places * (n_images / some.shape[1]) ** 2
        n_select = max(2, math.ceil(self.options.coreset_ratio * n_patches))
        seconds = probe.all_seconds + factors + selection_seconds(Plan(n_patches, n_select, None, 0, memory), d)
        return Forecast(memory, seconds, f"all {n_patches:,} patches at once, a bank of {n_select:,}")

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        score, grid, _ = self.score_with_nearest(pixels)
        return score, grid

    def score_with_nearest(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.require_fitted()
        return self._scored(pixels, self.memory_bank_, self.bank_weights_)

    def bank_places(self) -> Tensor:
        self.require_fitted()
        return self.bank_places_

    def distance_to(self, pixels: Tensor, entries: Tensor) -> Tensor:
        patches = (self.patch_features(pixels).flatten(1, 2) - self.mean_).view(*entries.shape, -1)
        distance: Tensor = (patches - self.memory_bank_[entries]).norm(dim=3) * self.bank_weights_[entries]
        return distance

    def score_without(self, pixels: Tensor, part_images: range) -> tuple[Tensor, Tensor]:
        """Distances to the bank's patches of other parts; if it has none, to the whole bank."""
        self.require_fitted()
        others = from_other_images(self.bank_places_, part_images)
        if not others.any():
            others = torch.ones_like(others)
        score, grid, _ = self._scored(pixels, self.memory_bank_[others], self.bank_weights_[others])
        return score, grid

    def _scored(self, pixels: Tensor, bank: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.patch_features(pixels)  # (n, gh, gw, d)
        patches = features.flatten(1, 2) - self.mean_  # (n, p, d)
        index = nearest_index(patches, bank, weights)  # (n, p)
        # Computed again as a difference: near zero, the product in `nearest_index` has no correct digit.
        distance = (patches - bank[index]).norm(dim=2) * weights[index]
        grid = distance.view(features.shape[:3])
        return image_score(grid, self.options.top_share), grid, index.view(features.shape[:3])

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return {
            "weights": weights_fact(self.options.weights),
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
