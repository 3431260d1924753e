"""The rank of each score among all before it: numbers that are uniform and independent while nothing has changed."""

import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

import numpy as np

LATE = 4096  # scores that wait in a list before they join the sorted array


class OnlineRanks:
    """Conformal p-values of scores against the calibrate scores and all scores seen since.

    The obvious p-value, the rank among the calibrate scores alone, has the luck of these few scores in every value, so
    that a test of many of them withdraws a third of all valid certificates (with 29 calibrate scores). The rank among
    all scores before is uniform and independent of the ranks before it, however few scores there were to begin with.

    Source: Vovk, Gammerman and Shafer 2022, "Algorithmic Learning in a Random World", second edition, chapters 2 and 8.
    """

    def __init__(self, calibrate: Iterable[float]) -> None:
        self._sorted = np.sort(np.fromiter(calibrate, dtype=np.float64))
        self._late: list[float] = []

    def __len__(self) -> int:
        """How many scores there are."""
        return len(self._sorted) + len(self._late)

    def add(self, score: float, uniform: float) -> float:
        """The p-value in (0, 1] of the next score, small for a high score; the score is then among those before.

        `uniform`, in (0, 1], breaks ties, that of the score with itself included; see `uniform_of`.
        """
        left = int(self._sorted.searchsorted(score, "left")) + bisect_left(self._late, score)
        right = int(self._sorted.searchsorted(score, "right")) + bisect_right(self._late, score)
        p_value = (len(self) - right + uniform * (right - left + 1)) / (len(self) + 1)
        insort(self._late, score)
        if len(self._late) == LATE:
            self.extend(())
        return p_value

    def extend(self, scores: Iterable[float]) -> None:
        """Count scores among those before."""
        more = np.concatenate([self._late, np.fromiter(scores, dtype=np.float64)])
        self._sorted = np.sort(np.concatenate([self._sorted, more]), kind="stable")  # two sorted runs: linear
        self._late = []


def uniform_of(key: str) -> float:
    """A number in (0, 1] that the key alone decides, such as an inspection's id; of many keys, uniform."""
    return (int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") + 1) / 2**64
