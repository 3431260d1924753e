"""The queue of what a person should look at, and the leases that give two people different parts of it.

`waiting` says why an inspection waits; within each reason, the oldest comes first. A person is a key, and does not get
what they have said something of already.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gonogo.store.reviews import IN_FORCE, Writing
from gonogo.store.schema import corrections, leases, reviews, skips, waiting
from gonogo.store.waiting import REASONS

LEASE_SECONDS = 300.0
SKIP_SECONDS = 3600.0  # for which a person does not get again what they skipped
MOST_COUNTED = 1000  # inspections of one reason; nobody reviews more than that before they look again
LOOKED_AT = 8  # inspections that may be another's by the time they are leased
UPSERT_LEASE: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Waiting(NamedTuple):
    """An inspection of the queue: its id, and the reason why it waits."""

    inspection: str
    reason: str


class Queue:
    """The queue; every person sees their own, since nobody reviews twice what others are to settle."""

    def __init__(self, engine: sa.Engine, writing: Writing) -> None:
        self._engine, self._writing = engine, writing

    def take(self, *, key: str, now: float) -> Waiting | None:
        """The inspection that a person should look at next, which nobody else gets for LEASE_SECONDS.

        It is the same one until it is reviewed, skipped or the lease has ended; None: nothing waits for this person.

        Args:
            key: id of the person's key.
            now: in seconds since 1970.
        """
        with self._writing() as connection:
            mine = sa.select(leases.c.inspection, leases.c.reason).where(leases.c.key == key, leases.c.until > now)
            held = connection.execute(mine).first()
            connection.execute(sa.delete(leases).where(sa.or_(leases.c.until <= now, leases.c.key == key)))
            for found in self._candidates(connection, held and Waiting(*held), key=key, now=now):
                if self._lease(connection, found, key, now):
                    return found
        return None

    def take_back(self, identifier: str, *, key: str, now: float) -> None:
        """Put an inspection before a person again, whose review of it was taken back."""
        with self._writing() as connection:
            connection.execute(sa.delete(leases).where(sa.or_(leases.c.until <= now, leases.c.key == key)))
            for reason in REASONS:
                if self._waiting(connection, reason, key, waiting.c.inspection == identifier):
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

    def counts(self, key: str) -> dict[str, int]:
        """How many inspections wait for the person with a key, by reason; MOST_COUNTED stands for as many or more."""
        with self._engine.connect() as connection:
            return {
                reason: connection.execute(
                    sa.select(sa.func.count()).select_from(_query(reason, key).limit(MOST_COUNTED).subquery())
                ).scalar_one()
                for reason in REASONS
            }

    def _candidates(
        self, connection: sa.Connection, held: Waiting | None, *, key: str, now: float
    ) -> Iterator[Waiting]:
        """What a person may get: first what they hold already, if it still waits."""
        if held is not None and self._waiting(connection, held.reason, key, waiting.c.inspection == held.inspection):
            yield held
        for reason in REASONS:
            for identifier in self._waiting(connection, reason, key, *_free(key, now)):
                yield Waiting(identifier, reason)

    def _waiting(self, connection: sa.Connection, reason: str, key: str, *conditions: Any) -> list[str]:
        """Ids of the first inspections that wait for this reason, oldest first."""
        query = _query(reason, key).where(*conditions).order_by(waiting.c.inspection).limit(LOOKED_AT)
        return list(connection.execute(query).scalars())

    def _lease(self, connection: sa.Connection, found: Waiting, key: str, now: float) -> bool:
        """Lease an inspection; False where another person, of another process, was quicker."""
        row = found._asdict() | {"key": key, "until": now + LEASE_SECONDS}
        insert = UPSERT_LEASE[connection.dialect.name](leases).values(row)
        upsert = insert.on_conflict_do_update(
            index_elements=[leases.c.inspection],
            set_={name: insert.excluded[name] for name in ("key", "until", "reason")},
            where=sa.or_(leases.c.until <= now, leases.c.key == key),
        )
        return connection.execute(upsert.returning(leases.c.inspection)).first() is not None


def _query(reason: str, key: str) -> sa.Select[Any]:
    """The ids of the inspections that wait for this reason, and of which the person with this key has said nothing."""
    query = sa.select(waiting.c.inspection).where(waiting.c.reason == reason)
    if reason == "corrected":
        of_person = sa.exists().where(corrections.c.inspection == waiting.c.inspection, corrections.c.key == key)
        query = query.where(~of_person)
    if reason in ("disputed", "questioned"):  # nobody has reviewed the others
        of_person = sa.exists().where(reviews.c.inspection == waiting.c.inspection, reviews.c.key == key, IN_FORCE)
        query = query.where(~of_person)
    return query


def _free(key: str, now: float) -> tuple[Any, Any]:
    """What holds of inspections that nobody has before them, and that this person did not skip lately."""
    held = sa.exists().where(leases.c.inspection == waiting.c.inspection, leases.c.until > now)
    skipped = sa.exists().where(
        skips.c.inspection == waiting.c.inspection, skips.c.key == key, skips.c.at > now - SKIP_SECONDS
    )
    return ~held, ~skipped
