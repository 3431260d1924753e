"""What moved since a moment, and by how much: for a person who has to find out why a certificate no longer holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gonogo.images.statistics import STATISTICS

NUMBERS = ("score", "p_value", "n_regions", *STATISTICS)  # of each part
WORDS = {  # for the claims of a watch and for NUMBERS
    "scores": "The scores of parts that pass are as those of the calibrate parts",
    "rejects": "No more parts are rejected than was certified and expected",
    "audits": "Good parts of the random sample are rejected as rarely as certified",
    "images": "The images of parts that pass are as those before them",
    "score": "Score",
    "p_value": "p-value",
    "n_regions": "Number of regions",
    "brightness": "Brightness, grey levels",
    "contrast": "Contrast, grey levels",
    "sharpness": "Sharpness, grey levels squared",
    "noise": "Noise, grey levels",
    "red": "Red less green, grey levels",
    "blue": "Blue less green, grey levels",
    "size": "Size, pixels",
}


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


def what_moved(before: np.ndarray, after: np.ndarray) -> list[Movement]:
    """How each of NUMBERS moved that both sides have.

    Args:
        before: (n, 10), NUMBERS of each part; nan where one is not known.
        after: (m, 10).
    """
    found = [movement(name, before[:, place], after[:, place]) for place, name in enumerate(NUMBERS)]
    return [one for one in found if one is not None]


def strongest(claims: Mapping[str, Any]) -> tuple[str, str | None]:
    """The claim with the most evidence against it, or the statistic of the images, and the key that it grows since.

    Args:
        claims: as `CertificateWatch.to_dict` has them.
    """
    name, claim = max(claims.items(), key=lambda one: float(one[1]["log_evidence"]))
    return strongest(claim["statistics"]) if claim.get("statistics") else (name, claim["since_key"])


def movement(name: str, before: Sequence[float] | np.ndarray, after: Sequence[float] | np.ndarray) -> Movement | None:
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
    values = values[:, ~np.isnan(values).all(axis=0)]
    medians = np.nanmedian(values, axis=0)
    off = np.abs(values - medians)
    scale = np.nanmedian(off, axis=0)
    return int(np.argmin(np.nan_to_num(off / np.where(scale > 0, scale, 1.0)).sum(axis=1)))
