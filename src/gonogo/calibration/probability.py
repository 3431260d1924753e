"""The curve from a score to the probability of a defect, which the scorer reads. Standard library only."""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, Self

ProbabilityMethod = Literal["platt", "isotonic"]


@dataclass(frozen=True)
class ProbabilityRecord:
    """The probability of a part to be defective, by its score; it grows with the score and is never 0 or 1.

    Attributes:
        method: platt, a logistic curve; isotonic, steps that are joined by lines.
        defect_rate: the share of defective parts among the inspected ones, which the probability assumes.
        scores, probabilities: of the curve. platt: two points, and the log-odds are a line through both. isotonic: the
            probability is interpolated between points and constant beyond them.
        n_good, n_defective: labelled images that it was fitted to.
    """

    method: ProbabilityMethod
    defect_rate: float
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    n_good: int
    n_defective: int

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self) | {"scores": list(self.scores), "probabilities": list(self.probabilities)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The record that `to_dict` wrote.

        Raises:
            TypeError: a key is missing, unknown or of another kind.
            ValueError: the curve has fewer than two points, decreases, or has a value outside (0, 1).
        """
        scores = tuple(float(score) for score in content["scores"])
        probabilities = tuple(float(value) for value in content["probabilities"])
        record = cls(**{**content, "scores": scores, "probabilities": probabilities})
        growing = all(a < b for a, b in pairwise(scores)) and all(a <= b for a, b in pairwise(probabilities))
        inside = all(0 < value < 1 for value in probabilities) and all(math.isfinite(score) for score in scores)
        if len(scores) < 2 or len(scores) != len(probabilities) or not growing or not inside:
            raise ValueError("its probabilities are not a growing curve between 0 and 1")
        return record

    def of(self, score: float) -> float:
        """The probability that a part with this score is defective."""
        if self.method == "platt":
            (x, further), (low, high) = self.scores, (_log_odds(value) for value in self.probabilities)
            odds = low + (high - low) * (score - x) / (further - x)
            return 1 / (1 + math.exp(-max(-700.0, min(700.0, odds))))
        position = bisect_right(self.scores, score)
        if position in (0, len(self.scores)):
            return self.probabilities[max(0, position - 1)]
        x, further = self.scores[position - 1 : position + 1]
        low, high = self.probabilities[position - 1 : position + 1]
        return low + (high - low) * (score - x) / (further - x)


def probability_in(manifest: Mapping[str, Any]) -> ProbabilityRecord | None:
    """The record in the manifest of a model or a bundle; None where it has none.

    Raises:
        TypeError, ValueError, KeyError: it is not one that `to_dict` wrote.
    """
    content = manifest.get("probability")
    return None if content is None else ProbabilityRecord.from_dict(content)


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))
