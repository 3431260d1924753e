"""Counts of inspections for the page of rates.

Those of whole quarters of an hour, and of whole blocks of six hours for histograms, are kept as they happen; what a
time has before and after them is counted by the database, which reads the index `ix_inspections_analytics` alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from gonogo.store.schema import inspections, tallies, tally_bins
from gonogo.store.tallies import (
    BLOCK_SECONDS,
    LATENCY_EDGES,
    MOST_SCORE_BINS,
    P_VALUE_BINS,
    SCORE_BINS_PER_THRESHOLD,
    SLOT_SECONDS,
    whole_units,
)


@dataclass(frozen=True)
class Selection:
    """The inspections that are counted: `since` (included) to `until` (excluded), in seconds since 1970."""

    since: float
    until: float
    category: str | None = None
    key: str | None = None

    @property
    def conditions(self) -> list[Any]:
        """What holds of their rows."""
        rows = inspections.c
        return [rows.at >= self.since, rows.at < self.until, *self.of_group(inspections)]

    def of_group(self, table: sa.Table) -> list[Any]:
        """What holds of rows with their category and key."""
        wanted = {"category": self.category, "key": self.key}
        return [table.c[name] == value for name, value in wanted.items() if value is not None]

    def split(self, seconds: int) -> "tuple[range, list[Selection]]":
        """The units of so many seconds that lie in its time, and what is left of it, where inspections are counted."""
        units, left = whole_units(self.since, self.until, seconds)
        return units, [replace(self, since=since, until=until) for since, until in left if since < until]


class SlotCount(NamedTuple):
    """Inspections of one quarter of an hour, category and key; `begin` is in seconds since 1970."""

    begin: int
    category: str
    key: str
    n: int
    n_rejected: int
    n_uncertain: int


class Bin(NamedTuple):
    """How many inspections of a bundle fell into the bin `number`."""

    bundle: str
    number: int
    n: int


class whole(GenericFunction[int]):
    """The whole part of a number that is not negative; a cast alone truncates in SQLite and rounds in PostgreSQL."""

    type = sa.Integer()
    inherit_cache = True


@compiles(whole, "sqlite")
def _whole_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"


@compiles(whole, "postgresql")
def _whole_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST(floor({compiler.process(element.clauses, **options)}) AS BIGINT)"


class Analytics:
    """The counts."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def slots(self, selection: Selection) -> list[SlotCount]:
        """Counts by quarter of an hour, category and key, oldest first."""
        units, left = selection.split(SLOT_SECONDS)
        columns = [tallies.c[name] for name in ("slot", "category", "key", "n", "n_rejected", "n_uncertain")]
        within = [tallies.c.slot >= units.start, tallies.c.slot < units.stop, *selection.of_group(tallies)]
        rows = inspections.c
        slot = whole(rows.at / SLOT_SECONDS)
        counts = sa.func.count(), _number_of(rows.verdict == "reject"), _number_of(rows.uncertain)
        with self._engine.connect() as connection:
            found = list(connection.execute(sa.select(*columns).where(*within)))
            for rest in left:
                query = sa.select(slot, rows.category, rows.key, *counts).where(*rest.conditions)
                found += connection.execute(query.group_by(slot, rows.category, rows.key))
        return sorted(SlotCount(each[0] * SLOT_SECONDS, *each[1:]) for each in found)

    def p_values(self, selection: Selection) -> list[Bin]:
        """Counts by bundle and by P_VALUE_BINS bins of the p-value."""
        number = whole(_at_most(inspections.c.p_value * P_VALUE_BINS, P_VALUE_BINS - 1))
        return self._bins("p_value", number, selection)

    def relative_scores(self, selection: Selection) -> list[Bin]:
        """Counts by bundle and by bins of score over threshold, where both are above 0."""
        rows = inspections.c
        number = whole(_at_most(rows.score / rows.threshold * SCORE_BINS_PER_THRESHOLD, MOST_SCORE_BINS))
        return self._bins("score", number, selection, rows.threshold > 0, rows.score >= 0)

    def latencies(self, selection: Selection) -> list[Bin]:
        """Counts by bundle and by the bins between LATENCY_EDGES, in ms, of the time from decoding to verdict."""
        latency = inspections.c.latency_ms
        number = sa.case(
            *((latency < edge, position) for position, edge in enumerate(LATENCY_EDGES)), else_=len(LATENCY_EDGES)
        )
        return self._bins("latency", number, selection, latency.is_not(None))

    def categories(self) -> list[str]:
        """The categories of all inspections, sorted."""
        return self._distinct(inspections.c.category)

    def _bins(self, measure: str, number: Any, selection: Selection, *conditions: Any) -> list[Bin]:
        units, left = selection.split(BLOCK_SECONDS)
        rows = tally_bins.c
        within = [rows.measure == measure, rows.block >= units.start, rows.block < units.stop]
        kept = sa.select(rows.bundle, rows.number, sa.func.sum(rows.n)).group_by(rows.bundle, rows.number)
        n_of = Counter[tuple[str, int]]()
        with self._engine.connect() as connection:
            found = list(connection.execute(kept.where(*within, *selection.of_group(tally_bins))))
            for rest in left:
                query = sa.select(inspections.c.bundle, number, sa.func.count()).where(*rest.conditions, *conditions)
                found += connection.execute(query.group_by(inspections.c.bundle, number))
        for bundle, position, n in found:
            n_of[bundle, position] += int(n)
        return [Bin(*group, n) for group, n in sorted(n_of.items())]

    def _distinct(self, column: sa.Column[str]) -> list[str]:
        """The values of a column that an index begins with, each found by one step in the index."""
        found: list[str] = []
        with self._engine.connect() as connection:
            while True:
                beyond: Sequence[Any] = [column > found[-1]] if found else []
                value = connection.execute(sa.select(sa.func.min(column)).where(*beyond)).scalar()
                if value is None:
                    return found
                found.append(value)


def _number_of(condition: Any) -> Any:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _at_most(number: Any, most: int) -> Any:
    return sa.case((number > most, most), else_=number)
