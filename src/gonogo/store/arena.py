"""The rounds of the arena, where a person and the gauge judge cases whose truth is known.

A round's id is random and says nothing of the case. The truth is that of the moment when the case was shown; an answer
is stored with it and never becomes a review.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gonogo.store.reviews import IN_FORCE, Writing, reviews_of, settle
from gonogo.store.schema import Row, arena_rounds, images, inspections, reviews
from gonogo.store.waiting import update_waiting

POOL = 40  # cases that a round is drawn from


def _distance(rows: Any) -> Any:
    """How far a score lies from its threshold, as a share of it; none where that is 0."""
    return sa.func.abs(rows.score - rows.threshold) / sa.func.nullif(sa.func.abs(rows.threshold), 0.0)


@dataclass(frozen=True)
class Case:
    """A case with a known truth, "good" or "defect": an inspection, or a file of the settings' folder."""

    truth: str
    inspection: str | None = None
    file: str | None = None


class Arena:
    """The rounds in the database, and the reviewed inspections that they may show."""

    def __init__(self, engine: sa.Engine, writing: Writing) -> None:
        self._engine, self._writing = engine, writing

    def cases(self, category: str, *, key: str, truth: str, expert: bool) -> list[Case]:
        """Up to POOL inspections of a category that are settled as `truth`, and are new to this person.

        Of these come those whose score is nearest to their threshold where `expert` is true, and any otherwise.
        """
        rows = inspections.c
        said = sa.select(reviews.c.inspection).where(reviews.c.label == truth, IN_FORCE)
        kept = sa.exists().where(images.c.sha256 == rows.image, images.c.kept)
        own = sa.exists().where(reviews.c.inspection == rows.id, reviews.c.key == key)
        seen = sa.exists().where(arena_rounds.c.inspection == rows.id, arena_rounds.c.key == key)
        query = sa.select(rows.id).where(rows.category == category, rows.id.in_(said), kept, ~own, ~seen)
        order = _distance(rows) if expert else sa.func.random()
        with self._engine.connect() as connection:
            ids = connection.execute(query.order_by(order, rows.id).limit(POOL)).scalars().all()
            settled = {one: settle(history).label for one, history in reviews_of(connection, ids).items()}
        return [Case(truth, inspection=one) for one in ids if settled[one] == truth]

    def distances(self, files: Sequence[str]) -> dict[str, float]:
        """Of the files that were shown before, how far their score lay from the threshold, as a share of it."""
        rows = arena_rounds.c
        query = sa.select(rows.file, sa.func.min(_distance(rows))).where(rows.file.is_not(None), rows.threshold != 0)
        with self._engine.connect() as connection:
            known: dict[Any, float] = {row[0]: row[1] for row in connection.execute(query.group_by(rows.file))}
        return {file: known[file] for file in files if file in known}

    def open_round(self, key: str) -> Row | None:
        """The round that a person has not answered; None: there is none."""
        query = sa.select(arena_rounds).where(arena_rounds.c.key == key, arena_rounds.c.answer.is_(None))
        return self._first(query.order_by(arena_rounds.c.at.desc()))

    def round(self, identifier: str, *, key: str) -> Row | None:
        """A round of this person; None: there is none."""
        return self._first(sa.select(arena_rounds).where(arena_rounds.c.id == identifier, arena_rounds.c.key == key))

    def add(self, row: Row) -> None:
        """Add a round."""
        with self._writing() as connection:
            connection.execute(sa.insert(arena_rounds).values(row))

    def remove_open(self, key: str) -> None:
        """Remove a person's round without an answer, whose case cannot be shown."""
        with self._writing() as connection:
            connection.execute(
                sa.delete(arena_rounds).where(arena_rounds.c.key == key, arena_rounds.c.answer.is_(None))
            )

    def answer(self, identifier: str, values: Row) -> bool:
        """Store the answer of a round and what the gauge said; False where it was answered before."""
        change = sa.update(arena_rounds).where(arena_rounds.c.id == identifier, arena_rounds.c.answer.is_(None))
        with self._writing() as connection:
            answered = connection.execute(change.values(values).returning(arena_rounds.c.inspection)).first()
            if answered is not None and answered.inspection is not None:
                update_waiting(connection, answered.inspection)
        return answered is not None

    def results(self, key: str) -> list[Row]:
        """A person's answered rounds, the last answer first, each with `truth`, `answer`, `gauge` and `expert`."""
        rows = arena_rounds.c
        query = sa.select(rows.truth, rows.answer, rows.gauge, rows.expert).where(
            rows.key == key, rows.answer.is_not(None)
        )
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query.order_by(rows.answered.desc()))]

    def seen_files(self, key: str) -> set[str]:
        """The files that a person was shown."""
        query = sa.select(arena_rounds.c.file).where(arena_rounds.c.key == key, arena_rounds.c.file.is_not(None))
        with self._engine.connect() as connection:
            return {str(file) for file in connection.execute(query).scalars()}

    def _first(self, query: Any) -> Row | None:
        with self._engine.connect() as connection:
            row = connection.execute(query.limit(1)).first()
        return None if row is None else dict(row._mapping)
