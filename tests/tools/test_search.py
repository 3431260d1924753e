"""A search looks at nothing of the test, goes on where it was killed, and keeps the workspace out of it."""

import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import search
import search_study
from checkout import ROOT
from gonogo.errors import ConfigError, MissingExtraError
from gonogo.project.recipes import Change
from search_plot import study_svg
from search_space import Space, applied, as_it_is, changes_of, read_space, require_valid

needs_optuna = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import optuna"], check=False, capture_output=True).returncode != 0,
    reason="no Optuna: pip install 'gonogo[search]'",
)

FILE = """
description: A bank
categories: [brick]
criterion: synthetic_auroc
n_trials: 6
params:
  fit.coreset_ratio: {low: 0.001, high: 0.1, log: true}
  fit.layers: {choices: [[1, 2], [2, 3]]}
  fit.n_neighbors: {low: 1, high: 4}
fixed: {fit.left_out: 0}
"""
# As in the repository, but for brick's own options, so that it takes those of the section.
TEXT = re.sub(
    r"(  brick:\n    prepare:\n(?:      .*\n)+)    fit:\n(?:      .*\n)+",
    r"\1",
    (ROOT / "params.yaml").read_text(encoding="utf-8"),
)
CONTENT = YAML(typ="safe", pure=True).load(TEXT)
CODE = {"src": "0" * 40}


@pytest.fixture
def space_of(tmp_path):
    """The space that a file says, after some of its text was replaced."""

    def read(*replaced: tuple[str, str], text: str = FILE):
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "parts.yaml").write_text(text)
        return read_space(tmp_path / "parts.yaml")

    return read


def outcome_of(changes: list[Change]) -> search.Outcome:
    """A criterion that is best at a ratio of 0.01; layers [1, 2] with three neighbours or more fail."""
    found = {".".join(change.path): change.new for change in changes}
    ratio = found.get("fit.coreset_ratio", CONTENT["fit"]["coreset_ratio"])
    if found.get("fit.layers") == [1, 2] and found.get("fit.n_neighbors", 1) >= 3:
        return search.Outcome(reason="fit@brick: DataError: too near")
    return search.Outcome({"brick": 1 - abs(math.log10(ratio / 0.01))}, {"brick": "f" * 64})


class Runner:
    """Runs nothing, and remembers what it was asked for."""

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        self.asked: list[dict[str, object]] = []
        self.fingerprint = fingerprint

    def __call__(self, name: str, changes: list[Change]) -> search.Outcome:
        self.asked.append({".".join(change.path): change.new for change in changes})
        found = outcome_of(changes)
        return search.Outcome(found.values, {"brick": self.fingerprint}, found.reason)


def killed_at(at: int, space: Space, folder: Path) -> None:
    """Search in a process that is killed in its trial number `at`, counted from 1."""

    def run(name: str, changes: list[Change]) -> search.Outcome:
        asked.append(name)
        if len(asked) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome_of(changes)

    asked: list[str] = []
    arguments = (space, CONTENT, folder, run, CODE)
    process = multiprocessing.get_context("fork").Process(target=search.search, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def tried(results: dict) -> list[tuple]:
    return [(row["params"], row["state"], row["value"]) for row in results["trials"] if row["state"] != "stopped"]


@needs_optuna
def test_a_search_that_was_killed_goes_on_to_the_same_trials_and_repeats_none_that_had_finished(space_of, tmp_path):
    space = space_of()
    unbroken = search.search(space, CONTENT, tmp_path / "unbroken", whole := Runner(), CODE)
    killed_at(1, space, tmp_path / "killed")  # in the trial of params.yaml as it is
    killed_at(4, space, tmp_path / "killed")
    results = search.search(space, CONTENT, tmp_path / "killed", rest := Runner(), CODE)
    assert tried(results) == tried(unbroken)
    assert {state for _, state, _ in tried(results)} == {"done", "failed"}
    assert [row["state"] for row in results["trials"]].count("stopped") == 2
    assert rest.asked == whole.asked[3:]


@needs_optuna
def test_a_trial_that_was_stopped_once_its_outcome_was_known_is_not_run_again(space_of, tmp_path, monkeypatch):
    unbroken = search.search(space_of(), CONTENT, tmp_path / "unbroken", Runner(), CODE)
    told, tell = [], search_study.tell

    def stopped(study, number, outcome):
        told.append(number)
        if len(told) in (2, 3):  # in the second trial, and again when it goes on
            raise KeyboardInterrupt
        tell(study, number, outcome)

    for module in (search, search_study):
        monkeypatch.setattr(module, "tell", stopped)
    runner = Runner()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            search.search(space_of(), CONTENT, tmp_path / "stopped", runner, CODE)
    results = search.search(space_of(), CONTENT, tmp_path / "stopped", runner, CODE)
    assert tried(results) == tried(unbroken)
    assert [row["number"] for row in results["trials"]] == list(range(6))
    assert len(runner.asked) == 6


@needs_optuna
def test_a_line_that_a_kill_cut_short_and_a_lock_that_it_left_stop_nothing(space_of, tmp_path):
    space = space_of(("n_trials: 6", "n_trials: 2"))
    first = search.search(space, CONTENT, tmp_path / "study", Runner(), CODE)
    journal = tmp_path / "study" / "journal.log"
    with journal.open("a") as file:
        file.write('{"op_code":4,"worker_id":"cut')
    journal.with_name("journal.log.lock").symlink_to(journal)
    more = search.search(space_of(), CONTENT, tmp_path / "study", Runner(), CODE)
    assert tried(more)[:2] == tried(first)
    assert len(tried(more)) == 6
    assert "cut" not in journal.read_text()


@needs_optuna
def test_a_failed_trial_keeps_its_reason_and_the_study_goes_on(space_of, tmp_path):
    results = search.search(space_of(), CONTENT, tmp_path / "study", Runner(), CODE)
    assert len(results["trials"]) == 6
    failed = [row for row in results["trials"] if row["state"] == "failed"]
    assert failed
    assert {row["reason"] for row in failed} == {"fit@brick: DataError: too near"}
    assert all(row["value"] is None and "experiment" not in row for row in failed)
    best = max((row for row in results["trials"] if row["state"] == "done"), key=lambda row: row["value"])
    assert results["best"] == best["number"]
    assert json.loads((tmp_path / "study" / "trials.json").read_text()) == results


@needs_optuna
def test_params_yaml_as_it_is_comes_first_and_nothing_is_run_twice(space_of, tmp_path):
    few = FILE.replace("fit.coreset_ratio: {low: 0.001, high: 0.1, log: true}", "fit.image_size: {choices: [128, 256]}")
    space = space_of(("low: 1, high: 4", "low: 1, high: 2"), ("n_trials: 6", "n_trials: 20"), text=few)
    results = search.search(space, CONTENT, tmp_path / "study", runner := Runner(), CODE)
    assert results["trials"][0]["params"] == {"fit.image_size": 256, "fit.layers": [2, 3], "fit.n_neighbors": 1}
    assert runner.asked[0] == {"categories": ["brick"], "fit.left_out": 0, "fit.n_neighbors": 1}
    assert len(results["trials"]) == 20
    distinct = {json.dumps(row["params"], sort_keys=True) for row in results["trials"]}
    assert len(runner.asked) == len(distinct) <= 8
    assert sum("same_as" in row for row in results["trials"]) == 20 - len(distinct)


@needs_optuna
def test_the_sampler_learns_from_the_trials(space_of, tmp_path):
    space = space_of(("n_trials: 6", "n_trials: 30"), ("fit.layers: {choices: [[1, 2], [2, 3]]}", ""))
    results = search.search(space, CONTENT | {"fit": CONTENT["fit"] | {"coreset_ratio": 0.1}}, tmp_path, Runner(), CODE)
    values = [row["value"] for row in results["trials"]]
    assert len(set(values)) == 30
    assert sum(values[20:]) > sum(values[:10])
    assert results["importance"]["fit.coreset_ratio"] > results["importance"]["fit.n_neighbors"]


@needs_optuna
def test_a_study_of_another_space_or_other_code_or_other_images_is_not_mixed_with_this_one(space_of, tmp_path):
    search.search(space_of(), CONTENT, tmp_path / "study", Runner(), CODE)
    with pytest.raises(ConfigError, match="a study with other params"):
        search.search(space_of(("0.001", "0.002")), CONTENT, tmp_path / "study", Runner(), CODE)
    with pytest.raises(ConfigError, match="a study with other code"):
        search.search(space_of(), CONTENT, tmp_path / "study", Runner(), {"src": "1" * 40})
    space = space_of(("n_trials: 6", "n_trials: 7"))
    results = search.search(space, CONTENT, tmp_path / "study", Runner("e" * 64), CODE)
    assert results["trials"][-1]["state"] == "failed"
    assert "not those that the study began with" in results["trials"][-1]["reason"]


@needs_optuna
def test_the_picture_has_a_point_per_trial_in_each_panel_and_a_cross_per_failure(space_of, tmp_path):
    results = search.search(space_of(), CONTENT, tmp_path / "study", Runner(), CODE)
    svg = (tmp_path / "study" / "study.svg").read_text()
    states = [row["state"] for row in results["trials"]]
    assert svg.count("<circle") == 4 * states.count("done")
    assert svg.count("×") == states.count("failed")
    assert "fit.coreset_ratio" in svg
    assert svg == study_svg(results)


def test_without_optuna_the_extra_is_named(space_of, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"gonogo\[search\]"):
        search.search(space_of(), CONTENT, tmp_path / "study", Runner(), CODE)


@pytest.mark.parametrize(
    "criterion", ["image_auroc", "image_auroc.mean", "aupro_30", "recall", "false_alarm_rate", "image_auroc_lift"]
)
def test_a_criterion_of_the_test_images_is_refused_with_the_reason(space_of, criterion):
    with pytest.raises(ConfigError, match=r"measured on test images.*synthetic_auroc"):
        space_of(("synthetic_auroc", criterion))


@pytest.mark.parametrize("criterion", ["threshold", "covering_radius", "auroc"])
def test_any_other_metric_is_refused_too(space_of, criterion):
    with pytest.raises(ConfigError, match=f"criterion is '{criterion}'; expected one of: synthetic_auroc.*validation"):
        space_of(("synthetic_auroc", criterion))


def test_labelled_defects_of_the_calibrate_images_may_be_searched_by(space_of):
    assert space_of(("synthetic_auroc", "validation_auroc")).criterion == "validation_auroc"


REFUSED = {
    "trials: 5": ("n_trials: 6", "n_trials: 6\ntrials: 5"),
    "n_trials": ("n_trials: 6", "n_trials: 0"),
    "low < high": ("low: 1, high: 4", "low: 4, high: 1"),
    "log needs low > 0": ("low: 0.001", "low: 0.0"),
    "unknown key 'step'": ("low: 1, high: 4", "low: 1, high: 4, step: 1"),
    "a choice stands twice": ("[[1, 2], [2, 3]]", "[[1, 2], [1, 2]]"),
    "a search varies fit": ("fit.n_neighbors:", "calibrate.margin:"),
    "section.key": ("fit.n_neighbors:", "n_neighbors:"),
    "in params and in fixed": ("fit.left_out: 0", "fit.n_neighbors: 1"),
    "direction": ("n_trials: 6", "n_trials: 6\ndirection: up"),
}


@pytest.mark.parametrize(("told", "replaced"), REFUSED.items())
def test_a_wrong_key_of_the_file_is_named(space_of, told, replaced):
    with pytest.raises(ConfigError, match="unknown key 'trials'" if told == "trials: 5" else told):
        space_of(replaced)


INVALID = {
    "unknown key 'coreset_rate'": ("fit.coreset_ratio", "fit.coreset_rate"),
    "coreset_ratio is 1.5": ("high: 0.1", "high: 1.5"),
    "categories has slate": ("[brick]", "[slate]"),
    "fixed has bench.run,": ("fit.left_out: 0", "bench.run: 0"),
    "calibrate.method cross": ("fit.left_out: 0", "calibrate.method: cross"),
    "calibrate.grow_bank true": ("fit.left_out: 0", "calibrate.grow_bank: true"),
}


@pytest.mark.parametrize(("told", "replaced"), INVALID.items())
def test_what_a_category_would_refuse_is_refused_before_anything_runs(space_of, told, replaced):
    require_valid(space_of(), CONTENT, Path("params.yaml"))
    with pytest.raises(ConfigError, match=told):
        require_valid(space_of(replaced), CONTENT, Path("params.yaml"))


def test_a_value_goes_where_it_takes_effect(space_of):
    space = space_of(("[brick]", "[brick, digit_0]"), ("fit.n_neighbors", "fit.image_size"))
    after = applied(space, CONTENT, {"fit.image_size": 4})
    assert (after["fit"]["image_size"], after["overrides"]["digit_0"]["fit"]["image_size"]) == (4, 4)
    assert "fit" not in after["overrides"]["brick"]
    assert after["overrides"]["digit_0"]["fit"]["left_out"] == 0  # of another detector: its section does not count
    assert after["categories"] == ["brick", "digit_0"]
    assert CONTENT["fit"]["image_size"] == 256
    options = {
        change.option for change in changes_of(space_of(), CONTENT, {"fit.layers": [1, 2], "fit.n_neighbors": 3})
    }
    assert options == {'categories=["brick"]', "fit.layers=[1, 2]", "+fit.n_neighbors=3", "fit.left_out=0"}


def test_another_detector_takes_its_own_defaults(space_of):
    space = space_of(
        ("fit.left_out: 0", "fit.detector: padim"),
        ("fit.n_neighbors: {low: 1, high: 4}", "fit.n_features: {low: 50, high: 150}"),
        ("fit.coreset_ratio: {low: 0.001, high: 0.1, log: true}", ""),
    )
    require_valid(space, CONTENT, Path("params.yaml"))
    after = applied(space, CONTENT, {})
    assert "coreset_ratio" not in after["fit"]
    assert after["fit"]["left_out"] == CONTENT["fit"]["left_out"]
    assert as_it_is(space, CONTENT) == {"fit.n_features": 100, "fit.layers": [2, 3]}


def test_without_one_value_for_all_within_the_space_there_is_nothing_to_begin_with(space_of):
    assert as_it_is(space_of(), CONTENT) == {"fit.coreset_ratio": 0.01, "fit.layers": [2, 3], "fit.n_neighbors": 1}
    assert as_it_is(space_of(("0.001", "0.02")), CONTENT) is None


def test_the_examples_of_the_repository_are_valid():
    files = sorted((ROOT / "searches").glob("*.yaml"))
    assert files
    for file in files:
        require_valid(read_space(file), CONTENT, ROOT / "params.yaml")


TRAIN = """
import json, pathlib
from ruamel.yaml import YAML
x = YAML(typ="safe", pure=True).load(pathlib.Path("params.yaml"))["fit"]["coreset_ratio"]
if x > 0.05:
    raise SystemExit(f"evaluate@brick: DataError: {x} is too much")
pathlib.Path("metrics/evaluate").mkdir(parents=True, exist_ok=True)
metrics = {"synthetic_auroc": 1 - x, "data_fingerprint": "f" * 64}
pathlib.Path("metrics/evaluate/brick.json").write_text(json.dumps(metrics))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A DVC repository whose evaluate stage takes no time, and whose bench was measured at its commit."""
    folder = tmp_path_factory.mktemp("project")
    stage = {
        "matrix": {"category": ["brick"]},
        "cmd": "python -B evaluate.py",
        "deps": ["evaluate.py"],
        "params": ["fit"],
        "metrics": [{"metrics/evaluate/${item.category}.json": {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"evaluate": stage}}))
    (folder / "evaluate.py").write_text(TRAIN)
    (folder / "params.yaml").write_text(TEXT)
    (folder / "metrics" / "bench").mkdir(parents=True)
    (folder / "metrics" / "bench" / "brick.json").write_text("{}")
    dvc = [sys.executable, "-m", "dvc"]
    for command in (
        ["git", "init", "--quiet"],
        ["git", "config", "user.name", "test"],
        ["git", "config", "user.email", "test@localhost"],
        [*dvc, "init", "--quiet"],
        [*dvc, "config", "core.analytics", "false"],
        ["git", "add", "."],
        ["git", "commit", "--quiet", "--message", "one"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    return folder


@needs_optuna
@pytest.mark.slow
def test_real_experiments_are_listed_by_dvc_and_leave_the_workspace_as_it_was(project, monkeypatch):
    monkeypatch.chdir(project)
    (project / "parts.yaml").write_text(
        FILE.replace("n_trials: 6", "n_trials: 2").replace("low: 0.001, high: 0.1,", "low: 0.009, high: 0.9,")
    )
    before = {path: path.read_bytes() for path in project.iterdir() if path.is_file()}
    assert search.main(["parts.yaml"]) == 0
    assert {path: path.read_bytes() for path in project.iterdir() if path.is_file()} == before
    status = ["git", "status", "--porcelain", "--untracked-files=all"]
    changed = subprocess.run(status, cwd=project, capture_output=True, text=True, check=True).stdout.split()
    study = ["parts/journal.log", "parts/study.svg", "parts/trials.json"]
    assert changed[1::2] == ["parts.yaml", *study]
    results = json.loads((project / "parts" / "trials.json").read_text())
    failed = [row for row in results["trials"] if row["state"] == "failed"]
    assert all("evaluate@brick: DataError" in row["reason"] for row in failed)
    done = {row["experiment"]: row for row in results["trials"] if row["state"] == "done"}
    assert (len(done), len(failed)) == (1, 1)
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "show", "--json"], cwd=project, capture_output=True, text=True, check=True
    )
    listed = {entry["revs"][0]["name"]: entry["revs"][0] for entry in json.loads(shown.stdout)[1]["experiments"]}
    assert sorted(listed) == sorted(done)
    for name, row in done.items():
        ratio = listed[name]["data"]["params"]["params.yaml"]["data"]["fit"]["coreset_ratio"]
        assert (ratio, 1 - ratio) == (row["params"]["fit.coreset_ratio"], pytest.approx(row["value"]))
        tree = ["git", "ls-tree", "-r", "--name-only", listed[name]["rev"], "metrics"]
        found = subprocess.run(tree, cwd=project, capture_output=True, text=True, check=True).stdout.split()
        assert found == ["metrics/evaluate/brick.json"]  # bench was that of the commit


def test_uncommitted_changes_of_what_experiments_start_from_are_an_error(project):
    params = (project / "params.yaml").read_text()
    before = search.code_of(project)
    assert set(before) == {"dvc.yaml", "params.yaml"}
    (project / "params.yaml").write_text(params.replace("seed: 17", "seed: 18"))
    with pytest.raises(ConfigError, match=r"(?s)last commit, which lacks.*params\.yaml.*commit"):
        search.code_of(project)
    (project / "params.yaml").write_text(params)
    assert search.code_of(project) == before
