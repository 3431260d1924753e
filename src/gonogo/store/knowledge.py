"""Versions of what people know of failures. Nothing is changed: an edit adds a version, and the last one counts."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from gonogo.store.reviews import LOOKED_UP_TOGETHER, Writing
from gonogo.store.schema import Row, cases, inspections, knowledge


class Change(NamedTuple):
    """An item of knowledge with its new content; None removes it."""

    item: str
    kind: str
    content: Mapping[str, Any] | None


class KnowledgeVersions:
    """The versions in the database. A version is a row of the table whose `content` is decoded."""

    def __init__(self, engine: sa.Engine, writing: Writing) -> None:
        self._engine, self._writing = engine, writing

    def newest(self) -> int:
        """The id of the newest version; 0 where there is none."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(knowledge.c.id))).scalar() or 0

    def current(self) -> list[Row]:
        """The last version of each item that is not removed, in the order of the items."""
        with self._engine.connect() as connection:
            return _current(connection)

    def history(self, item: str) -> list[Row]:
        """All versions of an item, oldest first."""
        query = sa.select(knowledge).where(knowledge.c.item == item).order_by(knowledge.c.id)
        with self._engine.connect() as connection:
            return [_decoded(row._mapping) for row in connection.execute(query)]

    def change(self, changed: Callable[[list[Row]], Sequence[Change]], *, by: str, key: str) -> int:
        """Add versions to what is there, of which no other writer changes anything meanwhile.

        Args:
            changed: is given what `current` returns, and says what changes; what it raises changes nothing.
            by: who changes it.
            key: id of the key; empty: no key did.

        Returns:
            how many versions were added. An item that stays as it is gets none.
        """
        with self._writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("LOCK TABLE knowledge IN SHARE ROW EXCLUSIVE MODE")
            rows = _current(connection)
            contents = {row["item"]: row["content"] for row in rows}
            at = time.time()
            added = [
                {"item": change.item, "kind": change.kind, "content": text, "at": at, "by": by, "key": key}
                for change in changed(rows)
                if change.content != contents.get(change.item)
                for text in [None if change.content is None else json.dumps(change.content, allow_nan=False)]
            ]
            if added:
                connection.execute(sa.insert(knowledge), added)
        return len(added)

    def evidence(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are inspections or cases of this store."""
        found: set[str] = set()
        with self._engine.connect() as connection:
            for begin in range(0, len(ids), LOOKED_UP_TOGETHER):
                together = ids[begin : begin + LOOKED_UP_TOGETHER]
                for column in (inspections.c.id, cases.c.id):
                    found.update(connection.execute(sa.select(column).where(column.in_(together))).scalars())
        return found


def _current(connection: sa.Connection) -> list[Row]:
    last = sa.select(sa.func.max(knowledge.c.id)).group_by(knowledge.c.item)
    query = sa.select(knowledge).where(knowledge.c.id.in_(last), knowledge.c.content.is_not(None))
    return [_decoded(row._mapping) for row in connection.execute(query.order_by(knowledge.c.item))]


def _decoded(row: Mapping[Any, Any]) -> Row:
    return dict(row) | {"content": None if row["content"] is None else json.loads(row["content"])}
