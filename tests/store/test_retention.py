"""Old images go while inspections go on, in their order and not the clock's, and none that a person still needs."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

for package in ("sqlalchemy", "alembic"):
    pytest.importorskip(package, reason=f"no {package}: pip install 'gonogo[serve]'")

# ruff: noqa: E402
import sqlalchemy as sa

from gonogo.store.clock import CLOCK_JUMP
from gonogo.store.store import REMOVED_TOGETHER, NewInspection, Store, new_ids
from processes import until

DAY, YEAR = 86_400, 365 * 86_400
ROW = {
    "verdict": "pass",
    "score": 1.0,
    "threshold": 2.0,
    "p_value": 0.5,
    "probability": None,
    "uncertain": False,
    "regions": [],
    "category": "brick",
    "bundle": "b" * 64,
    "certificate": {},
    "timings_ms": {},
    "key": "k" * 16,
}


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def move_clock(monkeypatch):
    """Set the wall clock ahead by seconds, or back where they are negative."""
    real, real_ns = time.time, time.time_ns

    def moved(seconds):
        monkeypatch.setattr(time, "time", lambda: real() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(seconds * 1e9))

    return moved


def add(store, *texts, **columns):
    """Inspect one image for each text in one transaction; returns the ids of the inspections."""
    new = []
    for text in texts:
        data = text.encode()
        sha256 = hashlib.sha256(data).hexdigest()
        store.images.write(sha256, data)
        image = {"sha256": sha256, "format": "PNG", "n_bytes": len(data), "width": 1, "height": 1}
        new.append(NewInspection(ROW | {"at": time.time(), "image": sha256, "name": text} | columns, image, data))
    return store.add_inspections(new)


def left(store):
    return {path.read_text() for path in store.images.paths()}


def test_ids_have_the_order_in_which_they_were_stored_whatever_the_clock_says(store, tmp_path, move_clock):
    ids = add(store, "a", "b")
    move_clock(YEAR)
    ids += add(store, "c")
    move_clock(-YEAR)
    ids += add(store, "d", "e")
    other = Store(tmp_path / "store")  # of another process, which has seen none of this
    ids += add(other, "f")
    ids += add(store, "g")
    assert ids == sorted(set(ids))
    assert [row["name"] for row in store.newest({}, before=None, limit=3)] == ["g", "f", "e"]
    assert [row["name"] for row in store.newest({}, before=ids[4], limit=9)] == ["d", "c", "b", "a"]
    other.close()


def test_new_ids_begin_with_the_time_and_cannot_be_guessed():
    first, second = new_ids(None, 1), new_ids(None, 1)
    assert abs(int(first[0][:12], 16) / 1000 - time.time()) < DAY
    assert first[0][12:] != second[0][12:]
    assert len(first[0]) == 32


def test_images_that_a_person_reviewed_or_will_review_stay_unless_told(store):
    reviewed, *_ = add(store, "reviewed")
    add(store, "to review", uncertain=True)
    add(store, "plain")
    store.reviews.add(reviewed, {"at": 1.0, "label": "good", "reviewer": "Ana", "key": "k" * 16})
    assert store.expire(days=1e-9, n_bytes=1) == 1
    assert left(store) == {"reviewed", "to review"}
    assert store.expire(days=1e-9, n_bytes=None, of_reviewers=True) == 2
    assert left(store) == set()


def test_an_image_that_is_seen_again_is_as_young_as_its_last_inspection(store):
    add(store, "a")
    add(store, "b")
    add(store, "a")
    assert store.expire(days=None, n_bytes=1) == 1
    assert left(store) == {"a"}


@pytest.mark.parametrize("ahead", [-YEAR, -DAY])
def test_a_clock_that_was_set_back_makes_new_images_neither_old_nor_first_to_go(store, move_clock, ahead):
    add(store, "before")
    store.clock.jump()
    move_clock(ahead)
    add(store, "while it is wrong")
    move_clock(0)
    assert store.expire(days=0.5, n_bytes=None) == 0
    assert store.expire(days=None, n_bytes=len("while it is wrong")) == 1
    assert left(store) == {"while it is wrong"}


def test_a_jump_of_the_clock_is_told_until_it_is_right_again_or_confirmed(store, tmp_path, move_clock):
    add(store, "a")
    assert store.clock.jump() == 0
    move_clock(CLOCK_JUMP - DAY)
    assert store.clock.jump() == 0
    move_clock(YEAR)
    assert store.clock.jump() == pytest.approx(YEAR - CLOCK_JUMP + DAY, rel=1e-3)
    again = Store(tmp_path / "store")
    assert again.clock.jump() > CLOCK_JUMP
    move_clock(0)
    assert again.clock.jump() == 0
    move_clock(YEAR)
    again.clock.confirm()
    assert store.clock.jump() == 0
    assert store.expire(days=30, n_bytes=None) == 1
    again.close()


def test_images_go_in_small_transactions_and_with_few_statements(store, monkeypatch):
    texts = [f"image {number}" for number in range(5 * REMOVED_TOGETHER + 1)]
    add(store, *texts)
    statements, sizes, remove = [], [], store.images.remove
    sa.event.listen(store._engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    monkeypatch.setattr(store.images, "remove", lambda names: sizes.append(len(names)) or remove(names))
    assert store.expire(days=1e-9, n_bytes=None) == len(texts)
    assert sizes == [*[REMOVED_TOGETHER] * 5, 1]
    assert len(statements) <= 4 * len(sizes)
    assert left(store) == set()


def test_what_is_looked_at_and_not_removed_keeps_no_writer_waiting(store):
    add(store, *(f"image {number}" for number in range(300)))
    with ThreadPoolExecutor(1) as pool, store._write_lock:
        assert pool.submit(store.expire, days=1, n_bytes=10**9).result(300) == 0
        assert pool.submit(store.remove_orphans).result(300) == 0


def test_an_image_that_is_inspected_while_old_ones_go_stays_or_is_written_again(store, monkeypatch):
    add(store, "a", "b")
    between, remove = [], store._remove

    def inspected_first(*given, **named):
        between.extend(add(store, "a"))
        return remove(*given, **named)

    monkeypatch.setattr(store, "_remove", inspected_first)
    assert store.expire(days=1e-9, n_bytes=None) == 1
    assert left(store) == {"a"}

    pool, waiting, files = ThreadPoolExecutor(1), [], store.images.remove

    def remove_while_it_is_inspected(names):
        waiting.append(pool.submit(add, store, "a"))
        until(store.images.path_of(names[0]).exists)
        files(names)
        assert not waiting[0].done()  # it needs the transaction's end, and then writes the file again

    monkeypatch.setattr(store, "_remove", remove)
    monkeypatch.setattr(store.images, "remove", remove_while_it_is_inspected)
    assert store.expire(days=1e-9, n_bytes=None) == 1
    assert waiting[0].result(300)
    assert left(store) == {"a"}
    pool.shutdown()
