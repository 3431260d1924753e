"""The store of the service: images in files, and inspections, reviews, keys and activations in a database.

An image's file is on the disk before the row that names it is committed, and the row is committed before the client
has its answer. A process that is killed leaves at most a file without a row, which `expire` removes later.
"""

import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gonogo.errors import DataError
from gonogo.store.database import open_database
from gonogo.store.image_files import ImageFiles
from gonogo.store.schema import JSON_COLUMNS, Row, activations, images, inspections, keys, reviews

SECONDS_PER_DAY = 86_400
ORPHAN_AGE = 3600  # seconds; the row of a younger file may not be committed yet
# The statements of every inspection, built once: building one takes longer than running it.
UPSERT_IMAGES = {
    name: insert(images).on_conflict_do_update(
        index_elements=[images.c.sha256],
        set_={"last_seen": insert(images).excluded.last_seen, "kept": True},
    )
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
INSERT_INSPECTIONS = sa.insert(inspections)


@dataclass(frozen=True)
class NewInspection:
    """An inspection to add: its row, the row of its image, and the bytes of the image's file."""

    row: Row
    image: Row
    data: bytes


def new_id() -> str:
    """An id of 32 hexadecimal digits, which sorts by time and cannot be guessed."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Store:
    """The images in a folder, and the rows in a database beside them or at `url`."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        """Open a store, make what is missing of it, and upgrade what an older gonogo has made.

        Args:
            folder: holds the folder `images` and, without `url`, the file `inspections.sqlite`.
            url: of a database, as SQLAlchemy reads it.

        Raises:
            DataError: the folder or the database cannot be used, or a newer gonogo has upgraded the database.
            MissingExtraError: the database's driver is not installed.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._engine = open_database(folder, url)
            self.images = ImageFiles(folder / "images")
        except OSError as error:
            raise DataError(f"{folder}: the inspections cannot be kept here: {error}") from error
        self._write_lock = threading.Lock()

    def ping(self) -> None:
        """Do nothing, if the database answers.

        Raises:
            SQLAlchemyError: it does not.
        """
        with self._engine.connect() as connection:
            connection.execute(sa.select(1))

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def add_inspections(self, new: Sequence[NewInspection]) -> None:
        """Add inspections in one transaction, and return when they are on the disk.

        Raises:
            OSError: a file cannot be written; none is added.
            SQLAlchemyError: the database refuses; none is added.
        """
        with self._write_lock:
            by_image = {inspection.image["sha256"]: inspection for inspection in new}
            for sha256, inspection in by_image.items():
                if not self.images.path_of(sha256).exists():  # `expire` may have removed it since it was written
                    self.images.write(sha256, inspection.data)
            with self._engine.begin() as connection:
                upsert = UPSERT_IMAGES[self._engine.dialect.name]
                connection.execute(upsert, [inspection.image for inspection in by_image.values()])
                connection.execute(INSERT_INSPECTIONS, [_with_json_text(inspection.row) for inspection in new])

    def inspection(self, identifier: str) -> Row | None:
        """The row of one inspection, with its image's columns as `image_…` and its `reviews`; None: there is none."""
        rows = self._inspections([inspections.c.id == identifier], limit=1)
        return rows[0] if rows else None

    def newest(self, filters: Mapping[str, Any], *, before: str | None, limit: int) -> list[Row]:
        """Up to `limit` rows as `inspection` returns them, newest first.

        Args:
            filters: a value for some of these names; None is no filter. `verdict`, `uncertain`, `category`, `bundle`
                and `image` (SHA-256) must be equal; `since` (included) and `until` (excluded) are seconds since 1970;
                `min_score` and `max_score` are included; `reviewed`: whether there is a review.
            before: id of an inspection; only older ones are returned.
        """
        columns = inspections.c
        comparisons = {
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
        conditions = [comparisons[name](value) for name, value in filters.items() if value is not None]
        if before is not None:
            conditions.append(columns.id < before)
        return self._inspections(conditions, limit=limit)

    def add_review(self, identifier: str, review: Row) -> None:
        """Add a review to the inspection with this id, which must be there."""
        self._insert(reviews, review | {"inspection": identifier})

    def add_key(self, key: Row) -> None:
        """Add the row of a key."""
        self._insert(keys, key)

    def all_keys(self) -> list[Row]:
        """The rows of all keys, oldest first, revoked ones included."""
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(sa.select(keys).order_by(keys.c.at))]

    def key(self, identifier: str) -> Row | None:
        """The row of a key that is not revoked; None: there is none."""
        query = sa.select(keys).where(keys.c.id == identifier, keys.c.revoked.is_(None))
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else dict(row._mapping)

    def revoke(self, identifier: str) -> bool:
        """Revoke a key; False where no key with this id was in force."""
        change = sa.update(keys).where(keys.c.id == identifier, keys.c.revoked.is_(None)).values(revoked=time.time())
        with self._write_lock, self._engine.begin() as connection:
            return bool(connection.execute(change).rowcount)

    def add_activation(self, bundle: str, *, started_with: str, key: str) -> None:
        """Record that a bundle is in use from now on.

        Args:
            bundle: its fingerprint.
            started_with: fingerprint of the bundle that the service was started with.
            key: id of the key that activated it.
        """
        self._insert(activations, {"at": time.time(), "bundle": bundle, "started_with": started_with, "key": key})

    def last_activated(self, *, started_with: str) -> str | None:
        """The fingerprint of the bundle that was activated last, by a service started with the bundle `started_with`.

        None: none was, or the last one was activated by a service that was started with another bundle.
        """
        query = sa.select(activations.c.bundle, activations.c.started_with).order_by(activations.c.id.desc())
        with self._engine.connect() as connection:
            last = connection.execute(query.limit(1)).first()
        return str(last.bundle) if last is not None and last.started_with == started_with else None

    def expire(self, *, days: float | None, n_bytes: int | None) -> int:
        """Remove image files: those last seen more than `days` ago, then the oldest until `n_bytes` are left.

        None is no limit. Rows stay. Files without a row are removed too. Returns the number of images removed.
        """
        with self._write_lock:
            with self._engine.connect() as connection:
                kept = connection.execute(sa.select(images).where(images.c.kept).order_by(images.c.last_seen)).all()
            total = sum(row.n_bytes for row in kept)
            oldest = 0.0 if days is None else time.time() - days * SECONDS_PER_DAY
            expired = set()
            for row in kept:
                if row.last_seen >= oldest and (n_bytes is None or total <= n_bytes):
                    break
                expired.add(row.sha256)
                total -= row.n_bytes
            with self._engine.begin() as connection:
                for sha256 in expired:
                    connection.execute(sa.update(images).where(images.c.sha256 == sha256).values(kept=False))
            remaining = {row.sha256 for row in kept} - expired
            for path in self.images.paths():
                orphan = path.name not in remaining and time.time() - path.stat().st_mtime > ORPHAN_AGE
                if path.name in expired or orphan:
                    path.unlink()
        return len(expired)

    def _insert(self, table: sa.Table, row: Row) -> None:
        with self._write_lock, self._engine.begin() as connection:
            connection.execute(sa.insert(table).values(row))

    def _inspections(self, conditions: Sequence[Any], *, limit: int) -> list[Row]:
        query = (
            sa.select(inspections, *(column.label(f"image_{column.name}") for column in images.c))
            .join(images)
            .where(*conditions)
            .order_by(inspections.c.id.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            rows = [_with_json_values(row._mapping) for row in connection.execute(query)]
            by_id = {row["id"]: row for row in rows}
            query_reviews = sa.select(reviews).where(reviews.c.inspection.in_(by_id)).order_by(reviews.c.id)
            for review in connection.execute(query_reviews):
                by_id[review.inspection]["reviews"].append(dict(review._mapping))
        return rows


def _with_json_text(row: Row) -> Row:
    return row | {name: json.dumps(row[name], allow_nan=False) for name in JSON_COLUMNS}


def _with_json_values(row: Mapping[Any, Any]) -> Row:
    return dict(row) | {name: json.loads(row[name]) for name in JSON_COLUMNS} | {"reviews": []}
