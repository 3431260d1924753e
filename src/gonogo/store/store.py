"""What the service remembers: images by content hash in files, rows in a database. Kept means on the disk.

An image's file is synchronised before the row that names it is committed, and the row before anyone is answered. A
kill leaves at most a file without a row, which the next `expire` removes.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gonogo.errors import DataError, MissingExtraError
from gonogo.files import sync_folder

SECONDS_A_DAY = 86_400
ORPHAN_AFTER = 3600  # seconds; a file without a row may belong to a row that is just being written
tables = sa.MetaData()

images = sa.Table(
    "images",
    tables,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("format", sa.String(8), nullable=False),
    sa.Column("n_bytes", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("last_seen", sa.Float, nullable=False),
    sa.Column("kept", sa.Boolean, nullable=False),
)
inspections = sa.Table(
    "inspections",
    tables,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("image", sa.String(64), sa.ForeignKey("images.sha256"), nullable=False, index=True),
    sa.Column("name", sa.String(128)),
    sa.Column("verdict", sa.String(6), nullable=False, index=True),
    sa.Column("score", sa.Float(53), nullable=False),
    sa.Column("threshold", sa.Float(53), nullable=False),
    sa.Column("p_value", sa.Float(53), nullable=False),
    sa.Column("probability", sa.Float(53)),
    sa.Column("uncertain", sa.Boolean, nullable=False),
    sa.Column("regions", sa.Text, nullable=False),
    sa.Column("category", sa.String(200), nullable=False),
    sa.Column("bundle", sa.String(64), nullable=False),
    sa.Column("certificate", sa.Text, nullable=False),
    sa.Column("timings_ms", sa.Text, nullable=False),
    sa.Column("key", sa.String(16), nullable=False),
)
reviews = sa.Table(
    "reviews",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("label", sa.String(6), nullable=False),
    sa.Column("defect_type", sa.String(200)),
    sa.Column("note", sa.Text),
    sa.Column("reviewer", sa.String(200), nullable=False),
    sa.Column("key", sa.String(16), nullable=False),
)
keys = sa.Table(
    "keys",
    tables,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("role", sa.String(7), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("revoked", sa.Float),
)
activations = sa.Table(
    "activations",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("bundle", sa.String(64), nullable=False),
    sa.Column("started_with", sa.String(64), nullable=False),
    sa.Column("key", sa.String(16), nullable=False),
)
# What every inspection asks of the database; made once, since making a statement costs more than running it.
SEE_IMAGES = {
    name: insert(images).on_conflict_do_update(
        index_elements=[images.c.sha256],
        set_={"last_seen": insert(images).excluded.last_seen, "kept": True},
    )
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
ADD_INSPECTIONS = sa.insert(inspections)
JSON_COLUMNS = ("regions", "certificate", "timings_ms")
Row = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """An inspection to keep: its row, that of its image, and the image's bytes."""

    row: Row
    image: Row
    data: bytes


def new_id() -> str:
    """32 hexadecimal digits that nobody guesses and that sort by time."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Store:
    """The images and rows in one folder, or the rows in a database that `url` names."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        """Open, or make what is not there.

        Raises:
            DataError: the folder or the database cannot be used.
            MissingExtraError: the database's driver is not installed.
        """
        self.images = folder / "images"
        try:
            self.images.mkdir(parents=True, exist_ok=True, mode=0o700)
            for byte in range(256):  # here, and not one after the other while images wait
                (self.images / f"{byte:02x}").mkdir(exist_ok=True)
            sync_folder(self.images)
            address = sa.make_url(url or f"sqlite:///{folder / 'inspections.sqlite'}")
            backend = address.get_backend_name()
            if backend not in SEE_IMAGES:
                raise DataError(f"--database names {backend}; expected {' or '.join(SEE_IMAGES)}")
            self._engine = sa.create_engine(address)
            if backend == "sqlite":
                sa.event.listen(self._engine, "connect", _durable)
            tables.create_all(self._engine)
        except ImportError as error:
            raise MissingExtraError(
                f"--database {address.drivername}: {error}; pip install 'gonogo[postgres]' and write postgresql+psycopg://"
            ) from error
        except (OSError, sa.exc.SQLAlchemyError) as error:
            raise DataError(f"{folder}: the inspections cannot be kept here: {error}") from error
        self._writing = threading.Lock()

    def ping(self) -> None:
        """Do nothing, if the database answers.

        Raises:
            SQLAlchemyError: it does not.
        """
        with self._engine.connect() as connection:
            connection.execute(sa.select(1))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def write(self, sha256: str, data: bytes) -> None:
        """Write an image's file, unless it is there, and return when it is on the disk.

        That is what takes longest of `keep`; a file that nothing is kept of is an orphan.

        Raises:
            OSError: it cannot be written.
        """
        path = self.path_of(sha256)
        if not path.exists() or path.read_bytes() != data:  # a cut of power may have left the name without the bytes
            partial = path.with_name(f"{sha256}.{secrets.token_hex(4)}.partial")  # the same may come twice at once
            try:
                partial.write_bytes(data)
                partial.replace(path)
            except OSError:
                with suppress(OSError):
                    partial.unlink()
                raise
        with path.open("r+b") as file:  # by its last name, so that name and bytes go to the disk in one go
            os.fsync(file.fileno())
        sync_folder(path.parent)

    def keep(self, kept: Sequence[Kept]) -> None:
        """Return when the inspections are on the disk, all in one transaction.

        Raises:
            OSError: a file cannot be written; nothing is kept.
            SQLAlchemyError: the database refuses; nothing is kept.
        """
        with self._writing:
            fresh = {one.image["sha256"]: one for one in kept}
            for sha256, one in fresh.items():
                if not self.path_of(sha256).exists():  # `expire` may have removed it meanwhile
                    self.write(sha256, one.data)
            with self._engine.begin() as connection:
                connection.execute(SEE_IMAGES[self._engine.dialect.name], [one.image for one in fresh.values()])
                connection.execute(ADD_INSPECTIONS, [_flat(one.row) for one in kept])

    def path_of(self, sha256: str) -> Path:
        """Where an image's file is; the hash comes from a row."""
        return self.images / sha256[:2] / sha256

    def inspection(self, identifier: str) -> Row | None:
        """One inspection with its image's facts and its reviews."""
        found = self._rows([inspections.c.id == identifier], limit=1)
        return found[0] if found else None

    def newest(self, wanted: Mapping[str, Any], *, before: str | None, limit: int) -> list[Row]:
        """Up to `limit` inspections that are as wanted, newest first, older than the one called `before`.

        Args:
            wanted: by name, what is not None: verdict, uncertain, category, bundle, image; `since` and `until`, seconds
                since 1970; `min_score` and `max_score`; `reviewed`.
        """
        columns = inspections.c
        rules = {
            "verdict": columns.verdict.__eq__,
            "uncertain": columns.uncertain.__eq__,
            "category": columns.category.__eq__,
            "bundle": columns.bundle.__eq__,
            "image": columns.image.__eq__,
            "since": columns.at.__ge__,
            "until": columns.at.__lt__,
            "min_score": columns.score.__ge__,
            "max_score": columns.score.__le__,
            "reviewed": sa.exists().where(reviews.c.inspection == columns.id).__eq__,
        }
        conditions = [rules[name](value) for name, value in wanted.items() if value is not None]
        if before is not None:
            conditions.append(columns.id < before)
        return self._rows(conditions, limit=limit)

    def review(self, identifier: str, review: Row) -> None:
        """Add a review to an inspection that is there."""
        self._add(reviews, review | {"inspection": identifier})

    def add_key(self, key: Row) -> None:
        """Add a key's row."""
        self._add(keys, key)

    def all_keys(self) -> list[Row]:
        """All keys, oldest first."""
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(sa.select(keys).order_by(keys.c.at))]

    def key(self, identifier: str) -> Row | None:
        """A key that is not revoked."""
        query = sa.select(keys).where(keys.c.id == identifier, keys.c.revoked.is_(None))
        with self._engine.connect() as connection:
            found = connection.execute(query).first()
        return None if found is None else dict(found._mapping)

    def revoke(self, identifier: str) -> bool:
        """Whether there was such a key, which is none from now on."""
        change = sa.update(keys).where(keys.c.id == identifier, keys.c.revoked.is_(None)).values(revoked=time.time())
        with self._writing, self._engine.begin() as connection:
            return bool(connection.execute(change).rowcount)

    def activated(self, bundle: str, *, started_with: str, key: str) -> None:
        """Remember that a bundle was activated."""
        self._add(activations, {"at": time.time(), "bundle": bundle, "started_with": started_with, "key": key})

    def last_activated(self, *, started_with: str) -> str | None:
        """The bundle that was activated last, provided that the service was then started with the same one as now."""
        query = sa.select(activations.c.bundle, activations.c.started_with).order_by(activations.c.id.desc())
        with self._engine.connect() as connection:
            last = connection.execute(query.limit(1)).first()
        return str(last.bundle) if last is not None and last.started_with == started_with else None

    def expire(self, *, days: float | None, n_bytes: int | None) -> int:
        """Remove the files of images that were last seen so long ago, then of the oldest until the rest is so small.

        Rows stay. Returns how many files went.
        """
        with self._writing:
            with self._engine.connect() as connection:
                kept = connection.execute(sa.select(images).where(images.c.kept).order_by(images.c.last_seen)).all()
            total, oldest = (
                sum(row.n_bytes for row in kept),
                0.0 if days is None else time.time() - days * SECONDS_A_DAY,
            )
            going = []
            for row in kept:
                if row.last_seen >= oldest and (n_bytes is None or total <= n_bytes):
                    break
                going.append(row.sha256)
                total -= row.n_bytes
            with self._engine.begin() as connection:
                for sha256 in going:
                    connection.execute(sa.update(images).where(images.c.sha256 == sha256).values(kept=False))
            staying = {row.sha256 for row in kept} - set(going)
            for path in self.images.glob("*/*"):
                orphaned = path.name not in staying and time.time() - path.stat().st_mtime > ORPHAN_AFTER
                if path.name in going or orphaned:
                    path.unlink()
        return len(going)

    def _add(self, table: sa.Table, row: Row) -> None:
        with self._writing, self._engine.begin() as connection:
            connection.execute(sa.insert(table).values(row))

    def _rows(self, conditions: Sequence[Any], *, limit: int) -> list[Row]:
        query = (
            sa.select(inspections, *(column.label(f"image_{column.name}") for column in images.c))
            .join(images)
            .where(*conditions)
            .order_by(inspections.c.id.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            found = [_deep(row._mapping) for row in connection.execute(query)]
            of = {row["id"]: row for row in found}
            told = sa.select(reviews).where(reviews.c.inspection.in_(of)).order_by(reviews.c.id)
            for review in connection.execute(told):
                of[review.inspection]["reviews"].append(dict(review._mapping))
        return found


def _durable(connection: Any, _: Any) -> None:
    """SQLite, so that what is committed outlives a cut of power, and readers do not wait for writers."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")


def _flat(row: Row) -> Row:
    return row | {name: json.dumps(row[name], allow_nan=False) for name in JSON_COLUMNS}


def _deep(row: Mapping[Any, Any]) -> Row:
    return dict(row) | {name: json.loads(row[name]) for name in JSON_COLUMNS} | {"reviews": []}
