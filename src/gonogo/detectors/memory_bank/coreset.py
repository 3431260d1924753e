"""Exact greedy k-centre selection: the few patches that leave no patch far from its nearest chosen one.

Which patch is farthest is decided by squared l2 distances summed from differences in float64, ties going to the
lowest index. Measuring all patches that way is slow, so one float32 matrix product per block of choices gives every
patch an upper bound, rounding included, and only the patches with the largest bounds are measured. As bounds never
grow, the best of the measured patches is the true choice for as long as it is at least the largest bound outside.

The choice starts at the patch nearest to the mean of all, so that it depends on the patches alone. The sources start at
any patch; that first one alone moves the results of a gauge by more than the difference of many options does.

Source: Sener & Savarese 2018 (ICLR), algorithm 1; Roth et al. 2022 (CVPR), algorithm 1, without its projection.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gonogo.errors import ConfigError, DataError, ShapeError

_CHUNK_BYTES = 4 << 20  # of the largest temporary; one that stays in the cache is the fastest


@dataclass(frozen=True)
class Coreset:
    """The chosen patches.

    indices: (k,) int64 on the features' device, in the order of selection.
    covering_radius: l2, the largest distance of any patch to its nearest selected one.
    """

    indices: Tensor
    covering_radius: float


@torch.no_grad()
def greedy_coreset(
    features: Tensor,
    n_select: int,
    *,
    first: int | None = None,
    chosen: int = 0,
    block: int = 512,
    on_step: Callable[[int, int, float], None] | None = None,
) -> Coreset:
    """Choose `n_select` patches, each the farthest from those chosen before it; the same as one at a time, in blocks.

    Fewer are returned when all remaining patches are duplicates of chosen ones: the covering radius is then 0.

    Args:
        features: (n, d) float32, finite, on any device; matrix products there must not be cut to TF32 or bfloat16.
        n_select: how many to choose, in [1, n].
        first: index of the patch to start from; None: that nearest to the mean of all, of equals the lowest.
        chosen: so many patches, the first ones, are chosen already; they count in `n_select` and come first.
        block: patches measured at a time; changes the speed, never the choice.
        on_step: called with (n_selected, n_select, covering radius) before each block and at the end.

    Raises:
        ShapeError: features are not (n, d) float32.
        ConfigError: n_select, first, chosen or block out of range.
        DataError: a feature is NaN or infinite.
    """
    _check(features, n_select, first, chosen, block)
    if chosen:
        cover = _Cover(features, 0)
        cover.add(list(range(1, chosen)))
    else:
        cover = _Cover(features, _most_central(features) if first is None else first)
    size = block
    while True:
        candidates, limit, rival = cover.farthest(size)
        points = _float64(features, candidates)
        squared_l2 = cover.measure(candidates, points)
        picks: list[int] = []
        while True:
            best = int(squared_l2.argmax())  # the first of equals, and candidates ascend
            index, farthest = int(candidates[best]), float(squared_l2[best])
            if farthest < limit or (farthest == limit and index > rival):
                break  # a patch outside may be farther
            done = len(cover.selected) + len(picks)
            finished = done == n_select or farthest == 0
            if on_step is not None and (finished or not picks):
                on_step(done, n_select, math.sqrt(farthest))
            if finished:
                indices = torch.tensor(cover.selected + picks, device=features.device)
                return Coreset(indices, math.sqrt(farthest))
            picks.append(index)
            np.minimum(squared_l2, _squared_l2(points, points[best]), out=squared_l2)
        cover.add(picks)
        size = block if picks else min(2 * size, 16 * block)  # no choice was certain: measure more


def _most_central(features: Tensor) -> int:
    """Index of the patch of (n, d) whose l2 distance to the mean of all is least, in float64; of equals the lowest."""
    chunks = torch.split(features, max(1, _CHUNK_BYTES // (8 * features.shape[1])))
    total = features.new_zeros(features.shape[1], dtype=torch.float64)
    for chunk in chunks:
        total += chunk.sum(dim=0, dtype=torch.float64)
    mean = total / len(features)
    squared_l2 = features.new_empty(len(features), dtype=torch.float64)
    held = features.new_empty(chunks[0].shape, dtype=torch.float64)  # one for all: many in turn would fragment the heap
    for chunk, found in zip(chunks, torch.split(squared_l2, len(held)), strict=True):
        away = torch.sub(chunk, mean, out=held[: len(chunk)])
        torch.sum(away.square_(), dim=1, out=found)
    return int(squared_l2.argmin())


class _Cover:
    """Selected patches and, for each patch, an upper bound of its squared l2 distance to the nearest of them."""

    def __init__(self, features: Tensor, first: int) -> None:
        self.features = features
        # Centred to limit cancellation, scaled by a power of two so that no square overflows. Both round, or scale
        # the bounds only: choices are measured on the features as they came.
        largest = float(torch.stack(torch.aminmax(features)).abs().max())
        self.scale = 2.0 ** (math.frexp(largest)[1] - 1)
        self.centred = features / self.scale  # (n, d)
        self.centred -= self.centred.mean(dim=0)
        norms = torch.linalg.vector_norm(self.centred, dim=1).square()  # (n,)
        # Rounding of a computed squared distance, at most slack[a] + slack[b]: (3 d + 12) units of 2**-24 times the
        # norms (sums of d products in any order, centring, last additions), and what is lost to underflow.
        d = features.shape[1]
        self.slack = norms * ((d + 8) * 2.0**-22) + 64 * d * torch.finfo(torch.float32).tiny
        self.upper_norms = norms + self.slack
        self.bounds = torch.full((len(features),), math.inf, dtype=torch.float64)
        self.selected: list[int] = []
        self.add([first])

    def add(self, picks: list[int]) -> None:
        """Select `picks` and lower all bounds by one matrix product with them."""
        if not picks:
            return
        self.selected += picks
        chosen = torch.tensor(picks, device=self.features.device)
        bank, bank_norms = self.centred[chosen].T, self.upper_norms[chosen]
        rows = max(1, _CHUNK_BYTES // (4 * len(picks)))
        for start in range(0, len(self.features), rows):
            part = slice(start, start + rows)
            nearest = torch.addmm(bank_norms, self.centred[part], bank, alpha=-2).amin(dim=1) + self.upper_norms[part]
            self.bounds[part] = torch.minimum(self.bounds[part], nearest.cpu().double() * self.scale**2)
        self.bounds[picks] = 0

    def farthest(self, size: int) -> tuple[NDArray[np.int64], float, float]:
        """Ascending indices of the `size` largest bounds, the largest bound outside, its lowest index outside.

        Among equal bounds the lowest indices are taken.
        """
        if size >= len(self.bounds):
            return np.arange(len(self.bounds)), -math.inf, math.inf
        top = self.bounds.topk(size + 1)
        limit = top.values[-1]
        inside = top.indices[top.values > limit]
        equal = (self.bounds == limit).nonzero()[:, 0]  # ascending; topk may have taken any of them
        n_equal = size - len(inside)
        candidates = torch.cat([inside, equal[:n_equal]]).sort().values
        return candidates.numpy(), float(limit), int(equal[n_equal])

    def measure(self, candidates: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared l2 distance of each candidate to its nearest selected patch, now also its bound."""
        device, d = self.features.device, self.features.shape[1]
        selected = torch.tensor(self.selected, device=device)
        bank, bank_norms, bank_slack = self.centred[selected].T, self.upper_norms[selected], self.slack[selected]
        squared_l2 = np.full(len(candidates), math.inf)
        rows = max(1, _CHUNK_BYTES // (4 * len(selected)))
        for start in range(0, len(candidates), rows):
            part = torch.as_tensor(candidates[start : start + rows], device=device)
            upper = torch.addmm(bank_norms, self.centred[part], bank, alpha=-2)  # (rows, k)
            nearest = upper.amin(dim=1, keepdim=True) + 2 * self.slack[part, None]
            pairs = (upper - 2 * bank_slack <= nearest).nonzero()  # all that may be the nearest, rounding considered
            for some in pairs.split(max(1, _CHUNK_BYTES // (8 * d))):
                row = some[:, 0].cpu().numpy() + start
                np.minimum.at(squared_l2, row, _squared_l2(points[row], _float64(self.features, selected[some[:, 1]])))
        self.bounds[candidates] = torch.from_numpy(squared_l2)
        return squared_l2


def _float64(features: Tensor, indices: Tensor | NDArray[np.int64]) -> NDArray[np.float64]:
    return features[torch.as_tensor(indices, device=features.device)].cpu().numpy().astype(np.float64)


def _squared_l2(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) from (m, d) and (m, d) or (d,)."""
    difference = a - b
    squared: NDArray[np.float64] = np.einsum("ij,ij->i", difference, difference)
    return squared


def _check(features: Tensor, n_select: int, first: int | None, chosen: int, block: int) -> None:
    if features.ndim != 2 or features.shape[1] == 0 or features.dtype != torch.float32:
        raise ShapeError(f"features: expected (n, d) float32, got {tuple(features.shape)} {features.dtype}")
    n = len(features)
    if not 1 <= n_select <= n:
        raise ConfigError(f"n_select is {n_select}; with {n} patches it must lie in [1, {n}]")
    if first is not None and not 0 <= first < n:
        raise ConfigError(f"first is {first}; with {n} patches it must lie in [0, {n - 1}]")
    if not 0 <= chosen <= n_select or (chosen and first is not None):
        raise ConfigError(f"chosen is {chosen}; it must lie in [0, {n_select}], and there is no first patch beside it")
    if block < 1:
        raise ConfigError(f"block is {block}; it must be at least 1")
    if not torch.isfinite(torch.stack(torch.aminmax(features))).all():
        raise DataError("features: expected finite values, got NaN or infinity; check the images and the backbone")
