"""The queue of what a person should look at, and the leases that give two people different parts of it.

Why an inspection waits, in the order in which a person gets them:

- disputed: as many reviewers say good as say defect, and this person is none of them;
- corrected: somebody said what is wrong with it, and nobody else has reviewed it since;
- questioned: one person reviewed it, and another one answered otherwise in the arena;
- uncertain, rejected: the gauge's verdict, which nobody has reviewed;
- audit: it passed, and was drawn at random.

Within each, the oldest comes first. Inspections whose image was removed are left out.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gonogo.store.corrections import corrected_by_others
from gonogo.store.reviews import IN_FORCE, REVIEWED, Writing, reviews_of, settle
from gonogo.store.schema import arena_rounds, audits, images, inspections, leases, reviews, skips

LEASE_SECONDS = 300.0
SKIP_SECONDS = 3600.0  # for which a person does not get again what they skipped
REASONS = ("disputed", "corrected", "questioned", "uncertain", "rejected", "audit")
MOST_COUNTED = 1000  # inspections of one reason; to count all of a long queue would take longer than to show it
UPSERT_LEASE: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Waiting(NamedTuple):
    """An inspection of the queue: its id, and the reason why it waits."""

    inspection: str
    reason: str


class Queue:
    """The queue; every person sees their own, since nobody reviews twice what others are to settle."""

    def __init__(self, engine: sa.Engine, writing: Writing) -> None:
        self._engine, self._writing = engine, writing

    def take(self, *, key: str, reviewer: str, now: float) -> Waiting | None:
        """The inspection that a person should look at next, which nobody else gets for LEASE_SECONDS.

        It is the same one until it is reviewed, skipped or the lease has ended; None: nothing waits for this person.

        Args:
            key: id of the person's key.
            reviewer: the person's name.
            now: in seconds since 1970.
        """
        with self._writing() as connection:
            mine = sa.select(leases.c.inspection, leases.c.reason).where(leases.c.key == key, leases.c.until > now)
            held = connection.execute(mine).first()
            connection.execute(sa.delete(leases).where(sa.or_(leases.c.until <= now, leases.c.key == key)))
            for found in self._candidates(connection, held and Waiting(*held), key=key, reviewer=reviewer, now=now):
                if self._lease(connection, found, key, now):
                    return found
        return None

    def take_back(self, identifier: str, *, key: str, reviewer: str, now: float) -> None:
        """Put an inspection before a person again, whose review of it was taken back."""
        with self._writing() as connection:
            connection.execute(sa.delete(leases).where(sa.or_(leases.c.until <= now, leases.c.key == key)))
            for reason in REASONS:
                if self._waiting(connection, reason, reviewer, inspections.c.id == identifier):
                    self._lease(connection, Waiting(identifier, reason), key, now)
                    return

    def release(self, identifier: str, *, key: str) -> None:
        """End a person's lease, if there is one."""
        with self._writing() as connection:
            connection.execute(sa.delete(leases).where(leases.c.inspection == identifier, leases.c.key == key))

    def skip(self, identifier: str, *, key: str, now: float) -> None:
        """Set an inspection, which must be there, aside for a person for SKIP_SECONDS; others get it."""
        with self._writing() as connection:
            connection.execute(sa.delete(leases).where(leases.c.inspection == identifier, leases.c.key == key))
            connection.execute(sa.delete(skips).where(skips.c.key == key, skips.c.at <= now - SKIP_SECONDS))
            connection.execute(sa.delete(skips).where(skips.c.inspection == identifier, skips.c.key == key))
            connection.execute(sa.insert(skips).values(inspection=identifier, key=key, at=now))

    def counts(self, reviewer: str) -> dict[str, int]:
        """How many inspections wait for a person, by reason; MOST_COUNTED stands for as many or more."""
        with self._engine.connect() as connection:
            return {reason: len(self._waiting(connection, reason, reviewer, limit=MOST_COUNTED)) for reason in REASONS}

    def _candidates(
        self, connection: sa.Connection, held: Waiting | None, *, key: str, reviewer: str, now: float
    ) -> Iterator[Waiting]:
        """What a person may get: first what they hold already, if it still waits."""
        if held is not None and self._waiting(connection, held.reason, reviewer, inspections.c.id == held.inspection):
            yield held
        for reason in REASONS:
            for identifier in self._waiting(connection, reason, reviewer, *_free(key, now)):
                yield Waiting(identifier, reason)

    def _waiting(
        self, connection: sa.Connection, reason: str, reviewer: str, *conditions: Any, limit: int = 8
    ) -> list[str]:
        """Ids of inspections that wait for this reason, oldest first."""
        kept = sa.exists().where(images.c.sha256 == inspections.c.image, images.c.kept)
        query = sa.select(inspections.c.id).where(*_conditions(reason, reviewer), *conditions, kept)
        query = query.order_by(inspections.c.id)
        if reason != "disputed":
            return list(connection.execute(query.limit(limit)).scalars())
        ids = list(connection.execute(query).scalars())
        states = {identifier: settle(given).state for identifier, given in reviews_of(connection, ids).items()}
        return [identifier for identifier in ids if states[identifier] == "disputed"][:limit]

    def _lease(self, connection: sa.Connection, waiting: Waiting, key: str, now: float) -> bool:
        """Lease an inspection; False where another person, of another process, was quicker."""
        row = waiting._asdict() | {"key": key, "until": now + LEASE_SECONDS}
        insert = UPSERT_LEASE[connection.dialect.name](leases).values(row)
        upsert = insert.on_conflict_do_update(
            index_elements=[leases.c.inspection],
            set_={name: insert.excluded[name] for name in ("key", "until", "reason")},
            where=sa.or_(leases.c.until <= now, leases.c.key == key),
        )
        return connection.execute(upsert.returning(leases.c.inspection)).first() is not None


def _conditions(reason: str, reviewer: str) -> list[Any]:
    """What holds of an inspection that waits for this reason, for this reviewer."""
    rows = inspections.c
    of_reviewer = sa.exists().where(reviews.c.inspection == rows.id, reviews.c.reviewer == reviewer, IN_FORCE)
    if reason == "disputed":
        both = sa.select(reviews.c.inspection).where(IN_FORCE).group_by(reviews.c.inspection)
        return [rows.id.in_(both.having(sa.func.count(reviews.c.label.distinct()) > 1)), ~of_reviewer]
    if reason == "corrected":
        return [corrected_by_others(reviewer)]
    if reason == "questioned":
        return [rows.id.in_(_questioned()), ~of_reviewer]
    if reason == "uncertain":
        return [rows.uncertain.is_(True), ~REVIEWED]
    if reason == "rejected":
        return [rows.verdict == "reject", rows.uncertain.is_(False), ~REVIEWED]
    audited = rows.id.in_(sa.select(audits.c.inspection))
    return [audited, rows.verdict == "pass", rows.uncertain.is_(False), ~REVIEWED]


def _questioned() -> Any:
    """Ids of inspections that one person reviewed, and another one judged otherwise in the arena."""
    alone = (
        sa.select(reviews.c.inspection, sa.func.min(reviews.c.reviewer).label("reviewer"))
        .where(IN_FORCE)
        .group_by(reviews.c.inspection)
        .having(sa.func.count(reviews.c.reviewer.distinct()) == 1)
        .subquery()
    )
    return (
        sa.select(arena_rounds.c.inspection)
        .join(alone, alone.c.inspection == arena_rounds.c.inspection)
        .where(arena_rounds.c.answer != arena_rounds.c.truth, arena_rounds.c.player != alone.c.reviewer)
    )


def _free(key: str, now: float) -> tuple[Any, Any]:
    """What holds of inspections that nobody has before them, and that this person did not skip lately."""
    held = sa.exists().where(leases.c.inspection == inspections.c.id, leases.c.until > now)
    skipped = sa.exists().where(
        skips.c.inspection == inspections.c.id, skips.c.key == key, skips.c.at > now - SKIP_SECONDS
    )
    return ~held, ~skipped
