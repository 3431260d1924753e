"""What was learnt about certificates is kept in both databases, as it was, and read again in order."""

import numpy as np
import pytest

from storing import url  # noqa: F401  skips where the extra is missing

# isort: split

from gonogo.store.audit import AuditRule
from gonogo.store.store import NewInspection, Store
from gonogo.store.watches import READ_TOGETHER, AuditCounts

BUNDLE, OTHER = "b" * 64, "c" * 64
EVERY = AuditRule(1.0, "test")


@pytest.fixture
def store(url, tmp_path):  # noqa: F811  the fixture that is imported
    opened = Store(tmp_path, url)
    yield opened
    opened.close()


def inspect(store, *scores, bundle=BUNDLE, verdict="pass", audit=None, statistics=None):
    row = {
        **{"at": 1.8e9, "image": "1" * 64, "name": None, "verdict": verdict, "threshold": 2.0, "p_value": 0.5},
        **{"probability": None, "uncertain": False, "regions": [{}], "category": "brick", "bundle": bundle},
        **{"certificate": {}, "timings_ms": {"score": 7.0}, "key": "k" * 16, "statistics": statistics},
    }
    image = {"sha256": "1" * 64, "format": "PNG", "n_bytes": 3, "width": 2, "height": 2}
    new = [NewInspection(row | {"score": score}, image, b"png") for score in scores]
    return store.add_inspections(new, audit)


def begin(store, bundle=BUNDLE, reason=None):
    params = {"withdrawn": 0.05, "defect_rate": None}
    return store.watches.begin(bundle=bundle, category="brick", key="", by="Ana", reason=reason, params=params)


def test_a_watch_begins_after_what_was_inspected_before_it_and_reads_its_bundle_in_order(store):
    (before,) = inspect(store, 0.5)
    watch = begin(store)
    assert (watch["after"], watch["last"], watch["state"]) == (before, before, None)
    assert watch["params"] == {"withdrawn": 0.05, "defect_rate": None}
    inspect(store, 9.0, bundle=OTHER)
    ids = inspect(store, *np.arange(READ_TOGETHER + 3.0), statistics={"brightness": 0.1})
    found = list(store.watches.parts(BUNDLE, after=watch["after"]))
    assert [part.id for part in found] == ids
    assert [part.score for part in found] == list(range(READ_TOGETHER + 3))
    assert found[0].statistics == {"brightness": 0.1}
    assert [part.id for part in store.watches.parts(BUNDLE, after=ids[1], until=ids[3])] == ids[2:4]
    assert [part.id for part in store.watches.seen(BUNDLE, after=ids[0], until=ids[-1], limit=2)] == ids[-2:]
    assert store.watches.seen(BUNDLE, after="", until=None, limit=1)[0].n_regions == 1


def test_state_and_values_come_back_to_the_last_bit_and_a_piece_is_written_once(store):
    watch, before = begin(store)["id"], ""
    values = np.random.default_rng(1).normal(size=(7, 3)) * (1e-300, 1.0, 1e300)
    values[2, 1] = np.nan
    for number, piece in enumerate((values[:3], values[3:3], values[3:])):
        last = f"{number:032x}"
        assert store.watches.save(watch, before=before, last=last, state={"log": 0.3}, number=number, values=piece)
        before = last
    assert store.watches.save(watch, before=before, last="f" * 32, state={"log": 1e-17}, number=2, values=values[3:])
    # One that was learnt from a state that is there no more is not written, and changes nothing.
    assert not store.watches.save(watch, before=before, last="a" * 32, state={"log": 1.0}, number=2, values=values)
    found, n_pieces = store.watches.values(watch, series=3)
    assert n_pieces == 3
    assert found.tobytes() == values.tobytes()
    assert (store.watches.watch(watch)["state"], store.watches.watch(watch)["last"]) == ({"log": 1e-17}, "f" * 32)
    store.watches.forget_values(watch)
    assert store.watches.values(watch, series=3)[0].shape == (0, 3)


def test_a_withdrawal_is_noted_once_and_every_watch_stays_in_the_history(store):
    first = begin(store)["id"]
    store.watches.withdraw(first, at=5.0, inspection="a" * 32)
    store.watches.withdraw(first, at=6.0, inspection="b" * 32)
    second = begin(store, reason="the lamp was replaced")["id"]
    third = begin(store, OTHER)["id"]
    told = [(one["id"], one["withdrawn"], one["reason"]) for one in store.watches.history("brick")]
    assert told == [(third, None, None), (second, None, "the lamp was replaced"), (first, 5.0, None)]
    assert store.watches.newest()["id"] == third
    assert store.watches.newest(BUNDLE)["id"] == second
    assert store.watches.newest_of(BUNDLE) == (second, None, None)
    assert store.watches.newest_of("0" * 64) is None
    assert store.watches.history("another") == []


def review(store, identifier, label):
    row = {"at": 1.8e9, "label": label, "defect_type": None, "note": None, "reviewer": "Ana", "key": "a" * 16}
    return store.reviews.add(identifier, row)


def test_the_audit_sample_is_counted_up_to_the_newest_part_that_is_settled(store):
    watch = begin(store)
    rejects = inspect(store, *[9.0] * 4, verdict="reject", audit=EVERY)
    passes = inspect(store, *[1.0] * 5, audit=EVERY)
    inspect(store, 1.0)  # of no sample

    def counted():
        return store.watches.audited(BUNDLE, after=watch["after"])

    assert counted() == AuditCounts(0, 0, 0, 0)
    assert store.reviews.number() == (0, 0)
    review(store, rejects[2], "good")
    assert counted() == AuditCounts(rejected=1, passed=0, waiting=2, reviewed=1)
    taken_back = review(store, passes[1], "defect")
    assert counted() == AuditCounts(rejected=1, passed=1, waiting=4, reviewed=2)
    review(store, passes[4], "good")
    assert counted() == AuditCounts(rejected=1, passed=4, waiting=6, reviewed=3)
    store.reviews.undo(taken_back, key="a" * 16)
    assert counted() == AuditCounts(rejected=1, passed=5, waiting=7, reviewed=2)
    assert store.reviews.number() == (taken_back + 1, 1)
    assert store.watches.audited(BUNDLE, after=passes[3]) == AuditCounts(0, 1, 0, 1)
