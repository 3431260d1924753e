"""The statements of every inspection, whose text is made once, and which go past SQLAlchemy to the driver."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gonogo.store.schema import Row


class Prepared:
    """A statement that adds rows. SQLAlchemy makes its text once for each database, and the driver executes it.

    What SQLAlchemy does beside at each execution takes longer than the database itself where there is one row.
    """

    def __init__(self, statements: Mapping[str, Any]) -> None:
        """Keep the statement for each database, by the name of its dialect."""
        self._statements = statements
        self._texts: dict[tuple[str, ...], tuple[str, list[str] | None]] = {}  # by dialect and columns

    def execute(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Add rows, which have the same columns and values that every driver takes: text, numbers, booleans, None.

        Raises:
            SQLAlchemyError: the database refuses.
        """
        if not rows:
            return
        kind = (connection.dialect.name, *rows[0])
        if kind not in self._texts:
            made = self._statements[kind[0]].compile(dialect=connection.dialect, column_keys=kind[1:])
            self._texts[kind] = made.string, made.positiontup
        text, places = self._texts[kind]
        given: list[Any] = list(rows) if places is None else [tuple(row[name] for name in places) for row in rows]
        execute_raw(connection, text, given)


def execute_raw(connection: sa.Connection, text: str, given: Sequence[Any] = ()) -> Any:
    """The first value that a statement in the driver's own words gives; None where it gives none.

    Args:
        connection: in a transaction.
        text: one statement.
        given: its values, or those of each time that it is to be executed.

    Raises:
        SQLAlchemyError: the database refuses.
    """
    cursor = connection.connection.cursor()
    try:
        if len(given) > 1:
            cursor.executemany(text, given)
        else:
            cursor.execute(text, *given)
        row = cursor.fetchone() if cursor.description else None
    except connection.dialect.loaded_dbapi.Error as error:
        raise sa.exc.DBAPIError.instance(text, given, error, connection.dialect.loaded_dbapi.Error) from error
    finally:
        cursor.close()
    return None if row is None else row[0]
