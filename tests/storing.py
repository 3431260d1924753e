"""Stores that have lived a while, and what their tests share. Importing it skips them where the extra is missing."""

import os
import secrets
import time

import pytest

for package in ("sqlalchemy", "alembic"):
    pytest.importorskip(package, reason=f"no {package}: pip install 'gonogo[serve]'")

# ruff: noqa: E402
import sqlalchemy as sa

from gonogo.store.audit import AuditRule
from gonogo.store.schema import tallies, tally_bins, waiting
from gonogo.store.store import NewInspection, Store

NOW = 1.8e9
POSTGRES = os.environ.get("GONOGO_TEST_POSTGRES")
ACTIONS, WEIGHTS = ("inspect", "say", "undo", "play", "expire"), (40, 40, 8, 10, 2)
KEPT = (waiting, tallies, tally_bins)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Where a new, empty database is."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'inspections.sqlite'}"
        return
    if not POSTGRES:
        pytest.skip("GONOGO_TEST_POSTGRES names no database of PostgreSQL")
    name, server = f"gonogo_{secrets.token_hex(6)}", sa.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sa.make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


def inspect(store, number=0, *, verdict="pass", uncertain=False, score=1.0, audit=None, category="brick"):
    """Add an inspection of an image of its own; returns its id."""
    sha256 = f"{number:064x}"
    row = {
        **{"at": time.time(), "image": sha256, "name": f"{number}.png", "verdict": verdict, "score": score},
        **{"threshold": 2.0, "p_value": 0.5, "probability": None, "uncertain": uncertain, "regions": []},
        **{"category": category, "bundle": "b" * 64, "certificate": {}, "timings_ms": {"score": 7.0}, "key": "k" * 16},
    }
    image = {"sha256": sha256, "format": "PNG", "n_bytes": 3, "width": 2, "height": 2}
    (identifier,) = store.add_inspections([NewInspection(row, image, b"png")], audit)
    return identifier


def say(store, identifier, who, label, defect_type=None):
    row = {"at": NOW, "label": label, "defect_type": defect_type, "note": None, "reviewer": who, "key": who[0] * 16}
    return store.reviews.add(identifier, row)


def live_a_while(store, rng):
    """Inspections, reviews, reviews taken back, answers of the arena and images removed, in any order."""
    ids, given = [], []
    for number in range(150):
        what = rng.choices(ACTIONS, weights=WEIGHTS)[0]
        who = rng.choice(["Ana", "Bo", "Cy"])
        if what == "inspect" or not ids:
            verdict, uncertain = rng.choice(["pass", "reject"]), bool(rng.random() < 0.3)
            ids.append(inspect(store, number, verdict=verdict, uncertain=uncertain, audit=AuditRule(0.4, "test")))
        elif what == "say":
            label = rng.choice(["good", "defect"])
            given.append(say(store, rng.choice(ids), who, label, "dent" if label == "defect" else None))
        elif what == "undo" and given:
            store.reviews.undo(rng.choice(given), key=who)
        elif what == "play":
            row = {"id": f"{number:032x}", "at": NOW, "key": who[0] * 16, "player": who, "inspection": rng.choice(ids)}
            store.arena.add(row | {"expert": False, "truth": "good", "answer": None})
            store.arena.answer(row["id"], {"answer": rng.choice(["good", "defect"])})
        elif what == "expire" and number > 100:
            store.expire(days=None, n_bytes=3 * len(ids) - 9, of_reviewers=bool(rng.random() < 0.5))
    return ids


def kept(store):
    """What the store keeps beside what happened: who waits, and the counts."""
    with store._engine.connect() as connection:
        return {table.name: sorted(connection.execute(sa.select(table)).all()) for table in KEPT}
