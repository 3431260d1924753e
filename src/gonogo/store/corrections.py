"""What people say is wrong with inspections: false alarms, misses, wrong categories, notes. Nothing is ever changed."""

import sqlalchemy as sa

from gonogo.store.reviews import Changed, Writing
from gonogo.store.schema import Row, corrections, reviews


class Corrections:
    """The corrections in the database."""

    def __init__(self, engine: sa.Engine, writing: Writing, changed: Changed) -> None:
        """`changed` is called in the transaction that has corrected an inspection, with its id."""
        self._engine, self._writing, self._changed = engine, writing, changed

    def add(self, inspection: str, correction: Row, review: Row | None) -> int:
        """Add a correction to an inspection, which must be there, and the review that it is too; returns its id."""
        with self._writing() as connection:
            added = None
            if review is not None:
                result = connection.execute(sa.insert(reviews).values(review | {"inspection": inspection}))
                assert result.inserted_primary_key is not None
                added = result.inserted_primary_key[0]
            row = correction | {"inspection": inspection, "review": added}
            result = connection.execute(sa.insert(corrections).values(row))
            assert result.inserted_primary_key is not None
            self._changed(connection, inspection)
            return int(result.inserted_primary_key[0])

    def of(self, inspection: str) -> list[Row]:
        """The corrections of an inspection, oldest first."""
        query = sa.select(corrections).where(corrections.c.inspection == inspection).order_by(corrections.c.id)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]
