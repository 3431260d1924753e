"""Counts of inspections that are kept as inspections are added, so that nobody has to read them all to count them.

They are changed in the transaction that adds the inspections, and so are exact at every moment. Inspections are never
changed nor removed, and so a count only grows.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gonogo.store.prepared import Prepared
from gonogo.store.schema import Row, tallies, tally_bins

SLOT_SECONDS = 900  # inspections are counted by the quarter of an hour, on which shifts and hours begin everywhere
BLOCK_SECONDS = 21_600  # histograms by six hours
P_VALUE_BINS = 20  # of equal width in [0, 1]
SCORE_BINS_PER_THRESHOLD, MOST_SCORE_BINS = 20, 60  # of score over threshold; the last has all that is higher
LATENCY_EDGES = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)  # ms; the last bin is open
COUNTS = ("n", "n_rejected", "n_uncertain")
INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _adding(insert: Any, table: sa.Table, counts: Sequence[str]) -> Any:
    """The statement that adds counts to those of the same row, or makes the row."""
    added = insert(table)
    return added.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + added.excluded[name] for name in counts},
    )


ADD_TALLIES = Prepared({name: _adding(insert, tallies, COUNTS) for name, insert in INSERT.items()})
ADD_BINS = Prepared({name: _adding(insert, tally_bins, ("n",)) for name, insert in INSERT.items()})


def add_to_tallies(connection: sa.Connection, added: Sequence[Row]) -> None:
    """Count inspections that this transaction adds; `added` has their rows, with `latency_ms`.

    The rows of the counts are changed in their order, so that two transactions never wait for each other.
    """
    totals: dict[tuple[Any, ...], list[int]] = {}
    for row in added:
        counts = totals.setdefault((int(row["at"] / SLOT_SECONDS), row["category"], row["key"]), [0, 0, 0])
        for position, one in enumerate((True, row["verdict"] == "reject", row["uncertain"])):
            counts[position] += bool(one)
    names = ("slot", "category", "key", *COUNTS)
    rows = [dict(zip(names, (*group, *counts), strict=True)) for group, counts in sorted(totals.items())]
    ADD_TALLIES.execute(connection, rows)
    bins = Counter(
        (measure, int(row["at"] / BLOCK_SECONDS), row["category"], row["key"], row["bundle"], number)
        for row in added
        for measure, number in bins_of(row)
    )
    of_bins = [column.name for column in tally_bins.columns]
    rows = [dict(zip(of_bins, (*group, n), strict=True)) for group, n in sorted(bins.items())]
    ADD_BINS.execute(connection, rows)


def bins_of(row: Row) -> Iterator[tuple[str, int]]:
    """The bins of an inspection in the histograms of the p-value, of score over threshold, and of the latency.

    There is none of a score below 0 or where the threshold is not above 0, and none of an unknown latency.
    """
    yield "p_value", int(min(row["p_value"] * P_VALUE_BINS, P_VALUE_BINS - 1))
    if row["threshold"] > 0 and row["score"] >= 0:
        yield "score", int(min(row["score"] / row["threshold"] * SCORE_BINS_PER_THRESHOLD, MOST_SCORE_BINS))
    if row["latency_ms"] is not None:
        yield "latency", bisect_right(LATENCY_EDGES, row["latency_ms"])


def whole_units(since: float, until: float, seconds: int) -> tuple[range, Iterable[tuple[float, float]]]:
    """The units of so many seconds that lie within a time, and the times before and after them that are left."""
    first, end = -int(-since // seconds), int(until // seconds)
    if first >= end:
        return range(0), [(since, until)]
    return range(first, end), [(since, float(first * seconds)), (float(end * seconds), until)]
