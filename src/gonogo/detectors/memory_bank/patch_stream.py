"""The patches of all fit images, or of more images than memory holds: then some are selected from each part.

`PatchStream` takes one part after the other in this process. On a cluster, workers call `select_from_part` for each
part, and `merge_parts` brings their selections together.

Source: Malkomes et al. 2015, "Fast Distributed k-Center Clustering with Outliers on Massive Data" (NIPS), algorithm 1,
with the parts one after the other: the greedy choice of k among the greedy choices of k from each part covers all
patches within four times the least radius that any k centres have, where one greedy choice among all of them promises
twice. Deviation: fewer than k are selected from a part where memory is short, and that factor is then not promised. The
bound given with the result always holds: no patch is farther from the last selection than the largest covering radius
of a part and that of the last selection together.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.detectors.options import ReductionKind
from gonogo.detectors.parts import PartState
from gonogo.errors import ConfigError, DataError

LEAST_VARIANCE = 1e-6  # of an axis, as a share of the largest one, when it is divided by a power of it


@dataclass(frozen=True)
class Plan:
    """How `n_select` of `n_patches` are selected.

    part: patches that are held before some of them are selected; None: all, and one exact selection.
    keep: patches that are kept of each part.
    memory: bytes at the peak.
    """

    n_patches: int
    n_select: int
    part: int | None
    keep: int
    memory: int

    @property
    def n_parts(self) -> int:
        """The number of parts; with 1 there is one exact selection."""
        return 1 if self.part is None else math.ceil(self.n_patches / self.part)

    @property
    def n_left(self) -> int:
        """The number of patches that the last selection is made from."""
        return self.n_patches if self.part is None else min(self.n_patches, self.n_parts * self.keep)


def selection_bytes(n_patches: int, d: int) -> int:
    """Memory that selecting from (n, d) patches needs at its peak, with the patches and the centred copy of them."""
    return n_patches * (8 * d + 64)


def plan_patches(n_patches: int, d: int, n_select: int, room: int | None, *, d_in_parts: int) -> Plan | None:
    """The plan that keeps `room` bytes: all at once if it can, else in parts; None if neither can.

    In parts, half of the room is for the current part and half for the patches kept of earlier ones. If those are fewer
    than `n_select`, the plan selects fewer.

    Args:
        d: dimensions of a patch where all are held.
        d_in_parts: that of a patch where parts are held.
    """
    at_once = selection_bytes(n_patches, d)
    if room is None or at_once <= room:
        return Plan(n_patches, n_select, None, n_select, at_once)
    bytes_left = 4 * d_in_parts + 8  # of a patch, with its number
    part = room // 2 // selection_bytes(1, d_in_parts)
    if part < 1:
        return None
    most_left = min(
        room // 2 // bytes_left, room // selection_bytes(1, d_in_parts)
    )  # of which the last selection is made
    n_parts = math.ceil(n_patches / part)
    keep = min(n_select, part, most_left // n_parts)
    if keep < 1:
        return None
    n_left = min(n_patches, n_parts * keep)
    memory = max(selection_bytes(part, d_in_parts) + n_left * bytes_left, selection_bytes(n_left, d_in_parts))
    return Plan(n_patches, min(n_select, n_left), part, keep, memory)


def selection_seconds(plan: Plan, d: int) -> float:
    """An estimate of the plan's selections on this machine, from a small one of patches of d dimensions."""
    rows = torch.randn(1 << 14, d, generator=torch.Generator().manual_seed(0))
    n_select = 1 << 8
    start = time.perf_counter()
    greedy_coreset(rows, n_select)
    seconds = (time.perf_counter() - start) / (len(rows) * n_select)  # for one distance
    in_parts = 0 if plan.part is None else plan.n_patches * plan.keep
    return seconds * (in_parts + plan.n_left * plan.n_select)


@dataclass(frozen=True)
class Reduction:
    """What patches go through before the bank: nothing, a Gaussian projection drawn by `seed`, or their principal axes.

    kind: random, pca for `dims` axes, or none.
    whitening: power of their standard deviation that the axes are divided by; with `none` above 0, of all axes.
    """

    kind: ReductionKind
    dims: int | None
    seed: int
    whitening: float = 0.0

    @property
    def by_axes(self) -> bool:
        """Whether the principal axes of all patches are needed."""
        return self.kind == "pca" or self.whitening > 0

    def random(self, d: int) -> Tensor:
        """(d, dims), which keeps squared distances in expectation."""
        assert self.dims is not None
        gaussian = torch.randn(d, self.dims, generator=torch.Generator().manual_seed(self.seed))
        return gaussian / math.sqrt(self.dims)

    def axes(self, scatter: Tensor, n_patches: int) -> Tensor:
        """(d, dims) principal axes of the scatter (d, d) of patches about their mean, divided as `whitening` says.

        Variances are shrunk towards their mean, by the share d / (n + d), so that no axis is blown up that too few
        patches determine (the idea of Ledoit and Wolf 2004). The axes are scaled together so that the variance of the
        patches in all directions stays what it was, and so the unit of a distance.

        Raises:
            ConfigError: there are not so many components.
        """
        d = len(scatter)
        if self.kind == "pca" and (self.dims is None or self.dims > min(n_patches, d)):
            raise ConfigError(
                f"fit.reduced_dims is {self.dims}; {n_patches} patches of {d} dimensions have {min(n_patches, d)} "
                "components"
            )
        decomposed = torch.linalg.eigh(scatter.double() / n_patches)  # the largest variance comes last
        variances, axes = decomposed.eigenvalues, decomposed.eigenvectors[:, -(self.dims or d) :].flip(1)
        if self.whitening > 0:
            shrinkage = d / (n_patches + d)
            shrunk = (1 - shrinkage) * variances + shrinkage * variances.mean()
            if variances[-1] > 0:  # otherwise all patches are equal
                kept = variances[-(self.dims or d) :].clamp(min=0).flip(0)
                of_kept = shrunk[-(self.dims or d) :].clamp(min=float(shrunk[-1]) * LEAST_VARIANCE).flip(0)
                scales = of_kept ** (-self.whitening / 2)
                axes = axes * scales * (kept.sum() / (kept * scales**2).sum()).sqrt()
        projection: Tensor = axes.float().contiguous()
        return projection


@dataclass(frozen=True)
class BankCandidates:
    """The patches that the memory bank is selected from.

    patches: (n, d) float32, less `mean`, and reduced.
    numbers: (n,) int64, of each among all patches of all images, counted from 0; p of them are of one image.
    mean: (d_before,), near the mean of all patches, and exactly that where all were held.
    projection: (d_before, d); None without a reduction.
    radius: the largest covering radius of a part, in the unit of `patches`; None where all were held.
    """

    patches: Tensor
    numbers: Tensor
    mean: Tensor
    projection: Tensor | None
    radius: float | None


def select_from_part(patches: Tensor, numbers: Tensor, reduction: Reduction, keep: int) -> PartState:
    """Select `keep` of a part's patches (n, d), whose numbers are (n,); with them, sums over all patches of the part.

    Nothing about other parts is known here, so that the patches are not centred and have no principal components yet.
    """
    n, d = patches.shape
    held = patches @ reduction.random(d).to(patches.device) if reduction.kind == "random" else patches
    precise = patches.double()
    total = precise.sum(dim=0)
    found = {"n": torch.tensor(n), "sum": total}
    if reduction.by_axes:
        away = precise - total / max(n, 1)
        found["scatter"] = away.T @ away
    indices, radius = torch.arange(0), 0.0
    if n:
        coreset = greedy_coreset(held, min(keep, n))
        indices, radius = coreset.indices, coreset.covering_radius
    return found | {"patches": held[indices], "numbers": numbers[indices], "radius": torch.tensor(radius)}


def merge_parts(parts: Iterable[PartState], reduction: Reduction) -> tuple[BankCandidates, int]:
    """The patches selected from all parts, with the largest covering radius of a part; and the number of all patches.

    Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1, for the scatter.
    """
    left: list[PartState] = []
    n, mean, scatter = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        n_part = int(part["n"])
        if n_part == 0:
            continue
        away = part["sum"] / n_part - mean
        if reduction.by_axes:
            scatter = scatter + part.pop("scatter") + n * n_part / (n + n_part) * torch.outer(away, away)
        n += n_part
        mean = mean + n_part / n * away
        left.append(part)
    if not left:
        raise DataError("no patch of a fit image is left to select from; check the images and fit.foreground")
    centre, projection = mean.float(), None
    patches = torch.cat([part["patches"] for part in left])
    radius = max(float(part["radius"]) for part in left)
    if reduction.kind == "random":
        projection = reduction.random(len(centre)).to(centre.device)
        patches -= centre @ projection
    else:
        patches -= centre
    if reduction.by_axes:
        projection = reduction.axes(scatter, n)
        patches = patches @ projection
        radius *= float(torch.linalg.matrix_norm(projection, 2))
    numbers = torch.cat([part["numbers"] for part in left])
    return BankCandidates(patches, numbers, centre, projection, radius), n


class PatchStream:
    """Takes in the patches of every fit image once, and holds no more of them than the plan allows."""

    def __init__(
        self, plan: Plan, first: Tensor, reduction: Reduction, on_part: Callable[[int, int, float], None]
    ) -> None:
        """`first` are patches (b, p, d) whose mean centres all patches where not all are held.

        `on_part` is called with (parts done, parts, covering radius) after each part; never where all are held.
        """
        self.plan = plan
        self.reduction = reduction
        self.radius = 0.0
        self.n_images = 0
        d, device = first.shape[2], first.device
        self._on_part = on_part
        self._mean: Tensor | None = None
        self._random: Tensor | None = None
        if plan.part is not None:  # the mean of all is known too late, and no centre changes a distance
            self._mean = first.mean(dim=(0, 1))
            if reduction.kind == "random":
                self._random = reduction.random(d).to(device)
            self._sum = torch.zeros(d, dtype=torch.float64, device=device)
            self._scatter = torch.zeros(d, d, dtype=torch.float64, device=device)
        # One buffer for the part and one for the patches kept: hundreds of tensors would fragment the heap, and
        # concatenating them would need their memory twice.
        rows, held = plan.part or plan.n_patches, d if self._random is None else self._random.shape[1]
        self._part = torch.empty(rows, held, device=device)
        self._numbers = torch.empty(rows, dtype=torch.int64)
        self._filled, self._n_patches, self._n_parts = 0, 0, 0
        n_left = 0 if plan.part is None else plan.n_left
        self._left = torch.empty(n_left, held, device=device)
        self._left_numbers = torch.empty(n_left, dtype=torch.int64)
        self._n_left = 0

    def add(self, features: Tensor, wanted: Tensor | None = None) -> None:
        """Take in the patches (b, p, d) of the next b images, or those of them that are `wanted`, (b, p) bool."""
        b, p, _ = features.shape
        numbers, patches = torch.arange(self.n_images * p, (self.n_images + b) * p), features.flatten(0, 1)
        if wanted is not None:
            numbers, patches = numbers[wanted.flatten().cpu()], patches[wanted.flatten()]
        self.n_images += b
        patches = self._as_held(patches)
        if self.plan.part is None and self._filled + len(patches) > len(self._part):  # more than the plan expected
            self._part = torch.cat([self._part[: self._filled], torch.empty_like(patches)])
            self._numbers = torch.cat([self._numbers[: self._filled], numbers])
        while len(patches):
            if self._filled == len(self._part):
                self._select()
            fits = min(len(patches), len(self._part) - self._filled)
            place = slice(self._filled, self._filled + fits)
            self._part[place], self._numbers[place] = patches[:fits], numbers[:fits]
            self._filled += fits
            patches, numbers = patches[fits:], numbers[fits:]

    def finish(self) -> BankCandidates:
        """The patches that are left to select from; the stream holds nothing afterwards."""
        if self._mean is None:
            patches, numbers = self._part[: self._filled], self._numbers[: self._filled]
            del self._part
            mean = patches.mean(dim=0)
            patches -= mean
            projection = None
            if self.reduction.kind == "random":
                projection = self.reduction.random(len(mean)).to(mean.device)
            elif self.reduction.by_axes:
                projection = self.reduction.axes(patches.T @ patches, len(patches))
            return BankCandidates(
                patches if projection is None else patches @ projection, numbers, mean, projection, None
            )
        self._select()
        del self._part
        patches, numbers = self._left[: self._n_left], self._left_numbers[: self._n_left]
        del self._left
        projection = self._random
        radius = self.radius
        if self.reduction.by_axes:
            scatter = self._scatter - torch.outer(self._sum, self._sum) / self._n_patches
            projection = self.reduction.axes(scatter, self._n_patches)
            patches = patches @ projection
            radius *= float(torch.linalg.matrix_norm(projection, 2))
        return BankCandidates(patches, numbers, self._mean, projection, radius)

    def _as_held(self, patches: Tensor) -> Tensor:
        """The patches as they are held: where not all are held, centred and, with a random reduction, reduced."""
        self._n_patches += len(patches)
        if self._mean is None:
            return patches
        centred = patches - self._mean
        if self.reduction.by_axes:
            precise = centred.double()
            self._sum += precise.sum(dim=0)
            self._scatter += precise.T @ precise
        return centred if self._random is None else centred @ self._random

    def _select(self) -> None:
        """Select some of the part's patches and drop the others."""
        patches = self._part[: self._filled]
        coreset = greedy_coreset(patches, min(self.plan.keep, len(patches)))
        place = slice(self._n_left, self._n_left + len(coreset.indices))
        self._left[place] = patches[coreset.indices]
        self._left_numbers[place] = self._numbers[coreset.indices.cpu()]
        self._n_left = place.stop
        self._filled = 0
        self._n_parts += 1
        self.radius = max(self.radius, coreset.covering_radius)
        self._on_part(self._n_parts, max(self._n_parts, self.plan.n_parts), self.radius)


def places_of(numbers: Tensor, n_cells: int) -> Tensor:
    """(m, 2) int32: the numbers of the image and of the cell in it, from numbers (m,) among all patches."""
    return torch.stack([numbers // n_cells, numbers % n_cells], dim=1).int()


def from_other_images(places: Tensor, part_images: range) -> Tensor:
    """(m,) bool: the entries with `places` (m, 2) that come from other images than `part_images`."""
    return (places[:, 0] < part_images.start) | (places[:, 0] >= part_images.stop)
