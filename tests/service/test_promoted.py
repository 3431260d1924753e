"""A service that follows a registry: what is promoted comes into use, what did not come through the gate never does."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from gonogo.cli.main import main
from gonogo.errors import DataError, GateError
from gonogo.project.registry import Entry, _digest, promote, read_registry, roll_back
from project.test_registry import WHO, commits, history, promoted, with_lines  # noqa: F401
from serving import Running, activate, files, inspected, until  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.service.promoted import RegistrySource
from gonogo.service.settings import Settings

# ruff: noqa: F811  fixtures are imported, and then named

pytestmark = pytest.mark.slow


@pytest.fixture
def follow(tmp_path):
    """Start a service that follows the registry of the project in the current folder, and looks at it all the time."""

    def started(**settings):
        source = RegistrySource(Path.cwd(), "digit_0", "production", tmp_path / "promoted")
        return Running(
            Settings(
                bundle=tmp_path, data=tmp_path / "kept", registry=source, threads=1, deadline=60.0,
                **{"registry_seconds": 0.05} | settings,
            )
        )  # fmt: skip

    return started


def forged(**values: object) -> None:
    """Add a line that follows the last one, written without the gate."""
    last = read_registry()[-1]
    facts = {"id": last.id + 1, "replaces": last.id, "previous": _digest(asdict(last))} | values
    line = asdict(replace(last, **facts))
    with Path("registry.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_a_promotion_and_a_roll_back_come_into_use_and_stay_after_a_restart(commits, with_lines, follow, files):
    (first,) = with_lines(1)
    with follow() as running:
        assert inspected(running, files[0])["bundle"] == first.bundle
        better = promote("digit_0", "production", commits["better"], **WHO)
        until(lambda: running.service.gauge.scorer.fingerprint == better.bundle)
        assert inspected(running, files[0])["bundle"] == better.bundle
        assert running.ask("GET", "/readyz").json()["warnings"] == []
        (last, *_) = running.service.store.activated(started_with=first.bundle)
        assert last == (better.bundle, "digit_0")
        roll_back("digit_0", "production", **WHO)
        until(lambda: running.service.gauge.scorer.fingerprint == first.bundle)
    promote("digit_0", "production", commits["better"], **WHO)
    with follow() as again:
        assert inspected(again, files[0])["bundle"] == better.bundle


def test_what_did_not_come_through_the_gate_is_a_502_and_the_gauge_in_use_goes_on(commits, follow, files, caplog):
    better = promote("digit_0", "production", commits["better"], **WHO)
    worse = promote("digit_0", "staging", commits["worse"], **WHO)
    good = Path("registry.jsonl").read_bytes()
    with follow() as running:
        forged(alias="production", replaces=better.id, gate="0" * 64)
        until(lambda: running.ask("GET", "/readyz").json()["warnings"])
        until(lambda: "is not followed" in caplog.text)
        assert "evaluate.recall went from 0.9 to 0.7; it may fall by 0.05" in caplog.text
        refused = running.ask("POST", "/v1/registry:reload", role="admin")
        assert (refused.status_code, refused.json()["type"]) == (502, "urn:gonogo:problem:bundle-refused")
        assert "evaluate.recall went from 0.9 to 0.7; it may fall by 0.05" in refused.json()["detail"]
        assert inspected(running, files[0])["bundle"] == better.bundle
        assert 'gonogo_warning{kind="registry"} 1.0' in running.ask("GET", "/metrics").text
        by_hand = activate(running, worse.bundle)
        assert (by_hand.status_code, by_hand.json()["type"]) == (409, "urn:gonogo:problem:not-promoted")
        Path("registry.jsonl").write_bytes(good)
        assert running.ask("POST", "/v1/registry:reload", role="admin").status_code == 200
        assert running.ask("GET", "/readyz").json()["warnings"] == []
        assert running.ask("POST", "/v1/registry:reload", role="review").status_code == 403
        Path("registry.jsonl").write_bytes(good.splitlines(keepends=True)[0])  # a line is gone, and the rest is right
        lost = running.ask("POST", "/v1/registry:reload", role="admin")
        assert "has lost or changed lines" in lost.json()["detail"]
    forged(alias="production", replaces=better.id, gate="0" * 64)
    with pytest.raises(GateError, match="did not come through the gate"):
        follow()


def test_a_bundle_that_was_changed_where_it_was_written_is_refused(with_lines, follow, files):
    first, better = with_lines(2)
    with follow(registry_seconds=1e9) as running:
        roll_back("digit_0", "production", **WHO)
        folder = running.service.promoted.source.folder / first.bundle[:16]
        folder.mkdir()
        assert running.ask("POST", "/v1/registry:reload", role="admin").status_code == 502
        assert inspected(running, files[0])["bundle"] == better.bundle
        folder.rmdir()
        assert running.ask("POST", "/v1/registry:reload", role="admin").json()["fingerprint"] == first.bundle


def test_the_command_wants_a_category_and_a_gauge_in_use(commits, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--registry", ".", "--data", str(tmp_path / "kept")])
    assert "--category" in capsys.readouterr().err
    assert main(["serve", "--registry", ".", "--category", "digit_0", "--data", str(tmp_path / "kept")]) == 3
    assert "digit_0 has no gauge in production" in capsys.readouterr().err
    assert main(["registry", "--get", "digit_0", "--out", str(tmp_path / "got")]) == 3
    promote("digit_0", "production", commits["first"], **WHO)
    assert main(["registry", "--get", "digit_0", "--out", str(tmp_path / "got"), "--json"]) == 0
    assert (tmp_path / "got/manifest.json").is_file()
    with pytest.raises(SystemExit, match="2"):
        main(["registry", "--get", "digit_0"])


@pytest.mark.parametrize("values", [
    {"action": "roll back", "restores": 1, "replaces": 2},
    {"action": "promote", "restores": None, "replaces": 1},
    {"action": "promote", "restores": None, "replaces": None, "gate": None},
])  # fmt: skip
def test_a_forged_line_is_found_whatever_it_names(with_lines, values):
    """A roll-back to a gauge that was never there, a gate against an older gauge, and a first one beside another."""
    _, better, worse = with_lines(3)
    facts = {"bundle": worse.bundle, "commit": worse.commit, "gate": better.gate, "alias": "production"}
    forged(**facts | values)
    from gonogo.project.registry import check

    assert len(list(check(read_registry()))) == 1
    assert isinstance(read_registry()[-1], Entry)
    assert main(["registry", "--get", "digit_0", "--out", "got"]) == 1
    assert not Path("got").exists()


def test_no_registry_no_reload(start_plain):
    with start_plain as running:
        assert running.ask("POST", "/v1/registry:reload", role="admin").status_code == 404


@pytest.fixture
def start_plain(bundle, tmp_path):
    return Running(Settings(bundle=bundle, data=tmp_path / "kept", threads=1, deadline=60.0))


@pytest.mark.usefixtures("commits")
def test_an_empty_registry_starts_no_service(follow):
    with pytest.raises(DataError, match="no gauge in production"):
        follow()
