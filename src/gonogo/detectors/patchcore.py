"""PatchCore: distance of an image's patches to a small memory bank of good patches.

Source: Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection" (CVPR).
Deviations: features are concatenated as they are, without the authors' adaptive pooling to 1,024 dimensions; the
coreset is the exact greedy one, and is chosen among the features that the bank keeps: in full dimension, or with a
`reduction` in the reduced one, where the authors project for the choice alone and keep the bank in full; neighbours
are exact. The bank is centred by its mean, which changes no distance and costs fewer digits in single precision.
With `n_neighbors` above 1 the mean distance to so many neighbours is taken, as by `anomaly_scorer_num_nn` of the
authors' code (amazon-science/patchcore-inspection), for score and map alike.

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
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.backbones.backbone import LITE0
from gonogo.detectors.backbones.patch_features import PatchFeatures
from gonogo.detectors.contract import Detector
from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.detectors.memory_bank.foreground import Foreground, learn_foreground, widened
from gonogo.detectors.memory_bank.patch_stream import (
    PatchStream,
    Plan,
    Reduction,
    ReductionKind,
    Taken,
    merge_parts,
    plan_patches,
    select_from_part,
    selection_seconds,
)
from gonogo.detectors.parts import InParts, PartState
from gonogo.detectors.training.forecast import MB, Forecast, probe_images
from gonogo.errors import ConfigError, DataError

DEFAULT_CORESET_RATIO = 0.01
FOREGROUND_IMAGES = 100  # at most so many fit images, evenly spaced, say what the foreground is
MOST_LEFT = 2_000_000  # patches that parts looked at by others leave in all; each leaves fewer where they are many
LEAST_BANK = 100  # patches, or those asked for; a budget of memory that allows fewer is refused
_BLOCK = 64  # patches of the bank whose largest proximity is taken together
_CHUNK_BYTES = 64 << 20  # of the distances within the bank that are looked at together


class PatchCore(Detector):
    """Score: l2 distance of the most anomalous patch to its nearest patch in the bank; map: that of each patch.

    With `n_neighbors` above 1: the mean of the distances to so many nearest patches.
    """

    mean_: Tensor
    projection_: Tensor
    memory_bank_: Tensor
    bank_neighbours_: Tensor
    covering_radius_: Tensor  # (), or (2,) where parts passed by: theirs, and that of the last choice
    bank_places_: Tensor  # (m, 2) int32: as `places` gives them
    foreground_axis_: Tensor
    foreground_band_: Tensor
    foreground_least_: Tensor
    foreground_test_: Tensor

    def __init__(
        self,
        *,
        backbone: str = LITE0,
        layers: Annotated[list[int], Field(min_length=1)] = [2, 3],  # noqa: B006  read, never changed
        weights: str = "pretrained",
        weights_sha256: str | None = None,
        image_size: Annotated[int, Field(ge=32)] = 256,
        coreset_ratio: Annotated[float, Field(gt=0, le=1)] | None = None,
        bank_patches: Annotated[int, Field(ge=2)] | None = None,
        bank_mb: Annotated[float, Field(gt=0)] | None = None,
        n_neighbors: Annotated[int, Field(ge=1)] = 1,
        reduction: ReductionKind = "none",
        reduced_dims: Annotated[int, Field(ge=1)] | None = None,
        neighbourhood: Literal[1, 3, 5] = 3,
        top_share: Annotated[float, Field(ge=0, le=1)] = 0.0,
        foreground: Literal["none", "pca"] = "none",
        reweight: bool = False,
        n_reweight: Annotated[int, Field(ge=2)] = 9,
        smoothing: Annotated[float, Field(ge=0)] = 4.0,
    ) -> None:
        """Build the backbone's architecture; `fit` loads its weights, a saved model brings them.

        Args:
            backbone: timm's name. `layers`, `weights` and `weights_sha256` as in `Backbone`.
            image_size: pixels are resized to (image_size, image_size).
            coreset_ratio: share of the fit images' patches that the memory bank keeps; DEFAULT_CORESET_RATIO where
                neither it nor `bank_patches` nor `bank_mb` is set.
            bank_patches: how many patches the bank keeps, or all if there are fewer.
            bank_mb: megabytes (1e6 bytes) that the bank and its list of neighbours may take in the model.
            n_neighbors: the bank's nearest patches whose mean distance is taken.
            reduction: what the features go through before the bank: random, a Gaussian projection that keeps squared
                distances in expectation (Johnson and Lindenstrauss 1984; Dasgupta and Gupta 2003); pca, the principal
                components of the fit images' patches.
            reduced_dims: dimensions that are left after a reduction.
            neighbourhood: side of the square of a layer's cells that a patch is the average of; 1 for tokens of a
                vision transformer, which have seen their surroundings.
            top_share: share of an image's patches, the most anomalous ones, whose mean is its score; 0: the worst one.
            foreground: pca, patches that do not show the part have distance 0 and are not in the bank, but for a ring
                of one cell around it; a masking test on the fit images says whether there is a part to be told from
                its background, and without one the option changes nothing. none, all patches count.
            reweight: the paper's equation 7, which lowers the score where the bank is sparse.
            n_reweight: the bank's patches around the nearest one that equation 7 looks at.
            smoothing: Gaussian sigma of the map, in pixels at `image_size`.

        Raises:
            ConfigError: the bank's size is set twice, one of `reduction` and `reduced_dims` without the other, or
                `top_share` and `reweight` together.
        """
        super().__init__()
        self.image_size = image_size
        self.smoothing = smoothing
        sizes = {"coreset_ratio": coreset_ratio, "bank_patches": bank_patches, "bank_mb": bank_mb}
        given = [f"fit.{name}" for name, value in sizes.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} each set the bank's size; keep one and set the others to null")
        if (reduction == "none") != (reduced_dims is None):
            raise ConfigError(
                f"fit.reduction is {reduction!r} and fit.reduced_dims is {reduced_dims}; random and pca need a number "
                "of dimensions, none takes null"
            )
        if reweight and top_share > 0:
            raise ConfigError(
                f"fit.reweight is true and fit.top_share is {top_share:g}; equation 7 weighs the worst patch alone, so "
                "set one of them to its default"
            )
        self.top_share = top_share
        self.foreground = foreground
        self.coreset_ratio = coreset_ratio
        self.bank_patches = bank_patches
        self.bank_mb = bank_mb
        self.n_neighbors = n_neighbors
        self.reduction = reduction
        self.reduced_dims = reduced_dims
        self.reweight = reweight
        self.n_reweight = n_reweight
        self.weights = weights
        self.weights_sha256 = weights_sha256
        self.patch_features = PatchFeatures(backbone, layers, image_size, neighbourhood=neighbourhood)
        projection = () if reduction == "none" else ("projection_",)
        masked = () if foreground == "none" else tuple(f"foreground_{field}_" for field in Foreground._fields)
        bank = ("memory_bank_", "bank_places_", "bank_neighbours_", "covering_radius_")
        for name in ("mean_", *projection, *bank, *masked):
            self.register_buffer(name, None)

    @torch.no_grad()
    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        self.patch_features.load(self.weights, self.weights_sha256)
        if self.foreground == "pca" and len(batches) > 0:
            every = math.ceil(len(batches) / FOREGROUND_IMAGES)
            if isinstance(batches, InParts):  # iterating would have others read every image
                some = [batches[number] for number in range(0, len(batches), every)]
            else:
                some = list(islice(batches, 0, None, every))
            foreground = learn_foreground([self.patch_features(batch) for batch in some])
            self.learn(**{f"foreground_{field}_": value for field, value in foreground._asdict().items()})
        reduction = Reduction(self.reduction, self.reduced_dims, seed)
        if isinstance(batches, InParts) and batches.n_parts > 1:
            taken, n_select, n_cells = self._put_together(batches, reduction, progress)
        else:
            taken, n_select, n_cells = self._gathered(batches, reduction, progress)
        n_patches = len(taken.patches)
        coreset = greedy_coreset(
            taken.patches,
            n_select,
            first=int(torch.randint(n_patches, (), generator=torch.Generator().manual_seed(seed))),
            on_step=lambda done, total, radius: progress("coreset", done, total, {"covering_radius": radius}),
        )
        bank = taken.patches[coreset.indices]
        if len(bank) < self.n_neighbors:
            raise DataError(
                f"fit.n_neighbors is {self.n_neighbors}, but the bank keeps {len(bank)} of {n_patches} patches; "
                "let it keep more or look at fewer neighbours"
            )
        radii = [coreset.covering_radius] if taken.radius is None else [taken.radius, coreset.covering_radius]
        numbers = taken.numbers[coreset.indices.cpu()].to(bank.device)
        mean, projection = taken.mean, taken.projection
        del taken  # before the neighbours
        if projection is not None:
            self.learn(projection_=projection)
        self.learn(
            mean_=mean,
            memory_bank_=bank,
            bank_places_=places_of(numbers, n_cells),
            bank_neighbours_=bank_neighbours(bank, min(self.n_reweight, len(bank))),
            covering_radius_=torch.tensor(radii).squeeze(),
        )
        return self

    def _gathered(
        self, batches: Collection[Tensor], reduction: Reduction, progress: Progress
    ) -> tuple[Taken, int, int]:
        """The patches among which the bank is chosen, how many it takes, and how many an image has.

        This process looks at all of them.
        """
        stream: PatchStream | None = None
        n_cells = 0
        for number, batch in enumerate(batches, start=1):
            grid = self.patch_features(batch)
            features = grid.flatten(1, 2)  # (b, p, d)
            n_cells = features.shape[1]
            if stream is None:
                stream = PatchStream(
                    self._plan(len(batches) * len(features), *features.shape[1:]),
                    features,
                    reduction,
                    lambda done, total, radius: progress("parts", done, total, {"radius_of_parts": radius}),
                )
            stream.add(features, self._for_the_bank(grid))
            progress("features", number, len(batches), {})
        if stream is None:
            raise DataError("fit.detector patchcore needs at least one fit image")
        plan, taken = stream.plan, stream.finish()
        if self.room is not None:
            return taken, min(plan.n_select, len(taken.patches)), n_cells
        return taken, self._bank_size(*taken.patches.shape), n_cells

    def _put_together(self, batches: InParts, reduction: Reduction, progress: Progress) -> tuple[Taken, int, int]:
        """As `_gathered`, where others look at the images and choose patches of each part."""
        b, gh, gw, d = self.patch_features(batches[0]).shape
        most = self._bank_size(len(batches) * b * gh * gw, self.reduced_dims or d)
        look = partial(self._look, keep=max(1, min(most, MOST_LEFT // batches.n_parts)), reduction=reduction)
        taken, n_patches = merge_parts(batches.look(look, progress), reduction)
        return taken, min(self._bank_size(n_patches, taken.patches.shape[1]), len(taken.patches)), gh * gw

    @torch.no_grad()
    def _look(
        self, batches: Collection[Tensor], first: int, progress: Progress, *, keep: int, reduction: Reduction
    ) -> PartState:
        patches, numbers = [], []
        for number, batch in enumerate(batches):
            grid = self.patch_features(batch)
            features, wanted = grid.flatten(0, 2), self._for_the_bank(grid)
            own = torch.arange(len(features)) + (first + number * len(batch)) * (len(features) // len(batch))
            patches.append(features if wanted is None else features[wanted.flatten()])
            numbers.append(own if wanted is None else own[wanted.flatten()])
            progress("features", number + 1, len(batches), {})
        return select_from_part(torch.cat(patches), torch.cat(numbers), reduction, keep)

    def _for_the_bank(self, grid: Tensor) -> Tensor | None:
        """(b, gh * gw) bool: which patches of a grid (b, gh, gw, d) may enter the bank; None: all."""
        if self.foreground == "none":
            return None
        return (widened(self._foreground().weights(grid)) > 0).flatten(1)

    def _foreground(self) -> Foreground:
        return Foreground(self.foreground_axis_, self.foreground_band_, self.foreground_least_, self.foreground_test_)

    def forecast(self, batches: Collection[Tensor]) -> Forecast:
        tried = probe_images(batches, self.patch_features)
        b, gh, gw, d = tried.shape
        n_patches = tried.n_batches * b * gh * gw
        plan = self._plan(tried.n_batches * b, gh * gw, d)
        wanted = self._bank_size(n_patches, self.reduced_dims or d)
        how = f"all {n_patches:,} patches at once, a bank of {plan.n_select:,}"
        if plan.part is not None:
            how = (
                f"{n_patches:,} patches in {plan.n_parts:,} parts that leave {plan.keep:,} each, a bank of "
                f"{plan.n_select:,} of those"
            )
        if plan.n_select < wanted:
            how += f" instead of {wanted:,}"
        memory = max(plan.memory, plan.n_select * self._scoring_bytes(gh * gw, d))
        seconds = tried.all_seconds + selection_seconds(plan, self._dims_in_parts(d))
        if self.foreground == "pca":
            looked_at = min(tried.n_batches, FOREGROUND_IMAGES)
            memory = max(memory, 3 * 4 * looked_at * b * gh * gw * d)  # twice as it is, and centred
            seconds += looked_at * tried.seconds
        return Forecast(memory, seconds, how)

    def _plan(self, n_images: int, p: int, d: int) -> Plan:
        """How the bank is chosen from the p patches of d dimensions of each image, within the room that there is.

        Raises:
            ConfigError: there is no room for a bank that is of use.
        """
        n_patches = n_images * p
        wanted = self._bank_size(n_patches, self.reduced_dims or d)
        n_select = wanted if self.room is None else min(wanted, self.room // self._scoring_bytes(p, d))
        plan = plan_patches(n_patches, d, n_select, self.room, d_in_parts=self._dims_in_parts(d))
        least = 0 if self.room is None else max(self.n_neighbors, min(wanted, LEAST_BANK))
        if plan is None or plan.n_select < least:
            raise ConfigError(
                f"fit.memory_budget_mb leaves {(self.room or 0) / MB:,.1f} MB for {n_patches:,} patches of {d} "
                f"dimensions, room for a bank of {plan.n_select if plan else 0:,}; {wanted:,} were asked for, and "
                f"fewer than {least:,} would be of no use. Give it more, or take fewer fit images or a smaller "
                "fit.image_size"
            )
        return plan

    def _dims_in_parts(self, d: int) -> int:
        """Dimensions of a patch while it waits: principal components are known after all have passed."""
        return self.reduced_dims if self.reduction == "random" and self.reduced_dims else d

    def _scoring_bytes(self, p: int, d: int) -> int:
        """What each patch of the bank adds while an image of p patches is scored: distances, and two copies of it."""
        return 4 * p + 3 * 4 * (self.reduced_dims or d)

    def _bank_size(self, n_patches: int, d: int) -> int:
        """How many of `n_patches` patches of `d` dimensions the bank is to keep."""
        if self.bank_mb is not None:
            patch_bytes = 4 * d + 8 * self.n_reweight + 8  # its features, its neighbours' indices, its own place
            affordable = int(self.bank_mb * MB) // patch_bytes
            if affordable < 2:
                raise ConfigError(
                    f"fit.bank_mb is {self.bank_mb:g}; a patch takes {patch_bytes} bytes, and a bank needs two"
                )
            return min(affordable, n_patches)
        if self.bank_patches is not None:
            return min(self.bank_patches, n_patches)
        return max(2, math.ceil((self.coreset_ratio or DEFAULT_CORESET_RATIO) * n_patches))

    def _reduced(self, features: Tensor) -> Tensor:
        """(n, p, d): the patches of features (n, gh, gw, d) as the bank knows them."""
        patches = features.flatten(1, 2) - self.mean_
        return patches if self.reduced_dims is None else patches @ self.projection_

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        score, grid, _ = self.matched(pixels)
        return score, grid

    def matched(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.require_fitted()
        features = self.patch_features(pixels)  # (n, gh, gw, d)
        patches = self._reduced(features)  # (n, p, d)
        distance, index = self._distances(patches, self.memory_bank_)
        if self.foreground == "pca":
            distance = distance * self._foreground().weights(features).flatten(1)
        grid, nearest = distance.view(features.shape[:3]), index.view(features.shape[:3])
        if self.top_share > 0:
            return self._mean_of_worst(distance), grid, nearest
        score, worst = distance.max(dim=1)
        if self.reweight:
            score = score * self._weight(patches, index, worst)
        return score, grid, nearest

    def places(self) -> Tensor:
        self.require_fitted()
        return self.bank_places_

    def distance_to(self, pixels: Tensor, entries: Tensor) -> Tensor:
        patches = self._reduced(self.patch_features(pixels)).view(*entries.shape, -1)
        distance: Tensor = (patches - self.memory_bank_[entries]).norm(dim=3)
        return distance

    def left_out(self, pixels: Tensor, own: range) -> tuple[Tensor, Tensor]:
        """The distances to patches of the bank that come from other parts, without equation 7.

        Where fewer than `n_neighbors` do, the bank is left whole.
        """
        self.require_fitted()
        features = self.patch_features(pixels)
        others = self.memory_bank_[not_of(self.bank_places_, own)]
        bank = others if len(others) >= self.n_neighbors else self.memory_bank_
        distance, _ = self._distances(self._reduced(features), bank)
        if self.foreground == "pca":
            distance = distance * self._foreground().weights(features).flatten(1)
        score = self._mean_of_worst(distance) if self.top_share > 0 else distance.amax(dim=1)
        return score, distance.view(features.shape[:3])

    def _distances(self, patches: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
        """(n, p) l2 distances of patches (n, p, d) to a bank (m, d), and the index of the nearest."""
        # Measured again as a difference: near zero, the product's rounding would be all that is left of it.
        if self.n_neighbors == 1:
            index = nearest_index(patches, bank)  # (n, p)
            return (patches - bank[index]).norm(dim=2), index
        indices = proximity(patches, bank).topk(self.n_neighbors, dim=2).indices  # (n, p, k)
        return (patches[:, :, None] - bank[indices]).norm(dim=3).mean(dim=2), indices[:, :, 0]

    def _mean_of_worst(self, distance: Tensor) -> Tensor:
        n_top = max(1, int(self.top_share * distance.shape[1]))
        return distance.topk(n_top, dim=1).values.mean(dim=1)

    def _weight(self, patches: Tensor, index: Tensor, worst: Tensor) -> Tensor:
        """Equation 7: 1 - softmax of the distances from the worst patch to its match and the match's neighbours."""
        patch = patches.gather(1, worst.view(-1, 1, 1).expand(-1, 1, patches.shape[2]))  # (n, 1, d)
        match = index.gather(1, worst[:, None])[:, 0]  # (n,)
        around = self.memory_bank_[self.bank_neighbours_[match]]  # (n, k, d); the match itself comes first
        share: Tensor = (patch - around).norm(dim=2).softmax(dim=1)[:, 0]
        return 1 - share

    def facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        chosen_at_once = self.covering_radius_.ndim == 0
        facts: dict[str, str | int | float] = {
            "weights": self.weights if self.weights in ("pretrained", "random") else "file",
            "bank_patches": len(self.memory_bank_),
            "covering_radius" if chosen_at_once else "covering_radius_at_most": float(self.covering_radius_.sum()),
        }
        return facts | (self._foreground().facts() if self.foreground == "pca" else {})


def places_of(numbers: Tensor, n_cells: int) -> Tensor:
    """(m, 2) int32 of numbers (m,) among all patches: that of the image, and that of the cell among its `n_cells`."""
    return torch.stack([numbers // n_cells, numbers % n_cells], dim=1).int()


def not_of(places: Tensor, own: range) -> Tensor:
    """(m,) bool: the entries with `places` (m, 2) that are of other images than those with the numbers `own`."""
    return (places[:, 0] < own.start) | (places[:, 0] >= own.stop)


def bank_neighbours(bank: Tensor, n_neighbors: int) -> Tensor:
    """(m, k) indices of the patches of a bank (m, d) that are nearest to each of its patches, itself included."""
    rows = max(1, _CHUNK_BYTES // (4 * len(bank)))
    return torch.cat([proximity(some, bank).topk(n_neighbors, dim=1).indices for some in torch.split(bank, rows)])


def nearest_index(rows: Tensor, bank: Tensor, weights: Tensor | None = None) -> Tensor:
    """(n, p) index of the patch of a bank (m, d) that is nearest to each of rows (n, p, d); of equals the first.

    With weights (m,) it is the one whose distance times its weight is smallest.

    What an argmax over the bank gives, in two steps: the largest proximity of each block of the bank, a plain maximum
    that runtimes compute many times faster than they say where it lies, and then where it lies in the best block.
    """
    closeness = proximity(rows, bank, weights, multiple=_BLOCK)
    blocks = closeness.view(-1, closeness.shape[2] // _BLOCK, _BLOCK)  # (n * p, m / _BLOCK, _BLOCK)
    best = blocks.amax(dim=2).argmax(dim=1)
    place = torch.arange(best.shape[0], device=best.device) * blocks.shape[1] + best
    within = F.embedding(place, blocks.flatten(0, 1)).argmax(dim=1)
    index: Tensor = best * _BLOCK + within
    return index.view(closeness.shape[:2])


def proximity(rows: Tensor, bank: Tensor, weights: Tensor | None = None, *, multiple: int = 1) -> Tensor:
    """(..., p, m): half the negative squared l2 distance of rows (..., p, d) to bank (m, d), plus a constant per row.

    One matrix product, norms included; enough to say which patch of the bank is nearest. With weights (m,) that the
    distances are multiplied by, there is no such constant. Columns of -inf make m a multiple of `multiple`.
    """
    missing = (0, 0, 0, -len(bank) % multiple)
    half_norms = F.pad(0.5 * bank.square().sum(dim=1, keepdim=True), missing, value=math.inf)
    columns, terms = torch.cat([F.pad(bank, missing), -half_norms], dim=1), F.pad(rows, (0, 1), value=1.0)
    if weights is not None:
        columns = F.pad(weights.square()[:, None], missing, value=1.0) * F.pad(columns, (0, 1), value=-1.0)
        terms = torch.cat([terms, 0.5 * rows.square().sum(dim=-1, keepdim=True)], dim=-1)
    return terms @ columns.T
