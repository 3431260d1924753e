"""The covering radius, measured the same way for every choice: in float64, whoever chose."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

_CHUNK_BYTES = 64 << 20  # of the distances that are looked at together


def covering_radius(parts: Iterable[Tensor], bank: Tensor) -> float:
    """l2, the largest distance of any patch of the `parts` (n, d) to the patch of the bank (m, d) nearest to it."""
    centre = bank.double().mean(dim=0)  # where both lie far from 0, the product below would cancel
    chosen = bank.double() - centre
    half_norms = chosen.square().sum(dim=1) / 2
    rows = max(1, _CHUNK_BYTES // (8 * len(chosen)))
    worst = 0.0
    for part in parts:
        for some in torch.split(part, rows):
            patches = some.double() - centre
            nearest = torch.addmm(half_norms, patches, chosen.T, alpha=-1).argmin(dim=1)
            worst = max(worst, float((patches - chosen[nearest]).square().sum(dim=1).max()))
    return math.sqrt(worst)
