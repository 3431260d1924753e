"""Corrections: what a person says is wrong with an inspection, the review that this is, and the queue that it joins."""

import pytest

from serving import files, inspected, start  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.service.security import new_key

# ruff: noqa: F811  fixtures are imported, and then named


@pytest.fixture
def line(start, files):
    """A service with reviewers' keys, and an inspection that passed and one that was rejected."""
    with start(audit_share=0.0) as running:
        for name in ("Ana", "Bo"):
            running.keys[name] = new_key(running.service.store, name, "review")[1]
        told = [inspected(running, path) for path in files]
        running.passed = next(one for one in told if one["verdict"] == "pass" and not one["uncertain"])
        running.rejected = next(one for one in told if one["verdict"] == "reject" and not one["uncertain"])
        yield running


def correct(line, inspection, who="inspect", **given):
    return line.ask("POST", f"/v1/inspections/{inspection['id']}/correct", role=who, json=given)


def task(line, who):
    told = line.ask("POST", "/v1/reviews:next", role=who).json()
    return told["reason"], told["inspection"] and told["inspection"]["id"]


def waiting(line, who):
    return line.ask("POST", "/v1/reviews:next", role=who).json()["waiting"]["corrected"]


def test_what_an_operator_says_joins_the_queue_until_another_person_has_looked(line):
    answer = correct(line, line.passed, reason="miss", defect_type="dent", note="at the rim")
    assert answer.status_code == 200
    (kept,) = answer.json()["corrections"]
    assert (kept["reason"], kept["defect_type"], kept["note"], kept["review"]) == ("miss", "dent", "at the rim", None)
    assert line.ask("GET", f"/v1/inspections/{line.passed['id']}").json()["reviews"] == []
    assert task(line, "Ana") == ("corrected", line.passed["id"])
    review = {"label": "defect", "defect_type": "dent"}
    assert line.ask("POST", f"/v1/inspections/{line.passed['id']}/review", role="Ana", json=review).status_code == 200
    assert task(line, "Ana")[0] != "corrected"
    assert task(line, "Bo")[0] != "corrected"


def test_of_a_reviewer_a_false_alarm_is_a_review_too_and_someone_else_looks_again(line):
    (kept,) = correct(line, line.rejected, "Ana", reason="false_alarm", note="a reflection").json()["corrections"]
    told = line.ask("GET", f"/v1/inspections/{line.rejected['id']}").json()
    (review,) = told["reviews"]
    assert (review["id"], review["label"], review["note"], review["reviewer"]) == (
        kept["review"],
        "good",
        "a reflection",
        "Ana",
    )
    assert told["settlement"]["label"] == "good"
    assert task(line, "Ana")[0] != "corrected"
    assert task(line, "Bo") == ("corrected", line.rejected["id"])
    confirmed = line.ask(
        "POST", f"/v1/inspections/{line.rejected['id']}/review", role="Bo", json={"label": "good"}
    ).json()
    assert task(line, "Bo")[0] != "corrected"
    undo = {"review": confirmed["reviews"][-1]["id"]}
    assert waiting(line, "Bo") == 0
    line.ask("POST", f"/v1/inspections/{line.rejected['id']}/review:undo", role="Bo", json=undo)
    assert (waiting(line, "Bo"), waiting(line, "Ana")) == (1, 0)


@pytest.mark.parametrize(
    ("which", "given", "why"),
    [
        ("passed", {"reason": "false_alarm"}, "the verdict is pass"),
        ("rejected", {"reason": "miss", "defect_type": "dent"}, "the verdict is reject"),
        ("passed", {"reason": "miss"}, "has a defect_type"),
        ("passed", {"reason": "note"}, "has a note"),
        ("passed", {"reason": "wrong_category"}, "has a category"),
        ("passed", {"reason": "wrong_category", "category": "digit_0"}, "by which it was judged"),
        ("passed", {"reason": "note", "note": "x", "defect_type": "dent"}, "only a miss"),
        ("passed", {"reason": "note", "note": "x", "category": "y"}, "only a part of the wrong category"),
    ],
)
def test_a_correction_that_makes_no_sense_is_refused_and_leaves_nothing(line, which, given, why):
    inspection = getattr(line, which)
    answer = correct(line, inspection, "Ana", **given)
    assert (answer.status_code, why in answer.json()["detail"]) == (422, True)
    assert line.ask("GET", f"/v1/inspections/{inspection['id']}/corrections").json() == {"corrections": []}
    assert line.ask("GET", f"/v1/inspections/{inspection['id']}").json()["reviews"] == []


def test_the_form_of_the_page_says_the_same(line):
    form = {"key": line.keys["inspect"], "next": "/"}
    own = {"Sec-Fetch-Site": "same-origin"}
    line.http.post("/sign-in", data=form, headers=own)
    place = f"/cases/{line.passed['id']}/correct"
    given = {"reason": "wrong_category", "category": "bolts", "defect_type": "ignored", "note": "<b>a bolt</b>"}
    assert line.http.post(place, data=given, headers=own, follow_redirects=False).status_code == 303
    page = line.http.get(place).text
    assert "It is a part of another category</b>: bolts" in page
    assert "&lt;b&gt;a bolt&lt;/b&gt;" in page
    line.http.cookies.clear()
    (kept,) = line.ask("GET", f"/v1/inspections/{line.passed['id']}/corrections").json()["corrections"]
    assert (kept["reason"], kept["category"], kept["defect_type"]) == ("wrong_category", "bolts", None)
