"""Brings a database to the tables of this gonogo, with Alembic, in one transaction that one service at a time runs.

A revision is a file in `migrations/versions` whose name begins with its number of four digits; they run in the order
of their numbers, and Alembic notes the last one in the table `alembic_version`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import gonogo
from gonogo.errors import DataError, MissingExtraError
from gonogo.store.schema import metadata

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_SECONDS = 300  # that a service waits while another one upgrades the same database
POSTGRES_LOCK = 0x676F6E6F676F  # "gonogo" in ASCII: the number of the advisory lock
# By which tables are told to be gonogo's, where no revision is noted: columns that its first ones had.
OWN = {
    "images": ("sha256", "kept"),
    "inspections": ("verdict", "bundle"),
    "reviews": ("inspection", "label"),
    "keys": ("sha256", "role"),
}
version_table = sa.table("alembic_version", sa.column("version_num"))


def upgrade(engine: sa.Engine, migrations: Path = MIGRATIONS) -> None:
    """Run the revisions that the database has not had, all or none of them. Most often there are none to run.

    Raises:
        DataError: a newer gonogo has upgraded the database, or its tables are not gonogo's.
        MissingExtraError: Alembic is not installed.
        SQLAlchemyError: the database refuses, or another service holds the lock for longer than LOCK_SECONDS.
    """
    known = revisions(migrations)
    with engine.connect() as connection:
        if _revision_of(connection) == known[-1]:
            return
    locked = _locking_engine(engine.url)
    try:
        with locked.begin() as connection:
            if locked.dialect.name == "postgresql":
                connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(POSTGRES_LOCK)))
            current = _revision_of(connection)  # once more: another service may have upgraded while this one waited
            if current == known[-1]:
                return
            if current is not None and current not in known:
                raise DataError(_unknown_revision(current, known, engine.url))
            if current is None:
                _require_columns(connection, engine.url, OWN)
            _run_revisions(connection, migrations)
            every = {table.name: {column.name for column in table.columns} for table in metadata.sorted_tables}
            _require_columns(connection, engine.url, every)
            _require_sound_references(connection, engine.url)
    finally:
        locked.dispose()


def revisions(migrations: Path = MIGRATIONS) -> list[str]:
    """The numbers of the revisions in a folder of migrations, oldest first; "0001" is the first."""
    return sorted(path.name[:4] for path in (migrations / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def _revision_of(connection: sa.Connection) -> str | None:
    """The last revision that the database had; None for an empty one, and for one made before there were revisions."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.select(version_table.c.version_num)).scalar()


def _locking_engine(url: sa.URL) -> sa.Engine:
    """Connections for an upgrade, whose transactions cover changes of tables too.

    In SQLite a transaction locks the database when it begins; left alone, the driver would begin it at the first change
    of a row. In PostgreSQL the caller takes the lock, and READ COMMITTED lets the statements after it see what another
    service committed while this one waited.
    """
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, poolclass=sa.NullPool, isolation_level="READ COMMITTED")
    engine = sa.create_engine(url, poolclass=sa.NullPool)

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")
        connection.execute("PRAGMA synchronous=FULL")
        # Alembic changes a table of SQLite by copying and dropping it, which foreign keys would refuse where rows of
        # other tables refer to it. They are checked afterwards, and cannot be turned off within a transaction.
        connection.execute("PRAGMA foreign_keys=OFF")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _run_revisions(connection: sa.Connection, migrations: Path) -> None:
    try:  # imported here, since a start with nothing to upgrade does not need it
        from alembic import command
        from alembic.config import Config
    except ImportError as error:
        raise MissingExtraError(
            f"the store's tables need more packages: {error}; pip install 'gonogo[serve]'"
        ) from error

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _require_columns(connection: sa.Connection, url: sa.URL, columns: Mapping[str, Collection[str]]) -> None:
    """Refuse tables that another program made under the same names: those which lack a column that ours have."""
    inspector = sa.inspect(connection)
    for table in sorted(columns.keys() & set(inspector.get_table_names())):
        missing = set(columns[table]) - {one["name"] for one in inspector.get_columns(table)}
        if missing:
            raise DataError(
                f"{url.render_as_string()}: its table {table} has no column {', '.join(sorted(missing))}, so "
                "another program made it; gonogo needs a database of its own: name another one with --database"
            )


def _require_sound_references(connection: sa.Connection, url: sa.URL) -> None:
    """Refuse rows that refer to rows which are not there."""
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise DataError(
                f"{url.render_as_string()}: row {broken[1]} of {broken[0]} refers to a row of {broken[2]} that is not "
                "there; the database is as it was before: restore a copy of it, or repair it, and start again"
            )


def _unknown_revision(current: str, known: list[str], url: sa.URL) -> str:
    return (
        f"{url.render_as_string()}: the tables are at revision {current}, and gonogo {gonogo.__version__} knows "
        f"{known[0]} to {known[-1]}: a newer gonogo has upgraded them. Install that version again (pip install "
        "--upgrade 'gonogo[serve]'), or restore the copy made before the upgrade; see docs/service.md, Upgrading"
    )
