"""A failed experiment is reported as one, never with the metrics of its baseline, and nobody else's queue is run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT
from gonogo.errors import PipelineError
from gonogo.project.experiments import reason_in
from run_experiments import DONE, FAILED, LOST, Queue, read_experiments, render, varied_params

STATUS = """Task     Name     Created       Status
1111111  grid-10  07:23 AM      Queued
2222222           Nov 20, 2026  Running
3333333  grid-2   07:23 AM      Failed
4444444  grid-2   Nov 19, 2026  Success

Worker status: 1 active, 2 idle
"""
LOG = """> python stages/fit.py --category digit_0
fit@digit_0: ConfigError: params.yaml: fit (pca): image_size is -1; expected a number of pixels above 0
ERROR: failed to reproduce 'fit@digit_0': failed to run: python stages/fit.py, exited with 1
"""
BASELINE_AUROC = 0.881427


def entry(task: str, name: str, state: str, value: float, auroc: float, log: Path | None = None) -> dict:
    """One experiment as `dvc exp show --json` of DVC 3.67 lists it, cut to what is read."""
    data = {
        "params": {"params.yaml": {"data": {"seed": 17, "fit": {"coreset_ratio": value}}}},
        "metrics": {"metrics/mean.json": {"data": {"image_auroc": auroc}}},
    }
    error = {"msg": "Experiment run failed", "type": ""} if state == "failed" else None
    local = {"task_id": task * 40, "log": str(log) if log else None}
    return {
        "revs": [{"rev": "a" * 40, "name": name, "data": data, "error": error}],
        "executor": {"state": state, "local": local},
    }


@pytest.fixture
def shown(tmp_path: Path) -> list[dict]:
    log = tmp_path / "run.out"
    log.write_text(LOG)
    experiments = [
        entry("1", "grid-10", "success", 0.5, 0.9),
        entry("2", "grid-2", "failed", -1.0, BASELINE_AUROC, log),
        entry("3", "grid-3", "queued", 0.25, BASELINE_AUROC),
        entry("4", "others", "success", 0.125, 0.7),
        {"revs": [{"rev": "b" * 40, "name": "no-queue", "data": None, "error": None}], "executor": None},
    ]
    return [{"rev": "workspace", "experiments": None}, {"rev": "c" * 40, "experiments": experiments}]


TASKS = ["1" * 7, "2" * 7, "3" * 7]


def test_only_a_finished_experiment_keeps_metrics_and_a_failed_one_gives_its_reason(shown):
    failed, queued, done = read_experiments(shown, TASKS)
    assert (done.name, done.state, done.metrics, done.reason) == ("grid-10", DONE, {"image_auroc": 0.9}, "")
    assert (failed.name, failed.state, failed.metrics) == ("grid-2", FAILED, {})
    assert failed.reason == LOG.splitlines()[1]
    assert (queued.name, queued.state, queued.metrics) == ("grid-3", "queued", {})


def test_the_table_shows_a_failure_and_never_a_number_of_the_baseline(shown):
    text = render(read_experiments(shown, TASKS), "not finished within 5 min")
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["experiment", "state", "fit.coreset_ratio", "image_auroc"]
    assert lines[1].split() == ["grid-2", "FAILED", "-1", *"-----"]
    assert lines[3].split()[:4] == ["grid-10", "done", "0.5", "0.9"]
    assert str(BASELINE_AUROC)[:5] not in text
    assert "grid-2 FAILED: fit@digit_0: ConfigError" in text
    assert "grid-3 queued: not finished within 5 min" in text
    assert lines[-1] == "1 of 3 experiments done, 2 not"


def test_experiments_that_are_not_of_this_grid_are_left_out(shown):
    assert "others" not in render(read_experiments(shown, TASKS))


def test_an_experiment_that_disappeared_is_not_done(shown):
    (lost,) = read_experiments(shown, ["9" * 7])
    assert lost.state == LOST
    assert "0 of 1 experiments done, 1 not" in render([lost])


def test_only_parameters_that_differ_have_a_column(shown):
    assert varied_params(read_experiments(shown, TASKS)) == ["fit.coreset_ratio"]
    assert varied_params(read_experiments(shown, TASKS[:1])) == []


def test_a_log_without_a_stages_error_gives_dvcs_own(tmp_path):
    log = tmp_path / "run.out"
    log.write_text("Running stage 'fit'\nERROR: output 'models' does not exist\n")
    assert reason_in(log) == "ERROR: output 'models' does not exist"
    assert reason_in(tmp_path / "missing") == ""


def test_the_queues_table_is_read_by_task_with_or_without_a_name():
    queue = Queue.parse(STATUS)
    assert queue.states == {"1" * 7: "queued", "2" * 7: "running", "3" * 7: FAILED, "4" * 7: DONE}
    assert queue.n_active == 1


def test_another_output_than_the_queues_table_is_an_error():
    with pytest.raises(PipelineError, match="Worker status"):
        Queue.parse("ERROR: you are not inside of a DVC repository")


TRAIN = """
import json, pathlib, sys
x = float(pathlib.Path("params.yaml").read_text().split("x:")[1])
if x < 0:
    sys.exit(f"train: ConfigError: x is {x}, expected 0 or more")
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/mean.json").write_text(json.dumps({"image_auroc": x}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC repository with one quick stage that refuses a negative parameter; its baseline has image_auroc 0.5."""
    folder = tmp_path_factory.mktemp("project")
    stage = {
        "cmd": "python -B train.py",
        "deps": ["train.py"],
        "params": ["x"],
        "metrics": [{"metrics/mean.json": {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"train": stage}}))
    (folder / "train.py").write_text(TRAIN)
    (folder / "params.yaml").write_text("x: 0.5\n")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    for setting in ("user.name=test", "user.email=test@localhost"):
        subprocess.run(["git", "config", *setting.split("=")], cwd=folder, check=True)
    subprocess.run([*dvc, "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([*dvc, "config", "core.analytics", "false"], cwd=folder, check=True)
    (folder / "metrics").mkdir()
    (folder / "metrics" / "mean.json").write_text('{"image_auroc": 0.5}')
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "one"], cwd=folder, check=True)
    return folder


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "run_experiments.py"), *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_grid_with_a_failure_runs_to_its_end_and_exits_with_status_1(project):
    result = run(project, "-S", "x=0.25,-1.0", "--name", "grid", "--deadline", "3")
    assert result.returncode == 1, result.stderr
    done, failed = (
        line.split()
        for line in result.stdout.splitlines()
        if line.startswith(("grid-1 ", "grid-2 ")) and ":" not in line
    )
    assert done[:4] == ["grid-1", "done", "0.25", "0.25"]
    assert failed == ["grid-2", "FAILED", "-1", *"-----"]
    assert "grid-2 FAILED: train: ConfigError: x is -1.0, expected 0 or more" in result.stdout


@pytest.mark.slow
def test_settings_that_dvc_refuses_leave_nothing_in_the_queue(project):
    result = run(project, "-S", "y=1,2")
    assert result.returncode == 2
    assert "y" in result.stderr
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "queue", "status"], cwd=project, capture_output=True, text=True, check=True
    )
    assert "Queued" not in status.stdout


@pytest.mark.slow
def test_a_queue_that_holds_anothers_experiment_is_left_alone(project):
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run(
        [*dvc, "exp", "run", "--queue", "--quiet", "--name", "theirs", "-S", "x=0.75"], cwd=project, check=True
    )
    result = run(project, "-S", "x=0.25", "--name", "ours")
    status = subprocess.run([*dvc, "queue", "status"], cwd=project, capture_output=True, text=True, check=True)
    assert result.returncode == 2
    assert "1 experiments wait in the queue" in result.stderr
    assert [line.split()[1] for line in status.stdout.splitlines() if line.endswith("Queued")] == ["theirs"]
