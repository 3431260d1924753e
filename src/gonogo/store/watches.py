"""What was learnt about certificates, so that a service goes on after a kill where it was, to the last bit.

A watch follows one bundle from the inspection `after` on, in the order of the ids. Its state is written now and then,
with the id of the `last` inspection that is in it; the inspections after that one are read again at the next start. The
numbers behind the state are written in pieces, each once. A watch that was withdrawn stays so: whoever re-instates the
certificate, or activates another bundle, begins another watch, and both stay in the history.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from gonogo.store.reviews import LOOKED_UP_TOGETHER, Writing, reviews_of, settle
from gonogo.store.schema import Row, audits, images, inspections, watch_values, watches

READ_TOGETHER = 2000  # inspections
# Made once: SQLAlchemy would take longer to make it for each inspection than the database to answer it.
PARTS = (
    sa.select(inspections.c.id, inspections.c.at, inspections.c.score, inspections.c.statistics)
    .where(inspections.c.id > sa.bindparam("after"), inspections.c.bundle == sa.bindparam("bundle"))
    .order_by(inspections.c.id)
    .limit(READ_TOGETHER)
)
PARTS_UNTIL = PARTS.where(inspections.c.id <= sa.bindparam("until"))


class Part(NamedTuple):
    """An inspection as a watch takes it: its id, when it was, its score, and the statistics of its image by name."""

    id: str
    at: float
    score: float
    statistics: Mapping[str, float]


class SeenPart(NamedTuple):
    """As `Part`, with its p-value, the number of its regions, and whether its image is kept."""

    id: str
    at: float
    score: float
    p_value: float
    n_regions: int
    statistics: Mapping[str, float]
    kept: bool


class AuditCounts(NamedTuple):
    """Good parts of the audit sample, as `CertificateWatch.set_audits` counts them, up to the newest that is settled.

    waiting counts those before it that wait for a review, and reviewed those that are settled, defects too.
    """

    rejected: int
    passed: int
    waiting: int
    reviewed: int


class Watches:
    """The watches in the database. A watch is a row of the table, in which `params` and `state` are decoded."""

    def __init__(self, engine: sa.Engine, writing: Writing) -> None:
        self._engine, self._writing = engine, writing

    def begin(
        self, *, bundle: str, category: str, key: str, by: str, reason: str | None, params: Mapping[str, Any]
    ) -> Row:
        """Begin to watch a bundle's certificate after the newest inspection there is.

        Args:
            bundle: its fingerprint.
            category: of the bundle.
            key: id of the key that began it; empty: no key did.
            by: who did.
            reason: why a person re-instates the certificate; None: the bundle is taken into use.
            params: how it is watched.
        """
        with self._writing() as connection:
            newest = connection.execute(sa.select(sa.func.max(inspections.c.id))).scalar() or ""
            row = {"at": time.time(), "category": category, "bundle": bundle, "after": newest, "key": key, "by": by}
            row |= {"reason": reason, "params": json.dumps(params), "last": newest}
            added = connection.execute(sa.insert(watches).values(row))
            assert added.inserted_primary_key is not None
            identifier = int(added.inserted_primary_key[0])
        return self.watch(identifier)

    def watch(self, identifier: int) -> Row:
        """One watch, which must be there."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(watches).where(watches.c.id == identifier)).one()
        return _decoded(row._mapping)

    def newest(self, bundle: str | None = None) -> Row | None:
        """The newest watch, of a bundle or of all; None: there is none."""
        query = sa.select(watches).order_by(watches.c.id.desc()).limit(1)
        if bundle is not None:
            query = query.where(watches.c.bundle == bundle)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _decoded(row._mapping)

    def newest_of(self, bundle: str) -> tuple[int, float | None, str | None] | None:
        """Of the newest watch of a bundle the id, since when it is withdrawn and by which inspection; None: none."""
        query = sa.select(watches.c.id, watches.c.withdrawn, watches.c.withdrawn_at).where(watches.c.bundle == bundle)
        with self._engine.connect() as connection:
            row = connection.execute(query.order_by(watches.c.id.desc()).limit(1)).first()
        return None if row is None else (row.id, row.withdrawn, row.withdrawn_at)

    def history(self, category: str, *, limit: int = 100) -> list[Row]:
        """The watches of a category without their state, newest first."""
        columns = [column for column in watches.c if column.name != "state"]
        query = sa.select(*columns).where(watches.c.category == category).order_by(watches.c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_decoded(row._mapping) for row in connection.execute(query)]

    def save(
        self, watch: int, *, before: str, last: str, state: Mapping[str, Any], number: int, values: np.ndarray
    ) -> bool:
        """Write the state of a watch that has learnt from the inspections up to `last`; whether it was written.

        It is not where another process has written its own since: two states are never mixed.

        Args:
            watch: its id.
            before: the newest inspection of the state that this one was learnt from.
            last: see there.
            state: what `CertificateWatch.kept` gives.
            number: of the piece of values, from 0; one that is written already is written anew.
            values: (n, series) float64, those since the piece before.
        """
        with self._writing() as connection:
            change = sa.update(watches).where(watches.c.id == watch, watches.c.last == before)
            if not connection.execute(change.values(last=last, state=json.dumps(state))).rowcount:
                return False
            same = sa.and_(watch_values.c.watch == watch, watch_values.c.number == number)
            connection.execute(sa.delete(watch_values).where(same))
            row = {"watch": watch, "number": number, "data": np.ascontiguousarray(values, dtype="<f8").tobytes()}
            connection.execute(sa.insert(watch_values).values(row))
        return True

    def values(self, watch: int, *, series: int) -> tuple[np.ndarray, int]:
        """(n, series) float64, all values of a watch in their order, and how many pieces they were written in."""
        query = sa.select(watch_values.c.data).where(watch_values.c.watch == watch).order_by(watch_values.c.number)
        with self._engine.connect() as connection:
            pieces = list(connection.execute(query).scalars())
        return np.frombuffer(b"".join(pieces), dtype="<f8").reshape(-1, series), len(pieces)

    def forget_values(self, watch: int) -> None:
        """Remove all values of a watch, whose state is learnt again."""
        with self._writing() as connection:
            connection.execute(sa.delete(watch_values).where(watch_values.c.watch == watch))

    def withdraw(self, watch: int, *, at: float, inspection: str) -> None:
        """Note that a certificate is withdrawn, since when and by which inspection; one that is so already stays."""
        change = sa.update(watches).where(watches.c.id == watch, watches.c.withdrawn.is_(None))
        with self._writing() as connection:
            connection.execute(change.values(withdrawn=at, withdrawn_at=inspection))

    def parts(self, bundle: str, *, after: str, until: str | None = None) -> Iterator[Part]:
        """The inspections of a bundle after one, up to another one or to the newest, in the order of their ids."""
        query, asked = (PARTS, {}) if until is None else (PARTS_UNTIL, {"until": until})
        while True:
            with self._engine.connect() as connection:
                rows = connection.execute(query, asked | {"after": after, "bundle": bundle}).all()
            for row in rows:
                yield Part(row.id, row.at, row.score, {} if row.statistics is None else json.loads(row.statistics))
            if len(rows) < READ_TOGETHER:
                return
            after = rows[-1].id

    def seen(self, bundle: str, *, after: str, until: str | None, limit: int) -> list[SeenPart]:
        """The newest `limit` inspections of a bundle after one and up to another one, in the order of their ids.

        `until` None: up to the newest.
        """
        rows = inspections.c
        query = sa.select(rows.id, rows.at, rows.score, rows.p_value, rows.regions, rows.statistics, images.c.kept)
        query = query.join(images).where(rows.id > after, rows.bundle == bundle)
        if until is not None:
            query = query.where(rows.id <= until)
        with self._engine.connect() as connection:
            found = connection.execute(query.order_by(rows.id.desc()).limit(limit)).all()
        return [
            SeenPart(
                id=row.id,
                at=row.at,
                score=row.score,
                p_value=row.p_value,
                n_regions=len(json.loads(row.regions)),
                statistics=json.loads(row.statistics) if row.statistics else {},
                kept=row.kept,
            )
            for row in reversed(found)
        ]

    def audited(self, bundle: str, *, after: str) -> AuditCounts:
        """The audit sample among the inspections of a bundle after one, up to the newest that is settled."""
        query = sa.select(inspections.c.id, inspections.c.verdict).join(audits)
        query = query.where(inspections.c.bundle == bundle, inspections.c.id > after).order_by(inspections.c.id)
        counts = of_settled = AuditCounts(0, 0, 0, 0)
        with self._engine.connect() as connection:
            rows: Sequence[Any] = connection.execute(query).all()
            for begin in range(0, len(rows), LOOKED_UP_TOGETHER):
                together = rows[begin : begin + LOOKED_UP_TOGETHER]
                given = reviews_of(connection, [row.id for row in together])
                for row in together:
                    settlement = settle(given[row.id])
                    is_open, is_good = settlement.state != "settled", settlement.label == "good"
                    counts = AuditCounts(
                        rejected=counts.rejected + (row.verdict == "reject" and is_good),
                        passed=counts.passed + (row.verdict == "pass" and (is_open or is_good)),
                        waiting=counts.waiting + is_open,
                        reviewed=counts.reviewed + (not is_open),
                    )
                    of_settled = of_settled if is_open else counts
        return of_settled


def _decoded(row: Mapping[Any, Any]) -> Row:
    found = dict(row)
    for name in ("params", "state"):
        if found.get(name) is not None:
            found[name] = json.loads(found[name])
    return found
