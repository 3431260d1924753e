"""Whether the certificate of the bundle in use holds: in answers, in the state of the service, and after a kill."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from serving import activate, bundles, files, inspected, offered, running, start, until  # noqa: F401

# isort: split
from gonogo.cli.main import main
from gonogo.errors import ConfigError
from gonogo.images.statistics import STATISTICS, image_statistics
from gonogo.monitoring.certificate_watch import CertificateWatch, WatchParams
from gonogo.service import standing as standing_module
from gonogo.store.store import NewInspection

# ruff: noqa: F811  fixtures are imported, and then named


def status(running):
    answer = running.ask("GET", "/v1/certificate")
    assert answer.status_code == 200, answer.text
    return answer.json()


def add_scores(running, scores, *, verdict="pass", statistics=None, bundle=None):
    """Store inspections with these scores as the service does; returns their ids."""
    service = running.service
    if not service.store.newest({}, before=None, limit=1):
        raise AssertionError("inspect an image first")
    (last,) = service.store.newest({}, before=None, limit=1)
    names = ("verdict", "threshold", "p_value", "probability", "uncertain", "regions", "category", "bundle", "key")
    new = []
    for number, score in enumerate(scores):
        row = {name: last[name] for name in (*names, "certificate", "timings_ms", "image", "name")}
        row |= {"at": 1.8e9 + number, "score": float(score), "verdict": verdict, "uncertain": False}
        row["statistics"] = (
            last["statistics"]
            if statistics is None
            else dict(zip(STATISTICS, map(float, statistics[number]), strict=True))
        )
        row["bundle"] = bundle or row["bundle"]
        image = {name: last[f"image_{name}"] for name in ("sha256", "format", "n_bytes", "width", "height")}
        new.append(NewInspection(row, image, b""))
    return service.runner._add_to_store(new)


def good_scores(running, n, seed=0):
    record = running.service.gauge.scorer.record
    return np.random.default_rng(seed).choice(record.good_scores, n)


def drifted(running, n=400):
    """Scores between the two highest that pass: higher than nearly all good ones."""
    record = running.service.gauge.scorer.record
    passing = [score for score in record.good_scores if score < record.gap_low]
    return np.full(n, passing[-1])


def withdraw(running, files):
    inspected(running, files[0])
    add_scores(running, drifted(running))
    assert status(running)["state"] == "withdrawn"


def test_a_verdict_says_that_its_certificate_holds_and_has_the_statistics_of_its_image(start, files):
    with start() as running:
        part = inspected(running, files[0])
        assert (part["certificate"]["state"], part["certificate"]["since"]) == ("holds", None)
        from gonogo.images.reading import decode

        pixels, _ = decode(files[0].read_bytes(), "the image")
        assert part["statistics"] == dict(zip(STATISTICS, image_statistics(pixels), strict=True))
        assert status(running) | {"history": []} == status(running) | {"history": []}
        assert running.ask("GET", "/readyz").json()["warnings"] == []


def test_other_scores_withdraw_it_and_the_next_answer_says_since_when_while_verdicts_go_on(start, files):
    with start() as running:
        inspected(running, files[0])
        ids = add_scores(running, drifted(running))
        told = status(running)
        assert told["state"] == "withdrawn"
        assert told["inspection"] in ids
        part = inspected(running, files[0])
        assert part["certificate"]["state"] == "withdrawn"
        assert part["certificate"]["since"] == told["since"]
        assert part["verdict"] in ("pass", "reject")
        at = running.service.store.inspection(told["inspection"])["at"]
        assert told["since"] == running.ask("GET", f"/v1/inspections/{told['inspection']}").json()["at"]
        assert running.service.store.watches.newest()["withdrawn"] == at

        ready = running.ask("GET", "/readyz")
        assert ready.status_code == 200
        (warning,) = ready.json()["warnings"]
        assert "withdrawn since" in warning
        assert told["inspection"] in warning
        text = running.ask("GET", "/metrics").text
        category, bundle = told["category"], told["bundle"]
        for state, value in (("withdrawn", "1.0"), ("holds", "0.0"), ("in doubt", "0.0")):
            assert f'gonogo_certificate{{bundle="{bundle}",category="{category}",state="{state}"}} {value}' in text
        assert 'gonogo_warning{kind="certificate"} 1.0' in text
        assert 'claim="scores"' in text


def test_verdicts_of_before_keep_what_was_true_when_they_were_given(start, files):
    with start() as running:
        first = inspected(running, files[0])
        add_scores(running, drifted(running))
        until(lambda: "certificate" in running.service.warnings)  # also where nobody asks
        again = running.ask("GET", f"/v1/inspections/{first['id']}").json()
        assert again["certificate"]["state"] == "holds"


def test_only_an_admin_re_instates_it_with_a_reason_that_is_kept(start, files):
    with start() as running:
        bundle = inspected(running, files[0])["bundle"]
        wanted = {"bundle": bundle, "reason": "  the lamp was replaced "}
        path = "/v1/certificate:reinstate"
        assert running.ask("POST", path, role="admin", json=wanted).status_code == 422  # it holds
        add_scores(running, drifted(running))
        assert running.ask("POST", path, role="review", json=wanted).status_code == 403
        assert running.ask("POST", path, role="admin", json={"bundle": bundle, "reason": " "}).status_code == 422
        other = {"bundle": "0" * 64, "reason": "x"}
        assert running.ask("POST", path, role="admin", json=other).status_code == 409
        assert status(running)["state"] == "withdrawn"
        told = running.ask("POST", path, role="admin", json=wanted).json()
        assert (told["state"], told["parts"], told["since"]) == ("holds", 0, None)
        now, before = told["history"]
        assert (now["by"], now["reason"], now["withdrawn"]) == ("admin", "the lamp was replaced", None)
        assert before["withdrawn"] is not None
        assert before["reason"] is None
        assert inspected(running, files[0])["certificate"]["state"] == "holds"
        assert running.ask("GET", "/readyz").json()["warnings"] == []


def test_a_person_without_the_service_re_instates_it_and_a_running_one_sees_it(
    start, files, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(standing_module, "LOOK_AGAIN", 0.0)
    with start() as running:
        category = running.service.gauge.scorer.category
        ask = ["serve", "certificate", category, "--data", str(tmp_path / "data"), "--json"]
        assert main(ask) == 0
        assert json.loads(capsys.readouterr().out)["withdrawn"] is None
        withdraw(running, files)
        assert main(ask) == 1
        assert json.loads(capsys.readouterr().out)["withdrawn"] is not None
        words = ["serve", "reinstate", "--data", str(tmp_path / "data"), "--reason", "lamp", "--by", "Ana", "--json"]
        assert main(words) == 0
        assert json.loads(capsys.readouterr().out)["by"] == "Ana"
        assert main(ask) == 0
        capsys.readouterr()
        assert status(running)["state"] == "holds"
        assert status(running)["history"][0]["by"] == "Ana"


def test_a_new_gauge_holds_and_the_old_one_stays_withdrawn_when_it_comes_back(start, files, bundles):
    with start(bundle=bundles / "first", bundles=bundles) as running:
        withdraw(running, files)
        first, second = (offered(running)[name]["fingerprint"] for name in ("first", "second"))
        activate(running, second)
        assert status(running)["state"] == "holds"
        assert inspected(running, files[0])["certificate"]["state"] == "holds"
        activate(running, first)
        assert status(running)["state"] == "withdrawn"
        assert len(status(running)["history"]) == 2
        activate(running, second)
        assert len(status(running)["history"]) == 3


def test_a_gauge_that_is_activated_again_while_it_is_in_use_goes_on(start, files, bundles):
    with start(bundle=bundles / "first", bundles=bundles) as running:
        inspected(running, files[0])
        add_scores(running, good_scores(running, 30))
        activate(running, offered(running)["first"]["fingerprint"])
        assert status(running)["parts"] == 31
        assert len(status(running)["history"]) == 1


def test_inspections_of_another_bundle_tell_nothing_of_this_one(start, files):
    with start() as running:
        inspected(running, files[0])
        add_scores(running, drifted(running), bundle="0" * 64)
        assert (status(running)["state"], status(running)["parts"]) == ("holds", 1)


@pytest.mark.parametrize("n", [1, 1023, 1024, 2500])
def test_a_service_that_is_killed_goes_on_to_the_same_value(start, files, n):
    """Killed: what it had not written is lost, and learnt again from what it had stored."""
    first = start()
    first.__enter__()
    inspected(first, files[0])
    rng = np.random.default_rng(1)
    scores, statistics = good_scores(first, n), rng.normal(size=(n, len(STATISTICS)))
    for begin in range(0, n, 64):
        add_scores(first, scores[begin : begin + 64], statistics=statistics[begin : begin + 64])
    told = status(first)
    first.service.standing.save = lambda: None  # a kill writes nothing
    with start() as again:
        assert status(again) == told
        whole = add_scores(again, scores[:200], statistics=statistics[:200])
        again.service.standing.catch_up()
        kept = again.service.standing._watch.kept()
    first.__exit__(None, None, None)
    record = again.service.gauge.scorer.record
    watch = CertificateWatch(record, WatchParams(), STATISTICS)
    for part in again.service.store.watches.parts(told["bundle"], after=""):
        watch.add(part.id, part.score, tuple(part.statistics[name] for name in STATISTICS))
    assert whole
    assert watch.kept() == kept


def test_services_on_one_database_learn_from_the_inspections_of_all_and_mix_no_state(start, files, monkeypatch):
    monkeypatch.setattr(standing_module, "LOOK_AGAIN", 0.0)
    with start() as first, start() as second:
        inspected(first, files[0])
        scores = good_scores(first, 2600)
        for number, begin in enumerate(range(0, len(scores), 64)):
            add_scores((first, second)[number % 2], scores[begin : begin + 64])
        told = status(first)
        assert told["parts"] == 1 + len(scores)
        assert status(second) == told
    with start() as again:
        assert status(again) == told
        add_scores(again, scores[:200])
        again.service.standing.catch_up()
        kept, record = again.service.standing._watch.kept(), again.service.gauge.scorer.record
        parts = list(again.service.store.watches.parts(told["bundle"], after=""))
    watch = CertificateWatch(record, WatchParams(), STATISTICS)
    for part in parts:
        watch.add(part.id, part.score, tuple(part.statistics[name] for name in STATISTICS))
    assert watch.kept() == kept


def test_one_service_sees_what_another_one_has_withdrawn(start, files, monkeypatch):
    monkeypatch.setattr(standing_module, "LOOK_AGAIN", 0.0)
    with start() as first, start() as second:
        withdraw(first, files)
        assert (status(second)["state"], status(second)["since"]) == ("withdrawn", status(first)["since"])
        assert inspected(second, files[0])["certificate"]["state"] == "withdrawn"


def test_an_alarm_outlives_a_kill_although_all_is_well_since(start, files):
    with start() as running:
        withdraw(running, files)
        since = status(running)["since"]
        add_scores(running, good_scores(running, 3000))
    with start() as running:
        assert (status(running)["state"], status(running)["since"]) == ("withdrawn", since)


def test_what_another_version_has_kept_is_learnt_again_from_the_inspections(start, files, tmp_path):
    with start() as running:
        inspected(running, files[0])
        add_scores(running, good_scores(running, 1500))
        told = status(running)
    with closing(sqlite3.connect(tmp_path / "data/inspections.sqlite")) as database:
        database.execute("UPDATE watches SET state = '{\"format\": 0}'")
        database.commit()
    with start() as running:
        assert status(running) == told
    with start() as running:
        assert status(running) == told


def review(running, identifier, label, role="review"):
    given = {"label": label, "defect_type": "scratch" if label == "defect" else None}
    answer = running.ask("POST", f"/v1/inspections/{identifier}/review", role=role, json=given)
    assert answer.status_code == 200, answer.text


def test_reviewed_parts_of_the_audit_sample_count_and_those_that_wait_are_taken_for_good(start, files, monkeypatch):
    monkeypatch.setattr(standing_module, "LOOK_AGAIN", 0.0)
    with start(audit_share=1.0) as running:
        first = inspected(running, files[0])
        rejected = add_scores(running, [1e9] * 12, verdict="reject")
        add_scores(running, good_scores(running, 20))
        before = status(running)
        assert set(before["sample"].values()) == {0}  # nobody has reviewed anything
        for identifier in rejected[:11]:
            review(running, identifier, "good")
        review(running, rejected[11], "defect")
        after = status(running)
        passed = int(first["verdict"] == "pass")
        assert after["sample"] == {"rejected": 11, "passed": passed, "waiting": 1, "reviewed": 12}
        assert after["claims"]["audits"]["log_evidence"] > before["claims"]["audits"]["log_evidence"] + 3


def test_more_rejects_than_expected_withdraw_it_where_the_defect_rate_is_stated(start, files):
    with start(watch=WatchParams(defect_rate=0.02)) as running:
        inspected(running, files[0])
        for _ in range(20):
            add_scores(running, good_scores(running, 10))
            add_scores(running, [1e9] * 10, verdict="reject")
        told = status(running)
        assert told["state"] == "withdrawn"
        assert told["claims"]["rejects"]["log_evidence"] > told["claims"]["scores"]["log_evidence"]
        assert told["params"]["defect_rate"] == 0.02
    with start() as running:  # a promise that was made stays, whatever the settings are now
        assert status(running)["params"]["defect_rate"] == 0.02


# What moved


def darker_parts(running, n_before=300, n_after=120):
    """Parts whose images become darker while their scores stay; returns the ids of those after."""
    inspected_ids = []
    rng = np.random.default_rng(7)
    for n, brightness in ((n_before, 100.0), (n_after, 60.0)):
        statistics = rng.normal(50, 5, (n, len(STATISTICS)))
        statistics[:, 0] = rng.normal(brightness, 8, n)
        inspected_ids = add_scores(running, good_scores(running, n), statistics=statistics)
    return inspected_ids


def test_what_moved_is_named_with_when_and_by_how_much(start, files):
    with start() as running:
        inspected(running, files[0])
        after = darker_parts(running)
        found = running.ask("GET", "/v1/drift").json()
        moved = {one["name"]: one for one in found["moved"]}
        assert found["claim"] == "brightness"
        assert moved["brightness"]["shift"] < -2.5
        assert abs(moved["score"]["shift"]) < 0.5
        assert abs(moved["brightness"]["n_after"] - len(after)) < 15
        before, now = (running.service.store.inspection(found[f"typical_{side}"]) for side in ("before", "after"))
        assert before["statistics"]["brightness"] > 80 > now["statistics"]["brightness"]


def test_there_is_nothing_that_moved_before_there_are_parts_on_both_sides(start):
    with start() as running:
        assert running.ask("GET", "/v1/drift").json()["moved"] == []


# The webhook


def test_each_change_of_the_state_is_posted_once_and_a_start_posts_none_again(start, files, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("a long and random secret")
    posted = []
    monkeypatch.setattr("gonogo.service.service.Webhook.put", lambda _, rows: posted.extend(rows))
    settings = {"webhook": "http://127.0.0.1:9/", "webhook_secret": secret}
    with start(**settings) as running:
        withdraw(running, files)
        part = status(running)["inspection"]
    assert [(one["event"], one["state"]) for one in posted] == [("certificate", "withdrawn")]
    assert posted[0]["inspection"] == part
    with start(**settings) as running:
        assert len(posted) == 1
        wanted = {"bundle": status(running)["bundle"], "reason": "lamp"}
        running.ask("POST", "/v1/certificate:reinstate", role="admin", json=wanted)
    assert [one["state"] for one in posted] == ["withdrawn", "holds"]
    assert posted[1]["reason"] == "lamp"


def test_a_webhook_without_its_secret_is_refused(start):
    with pytest.raises(ConfigError, match="webhook-secret-file"):
        start(webhook="http://127.0.0.1:9/")


# The page


def test_the_page_re_instates_for_an_admin_alone_and_says_what_happened(start, files):
    with start() as running:
        inspected(running, files[0])
        darker_parts(running)
        for role in ("inspect", "admin"):
            form = {"key": running.keys[role], "next": "/drift"}
            own = {"Sec-Fetch-Site": "same-origin"}
            page = running.http.post("/sign-in", data=form, headers=own)
            assert "withdrawn since" in page.text
            assert ("/drift/reinstate" in page.text) == (role == "admin")
            given = {"bundle": status(running)["bundle"], "reason": "the lamp was replaced"}
            answer = running.http.post("/drift/reinstate", data=given, headers=own)
            assert answer.status_code == (200 if role == "admin" else 403)
        assert "the lamp was replaced" in answer.text
        assert "withdrawn since" not in answer.text
        assert status(running)["state"] == "holds"
