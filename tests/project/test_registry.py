"""The registry: a gauge gets into use through the gate, and by no other way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gonogo.cli.main import main
from gonogo.errors import DataError, GateError, PipelineError
from gonogo.files import read_json, seal, write_json, write_rows
from gonogo.project.registry import REGISTRY, Entry, check, in_use, promote, read_registry, roll_back

pytestmark = pytest.mark.slow

WHO = {"by": "Ada", "reason": "a better lamp"}
EVALUATED = {"image_auroc": 0.9, "recall": 0.8, "data_fingerprint": "the same images"}
TOLERANCES = "evaluate: {image_auroc: {fall: 0.01}, recall: {fall: 0.05}}\n"


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def other_bundle(folder: Path, date: str) -> None:
    """Make the bundle another one: with another note."""
    content = read_json(folder / "manifest.json")
    files = content.pop("files")
    del content["manifest_sha256"]
    content["note"] = date
    seal(folder, content, files)


def committed(date: str, **metrics: object) -> str:
    """A commit with a gauge of its own and with metrics; its hash."""
    other_bundle(Path("bundles/digit_0"), date)
    write_json(Path("metrics/evaluate/digit_0.json"), EVALUATED | metrics)
    Path("metrics/evaluate/brick.json").write_text(json.dumps(EVALUATED | {"recall": 0.1 if date > "2026-02" else 0.9}))
    run(sys.executable, "-m", "dvc", "add", "--quiet", "bundles/digit_0")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", date)
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def prepare_with(image: str, *, calibrate: str) -> None:
    """Let the prepared data set have this test image, and this one to calibrate."""
    same = {"label": 0, "defect_type": "good", "mask_sha256": None}
    records = [same | {"role": role, "sha256": name} for role, name in (("test", image), ("calibrate", calibrate))]
    path = Path("data/prepared/digit_0/manifest.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(scope="module")
def history(bundle, tmp_path_factory):
    """A repository with three gauges of digit_0, and their commits; that of `worse` has lost recall."""
    folder = tmp_path_factory.mktemp("registry")
    before, environment = Path.cwd(), dict(os.environ)
    os.environ["DVC_SITE_CACHE_DIR"] = str(tmp_path_factory.mktemp("site"))
    os.chdir(folder)
    try:
        run("git", "init", "--quiet")
        run("git", "config", "user.name", "Ada")
        run("git", "config", "user.email", "ada@localhost")
        run(sys.executable, "-m", "dvc", "init", "--quiet")
        run(sys.executable, "-m", "dvc", "config", "core.analytics", "false")
        Path("params.yaml").write_text("seed: 1\n")
        Path("tolerances.yaml").write_text(TOLERANCES)
        Path("dvc.yaml").write_text(
            "vars: [{bundles: bundles, plots: plots, prepared: data/prepared}]\n"
            "artifacts: {gauge-digit_0: {path: bundles/digit_0, type: model}}\n"
        )
        shutil.copytree(bundle, "bundles/digit_0")
        record = {"image": "a.png", "label": 1, "group_id": "a", "score": 2.0, "threshold": 1.0, "verdict": "reject"}
        write_rows(Path("plots/records/digit_0.csv"), [record | {"role": "test", "defect_type": "cut"}])
        prepare_with("a", calibrate="1")
        commits = {
            "first": committed("2026-01-01"),
            "better": committed("2026-01-02", recall=0.9),
            "worse": committed("2026-03-03", recall=0.7),
        }
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)
    return folder, commits


@pytest.fixture(scope="module")
def promoted(history, tmp_path_factory):
    """The lines of a registry: `first` and `better` were promoted to production, then `worse` to staging."""
    folder, commits = history
    shutil.copytree(folder, project := tmp_path_factory.mktemp("promoted") / "project", symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setenv("DVC_SITE_CACHE_DIR", str(project.parent / "site"))
        for name, alias in (("first", "production"), ("better", "production"), ("worse", "staging")):
            promote("digit_0", alias, commits[name], **WHO)
        return REGISTRY.read_text().splitlines(keepends=True)


@pytest.fixture
def with_lines(commits, promoted):  # noqa: ARG001  the lines go into the project that `commits` makes
    """Lets the project in the current folder have so many lines of `promoted`, as promotions leave them."""

    def write(n_lines: int) -> list[Entry]:
        REGISTRY.write_text("".join(promoted[:n_lines]))
        return read_registry()

    return write


@pytest.fixture
def commits(history, tmp_path, monkeypatch):
    folder, commits = history
    shutil.copytree(folder, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return commits


def test_a_gauge_that_holds_the_tolerances_replaces_the_one_in_use_and_a_roll_back_brings_it_back(commits):
    first = promote("digit_0", "production", commits["first"], **WHO)
    assert (first.gate, first.replaces, first.commit) == (None, None, commits["first"])
    better = promote("digit_0", "production", commits["better"], **WHO)
    assert (better.replaces, better.by, better.reason) == (1, "Ada", "a better lamp")
    assert better.gate is not None
    assert better.bundle != first.bundle
    back = roll_back("digit_0", "production", by="Bob", reason="the lamp broke")
    assert (back.bundle, back.commit, back.restores, back.replaces) == (first.bundle, first.commit, 1, 2)
    again = promote("digit_0", "production", commits["better"], **WHO)
    assert (again.replaces, again.bundle) == (3, better.bundle)
    entries = read_registry()
    assert entries == [first, better, back, again]
    assert in_use(entries, "digit_0", "production") == again
    assert list(check(entries)) == []
    assert roll_back("digit_0", "production", **WHO).bundle == first.bundle
    with pytest.raises(DataError, match="no earlier gauge"):
        roll_back("digit_0", "production", **WHO)


def test_one_that_breaks_a_tolerance_is_refused_with_all_that_is_beyond_it_and_nothing_is_written(commits, capsys):
    promote("digit_0", "production", commits["better"], **WHO)
    before = Path("registry.jsonl").read_bytes()
    with pytest.raises(GateError, match=r"digit_0: evaluate.recall went from 0.9 to 0.7; it may fall by 0.05"):
        promote("digit_0", "production", commits["worse"], **WHO)
    assert main(["promote", "digit_0", "--rev", commits["worse"], "--reason", "try", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "GateError"
    assert "went from 0.9 to 0.7" in error["message"]
    assert main(["promote", "digit_0", "--rev", commits["worse"], "--reason", "try", "--json", "--dry-run"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == error
    assert main(["promote", "digit_0", "--rev", commits["better"], "--reason", "try", "--json", "--dry-run"]) == 1
    assert "is in production already" in json.loads(capsys.readouterr().out)["reason"]
    assert main(["promote", "digit_0", "--rev", commits["first"], "--reason", "try", "--json", "--dry-run"]) == 1
    capsys.readouterr()
    words = ["promote", "digit_0", "--alias", "staging", "--rev", commits["first"], "--reason", "try", "--json"]
    assert main([*words, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["gauge"]["commit"] == commits["first"]
    assert "brick" not in error["message"]  # another category's loss is its own
    assert Path("registry.jsonl").read_bytes() == before
    assert promote("digit_0", "staging", commits["worse"], **WHO).replaces is None  # nothing there to hold it against


def test_a_line_that_was_written_by_hand_is_found(commits):
    promote("digit_0", "production", commits["better"], **WHO)
    line = json.loads(Path("registry.jsonl").read_text())
    forged = line | {"id": 2, "commit": commits["worse"], "replaces": 1}
    Path("registry.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(forged) + "\n")
    with pytest.raises(DataError, match="line 2 does not follow"):
        read_registry()
    from gonogo.project.registry import _digest

    forged |= {"previous": _digest(line), "gate": "0" * 64}
    Path("registry.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(forged) + "\n")
    (wrong,) = check(read_registry())
    assert "the registry names" in wrong
    entry = promote("digit_0", "staging", commits["worse"], **WHO)
    Path("registry.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(forged | {"bundle": entry.bundle}) + "\n")
    (wrong,) = check(read_registry())
    assert "beyond its tolerances" in wrong


@pytest.mark.parametrize("change", [("by", "Eve"), ("reason", ""), ("gate", None), ("at", "2020-01-01T00:00:00Z")])
def test_a_change_of_an_earlier_line_shows(with_lines, change):
    assert len(with_lines(2)) == 2
    first, second = Path("registry.jsonl").read_text().splitlines()
    if change[0] == "gate":
        second, change = json.dumps(json.loads(second) | {"previous": "0" * 64}), ("by", "Ada")
    Path("registry.jsonl").write_text(json.dumps(json.loads(first) | dict([change])) + "\n" + second + "\n")
    with pytest.raises(DataError, match="line 2 does not follow the line before it"):
        read_registry()


def test_what_cannot_be_promoted_is_named(commits, with_lines):
    with_lines(1)
    with pytest.raises(DataError, match="in production already"):
        promote("digit_0", "production", commits["first"], **WHO)
    with pytest.raises(DataError, match="expected a git revision or the name of one DVC experiment"):
        promote("digit_0", "production", "no-such-commit", **WHO)
    with pytest.raises(PipelineError, match=r"dvc has no bundles/grass of the commit \w+: (?!it gave no)[^;]"):
        promote("grass", "production", commits["first"], **WHO)
    prepare_with("b", calibrate="1")
    committed("2026-01-04", data_fingerprint="others")
    with pytest.raises(DataError, match="were tested on different images"):
        promote("digit_0", "production", "HEAD", **WHO)


def test_other_calibrate_images_are_no_other_test_images(with_lines):
    """As after an acceptance: the data set is another one, and both gauges were tested on the same images."""
    with_lines(1)
    prepare_with("a", calibrate="2")
    entry = promote("digit_0", "production", committed("2026-01-05", data_fingerprint="others"), **WHO)
    assert entry.gate is not None
    assert list(check(read_registry())) == []
    prepare_with("a", calibrate="2")
    with pytest.raises(GateError, match="recall"):
        promote("digit_0", "production", committed("2026-01-06", data_fingerprint="more", recall=0.1), **WHO)


def test_the_commands_write_the_tags_by_which_dvc_finds_the_gauge(commits, tmp_path, capsys):
    Path("registry.jsonl").touch()
    assert main(["promote", "digit_0", "--rev", commits["first"], "--reason", "start", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["entry"]["by"] == "Ada"
    assert answer["tags"] == ["gauge-digit_0#production#1"]
    assert main(["promote", "digit_0", "--rev", commits["better"], "--reason", "better", "--no-tag"]) == 0
    assert "is in production; commit registry.jsonl" in capsys.readouterr().out
    dvc_get = [sys.executable, "-m", "dvc", "artifacts", "get", ".", "gauge-digit_0", "--stage", "production"]
    run(*dvc_get, "--out", f"{tmp_path}/got")
    got = read_json(tmp_path / "got" / "manifest.json")
    assert got["note"] == "2026-01-01"
    assert main(["registry"]) == 0
    assert capsys.readouterr().out.count("in use") == 1
    assert main(["registry", "--check"]) == 0
    assert "2 lines; each gauge passed its gate" in capsys.readouterr().out
    assert main(["roll-back", "digit_0", "--reason", "worse", "--by", "Bob"]) == 0
    assert "2026" not in capsys.readouterr().err
