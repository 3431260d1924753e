"""Cases in the database: defects of the past, their vectors, and what people know about them.

A case is never deleted: where the reviewers of its inspection come to say that the part is good, it is `removed`, and
it comes back where they change their minds again.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from gonogo.store.reviews import LOOKED_UP_TOGETHER, Writing
from gonogo.store.schema import Row, case_facts, case_vectors, cases, inspections, reviews

Kind = Literal["image", "region", "crop"]  # of the whole, of its region, and of the picture of a case by itself
FACTS = ("severity", "cause", "remedy", "note")
NO_FACTS: dict[str, Any] = dict.fromkeys(FACTS)
READ_TOGETHER = 5_000  # rows of vectors

# The columns that lists show; a crop is read by itself.
SHOWN = [column for column in cases.c if column.name not in ("crop", "version")]


@dataclass(frozen=True)
class CaseVector:
    """A vector of a case as the index holds it; `vector` is None where the case is removed."""

    case_id: str
    category: str
    image: str
    part: str | None
    defect_type: str
    severity: int | None
    space: str
    kind: Kind
    vector: bytes | None


class Cases:
    """The cases in the database."""

    def __init__(self, engine: sa.Engine, writing: Writing) -> None:
        self._engine, self._writing = engine, writing

    def put(self, case: Row, vectors: Mapping[Kind, bytes], space: str | None) -> bool:
        """Add a case, or bring the one with this id up to date; its vectors of this space are replaced.

        Args:
            case: the columns of `cases` but `version` and `removed`; `region` is a dictionary or None.
            vectors: float32, little endian.
            space: what the vectors are compared in; None: there are none, and those of other spaces stay.
                The vector of its picture is removed in any case, since the picture may be another one.

        Returns:
            whether it is new.
        """
        row = case | {"removed": None, "region": None if case["region"] is None else json.dumps(case["region"])}
        with self._writing() as connection:
            row["version"] = _next_version(connection)
            changed = connection.execute(sa.update(cases).where(cases.c.id == row["id"]).values(row)).rowcount
            if not changed:
                connection.execute(sa.insert(cases).values(row))
            old = sa.or_(case_vectors.c.space == space, case_vectors.c.kind == "crop")  # its picture may be another one
            own = sa.and_(case_vectors.c.case_id == row["id"], old)
            connection.execute(sa.delete(case_vectors).where(own))
            if space is not None:
                rows = [
                    {"case_id": row["id"], "space": space, "kind": kind, "vector": vector}
                    for kind, vector in vectors.items()
                ]
                connection.execute(sa.insert(case_vectors), rows)
        return not changed

    def settle(self, identifier: str, defect_type: str | None) -> None:
        """Give the case of an inspection, if there is one, the type that its reviews come to; None removes the case."""
        values: dict[str, Any] = {"removed": time.time() if defect_type is None else None}
        if defect_type is not None:
            values["defect_type"] = defect_type
        with self._writing() as connection:
            values["version"] = _next_version(connection)
            connection.execute(sa.update(cases).where(cases.c.inspection == identifier).values(values))

    def describe(self, case_id: str, facts: Mapping[str, Any], *, by: str, key: str) -> bool:
        """Add what a person says about a case, in place of what was said before; False where there is no such case."""
        row = {name: facts.get(name) for name in FACTS} | {"case_id": case_id, "at": time.time(), "by": by, "key": key}
        with self._writing() as connection:
            there = sa.update(cases).where(cases.c.id == case_id).values(version=_next_version(connection))
            if not connection.execute(there).rowcount:
                return False
            connection.execute(sa.insert(case_facts).values(row))
        return True

    def with_ids(self, ids: Sequence[str]) -> list[Row]:
        """The cases with these ids that are not removed, in the order of the ids; each with its FACTS."""
        found: dict[str, Row] = {}
        with self._engine.connect() as connection:
            for begin in range(0, len(ids), LOOKED_UP_TOGETHER):
                together = ids[begin : begin + LOOKED_UP_TOGETHER]
                query = sa.select(*SHOWN).where(cases.c.id.in_(together), cases.c.removed.is_(None))
                found |= {row.id: _decoded(row) for row in connection.execute(query)}
                self._add_facts(connection, found, together)
        return [found[identifier] for identifier in ids if identifier in found]

    def of_inspection(self, identifier: str) -> Row | None:
        """The case of an inspection, also a removed one; None: there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(*SHOWN).where(cases.c.inspection == identifier)).first()
            if row is None:
                return None
            found = {row.id: _decoded(row)}
            self._add_facts(connection, found, [row.id])
        return found[row.id]

    def newest(
        self,
        *,
        category: str | None = None,
        defect_type: str | None = None,
        min_severity: int | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[Row]:
        """Up to `limit` cases, as `with_ids` gives them, in the order of their ids from the last one."""
        conditions: list[Any] = [cases.c.removed.is_(None)]
        for column, value in ((cases.c.category, category), (cases.c.defect_type, defect_type)):
            if value is not None:
                conditions.append(column == value)
        if min_severity is not None:
            conditions.append(_last_fact(case_facts.c.severity) >= min_severity)
        if before is not None:
            conditions.append(cases.c.id < before)
        query = sa.select(cases.c.id).where(*conditions).order_by(cases.c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            ids = list(connection.execute(query).scalars())
        return self.with_ids(ids)

    def causes(self) -> list[tuple[str, str, str]]:
        """Category, defect type and cause of each case whose cause is known."""
        cause = _last_fact(case_facts.c.cause).label("cause")
        query = sa.select(cases.c.category, cases.c.defect_type, cause).where(cases.c.removed.is_(None))
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query) if row.cause]

    def crop(self, case_id: str) -> tuple[bytes, str] | None:
        """The picture of a case and its media type; None: there is no such case."""
        query = sa.select(cases.c.crop, cases.c.crop_type).where(cases.c.id == case_id, cases.c.removed.is_(None))
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else (bytes(row.crop), str(row.crop_type))

    def vectors_of(self, case_id: str, space: str) -> dict[str, bytes]:
        """The vectors of a case in a space, by their kind; empty where it has none."""
        query = sa.select(case_vectors).where(case_vectors.c.case_id == case_id, case_vectors.c.space == space)
        with self._engine.connect() as connection:
            return {row.kind: bytes(row.vector) for row in connection.execute(query)}

    def version(self) -> int:
        """The version of the newest change; 0 where there is no case."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(cases.c.version))).scalar() or 0

    def without_crop_vector(self, space: str, *, limit: int, but: Collection[str] = ()) -> tuple[list[str], int]:
        """Up to `limit` cases whose picture has no vector of this space, newest first, and how many there are in all.

        `but`: cases that are left out.
        """
        has = sa.exists().where(
            case_vectors.c.case_id == cases.c.id, case_vectors.c.space == space, case_vectors.c.kind == "crop"
        )
        query = sa.select(cases.c.id).where(cases.c.removed.is_(None), ~has).order_by(cases.c.id.desc())
        with self._engine.connect() as connection:
            ids = [each for each in connection.execute(query).scalars() if each not in but]
        return ids[:limit], len(ids)

    def put_crop_vector(self, case_id: str, space: str, crop: bytes, vector: bytes) -> None:
        """Keep the vector (float32, little endian) of the picture of a case, unless it has another picture by now."""
        row = {"case_id": case_id, "space": space, "kind": "crop"}
        of_case = sa.and_(*(case_vectors.c[name] == value for name, value in row.items()))
        with self._writing() as connection:
            now = connection.execute(sa.select(cases.c.crop).where(cases.c.id == case_id)).scalar()
            if now is None or bytes(now) != crop:
                return
            connection.execute(sa.delete(case_vectors).where(of_case))
            connection.execute(sa.insert(case_vectors).values(row | {"vector": vector}))
            newer = sa.update(cases).where(cases.c.id == case_id).values(version=_next_version(connection))
            connection.execute(newer)

    def changed(self, since: int, space: str, category: str | None) -> Iterator[tuple[int, CaseVector]]:
        """The vectors of a space and category whose cases changed after the version `since`, in the order of versions.

        Each comes with its case's version. Without a category, those of all.
        """
        columns = (
            *(cases.c[name] for name in ("id", "image", "part", "defect_type", "version", "removed", "category")),
            _last_fact(case_facts.c.severity).label("severity"),
            case_vectors.c.kind,
            case_vectors.c.vector,
        )
        query = (
            sa.select(*columns)
            .select_from(cases.join(case_vectors, case_vectors.c.case_id == cases.c.id))
            .where(cases.c.version > since, case_vectors.c.space == space)
            .order_by(cases.c.version)
        )
        if category is not None:
            query = query.where(cases.c.category == category)
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=READ_TOGETHER).execute(query):
                vector = None if row.removed is not None else bytes(row.vector)
                yield (
                    row.version,
                    CaseVector(
                        row.id,
                        row.category,
                        row.image,
                        row.part,
                        row.defect_type,
                        row.severity,
                        space,
                        row.kind,
                        vector,
                    ),
                )

    def texts(self, since: int) -> Iterator[tuple[int, Row]]:
        """The cases that changed after the version `since`, removed ones too, with FACTS and the notes of reviews."""
        query = sa.select(cases.c.id, cases.c.version).where(cases.c.version > since).order_by(cases.c.version)
        with self._engine.connect() as connection:
            ids = [(row.id, row.version) for row in connection.execute(query)]
            for begin in range(0, len(ids), LOOKED_UP_TOGETHER):
                together = [identifier for identifier, _ in ids[begin : begin + LOOKED_UP_TOGETHER]]
                rows = connection.execute(sa.select(*SHOWN).where(cases.c.id.in_(together)))
                found = {row.id: _decoded(row) | {"said": []} for row in rows}
                self._add_facts(connection, found, together)
                notes = sa.select(reviews.c.inspection, reviews.c.note).where(
                    reviews.c.inspection.in_(together), reviews.c.note.is_not(None)
                )
                for note in connection.execute(notes.order_by(reviews.c.id)):
                    found[note.inspection]["said"].append(note.note)
                yield from ((version, found[each]) for each, version in ids[begin : begin + LOOKED_UP_TOGETHER])

    def without_vectors(self, category: str, space: str | None) -> list[str]:
        """Inspections of a category that have a review, and no case with a vector of this space, oldest first.

        Without a space, those that have no case.
        """
        has = sa.exists().where(cases.c.inspection == inspections.c.id)
        if space is not None:
            has = has.where(case_vectors.c.case_id == cases.c.id, case_vectors.c.space == space)
        reviewed = sa.exists().where(reviews.c.inspection == inspections.c.id)
        query = sa.select(inspections.c.id).where(inspections.c.category == category, reviewed, ~has)
        with self._engine.connect() as connection:
            return list(connection.execute(query.order_by(inspections.c.id)).scalars())

    def _add_facts(self, connection: sa.Connection, found: dict[str, Row], ids: Sequence[str]) -> None:
        query = sa.select(case_facts).where(case_facts.c.case_id.in_(ids)).order_by(case_facts.c.id)
        for row in connection.execute(query):
            if row.case_id in found:
                found[row.case_id] |= {name: getattr(row, name) for name in FACTS}


def _next_version(connection: sa.Connection) -> int:
    """The version of a change that this transaction makes; no other one makes a change meanwhile."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE cases IN SHARE ROW EXCLUSIVE MODE")
    return (connection.execute(sa.select(sa.func.max(cases.c.version))).scalar() or 0) + 1


def _last_fact(column: sa.Column[Any]) -> sa.ScalarSelect[Any]:
    """The column in the last row of `case_facts` about a case of the query around it."""
    own = sa.select(column).where(case_facts.c.case_id == cases.c.id).order_by(case_facts.c.id.desc()).limit(1)
    return own.correlate(cases).scalar_subquery()


def _decoded(row: sa.Row[Any]) -> Row:
    values = dict(row._mapping)
    return values | NO_FACTS | {"region": None if values["region"] is None else json.loads(values["region"])}
