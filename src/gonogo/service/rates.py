"""Rates of rejects with their intervals, the p-chart, and histograms, from the counts of the store."""

import csv
import io
import math
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from gonogo.evaluation.accuracy.metrics import binomial_interval
from gonogo.line.names import as_cell
from gonogo.service.schemas import Analytics, Bin, BundleHistograms, ControlPoint, Rate
from gonogo.service.settings import MINUTES_PER_DAY
from gonogo.store import analytics
from gonogo.store.analytics import Selection, SlotCount
from gonogo.store.store import Store
from gonogo.store.tallies import LATENCY_EDGES, MOST_SCORE_BINS, P_VALUE_BINS, SCORE_BINS_PER_THRESHOLD

CONFIDENCE = 0.95
SIGMAS = 3.0  # of the p-chart's control limits
HOURLY_SECONDS = 8 * 86_400.0  # a p-chart of more has a point for each day
P_VALUE_EDGES = tuple(number / P_VALUE_BINS for number in range(P_VALUE_BINS + 1))
SCORE_EDGES = tuple(number / SCORE_BINS_PER_THRESHOLD for number in range(MOST_SCORE_BINS + 1))
Shifts = Sequence[tuple[str, int]]


def analytics_of(store: Store, selection: Selection, shifts: Shifts) -> Analytics:
    """All that the page of rates shows.

    Args:
        store: of the inspections.
        selection: which of them are counted.
        shifts: names and the minute of the day at which each begins, local time.
    """
    slots = store.analytics.slots(selection)
    names = {row["id"]: row["name"] for row in store.all_keys()}
    total = rates(slots, lambda _: "total")
    return Analytics(
        since=datetime.fromtimestamp(selection.since, UTC),
        until=datetime.fromtimestamp(selection.until, UTC),
        confidence=CONFIDENCE,
        total=total[0] if total else None,
        by_hour=rates(slots, lambda slot: time.strftime("%H:00", time.localtime(slot.begin))),
        by_shift=rates(slots, lambda slot: shift_of(slot.begin, shifts)) if shifts else [],
        by_key=rates(slots, lambda slot: names.get(slot.key, slot.key)),
        by_category=rates(slots, lambda slot: slot.category),
        p_chart=p_chart(slots, hourly=selection.until - selection.since <= HOURLY_SECONDS),
        bundles=_histograms(store, selection),
    )


def rates(slots: Iterable[SlotCount], group: Callable[[SlotCount], str]) -> list[Rate]:
    """The rates of each group, sorted by its name, with exact intervals.

    Source: Clopper and Pearson 1934.
    """
    sums: dict[str, list[int]] = {}
    for slot in slots:
        counts = sums.setdefault(group(slot), [0, 0, 0])
        for position, count in enumerate((slot.n, slot.n_rejected, slot.n_uncertain)):
            counts[position] += count
    return [_rate(name, *counts) for name, counts in sorted(sums.items())]


def shift_of(at: float, shifts: Shifts) -> str:
    """The name of the shift at a moment: the one that began last; before the first of the day, the last one runs on."""
    local = time.localtime(at)
    minute = 60 * local.tm_hour + local.tm_min
    return min(shifts, key=lambda shift: (minute - shift[1]) % MINUTES_PER_DAY)[0]


def p_chart(slots: Iterable[SlotCount], *, hourly: bool) -> list[ControlPoint]:
    """The share rejected in each hour or on each day, local time, with control limits about the share of all.

    The limits are three standard deviations of a binomial share from the mean, and wider where fewer were inspected.

    Source: Shewhart 1931; Montgomery, "Introduction to Statistical Quality Control", section on the p-chart.
    """
    sums: dict[float, list[int]] = {}
    for slot in slots:
        counts = sums.setdefault(_period(slot.begin, hourly=hourly), [0, 0])
        counts[0] += slot.n
        counts[1] += slot.n_rejected
    n_all, n_rejected = (sum(counts[position] for counts in sums.values()) for position in (0, 1))
    mean = n_rejected / n_all if n_all else 0.0
    return [_point(begin, n, rejected, mean) for begin, (n, rejected) in sorted(sums.items())]


def as_csv(counts: Analytics, table: str) -> str:
    """A table of the counts, with a header: a field of `Analytics` or, with the bundle, one of `BundleHistograms`.

    Text of others is escaped, so that no reader takes it for a formula.
    """
    if table in BundleHistograms.model_fields:
        rows = [
            {"bundle": each.bundle} | bar.model_dump(mode="json")
            for each in counts.bundles
            for bar in getattr(each, table)
        ]
        header = ["bundle", *Bin.model_fields]
    else:
        rows = [row.model_dump(mode="json") for row in getattr(counts, table)]
        header = list((ControlPoint if table == "p_chart" else Rate).model_fields)
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(header)
    for row in rows:
        writer.writerow(as_cell(value) if isinstance(value, str) else value for value in row.values())
    return written.getvalue()


def _rate(name: str, n: int, n_rejected: int, n_uncertain: int) -> Rate:
    low, high = binomial_interval(n_rejected, n, confidence=CONFIDENCE)
    share = n_rejected / n
    return Rate(group=name, inspected=n, rejected=n_rejected, uncertain=n_uncertain, rate=share, low=low, high=high)


def _period(at: float, *, hourly: bool) -> float:
    """When the hour or the day of a moment began, local time."""
    local = time.localtime(at)
    hour = local.tm_hour if hourly else 0
    is_dst = local.tm_isdst if hourly else -1  # the hour that comes twice in autumn stays two
    return time.mktime((local.tm_year, local.tm_mon, local.tm_mday, hour, 0, 0, 0, 0, is_dst))


def _point(begin: float, n: int, n_rejected: int, mean: float) -> ControlPoint:
    reach = SIGMAS * math.sqrt(mean * (1 - mean) / n)
    lower, upper, share = max(0.0, mean - reach), min(1.0, mean + reach), n_rejected / n
    return ControlPoint(
        begin=datetime.fromtimestamp(begin, UTC),
        inspected=n,
        rejected=n_rejected,
        rate=share,
        lower_limit=lower,
        upper_limit=upper,
        out_of_control=not lower <= share <= upper,
    )


def _histograms(store: Store, selection: Selection) -> list[BundleHistograms]:
    counts = store.analytics
    p_values, scores = counts.p_values(selection), counts.relative_scores(selection)
    latencies = counts.latencies(selection)
    return [
        BundleHistograms(
            bundle=bundle,
            p_values=_bars(bundle, p_values, P_VALUE_EDGES),
            relative_scores=_bars(bundle, scores, (*SCORE_EDGES, None)),
            latency_ms=_bars(bundle, latencies, (0.0, *LATENCY_EDGES, None)),
        )
        for bundle in sorted({found.bundle for found in (*p_values, *scores, *latencies)})
    ]


def _bars(bundle: str, bins: Iterable[analytics.Bin], edges: Sequence[float | None]) -> list[Bin]:
    counts = {found.number: found.n for found in bins if found.bundle == bundle}
    return [
        Bin(low=low or 0.0, high=high, n=counts.get(number, 0)) for number, (low, high) in enumerate(pairwise(edges))
    ]
