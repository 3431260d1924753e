"""PatchCore: distance of an image's patches to a small memory bank of good patches.

Source: Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection" (CVPR).
Deviations: features are concatenated as they are, without the authors' adaptive pooling to 1,024 dimensions; the
coreset is the exact greedy one, starts at the patch nearest to the mean, and is chosen among the features that the bank
keeps: in full dimension, or with a `reduction` in the reduced one, where the authors project for the choice alone and
keep the bank in full; neighbours are exact. The bank is centred by its mean, which changes no distance and costs fewer
digits in single precision.
With `n_neighbors` above 1 the mean distance to so many neighbours is taken, as by `anomaly_scorer_num_nn` of the
authors' code (amazon-science/patchcore-inspection), for score and map alike. The paper's equation 7, which lowers a
score where the bank is sparse, is left out, as in the authors' code: it takes the softmax of distances, which for these
features are of the order of 20, so that its weight was 1 to six digits on every image of three data sets.

`whitening` is ours: the principal axes of the good patches are divided by a power of their standard deviation before
the bank is chosen, so that directions in which good parts hardly vary count for more. At the power 1 the distance is
that of Mahalanobis, which Defard et al. 2021, "PaDiM" (ICPR), and Rippel et al. 2020, "Modeling the Distribution of
Normal Data in Pre-Trained Deep Features for Anomaly Detection" (ICPR), take to the mean; here it leads to the nearest
patch.

With a DINO backbone's patch tokens, `neighbourhood: 1` and `top_share: 0.01` it takes tokens and scores images as
Damm et al. 2025, "AnomalyDINO: Boosting Patch-based Few-shot Anomaly Detection with DINOv2" (WACV), do. Deviations
from that paper: l2 distances of the tokens as they are before the backbone's last normalisation, not cosine distances
after it; a coreset instead of all tokens unless `coreset_ratio` is 1. `foreground: pca` is that paper's mask, with the
deviations that `gonogo.detectors.memory_bank.foreground` lists; it also keeps the background out of the bank, which the
authors leave in by default. Their rotated fit images are `fit.rotations: 8`, for any detector.
"""

import math
from collections.abc import Collection
from functools import partial
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor, nn

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.anomaly_map import image_score
from gonogo.detectors.backbones.patch_features import PatchFeatures
from gonogo.detectors.backbones.weights import weights_fact
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.detectors.memory_bank.distance import nearest_index, proximity
from gonogo.detectors.memory_bank.flat_index import FAISS_FROM, FlatIndex, has_faiss
from gonogo.detectors.memory_bank.foreground import Foreground, learn_foreground, widened
from gonogo.detectors.memory_bank.patch_stream import (
    BankCandidates,
    PatchStream,
    Plan,
    Reduction,
    from_other_images,
    merge_parts,
    places_of,
    plan_patches,
    select_from_part,
    selection_seconds,
)
from gonogo.detectors.options import PatchCoreOptions
from gonogo.detectors.parts import DistributedBatches, PartState
from gonogo.detectors.training.forecast import MB, Forecast, probe_images
from gonogo.errors import ConfigError, DataError

DEFAULT_CORESET_RATIO = 0.01
FOREGROUND_IMAGES = 100  # the most fit images, evenly spaced, that the foreground is learned from
MOST_SELECTED = 2_000_000  # patches that all parts on a cluster keep together; each keeps fewer where parts are many
LEAST_BANK = 100  # patches, or as many as the options want; a budget of memory that allows fewer is refused


class PatchCore(Detector):
    """Score: l2 distance of the most anomalous patch to its nearest patch in the bank; map: that of each patch.

    With `n_neighbors` above 1: the mean of the distances to so many nearest patches.
    """

    mean_: Tensor
    projection_: Tensor
    memory_bank_: Tensor
    covering_radius_: Tensor  # (), or (2,) after a selection in parts: the largest of a part, and that of the last one
    bank_places_: Tensor  # (m, 2) int32, as in `bank_places`
    foreground_axis_: Tensor
    foreground_band_: Tensor
    foreground_least_: Tensor
    foreground_test_: Tensor

    def __init__(self, options: PatchCoreOptions) -> None:
        """Build the backbone's architecture; `load_weights` brings its weights, or a saved model does."""
        super().__init__()
        self.options: PatchCoreOptions = options
        self.smoothing = options.smoothing
        self._index: FlatIndex | None = None
        self.patch_features: nn.Module = PatchFeatures(
            options.backbone, options.layers, self.image_size, neighbourhood=options.neighbourhood
        )
        projection = ("projection_",) if self._projects else ()
        masked = () if options.foreground == "none" else tuple(f"foreground_{field}_" for field in Foreground._fields)
        bank = ("memory_bank_", "bank_places_", "covering_radius_")
        for name in ("mean_", *projection, *bank, *masked):
            self.register_buffer(name, None)

    @torch.no_grad()
    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        self.load_weights()
        if self.options.foreground == "pca" and len(batches) > 0:
            every = math.ceil(len(batches) / FOREGROUND_IMAGES)
            if isinstance(batches, DistributedBatches):  # iterating would make the workers read every image
                some = [batches[number] for number in range(0, len(batches), every)]
            else:
                some = list(islice(batches, 0, None, every))
            foreground = learn_foreground([self.patch_features(batch) for batch in some])
            self.set_learned(**{f"foreground_{field}_": value for field, value in foreground._asdict().items()})
        reduction = Reduction(self.options.reduction, self.options.reduced_dims, seed, self.options.whitening)
        if isinstance(batches, DistributedBatches) and batches.n_parts > 1:
            candidates, n_select, n_cells = self._candidates_of_parts(batches, reduction, context.progress)
        else:
            candidates, n_select, n_cells = self._candidates(batches, reduction, context)
        coreset = greedy_coreset(
            candidates.patches,
            n_select,
            on_step=lambda done, total, radius: context.progress("coreset", done, total, {"covering_radius": radius}),
        )
        bank = candidates.patches[coreset.indices]
        if len(bank) < self.options.n_neighbors:
            raise DataError(
                f"fit.n_neighbors is {self.options.n_neighbors}, but the bank keeps {len(bank)} of "
                f"{len(candidates.patches)} patches; let it keep more or take fewer neighbours"
            )
        radii = [coreset.covering_radius] if candidates.radius is None else [candidates.radius, coreset.covering_radius]
        numbers = candidates.numbers[coreset.indices.cpu()].to(bank.device)
        mean, projection = candidates.mean, candidates.projection
        del candidates
        if projection is not None:
            self.set_learned(projection_=projection)
        self.set_learned(
            mean_=mean,
            memory_bank_=bank,
            bank_places_=places_of(numbers, n_cells),
            covering_radius_=torch.tensor(radii).squeeze(),
        )
        return self

    def _candidates(
        self, batches: Collection[Tensor], reduction: Reduction, context: FitContext
    ) -> tuple[BankCandidates, int, int]:
        """The patches that the bank is selected from, how many it takes, and the number of cells of an image.

        This process computes all of them.
        """
        stream: PatchStream | None = None
        n_cells = 0
        for number, batch in enumerate(batches, start=1):
            grid = self.patch_features(batch)
            features = grid.flatten(1, 2)  # (b, p, d)
            n_cells = features.shape[1]
            if stream is None:
                stream = PatchStream(
                    self._plan(len(batches) * len(features), features.shape[1], features.shape[2], context.room),
                    features,
                    reduction,
                    lambda done, total, radius: context.progress("parts", done, total, {"radius_of_parts": radius}),
                )
            stream.add(features, self._may_enter_bank(grid))
            context.progress("features", number, len(batches), {})
        if stream is None:
            raise DataError("fit.detector patchcore needs at least one fit image")
        plan, candidates = stream.plan, stream.finish()
        if context.room is not None:
            return candidates, min(plan.n_select, len(candidates.patches)), n_cells
        return candidates, self.bank_size(*candidates.patches.shape), n_cells

    def _candidates_of_parts(
        self, batches: DistributedBatches, reduction: Reduction, progress: Progress
    ) -> tuple[BankCandidates, int, int]:
        """The same, where workers compute the patches and select some of each part."""
        b, gh, gw, d = self.patch_features(batches[0]).shape
        most = self.bank_size(len(batches) * b * gh * gw, self.options.reduced_dims or d)
        keep = max(1, min(most, MOST_SELECTED // batches.n_parts))
        select = partial(self._select_from_part, keep=keep, reduction=reduction)
        candidates, n_patches = merge_parts(batches.map_parts(select, progress), reduction)
        n_select = min(self.bank_size(n_patches, candidates.patches.shape[1]), len(candidates.patches))
        return candidates, n_select, gh * gw

    @torch.no_grad()
    def _select_from_part(
        self, batches: Collection[Tensor], first: int, progress: Progress, *, keep: int, reduction: Reduction
    ) -> PartState:
        patches, numbers = [], []
        for number, batch in enumerate(batches):
            grid = self.patch_features(batch)
            features, wanted = grid.flatten(0, 2), self._may_enter_bank(grid)
            own = torch.arange(len(features)) + (first + number * len(batch)) * (len(features) // len(batch))
            patches.append(features if wanted is None else features[wanted.flatten()])
            numbers.append(own if wanted is None else own[wanted.flatten()])
            progress("features", number + 1, len(batches), {})
        return select_from_part(torch.cat(patches), torch.cat(numbers), reduction, keep)

    def _may_enter_bank(self, grid: Tensor) -> Tensor | None:
        """(b, gh * gw) bool: which patches of a grid (b, gh, gw, d) may enter the bank; None: all."""
        if self.options.foreground == "none":
            return None
        return (widened(self._foreground().weights(grid)) > 0).flatten(1)

    def _foreground(self) -> Foreground:
        return Foreground(self.foreground_axis_, self.foreground_band_, self.foreground_least_, self.foreground_test_)

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        probe = probe_images(batches, self.patch_features)
        b, gh, gw, d = probe.shape
        n_patches = probe.n_batches * b * gh * gw
        plan = self._plan(probe.n_batches * b, gh * gw, d, context.room)
        wanted = self.bank_size(n_patches, self.options.reduced_dims or d)
        how = f"all {n_patches:,} patches at once, a bank of {plan.n_select:,}"
        if plan.part is not None:
            how = (
                f"{n_patches:,} patches in {plan.n_parts:,} parts, of which {plan.keep:,} each are kept, a bank of "
                f"{plan.n_select:,} of those"
            )
        if plan.n_select < wanted:
            how += f" instead of {wanted:,}"
        memory = max(plan.memory, plan.n_select * self._scoring_bytes(gh * gw, d))
        seconds = probe.all_seconds + selection_seconds(plan, self._dims_in_parts(d))
        if self.options.foreground == "pca":
            n_images = min(probe.n_batches, FOREGROUND_IMAGES)
            memory = max(memory, 3 * 4 * n_images * b * gh * gw * d)  # twice as it is, and centred
            seconds += n_images * probe.seconds
        return Forecast(memory, seconds, how)

    def _plan(self, n_images: int, p: int, d: int, room: int | None) -> Plan:
        """How the bank is selected from the p patches of d dimensions of each image, within `room` bytes.

        Raises:
            ConfigError: there is no room for a bank that is of use.
        """
        n_patches = n_images * p
        wanted = self.bank_size(n_patches, self.options.reduced_dims or d)
        n_select = wanted if room is None else min(wanted, room // self._scoring_bytes(p, d))
        plan = plan_patches(n_patches, d, n_select, room, d_in_parts=self._dims_in_parts(d))
        least = 0 if room is None else max(self.options.n_neighbors, min(wanted, LEAST_BANK))
        if plan is None or plan.n_select < least:
            raise ConfigError(
                f"fit.memory_budget_mb leaves {(room or 0) / MB:,.1f} MB for {n_patches:,} patches of {d} "
                f"dimensions, room for a bank of {plan.n_select if plan else 0:,}; the options want {wanted:,}, and "
                f"fewer than {least:,} would be of no use. Give it more, or take fewer fit images or a smaller "
                "fit.image_size"
            )
        return plan

    def _dims_in_parts(self, d: int) -> int:
        """Dimensions of a patch that is held in a part: principal components are known only after all parts."""
        return self.options.reduced_dims if self.options.reduction == "random" and self.options.reduced_dims else d

    def _scoring_bytes(self, p: int, d: int) -> int:
        """Bytes that each patch of the bank adds while an image of p patches is scored: distances and two copies."""
        return 4 * p + 3 * 4 * (self.options.reduced_dims or d)

    def bank_size(self, n_patches: int, d: int) -> int:
        """How many of `n_patches` patches of `d` dimensions the bank is to keep."""
        if self.options.bank_mb is not None:
            patch_bytes = 4 * d + 8  # its features, and its place
            affordable = int(self.options.bank_mb * MB) // patch_bytes
            if affordable < 2:
                raise ConfigError(
                    f"fit.bank_mb is {self.options.bank_mb:g}; a patch takes {patch_bytes} bytes, and a bank needs two "
                    "of them"
                )
            return min(affordable, n_patches)
        if self.options.bank_patches is not None:
            return min(self.options.bank_patches, n_patches)
        return max(2, math.ceil((self.options.coreset_ratio or DEFAULT_CORESET_RATIO) * n_patches))

    def _reduced(self, features: Tensor) -> Tensor:
        """(n, p, d): the patches of features (n, gh, gw, d), centred and reduced as those of the bank."""
        patches = features.flatten(1, 2) - self.mean_
        return patches @ self.projection_ if self._projects else patches

    @property
    def _projects(self) -> bool:
        """Whether patches go through a matrix before the bank."""
        return self.options.reduction != "none" or self.options.whitening > 0

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        score, grid, _ = self.score_with_nearest(pixels)
        return score, grid

    def score_with_nearest(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.require_fitted()
        features = self.patch_features(pixels)  # (n, gh, gw, d)
        patches = self._reduced(features)  # (n, p, d)
        distance, index = self._distances(patches, self.memory_bank_)
        if self.options.foreground == "pca":
            distance = distance * self._foreground().weights(features).flatten(1)
        grid, nearest = distance.view(features.shape[:3]), index.view(features.shape[:3])
        return image_score(grid, self.options.top_share), grid, nearest

    def bank_places(self) -> Tensor:
        self.require_fitted()
        return self.bank_places_

    def distance_to(self, pixels: Tensor, entries: Tensor) -> Tensor:
        patches = self._reduced(self.patch_features(pixels)).view(*entries.shape, -1)
        distance: Tensor = (patches - self.memory_bank_[entries]).norm(dim=3)
        return distance

    def score_without(self, pixels: Tensor, part_images: range) -> tuple[Tensor, Tensor]:
        """Distances to the bank's patches of other parts.

        If those are fewer than `n_neighbors`, the whole bank is used.
        """
        self.require_fitted()
        features = self.patch_features(pixels)
        others = self.memory_bank_[from_other_images(self.bank_places_, part_images)]
        bank = others if len(others) >= self.options.n_neighbors else self.memory_bank_
        distance, _ = self._distances(self._reduced(features), bank)
        if self.options.foreground == "pca":
            distance = distance * self._foreground().weights(features).flatten(1)
        grid = distance.view(features.shape[:3])
        return image_score(grid, self.options.top_share), grid

    def require_growing(self) -> None:
        """Refuse a bank with a limit of its own.

        With every other option, no further entry raises a score: the mean of the smallest distances and that of the
        most anomalous patches keep the order, and the weights of the foreground are those of the image and of the fit.
        """
        for name in ("bank_patches", "bank_mb"):
            if (limit := getattr(self.options, name)) is not None:
                raise ConfigError(
                    f"fit.{name} is {limit:g} and bounds the memory bank, which a bank that grows would exceed; set "
                    "fit.coreset_ratio in its place, or do not let it grow"
                )

    @torch.no_grad()
    def grow(self, batches: Collection[Tensor], first: int, *, progress: Progress = no_progress) -> Self:
        """Add the share `coreset_ratio` of the patches, each the one farthest from the bank and those added before it.

        The covering radius is then that of the patches of all images.
        """
        self.require_fitted()
        self.require_growing()
        n_bank, n_images, n_cells = len(self.memory_bank_), first, 0
        patches, numbers = [self.memory_bank_], []
        for number, batch in enumerate(batches, start=1):
            grid = self.patch_features(batch)
            features, wanted = self._reduced(grid).flatten(0, 1), self._may_enter_bank(grid)
            n_cells = grid.shape[1] * grid.shape[2]
            own = torch.arange(len(features)) + n_images * n_cells
            n_images += len(grid)
            patches.append(features if wanted is None else features[wanted.flatten()])
            numbers.append(own if wanted is None else own[wanted.flatten()])
            progress("features", number, len(batches), {})
        candidates = torch.cat(patches)
        n_new = len(candidates) - n_bank
        if n_new == 0:
            raise DataError("no patch of a calibrate image is left to let the bank grow by; check fit.foreground")
        n_added = min(n_new, self.bank_size(n_new, candidates.shape[1]))
        coreset = greedy_coreset(candidates, n_bank + n_added, chosen=n_bank)
        added = coreset.indices[n_bank:]
        places = places_of(torch.cat(numbers)[added.cpu() - n_bank], n_cells).to(self.bank_places_)
        self.set_learned(
            memory_bank_=torch.cat([self.memory_bank_, candidates[added]]),
            bank_places_=torch.cat([self.bank_places_, places]),
        )
        if coreset.covering_radius > self.covering_radius_.sum():
            self.set_learned(covering_radius_=torch.tensor(coreset.covering_radius))
        return self

    def leaves_out_exactly(self) -> bool:
        """Where every patch is kept, and nothing that distances are measured in depends on the fit images.

        Their mean does, but no centre changes a distance.
        """
        frozen = self.options.whitening == 0 and self.options.reduction != "pca" and self.options.foreground == "none"
        return frozen and self.options.coreset_ratio == 1

    def _distances(self, patches: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
        """(n, p) l2 distances of patches (n, p, d) to a bank (m, d), and the index of the nearest."""
        # Computed again as a difference: near zero, the product in `nearest_index` has no correct digit.
        if self.options.n_neighbors == 1:
            index = self._nearest(patches, bank)  # (n, p)
            return (patches - bank[index]).norm(dim=2), index
        indices = proximity(patches, bank).topk(self.options.n_neighbors, dim=2).indices  # (n, p, k)
        return (patches[:, :, None] - bank[indices]).norm(dim=3).mean(dim=2), indices[:, :, 0]

    def _nearest(self, patches: Tensor, bank: Tensor) -> Tensor:
        """As `nearest_index`; for the whole of a large bank, in Python on a CPU and with FAISS installed, by FAISS."""
        traced = torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting()
        large = bank is self.memory_bank_ and len(bank) >= FAISS_FROM and bank.device.type == "cpu"
        if traced or not large or not has_faiss():
            return nearest_index(patches, bank)
        if self._index is None or self._index.bank is not bank:
            self._index = FlatIndex(bank)
        return self._index.nearest(patches)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which makes an index of its own at the first score."""
        return self.__dict__ | {"_index": None}

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        selected_at_once = self.covering_radius_.ndim == 0
        facts: dict[str, str | int | float] = {
            "weights": weights_fact(self.options.weights),
            "bank_patches": len(self.memory_bank_),
            "covering_radius" if selected_at_once else "covering_radius_at_most": float(self.covering_radius_.sum()),
        }
        return facts | (self._foreground().fit_facts() if self.options.foreground == "pca" else {})
