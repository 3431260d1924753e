"""What the score of an inspection is made of, over /v1 and on its page."""

import pytest

from serving import files, inspected, running, start  # noqa: F401  skips where the extra is missing

# ruff: noqa: F811  fixtures are imported, and then named


def test_the_contributions_of_an_inspection_sum_to_its_score(running, files):
    for path in files:
        told = inspected(running, path)
        found = running.ask("GET", f"/v1/inspections/{told['id']}/attribution").json()
        assert found["score"] == pytest.approx(told["score"], rel=1e-5)
        assert (found["method"], found["aggregate"], found["whole"]) == ("sum", "root_mean_square", None)
        total = found["base"] + sum(each["value"] for each in found["contributions"])
        assert total == pytest.approx(found["score"], rel=1e-6)
        assert abs(found["error"]) < 1e-6 * found["score"]


def test_an_older_bundle_without_patch_scores_says_why_nothing_is_taken_apart(start, files, monkeypatch):
    with start() as older:
        monkeypatch.setattr(older.service.gauge.scorer, "patch_rule", None)
        monkeypatch.delitem(older.service.gauge.scorer.manifest, "patches")
        told = inspected(older, files[0])
        found = older.ask("GET", f"/v1/inspections/{told['id']}/attribution").json()
        assert (found["contributions"], found["method"], found["whole"]) == ([], None, "bundle")


def test_the_case_page_shows_the_contributions_that_the_service_tells(running, files):
    told = inspected(running, files[-1])
    found = running.ask("GET", f"/v1/inspections/{told['id']}/attribution").json()
    form = {"key": running.keys["inspect"], "next": "/"}
    running.http.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    page = running.http.get(f"/cases/{told['id']}?more=true").text
    running.http.cookies.clear()
    assert "What the score is made of" in page
    for each in found["contributions"]:
        if each["value"] > 0:
            assert f'<td class="number">{each["value"]:.4g}</td>' in page
