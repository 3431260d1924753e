"""Distances of rows and patches to a memory bank, and the search for its nearest entries."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 64  # entries of the bank whose largest proximity is computed together


def l2(rows: Tensor, others: Tensor) -> Tensor:
    """(n, m) distances of rows (n, d) to others (m, d), from differences: exact also where they nearly vanish.

    It holds n * m * d numbers: 6 MB for one image against ten thousand of 152 dimensions.
    """
    return (rows[:, None] - others).square().sum(dim=2).sqrt()


def nearest_index(rows: Tensor, bank: Tensor, weights: Tensor | None = None) -> Tensor:
    """(n, p) index of the patch of a bank (m, d) that is nearest to each of rows (n, p, d); of equals the first.

    With weights (m,) it is the one whose distance times its weight is smallest.

    It equals an argmax over the bank, and takes two steps: first the largest proximity of each block of the bank, since
    runtimes compute a maximum many times faster than its position; then the position within the best block.
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

    One matrix product, norms included; enough to find the nearest patch of the bank. With weights (m,) that the
    distances are multiplied by, there is no such constant. Columns of -inf make m a multiple of `multiple`.
    """
    missing = (0, 0, 0, -len(bank) % multiple)
    half_norms = F.pad(0.5 * bank.square().sum(dim=1, keepdim=True), missing, value=math.inf)
    columns, terms = torch.cat([F.pad(bank, missing), -half_norms], dim=1), F.pad(rows, (0, 1), value=1.0)
    if weights is not None:
        columns = F.pad(weights.square()[:, None], missing, value=1.0) * F.pad(columns, (0, 1), value=-1.0)
        terms = torch.cat([terms, 0.5 * rows.square().sum(dim=-1, keepdim=True)], dim=-1)
    return terms @ columns.T
