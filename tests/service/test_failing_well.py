"""A disk or a database that fails is 503 or 507 with one line in the log, and wrong bundles and clocks are told."""

import errno
import json
import shutil
import sqlite3
import time

import pytest

from serving import activate, bundles, files, inspected, offered, running, start  # noqa: F401  skips where the extra is missing

# isort: split
import sqlalchemy as sa

from gonogo.cli.main import main
from gonogo.errors import IntegrityError
from gonogo.files import seal
from gonogo.inference.scorer import Scorer
from gonogo.service import service as services
from gonogo.store.failure import failure_of, summary_of

# ruff: noqa: F811  fixtures are imported, and then named

YEAR = 365 * 86_400


def sqlite_error(name):
    cause = sqlite3.OperationalError("it failed at /srv/secret")
    cause.sqlite_errorname = name
    return sa.exc.OperationalError("INSERT", {}, cause)


FAILURES = [
    (OSError(errno.ENOSPC, "No space left on device", "/srv/secret"), 507),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), 507),
    (OSError(errno.EROFS, "Read-only file system"), 503),
    (PermissionError(errno.EACCES, "Permission denied", "/srv/secret"), 503),
    (OSError(errno.EIO, "Input/output error"), 503),
    (sqlite_error("SQLITE_FULL"), 507),
    (sqlite_error("SQLITE_BUSY"), 503),
    (sqlite_error("SQLITE_READONLY"), 503),
    (sa.exc.TimeoutError("no connection in the pool"), 503),
]


@pytest.mark.parametrize(("error", "status"), FAILURES)
@pytest.mark.parametrize("failing", ["write", "_writing", "connect"])
def test_a_store_that_fails_is_one_line_in_the_log_and_says_when_to_come_again(
    start, files, monkeypatch, caplog, error, status, failing
):
    def fails(*_, **__):
        raise error

    with start() as running:
        identifier = inspected(running, files[0])["id"]
        store = running.service.store
        review = {"label": "good"}
        asked = [
            ("POST", "/v1/inspect", {"content": files[1].read_bytes()}),
            ("POST", "/v1/inspect", {"files": [("image", files[1].read_bytes()), ("image", files[2].read_bytes())]}),
            ("POST", f"/v1/inspections/{identifier}/review", {"role": "review", "json": review}),
            ("GET", "/v1/inspections", {}),
        ]
        if failing == "write":
            monkeypatch.setattr(store.images, "write", fails)
            asked = asked[:2]
        elif failing == "_writing":
            monkeypatch.setattr(store, "_writing", fails)
            monkeypatch.setattr(store.reviews, "_writing", fails)
            asked = asked[:3]
        else:
            monkeypatch.setattr(store._engine, "connect", fails)
            running.service.keys._cache.clear()  # the key is looked up too
            asked = asked[3:]
        for method, path, rest in asked:
            caplog.clear()
            answer = running.ask(method, path, **rest)
            assert answer.status_code == status, answer.text
            assert answer.json()["type"].startswith("urn:gonogo:problem:store-")
            assert int(answer.headers["retry-after"]) >= 1
            assert "secret" not in answer.text
            (record,) = [one for one in caplog.records if one.getMessage().startswith("the store failed")]
            assert not any(one.exc_info for one in caplog.records)

            assert "\n" not in record.getMessage()
        if failing == "write":
            parts = [("image", ("a.png", files[1].read_bytes()))]
            first, last = map(json.loads, running.ask("POST", "/v1/inspect:stream", files=parts).text.splitlines())
            assert (first["problem"]["status"], last) == (status, {"n_images": 1})


def test_a_mistake_in_a_statement_is_no_failure_of_the_store():
    assert failure_of(sa.exc.ProgrammingError("SELEC", {}, Exception())) is None
    assert failure_of(ValueError()) is None


@pytest.mark.parametrize("failing", ["file", "row"])
def test_readiness_writes_to_know(start, monkeypatch, failing):
    monkeypatch.setattr(services, "PROBE_SECONDS", 60.0)
    with start() as running:
        assert running.http.get("/readyz").status_code == 200
        running.service._probe = services.Probe(float("-inf"), [])
        part = running.service.store.images if failing == "file" else running.service.store
        name = "probe" if failing == "file" else "_writing"
        monkeypatch.setattr(part, name, lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space")))
        answer = running.http.get("/readyz")
        assert (answer.status_code, answer.json()["reasons"]) == (503, ["the disk is full"])
        assert running.http.get("/healthz").status_code == 200


def another_category(bundles, tmp_path):
    """A folder of the bundles, of which `third` is of another category."""
    folder = tmp_path / "bundles"
    shutil.copytree(bundles, folder)
    shutil.copytree(folder / "second", folder / "third")
    content = json.loads((folder / "third/manifest.json").read_text())
    listed = content.pop("files")
    content.pop("manifest_sha256")
    seal(folder / "third", content | {"category": "screw", "note": "third"}, listed)
    return folder


def test_a_bundle_of_another_category_is_used_only_if_the_request_names_it(
    start, bundles, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("gonogo.inference.scorer._require_agreement", lambda *_: None)  # the network has a category too
    folder = another_category(bundles, tmp_path)
    with start(bundle=folder / "first", bundles=folder) as running:
        own = running.service.gauge.scorer.category
        third = offered(running)["third"]["fingerprint"]

        def ask(**body):
            return running.ask("POST", "/v1/bundles:activate", role="admin", json={"fingerprint": third} | body)

        for body in ({}, {"category": own}, {"category": "nut"}):
            answer = ask(**body)
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:gonogo:problem:other-category")
            assert running.http.get("/readyz").json()["category"] == own
        assert '{"category": "screw"}' in ask().json()["detail"]
        caplog.clear()
        assert ask(category="screw").json()["category"] == "screw"
        assert "screw" in caplog.text
        assert own in caplog.text
        assert running.http.get("/readyz").json()["category"] == "screw"
    with start(bundle=folder / "first", bundles=folder) as again:
        assert again.http.get("/readyz").json()["category"] == "screw"


@pytest.mark.parametrize(("error", "status"), FAILURES)
def test_an_activation_that_cannot_be_kept_leaves_the_bundle_in_use(start, bundles, monkeypatch, error, status):
    def fails(*_, **__):
        raise error

    with start(bundle=bundles / "first", bundles=bundles) as running:
        before = running.service.gauge.scorer.fingerprint
        second = offered(running)["second"]["fingerprint"]
        monkeypatch.setattr(running.service.store, "add_activation", fails)
        assert activate(running, second).status_code == status
        assert running.service.gauge.scorer.fingerprint == before


def test_a_failure_without_a_text_is_named_by_its_kind():
    assert summary_of(OSError()) == "OSError"
    assert summary_of(OSError("first\nsecond")) == "first"


def test_a_damaged_bundle_is_replaced_by_the_one_before_it_only_if_settings_allow_it(start, bundles, tmp_path, caplog):
    folder = tmp_path / "bundles"
    shutil.copytree(bundles, folder)
    settings = {"bundle": folder / "first", "bundles": folder}
    with start(**settings) as running:
        assert activate(running, offered(running)["second"]["fingerprint"]).status_code == 200
    with (folder / "second/gauge.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(IntegrityError, match="--fall-back"):
        start(**settings)
    caplog.clear()
    with start(fall_back=True, **settings) as running:
        told = running.http.get("/readyz").json()
        assert told["ok"]
        assert told["bundle"] == Scorer(folder / "first").fingerprint
        assert "in use again" in told["warnings"][0]
        assert told["warnings"][0] in caplog.text
        assert 'gonogo_warning{kind="bundle"} 1.0' in running.ask("GET", "/metrics").text


def test_a_jump_of_the_clock_suspends_retention_until_a_person_confirms_it(start, files, monkeypatch, capsys):
    real = time.time
    with start(keep_days=30, expire_reviewed=True) as running:
        inspected(running, files[0])
        running.service._expire()
        monkeypatch.setattr(time, "time", lambda: real() + YEAR)
        assert running.service._expire() == 0
        (warning,) = running.http.get("/readyz").json()["warnings"]
        assert "confirm-clock" in warning
        assert 'gonogo_warning{kind="clock"} 1.0' in running.ask("GET", "/metrics").text
        assert main(["serve", "confirm-clock", "--data", str(running.service.settings.data)]) == 0
        assert "deleted by their age from now on" in capsys.readouterr().out
        assert running.service._expire() == 1
        assert running.http.get("/readyz").json()["warnings"] == []
