"""Counts of inspections for the page of rates, aggregated by the database.

Every query reads the index `ix_inspections_analytics` alone, in one pass over the time asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from gonogo.store.schema import inspections

SLOT_SECONDS = 900  # inspections are counted by the quarter of an hour, on which shifts and hours begin everywhere
P_VALUE_BINS = 20  # of equal width in [0, 1]
SCORE_BINS_PER_THRESHOLD, MOST_SCORE_BINS = 20, 60  # of score over threshold; the last has all that is higher
LATENCY_EDGES = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)  # ms; the last bin is open


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
        found: list[Any] = [rows.at >= self.since, rows.at < self.until]
        if self.category is not None:
            found.append(rows.category == self.category)
        if self.key is not None:
            found.append(rows.key == self.key)
        return found


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
        rows = inspections.c
        slot = whole(rows.at / SLOT_SECONDS)
        counts = sa.func.count(), _number_of(rows.verdict == "reject"), _number_of(rows.uncertain)
        query = sa.select(slot, rows.category, rows.key, *counts).where(*selection.conditions)
        query = query.group_by(slot, rows.category, rows.key).order_by(slot)
        with self._engine.connect() as connection:
            return [SlotCount(found[0] * SLOT_SECONDS, *found[1:]) for found in connection.execute(query)]

    def p_values(self, selection: Selection) -> list[Bin]:
        """Counts by bundle and by P_VALUE_BINS bins of the p-value."""
        return self._bins(_at_most(whole(inspections.c.p_value * P_VALUE_BINS), P_VALUE_BINS - 1), selection)

    def relative_scores(self, selection: Selection) -> list[Bin]:
        """Counts by bundle and by bins of score over threshold, where both are above 0."""
        rows = inspections.c
        number = _at_most(whole(rows.score / rows.threshold * SCORE_BINS_PER_THRESHOLD), MOST_SCORE_BINS)
        return self._bins(number, selection, rows.threshold > 0, rows.score >= 0)

    def latencies(self, selection: Selection) -> list[Bin]:
        """Counts by bundle and by the bins between LATENCY_EDGES, in ms, of the time from decoding to verdict."""
        latency = inspections.c.latency_ms
        number = sa.case(
            *((latency < edge, position) for position, edge in enumerate(LATENCY_EDGES)), else_=len(LATENCY_EDGES)
        )
        return self._bins(number, selection, latency.is_not(None))

    def categories(self) -> list[str]:
        """The categories of all inspections, sorted."""
        return self._distinct(inspections.c.category)

    def _bins(self, number: Any, selection: Selection, *conditions: Any) -> list[Bin]:
        query = sa.select(inspections.c.bundle, number, sa.func.count()).where(*selection.conditions, *conditions)
        query = query.group_by(inspections.c.bundle, number).order_by(inspections.c.bundle, number)
        with self._engine.connect() as connection:
            return [Bin(*row) for row in connection.execute(query)]

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
