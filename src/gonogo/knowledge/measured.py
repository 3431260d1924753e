"""What production and evaluation say of defects: how often each type comes, how often it is found, and with what.

Occurrence and detection of an FMEA are what people think. Here stand the rate of a type among the parts that were
inspected, and the share of its test images that the gauge rejected, each with its exact interval.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from gonogo.evaluation.accuracy.metrics import binomial_interval

CONFIDENCE = 0.95


class Share(NamedTuple):
    """`k` of `n`, with the exact limits of the rate behind them."""

    k: int
    n: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share."""
        return self.k / self.n


class ParetoRow(NamedTuple):
    """How often a name comes, its share of all, and the share of it and of all that come more often."""

    name: str
    n: int
    share: float
    cumulative: float


class Association(NamedTuple):
    """Two that come together.

    n: how many of `of` have both; n_first and n_second: each; lift: how many times as many have both as would if
    neither had to do with the other.
    """

    first: str
    second: str
    n: int
    n_first: int
    n_second: int
    of: int
    lift: float


def share_of(k: int, n: int) -> Share | None:
    """`k` of `n` with limits at CONFIDENCE; None where n is 0.

    Source: Clopper and Pearson 1934.
    """
    return None if n == 0 else Share(k, n, *binomial_interval(k, n, confidence=CONFIDENCE))


def pareto(counts: Mapping[str, int]) -> list[ParetoRow]:
    """The names with their counts, the most frequent first, and by name where they come equally often.

    Source: Juran 1951, "Quality Control Handbook".
    """
    total, so_far = sum(counts.values()), 0
    rows = []
    for name, n in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        so_far += n
        rows.append(ParetoRow(name, n, n / total, so_far / total))
    return rows


def together(sets: Iterable[Collection[str]], *, least: int) -> list[Association]:
    """The pairs of names that come together in at least `least` of the sets, the highest lift first.

    Args:
        sets: names that came together, such as the types of defects of an hour. Also those with no name count.
        least: a pair that came together less often says nothing.

    Source: Brin, Motwani, Ullman and Tsur 1997 for the lift, there called interest.
    """
    alone, both, of = Counter[str](), Counter[tuple[str, str]](), 0
    for names in sets:
        of += 1
        alone.update(set(names))
        both.update(combinations(sorted(set(names)), 2))
    return _associations(both, alone, alone, of, least)


def associated(pairs: Collection[tuple[str, str]], *, least: int) -> list[Association]:
    """The pairs that come at least `least` times, such as a case's type and its cause, as `together` gives them."""
    firsts, seconds = (Counter(pair[end] for pair in pairs) for end in (0, 1))
    return _associations(Counter(pairs), firsts, seconds, len(pairs), least)


def _associations(
    both: Mapping[tuple[str, str], int], firsts: Mapping[str, int], seconds: Mapping[str, int], of: int, least: int
) -> list[Association]:
    rows = [
        Association(first, second, n, firsts[first], seconds[second], of, n * of / (firsts[first] * seconds[second]))
        for (first, second), n in both.items()
        if n >= least
    ]
    return sorted(rows, key=lambda row: (-row.lift, -row.n, row.first, row.second))


def recalls(found: Mapping[str, Sequence[int]] | None) -> dict[str, Share]:
    """The recall of each type of defect from what a bundle's manifest tells: [rejected, tested] by type."""
    shares = {name: share_of(int(k), int(n)) for name, (k, n) in (found or {}).items()}
    return {name: share for name, share in shares.items() if share is not None}
