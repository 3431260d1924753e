"""The calibrate parts with the highest scores: a defect among them raises the threshold, and no figure shows it.

Nothing is left out here. A certificate holds for the parts that were drawn; one that leaves out high scores by a rule
certifies nothing. What a person takes for a defect after looking at it belongs to the defective images.

The gap below the highest parts is compared with those between the next lower ones. In an exponential tail the j-th
spacing from the top, times j, is exponential with the same mean for each j (Rényi 1953, "On the theory of order
statistics"), so that its ratio to the mean of m others follows an F distribution with 2 and 2 m degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.threshold import certify_like, on_average

N_HIGHEST = 4
MOST_APART = 3  # parts that a gap may set apart; more of them are a kind of good parts
N_SPACINGS, LEAST_SPACINGS = 30, 8  # below the gap, that it is compared with
IMPROBABLE = 0.003  # three gaps are tried: 1 % of sets of alike parts are warned of in vain, fewer with a lighter tail


@dataclass(frozen=True)
class HighestPart:
    """One part, and the certificate without its score and those above it.

    Attributes:
        group: id of the part.
        image: the image of it with the highest score, as the dataset names it.
        score: that score.
        without: the threshold record without the part and those above it; None for a threshold that is a model's.
    """

    group: str
    image: str
    score: float
    without: ThresholdRecord | None


@dataclass(frozen=True)
class HighestParts:
    """The highest parts, the highest first, and how many of them lie apart from all others."""

    parts: tuple[HighestPart, ...]
    n_apart: int

    @property
    def warning(self) -> str | None:
        """What to look at, where parts lie apart; None where none does."""
        if not self.n_apart:
            return None
        apart = self.parts[: self.n_apart]
        named = " and ".join(f"{part.image} ({part.score:.4g})" for part in apart)
        it, scores = ("it", "scores") if self.n_apart == 1 else ("them", "score")
        said = f"{named} {scores} far above all other parts that the threshold is from; a defect here lets others pass"
        without = apart[-1].without
        if without is None:
            return said
        return f"{said}. Without {it} the threshold would be {without.threshold:.4g}, {without.sentence}"


def highest_parts(
    images: Sequence[str], groups: Sequence[str], scores: np.ndarray, record: ThresholdRecord
) -> HighestParts:
    """The highest of the parts that `record` was certified on.

    Args:
        images, groups: path and part id of each good image.
        scores: (m,) of them.
        record: the one in use. By the method `tail` it says nothing about fewer parts.
    """
    of_part: dict[str, tuple[float, str]] = {}
    for image, group, score in zip(images, groups, scores.tolist(), strict=True):
        of_part[group] = max((score, image), of_part.get(group, (score, image)))
    ordered = sorted(of_part, key=lambda group: (-of_part[group][0], of_part[group][1]))
    parts = []
    for number, group in enumerate(ordered[:N_HIGHEST], start=1):
        score, image = of_part[group]
        others, without = ordered[number:], None
        if others and record.method != "tail":
            fewer = certify_like(record, np.array([of_part[other][0] for other in others]), others)
            if record.on_average is not None:
                without = on_average(fewer, proven=record.on_average.proven)
            else:
                is_certified = fewer.certified and record.method == "holdout"
                without = replace(fewer, method=record.method, folds=record.folds, certified=is_certified)
        parts.append(HighestPart(group, image, score, without))
    n_apart = min(parts_apart(np.array([of_part[group][0] for group in ordered])), len(parts))
    return HighestParts(tuple(parts), n_apart)


def parts_apart(ordered: np.ndarray) -> int:
    """How many of the highest of n scores, descending, lie above a gap that is improbable under those below it.

    0 where there is none, or where too few scores lie below to tell.
    """
    spacings = np.arange(1, len(ordered)) * -np.diff(ordered)
    for number in range(min(MOST_APART, len(spacings)), 0, -1):
        below = spacings[number : number + N_SPACINGS]
        if len(below) >= LEAST_SPACINGS and gap_p_value(float(spacings[number - 1]), below) < IMPROBABLE:
            return number
    return 0


def gap_p_value(spacing: float, below: np.ndarray) -> float:
    """Probability of a normalised spacing as large as this one in an exponential tail, given those (m,) below it."""
    total = float(below.sum())
    if total <= 0:
        return 1.0  # equal scores have no scale
    return float((1 + spacing / total) ** -len(below))
