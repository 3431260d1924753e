"""The store of the service: images in files, and inspections, reviews, keys and activations in a database.

An image's file is on the disk before the row that names it is committed, and the row is committed before the client
has its answer. A process that is killed leaves at most a file without a row, which `remove_orphans` removes later.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gonogo.errors import DataError
from gonogo.store.analytics import Analytics
from gonogo.store.arena import Arena
from gonogo.store.audit import AuditRule, Audits
from gonogo.store.cases import Cases
from gonogo.store.clock import Clock
from gonogo.store.corrections import Corrections
from gonogo.store.database import DATABASE, open_database
from gonogo.store.depths import Depths, remove_depths_of
from gonogo.store.image_files import ImageFiles
from gonogo.store.knowledge import KnowledgeVersions
from gonogo.store.prepared import Prepared, execute_raw
from gonogo.store.private import OTHERS, make_private_folder
from gonogo.store.queue import Queue
from gonogo.store.reports import Reports
from gonogo.store.reviews import REVIEWED, Reviews, reviews_of
from gonogo.store.schema import (
    JSON_COLUMNS,
    Row,
    activations,
    audits,
    clock,
    images,
    inspections,
    keys,
    reviews,
    sessions,
)
from gonogo.store.tallies import INSERT, add_to_tallies
from gonogo.store.waiting import add_to_waiting, remove_waiting_of, update_waiting
from gonogo.store.watches import Watches

SECONDS_PER_DAY = 86_400
REMOVED_TOGETHER = 100  # images in one transaction of `expire`, for which other writers wait
LOOKED_UP_TOGETHER = 500  # names in one query
IMAGES = "images"  # the folder of the files in the store's folder
log = logging.getLogger("gonogo.store")

UPSERT_IMAGES = Prepared(
    {
        name: insert(images).on_conflict_do_update(
            index_elements=[images.c.sha256],
            set_={column: insert(images).excluded[column] for column in ("last_seen", "kept", "newest")},
        )
        for name, insert in INSERT.items()
    }
)
INSERT_INSPECTIONS = Prepared(dict.fromkeys(INSERT, sa.insert(inspections)))
TO_JSON = json.JSONEncoder(allow_nan=False).encode  # `json.dumps` would make an encoder for each value
NEWEST_ID = "SELECT max(id) FROM inspections"

# Images that a person reviewed, or will be asked about: those with an uncertain verdict and those of the audit sample.
OF_REVIEWERS = sa.exists().where(
    inspections.c.image == images.c.sha256,
    sa.or_(
        inspections.c.uncertain,
        sa.exists().where(reviews.c.inspection == inspections.c.id),
        sa.exists().where(audits.c.inspection == inspections.c.id),
    ),
)


@dataclass(frozen=True)
class NewInspection:
    """An inspection to add: its row without an id, the facts of its image, and the bytes of the image's file."""

    row: Row
    image: Row
    data: bytes


def new_ids(newest: str | None, count: int) -> list[str]:
    """Ids of 32 hexadecimal digits, which cannot be guessed and sort after `newest` and in their order.

    The first twelve digits are milliseconds since 1970, or one more than in the id before where the clock is behind it.
    """
    first = time.time_ns() // 1_000_000
    if newest is not None:
        first = max(first, int(newest[:12], 16) + 1)
    return [f"{first + number:012x}{secrets.token_hex(10)}" for number in range(count)]


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
            _make_store_private(folder)
            self._engine = open_database(folder, url)
            self.images = ImageFiles(folder / IMAGES)
            self.clock = Clock(self._engine)
        except (OSError, sa.exc.SQLAlchemyError) as error:
            raise DataError(f"{folder}: the inspections cannot be kept here: {error}") from error
        self._write_lock = threading.Lock()
        self.reviews = Reviews(self._engine, self._writing, update_waiting)
        self.audits = Audits(self._engine)
        self.queue = Queue(self._engine, self._writing)
        self.corrections = Corrections(self._engine, self._writing, update_waiting)
        self.reports = Reports(self._engine, self._writing)
        self.arena = Arena(self._engine, self._writing)
        self.analytics = Analytics(self._engine)
        self.cases = Cases(self._engine, self._writing)
        self.depths = Depths(self._engine, self._writing)
        self.watches = Watches(self._engine, self._writing)
        self.knowledge = KnowledgeVersions(self._engine, self._writing)

    def probe(self) -> None:
        """Write a file and a row as an inspection would, and remove the file.

        Raises:
            OSError: no file can be written.
            SQLAlchemyError: the database refuses.
        """
        self.images.probe()
        with self._writing() as connection:
            connection.execute(sa.update(clock).values(seen=clock.c.seen))

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def add_inspections(self, new: Sequence[NewInspection], audit: AuditRule | None = None) -> list[str]:
        """Add inspections in one transaction, and return their ids when they are on the disk.

        The ids sort after those of all earlier inspections, whatever the clock says. By the rule `audit` some of them
        are drawn for the audit sample; None: none is.

        Raises:
            OSError: a file cannot be written; none is added.
            SQLAlchemyError: the database refuses; none is added.
        """
        with self._writing() as connection:
            newest = execute_raw(connection, NEWEST_ID)
            ids, seen = new_ids(newest, len(new)), self.clock.now()
            by_image = {
                one.image["sha256"]: (one, one.image | {"last_seen": seen, "kept": True, "newest": identifier})
                for one, identifier in zip(new, ids, strict=True)
            }
            UPSERT_IMAGES.execute(connection, [image for _, image in by_image.values()])
            for sha256, (one, _) in by_image.items():
                if not self.images.path_of(sha256).exists():  # `expire` may have removed it since it was written
                    self.images.write(sha256, one.data)
            rows = [_with_json_text(one.row | {"id": identifier}) for one, identifier in zip(new, ids, strict=True)]
            INSERT_INSPECTIONS.execute(connection, rows)
            drawn = [] if audit is None else audit.rows(ids, seen)
            if drawn:
                connection.execute(sa.insert(audits), drawn)
            add_to_waiting(connection, rows, {row["inspection"] for row in drawn})
            add_to_tallies(connection, rows)
        return ids

    def inspection(self, identifier: str) -> Row | None:
        """The row of one inspection, with its image's columns as `image_…` and its `reviews`; None: there is none."""
        rows = self._inspections([inspections.c.id == identifier], limit=1)
        return rows[0] if rows else None

    def newest_id(self) -> str | None:
        """The id of the newest inspection; None: there is none."""
        with self._engine.connect() as connection:
            newest: str | None = connection.exec_driver_sql(NEWEST_ID).scalar()
        return newest

    def after(self, identifier: str, *, limit: int) -> list[Row]:
        """Up to `limit` rows that are newer than the inspection with this id, as `inspection` returns them.

        The newest comes first; where there are more, the oldest of them are left out.
        """
        return self._inspections([inspections.c.id > identifier], limit=limit)

    def with_ids(self, identifiers: Sequence[str]) -> list[Row]:
        """The rows of those inspections that are there, as `inspection` returns them, newest first."""
        return self._inspections([inspections.c.id.in_(identifiers)], limit=len(identifiers))

    def newest(self, filters: Mapping[str, Any], *, before: str | None, limit: int) -> list[Row]:
        """Up to `limit` rows as `inspection` returns them, newest first.

        Args:
            filters: a value for some of these names; None is no filter. `verdict`, `uncertain`, `category`, `bundle`
                and `image` (SHA-256) must be equal; `name` must be part of the name, in capitals or not; `since`
                (included) and `until` (excluded) are seconds since 1970; `min_score` and `max_score` are included;
                `reviewed`: whether there is a review that was not taken back.
            before: id of an inspection; only older ones are returned.
        """
        columns = inspections.c
        comparisons: dict[str, Callable[[Any], Any]] = {
            "verdict": columns.verdict.__eq__,
            "uncertain": columns.uncertain.__eq__,
            "category": columns.category.__eq__,
            "bundle": columns.bundle.__eq__,
            "image": columns.image.__eq__,
            "since": columns.at.__ge__,
            "until": columns.at.__lt__,
            "min_score": columns.score.__ge__,
            "max_score": columns.score.__le__,
            "reviewed": lambda wanted: REVIEWED if wanted else ~REVIEWED,
            "name": partial(columns.name.icontains, autoescape=True),
        }
        conditions = [comparisons[name](value) for name, value in filters.items() if value is not None]
        if before is not None:
            conditions.append(columns.id < before)
        return self._inspections(conditions, limit=limit)

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
        with self._writing() as connection:
            return bool(connection.execute(change).rowcount)

    def add_session(self, session: Row) -> None:
        """Add the row of a session."""
        self._insert(sessions, session)

    def session(self, sha256: str) -> Row | None:
        """The row of a session, whether it has expired or not; None: there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(sessions).where(sessions.c.sha256 == sha256)).first()
        return None if row is None else dict(row._mapping)

    def note_session(self, sha256: str, seen: float) -> None:
        """Note that a session was in use at `seen`, in seconds since 1970."""
        with self._writing() as connection:
            connection.execute(sa.update(sessions).where(sessions.c.sha256 == sha256).values(seen=seen))

    def end_session(self, sha256: str) -> None:
        """Remove a session, if it is there."""
        with self._writing() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.sha256 == sha256))

    def remove_sessions(self, *, begun_before: float, seen_before: float) -> int:
        """Remove the sessions that began, or were in use for the last time, before these times; returns how many."""
        old = sa.or_(sessions.c.at < begun_before, sessions.c.seen < seen_before)
        with self._writing() as connection:
            return connection.execute(sa.delete(sessions).where(old)).rowcount

    def add_activation(self, bundle: str, *, started_with: str, key: str, category: str) -> None:
        """Record that a bundle is in use from now on.

        Args:
            bundle: its fingerprint.
            started_with: fingerprint of the bundle that the service was started with.
            key: id of the key that activated it.
            category: of the bundle.
        """
        row = {"at": time.time(), "bundle": bundle, "started_with": started_with, "key": key, "category": category}
        self._insert(activations, row)

    def activated(self, *, started_with: str) -> list[tuple[str, str | None]]:
        """Fingerprints and categories of the bundles that were activated, the last one first, each once.

        Those before the last start with another bundle than `started_with` are left out. The category is None where an
        older gonogo did not note it.
        """
        query = sa.select(activations.c.bundle, activations.c.category, activations.c.started_with)
        found: dict[str, str | None] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query.order_by(activations.c.id.desc())):
                if row.started_with != started_with:
                    break
                found.setdefault(row.bundle, row.category)
        return list(found.items())

    def expire(self, *, days: float | None, n_bytes: int | None, of_reviewers: bool = False) -> int:
        """Remove image files: those last seen more than `days` ago, then the oldest until `n_bytes` are left.

        None is no limit. Rows stay, and so do images that a person reviewed or has yet to review, unless
        `of_reviewers` is true. Inspections go on meanwhile: images are removed in small transactions. Returns the
        number of images removed.

        Raises:
            OSError: a file cannot be removed.
            SQLAlchemyError: the database refuses.
        """
        removable = images.c.kept if of_reviewers else sa.and_(images.c.kept, ~OF_REVIEWERS)
        columns = (images.c.sha256, images.c.n_bytes, images.c.newest, images.c.last_seen)
        with self._engine.connect() as connection:
            total = connection.execute(sa.select(sa.func.sum(images.c.n_bytes)).where(images.c.kept)).scalar() or 0
            rows = connection.execute(sa.select(*columns).where(removable).order_by(images.c.newest)).all()
        oldest = 0.0 if days is None else self.clock.now() - days * SECONDS_PER_DAY
        expired = []
        for row in rows:
            if row.last_seen < oldest or (n_bytes is not None and total > n_bytes):
                expired.append(row)
                total -= row.n_bytes
        if n_bytes is not None and total > n_bytes:
            log.warning("reviewed images and those to review take %d bytes; the limit is %d", total, n_bytes)
        n_removed = 0
        for begin in range(0, len(expired), REMOVED_TOGETHER):
            together = expired[begin : begin + REMOVED_TOGETHER]
            n_removed += self._remove([row.sha256 for row in together], removable, newest=together[-1].newest)
        return n_removed

    def remove_orphans(self) -> int:
        """Remove the files that no row keeps, such as a killed process leaves; returns how many.

        Raises:
            OSError: a file cannot be removed.
            SQLAlchemyError: the database refuses.
        """
        return self.images.remove_orphans(self._kept)

    def _kept(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that are the SHA-256 of an image that a row keeps."""
        found: set[str] = set()
        with self._engine.connect() as connection:
            for begin in range(0, len(names), LOOKED_UP_TOGETHER):
                together = names[begin : begin + LOOKED_UP_TOGETHER]
                query = sa.select(images.c.sha256).where(images.c.kept, images.c.sha256.in_(together))
                found.update(connection.execute(query).scalars())
        return found

    def _remove(self, sha256s: Sequence[str], removable: Any, *, newest: str) -> int:
        """Remove images, but for those that have become another's or were inspected after the inspection `newest`.

        The files go within the transaction: whoever inspects one of these images at this moment waits for its end, and
        then finds that the file is not there.
        """
        chosen = sa.and_(images.c.sha256.in_(sha256s), images.c.newest <= newest, removable)
        with self._writing() as connection:
            removed = connection.execute(sa.update(images).where(chosen).values(kept=False).returning(images.c.sha256))
            names = removed.scalars().all()
            remove_waiting_of(connection, names)
            remove_depths_of(connection, names)
            self.images.remove(names)
        return len(names)

    def _insert(self, table: sa.Table, row: Row) -> None:
        with self._writing() as connection:
            connection.execute(sa.insert(table).values(row))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that no other writer of this process interrupts, and of SQLite no other process either."""
        with self._write_lock, self._engine.begin() as connection:
            if self._engine.dialect.name == "sqlite":  # whose driver would lock at the first change of a row
                execute_raw(connection, "BEGIN IMMEDIATE")
            yield connection

    def _inspections(self, conditions: Sequence[Any], *, limit: int) -> list[Row]:
        """Up to `limit` rows for which the conditions hold, newest first.

        Their ids are found first, and their rows then: an index has all that most conditions need, and rows are long.
        """
        ids = sa.select(inspections.c.id).where(*conditions).order_by(inspections.c.id.desc()).limit(limit)
        query = (
            sa.select(inspections, *(column.label(f"image_{column.name}") for column in images.c))
            .join(images)
            .where(inspections.c.id.in_(ids))
            .order_by(inspections.c.id.desc())
        )
        with self._engine.connect() as connection:
            rows = [_with_json_values(row._mapping) for row in connection.execute(query)]
            by_id = {row["id"]: row for row in rows}
            for identifier, history in reviews_of(connection, list(by_id)).items():
                by_id[identifier]["reviews"] = history
        return rows


def _make_store_private(folder: Path) -> None:
    """Make the folder, or take it from other users if it holds nothing else than a store; otherwise the log says so."""
    others = folder.is_dir() and any(folder.iterdir()) and not (folder / IMAGES).is_dir()
    if not others or (folder / DATABASE).is_file():
        make_private_folder(folder)
    elif folder.stat().st_mode & OTHERS:
        log.warning("%s holds more than inspections, and other users can list it; the images in it are private", folder)


def _with_json_text(row: Row) -> Row:
    values = {name: row.get(name) for name in JSON_COLUMNS}
    texts = {name: None if value is None else TO_JSON(value) for name, value in values.items()}
    return row | texts | {"latency_ms": sum(row["timings_ms"].values())}


def _with_json_values(row: Mapping[Any, Any]) -> Row:
    return dict(row) | {name: json.loads(row[name]) for name in JSON_COLUMNS if row[name] is not None}
