"""What the audit sample says of the gauge: its false alarms among good parts, and its misses among parts that passed.

A part of the sample that nobody has settled yet may turn out either way. The interval allows for both: its lower end
takes all of them to speak for the gauge, and its upper end against it. So it holds whichever parts are reviewed first,
and it is the exact interval once all are.
"""

from collections.abc import Sequence

from gonogo.evaluation.accuracy.metrics import binomial_interval
from gonogo.service.schemas import Estimate
from gonogo.store.audit import AuditedPart

CONFIDENCE = 0.95


def false_alarms(parts: Sequence[AuditedPart]) -> Estimate:
    """The share of good parts that the gauge rejects.

    Source: Clopper and Pearson 1934 for the interval of what is settled.
    """
    rejected = [part for part in parts if part.verdict == "reject"]
    good = sum(part.settlement.label == "good" for part in parts)
    events = sum(part.settlement.label == "good" for part in rejected)
    open_rejects = sum(part.settlement.state != "settled" for part in rejected)
    waiting = sum(part.settlement.state != "settled" for part in parts)
    best, worst = (events, good + waiting - open_rejects), (events + open_rejects, good + open_rejects)
    return _estimate(events, good, waiting, best=best, worst=worst)


def misses(parts: Sequence[AuditedPart]) -> Estimate:
    """The share of defective parts among those that the gauge passes.

    Source: as `false_alarms`.
    """
    passed = [part for part in parts if part.verdict == "pass"]
    settled = sum(part.settlement.state == "settled" for part in passed)
    events = sum(part.settlement.label == "defect" for part in passed)
    waiting = len(passed) - settled
    best, worst = (events, len(passed)), (events + waiting, len(passed))
    return _estimate(events, settled, waiting, best=best, worst=worst)


def _estimate(events: int, parts: int, waiting: int, *, best: tuple[int, int], worst: tuple[int, int]) -> Estimate:
    """The rate of what is settled, with the ends of the intervals of the best and the worst case (events, parts)."""
    if parts == 0:
        return Estimate(events=0, parts=0, waiting=waiting, rate=None, low=None, high=None)
    low, _ = binomial_interval(*best, confidence=CONFIDENCE)
    _, high = binomial_interval(*worst, confidence=CONFIDENCE)
    return Estimate(events=events, parts=parts, waiting=waiting, rate=events / parts, low=low, high=high)
