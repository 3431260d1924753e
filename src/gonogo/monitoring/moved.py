"""What moved since a moment, and by how much: for a person who has to find out why a certificate no longer holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Movement:
    """One number of each part, before and after.

    before, after: mean, standard deviation and the quantiles 5 %, 50 % and 95 %, in its own unit.
    shift: of the mean, in standard deviations before; None where these are 0 or a side has fewer than two parts.
    spread: standard deviation after over that before; None as above.
    """

    name: str
    n_before: int
    n_after: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    shift: float | None
    spread: float | None


def movement(name: str, before: Sequence[float], after: Sequence[float]) -> Movement | None:
    """How one number moved; None where a side has no value."""
    sides = [np.array(side, dtype=np.float64) for side in (before, after)]
    sides = [side[~np.isnan(side)] for side in sides]
    if not all(len(side) for side in sides):
        return None
    told = [(float(side.mean()), float(side.std()), *np.quantile(side, (0.05, 0.5, 0.95)).tolist()) for side in sides]
    (mean, sd, *_), (mean_after, sd_after, *_) = told
    compares = min(map(len, sides)) > 1 and sd > 1e-9 * max(abs(mean), 1e-300)
    return Movement(
        name,
        len(sides[0]),
        len(sides[1]),
        told[0],
        told[1],
        shift=(mean_after - mean) / sd if compares else None,
        spread=sd_after / sd if compares else None,
    )


def most_typical(values: np.ndarray) -> int:
    """The row of (n, k), n > 0, that is nearest to the medians of all, each column in its median deviation."""
    medians = np.nanmedian(values, axis=0)
    off = np.abs(values - medians)
    scale = np.nanmedian(off, axis=0)
    return int(np.argmin(np.nan_to_num(off / np.where(scale > 0, scale, 1.0)).sum(axis=1)))
