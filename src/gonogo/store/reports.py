"""Reports on inspections. One that is pending for too long has failed: the process that wrote it has ended."""

import json
import time
from typing import Any

import sqlalchemy as sa

from gonogo.store.reviews import Writing
from gonogo.store.schema import Row, reports

LOST = "the service ended before the report was written; ask for it again"


class Reports:
    """The reports in the database."""

    def __init__(self, engine: sa.Engine, writing: Writing) -> None:
        self._engine, self._writing = engine, writing

    def begin(self, inspection: str, *, language: str, key: str) -> int:
        """Add a pending report on an inspection, which must be there; returns the report's id."""
        row = {"inspection": inspection, "at": time.time(), "key": key, "language": language, "state": "pending"}
        with self._writing() as connection:
            added = connection.execute(sa.insert(reports).values(row))
            assert added.inserted_primary_key is not None
            return int(added.inserted_primary_key[0])

    def end(self, identifier: int, content: dict[str, Any] | None, error: str | None = None) -> None:
        """Note what a pending report says or, without a content, why there is none; others stay as they are."""
        values = {
            "state": "failed" if content is None else "ready",
            "ended": time.time(),
            "content": None if content is None else json.dumps(content, allow_nan=False),
            "error": error,
        }
        chosen = sa.and_(reports.c.id == identifier, reports.c.state == "pending")
        with self._writing() as connection:
            connection.execute(sa.update(reports).where(chosen).values(values))

    def latest(self, inspection: str, *, lost_after: float, language: str | None = None) -> Row | None:
        """The last report on an inspection, its content decoded; None: there is none.

        Args:
            inspection: its id.
            lost_after: seconds after which a pending report is noted as failed.
            language: of the report; None: any.
        """
        query = sa.select(reports).where(reports.c.inspection == inspection).order_by(reports.c.id.desc()).limit(1)
        if language is not None:
            query = query.where(reports.c.language == language)
        with self._engine.connect() as connection:
            found = connection.execute(query).first()
        if found is None:
            return None
        if found.state == "pending" and found.at < time.time() - lost_after:
            self.end(found.id, None, LOST)
            return self.latest(inspection, lost_after=lost_after, language=language)
        return dict(found._mapping) | {"content": None if found.content is None else json.loads(found.content)}
