"""Opens the database of a store: a SQLite file, or a PostgreSQL that a URL names."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gonogo.errors import DataError, MissingExtraError
from gonogo.store.private import FILE, make_private
from gonogo.store.upgrade import upgrade

BACKENDS = ("sqlite", "postgresql")
DATABASE = "inspections.sqlite"  # the file in the store's folder, unless a URL names another database


def open_database(folder: Path, url: str | None) -> sa.Engine:
    """The database at `url`, or in a SQLite file in `folder`, with the tables of this gonogo.

    Raises:
        DataError: the database cannot be used, or a newer gonogo has upgraded it.
        MissingExtraError: the database's driver is not installed.
        OSError: the file of the database cannot be made.
    """
    shown = str(folder)
    try:
        address = sa.make_url(url or f"sqlite:///{folder / DATABASE}")
        shown = address.render_as_string()  # without its password
        backend = address.get_backend_name()
        if backend not in BACKENDS:
            raise DataError(f"--database names {backend}; expected {' or '.join(BACKENDS)}")
        if backend == "sqlite" and address.database in (None, "", ":memory:"):
            raise DataError(f"--database {shown} names no file, so that nothing would be kept: add its path")
        engine = _engine(address)
        if backend == "sqlite":
            _make_private_files(str(address.database))
            sa.event.listen(engine, "connect", _set_up_sqlite)
        upgrade(engine)
    except sa.exc.SQLAlchemyError as error:
        raise DataError(f"{shown}: the inspections cannot be kept here: {error}") from error
    return engine


def _engine(address: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(address)
    except ImportError as error:
        raise MissingExtraError(
            f"--database {address.drivername}: {error}; pip install 'gonogo[postgres]' and write postgresql+psycopg://"
        ) from error


def _make_private_files(database: str) -> None:
    """Make the file of a SQLite database; SQLite makes those beside it with the same permissions."""
    if database.startswith("file:"):  # a URI, whose path SQLite alone knows
        return
    Path(database).touch(mode=FILE)
    for suffix in ("", "-wal", "-shm"):
        make_private(Path(f"{database}{suffix}"))


def _set_up_sqlite(connection: Any, _: Any) -> None:
    """Make commits outlive a cut of power, and let readers and writers work at the same time."""
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
