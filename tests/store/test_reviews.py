"""Reviews come to one decision, the queue gives each part to one person, and the audit sample is chance alone."""

import itertools
import random
import threading

import pytest

from storing import NOW, inspect, kept, live_a_while, say, store, url  # noqa: F401  skips where the extra is missing

# isort: split
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from gonogo.store import queue
from gonogo.store.audit import AuditRule, draw_of
from gonogo.store.reviews import settle
from gonogo.store.schema import arena_rounds
from gonogo.store.store import Store, new_ids

# ruff: noqa: F811  fixtures are imported, and then named


def take(store, who, now=NOW):
    return store.queue.take(key=who[0] * 16, now=now)


def event(who, label, defect_type=None, undone=None, key=None):
    return {"key": key or who, "reviewer": who, "label": label, "defect_type": defect_type, "undone": undone}


@pytest.mark.parametrize(
    ("history", "state", "label"),
    [
        ([], "open", None),
        ([event("Ana", "good")], "settled", "good"),
        ([event("Ana", "good"), event("Bo", "defect", "dent")], "disputed", None),
        ([event("Ana", "good"), event("Bo", "defect", "dent"), event("Cy", "defect", "dent")], "settled", "defect"),
        ([event("Ana", "good"), event("Ana", "defect", "dent")], "settled", "defect"),
        ([event("Ana", "defect", "dent"), event("Ana", "good", undone=NOW)], "settled", "defect"),
        ([event("Ana", "good", undone=NOW)], "open", None),
        ([event("Ana", "good")] * 3 + [event("Bo", "defect", "dent")], "disputed", None),
        ([event("Ana", "good"), *(event(name, "defect", "dent", key="k") for name in "BCD")], "disputed", None),
        ([event("Ana", "good", key="k"), event("Bo", "defect", "dent", key="k")], "settled", "defect"),
        ([event("Ana", "good", key="k"), event("Ana", "defect", "dent", key="l")], "disputed", None),
    ],
)
def test_each_key_has_one_voice_the_last_that_was_not_taken_back(history, state, label):
    found = settle(history)
    assert (found.state, found.label) == (state, label)


def test_the_decision_does_not_depend_on_the_order_in_which_different_people_speak():
    voices = [event("Ana", "good"), event("Bo", "defect", "dent"), event("Cy", "defect", "dent")]
    assert {settle(order).label for order in itertools.permutations(voices)} == {"defect"}


def test_the_type_of_a_defect_is_the_one_that_most_name_and_of_two_the_later():
    types = ["dent", "scratch", "scratch"]
    assert settle([event(str(n), "defect", each) for n, each in enumerate(types)]).defect_type == "scratch"
    assert settle([event(str(n), "defect", each) for n, each in enumerate(types[:2])]).defect_type == "scratch"


def test_a_review_that_is_taken_back_stays_in_the_history_and_counts_no_more(store):
    identifier = inspect(store)
    review = say(store, identifier, "Ana", "defect", "dent")
    assert store.reviews.defect_types("brick") == ["dent"]
    assert store.reviews.undo(review, key="a" * 16) is True
    assert store.reviews.undo(review, key="a" * 16) is False
    (kept,) = store.inspection(identifier)["reviews"]
    assert (kept["label"], kept["undone"] is not None) == ("defect", True)
    assert store.newest({"reviewed": True}, before=None, limit=9) == []
    assert store.reviews.defect_types("brick") == []


def test_types_of_defects_keep_the_order_in_which_they_came_up_within_their_category(store, tmp_path):
    first, other = inspect(store, 1), inspect(store, 2, category="tile")
    for who, named in (("Ana", "dent"), ("Bo", "scratch"), ("Cy", "scratch"), ("Di", "hole")):
        say(store, first, who, "defect", named)
    say(store, other, "Ana", "defect", "glaze")
    assert store.reviews.defect_types("brick") == ["dent", "scratch", "hole"]
    assert store.reviews.defect_types("tile") == ["glaze"]
    others = Store(tmp_path)  # of another process, whose reviews are found too
    new = say(others, first, "Ed", "defect", "burr")
    say(others, first, "Flo", "defect", "dent")
    assert store.reviews.defect_types("brick") == ["dent", "scratch", "hole", "burr"]
    others.reviews.undo(new, key="e" * 16)
    others.close()
    assert store.reviews.defect_types("brick") == ["dent", "scratch", "hole"]


def test_what_is_settled_comes_from_the_reviews_that_count(store):
    ids = [inspect(store, number, verdict="reject", category="tile" if number == 1 else "brick") for number in range(5)]
    say(store, ids[0], "Ana", "defect", "dent")
    say(store, ids[0], "Bo", "defect", "scratch")
    say(store, ids[0], "Cy", "defect", "dent")
    say(store, ids[1], "Ana", "good")
    say(store, ids[2], "Ana", "good")
    say(store, ids[2], "Bo", "defect", "dent")  # disputed
    store.reviews.undo(say(store, ids[3], "Ana", "defect", "dent"), key="a" * 16)
    say(store, ids[4], "Ana", "good")
    say(store, ids[4], "Ana", "defect", "hole")  # who changes their mind has one voice
    found = {one.inspection: one for one in store.reviews.settled()}
    assert [(one, found[one].category, found[one].verdict, found[one].defect_type) for one in found] == [
        (ids[0], "brick", "reject", "dent"), (ids[1], "tile", "reject", None), (ids[4], "brick", "reject", "hole"),
    ]  # fmt: skip
    assert found[ids[0]].at == store.inspection(ids[0])["at"]


def test_the_queue_has_uncertain_parts_first_then_rejects_then_the_audit_sample(store):
    everything = AuditRule(1.0, "test")
    audited, rejected = inspect(store, 1, audit=everything), inspect(store, 2, verdict="reject")
    uncertain, _passed = inspect(store, 3, verdict="reject", uncertain=True), inspect(store, 4)
    found = []
    while (task := take(store, "Ana")) is not None:
        found.append(task)
        say(store, task.inspection, "Ana", "good")
    assert found == [(uncertain, "uncertain"), (rejected, "rejected"), (audited, "audit")]


def test_people_at_once_get_different_parts_and_each_gets_the_same_again(store):
    ids = {inspect(store, number, verdict="reject") for number in range(8)}
    people = [f"{letter}na" for letter in "ABCDEFGH"]
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda who: take(store, who), people))
    assert {task.inspection for task in first} == ids
    assert [take(store, who, NOW + 200) for who in people] == first
    assert take(store, "Zoe") is None


def test_a_lease_ends_with_its_time_and_when_its_part_was_reviewed(store):
    identifier = inspect(store, 1, verdict="reject")
    assert take(store, "Ana").inspection == identifier
    assert take(store, "Bo") is None
    assert take(store, "Bo", NOW + queue.LEASE_SECONDS).inspection == identifier
    say(store, identifier, "Bo", "good")
    assert take(store, "Bo", NOW + queue.LEASE_SECONDS) is None


def test_what_a_person_skips_goes_to_others_and_comes_back_later(store):
    identifier = inspect(store, 1, verdict="reject")
    assert take(store, "Ana").inspection == identifier
    store.queue.skip(identifier, key="A" * 16, now=NOW)
    assert take(store, "Ana") is None
    assert take(store, "Bo").inspection == identifier
    store.queue.release(identifier, key="B" * 16)
    assert take(store, "Ana", NOW + queue.SKIP_SECONDS).inspection == identifier


def test_a_disagreement_goes_to_a_third_person_and_to_nobody_else(store):
    identifier = inspect(store, 1, verdict="reject")
    say(store, identifier, "Ana", "good")
    say(store, identifier, "Bo", "defect", "dent")
    assert take(store, "Ana") is None
    assert take(store, "Bo") is None
    assert take(store, "Cy") == (identifier, "disputed")
    say(store, identifier, "Cy", "defect", "dent")
    assert take(store, "Di") is None
    assert store.queue.counts("D" * 16)["disputed"] == 0


def test_a_review_that_is_taken_back_puts_its_part_before_the_person_again(store):
    first, second = inspect(store, 1, verdict="reject"), inspect(store, 2, verdict="reject")
    review = say(store, first, "Ana", "good")
    assert take(store, "Ana").inspection == second
    store.reviews.undo(review, key="A" * 16)
    store.queue.take_back(first, key="A" * 16, now=NOW)
    assert take(store, "Ana").inspection == first


def test_an_answer_in_the_arena_against_a_single_review_asks_for_another_look_and_reviews_nothing(store):
    identifier = inspect(store, 1, verdict="reject")
    say(store, identifier, "Ana", "good")
    row = {"at": NOW, "key": "B" * 16, "player": "Bo", "inspection": identifier, "expert": False, "truth": "good"}
    for number, answer in (("1", "good"), ("2", "defect")):
        store.arena.add(row | {"id": number * 32, "answer": None})
        assert take(store, "Cy") is None
        assert store.arena.answer(number * 32, {"answer": answer}) is True
        assert store.arena.answer(number * 32, {"answer": "good"}) is False
    assert take(store, "Ana") is None
    assert take(store, "Cy") == (identifier, "questioned")
    assert settle(store.inspection(identifier)["reviews"]).label == "good"


def waits_for(store, row):
    """Why an inspection waits, from everything that is stored of it, by the rules as docs/reviewing.md has them."""
    if not row["image_kept"]:
        return None
    voices = {each["key"]: each["label"] for each in row["reviews"] if each["undone"] is None}
    if not voices:
        audited = "audit" if store.audits.of(row["id"]) else None
        return "uncertain" if row["uncertain"] else "rejected" if row["verdict"] == "reject" else audited
    labels = list(voices.values())
    if labels.count("good") == labels.count("defect"):
        return "disputed"
    with store._engine.connect() as connection:
        answers = connection.execute(sa.select(arena_rounds).where(arena_rounds.c.inspection == row["id"])).all()
    ((key, label), *others) = voices.items()
    if not others and any(one.answer not in (None, label) and one.key != key for one in answers):
        return "questioned"
    return None


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_of_the_queue_is_what_follows_from_everything_that_happened(store, seed):
    ids = live_a_while(store, random.Random(seed))
    found = {identifier: waits_for(store, store.inspection(identifier)) for identifier in ids}
    assert kept(store)["waiting"] == sorted((one, reason) for one, reason in found.items() if reason)
    assert store.queue.counts("nobody") == {reason: list(found.values()).count(reason) for reason in queue.REASONS}
    assert len({*found.values()}) >= 5, "the test is to see most reasons"


def test_people_who_review_a_part_at_once_leave_what_follows_from_all_of_them(tmp_path, url):
    stores = [Store(tmp_path, url) for _ in range(3)]
    ids = [inspect(stores[0], number, verdict="reject") for number in range(12)]
    together = threading.Barrier(3)

    def review_all(number):
        for identifier in ids:
            together.wait(60)
            label = "good" if number < 2 else "defect"
            given = say(stores[number], identifier, "ABC"[number], label, None if number < 2 else "dent")
            together.wait(60)
            if number == 0:
                stores[0].reviews.undo(given, key="A" * 16)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(review_all, range(3)))
    assert kept(stores[0])["waiting"] == [(identifier, "disputed") for identifier in ids]
    for each in stores:
        each.close()


def test_the_draw_of_the_audit_sample_depends_on_the_id_alone():
    ids = new_ids(None, 20_000)
    rule = AuditRule(0.02, "test")
    drawn = {row["inspection"] for row in rule.rows(ids, NOW)}
    assert drawn == {identifier for identifier in ids if draw_of(identifier) < 0.02}
    assert 300 < len(drawn) < 500  # 400 +- 5 standard deviations of 20
    assert drawn == {row["inspection"] for one in ids for row in rule.rows([one], NOW + 1)}


def test_inspections_are_drawn_whatever_their_score_and_verdict_and_who_drew_is_kept(store, monkeypatch):
    ids = new_ids(None, 60)
    shares = {}
    for verdict, score in (("pass", 0.0), ("reject", 9.0)):
        given = iter(ids)
        monkeypatch.setattr("gonogo.store.store.new_ids", lambda *_, given=given: [next(given)])
        made = [inspect(store, n, verdict=verdict, score=score, audit=AuditRule(0.5, "test")) for n in range(30)]
        shares[verdict] = {one for one in made if store.audits.of(one) is not None}
        assert shares[verdict] == {one for one in made if draw_of(one) < 0.5}
        ids = ids[30:]
    kept = store.audits.of(next(iter(shares["pass"])))
    assert (kept["share"], kept["drawn_by"]) == (0.5, "test")
    assert kept["draw"] == draw_of(kept["inspection"])


def test_images_of_the_audit_sample_are_kept_until_somebody_looks(store):
    drawn, other = inspect(store, 1, audit=AuditRule(1.0, "test")), inspect(store, 2)
    assert store.expire(days=None, n_bytes=1) == 1
    assert [store.inspection(one)["image_kept"] for one in (drawn, other)] == [True, False]
