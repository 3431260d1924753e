"""The queue: a fit becomes an experiment and leaves the workspace alone, one that is stopped leaves nothing."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from checkout import ROOT
from gonogo.cli.main import main
from gonogo.errors import ConfigError, DataError
from gonogo.files import read_json, write_json
from gonogo.project.git import git
from gonogo.project.runs import ROOM, Runs, require_inside
from processes import needs_kill, until

PIPELINE = """
vars: [{plots: plots, metrics: metrics}]
stages:
  prepare:
    matrix: {category: "${categories}"}
    cmd: python -B prepare.py ${item.category}
    deps: [prepare.py]
    params: [prepare]
    outs: ["prepared/${item.category}"]
  robustness:
    matrix: {category: "${categories}"}
    cmd: python -B fit.py ${item.category}
    deps: [fit.py]
    params: [fit, overrides]
    outs: ["models/${item.category}"]
    metrics: ["metrics/evaluate/${item.category}.json": {cache: false}]
  bench:
    matrix: {category: "${categories}"}
    cmd: python -B -c 1
    deps: ["models/${item.category}"]
  report:
    matrix: {category: "${categories}"}
    cmd: python -B -c 1
    deps: ["models/${item.category}"]
"""
PREPARE = """
import sys, time
from pathlib import Path
n = Path("params.yaml").read_text().partition("  n: ")[2].split()[0]
Path("prepared").mkdir(exist_ok=True)
Path("prepared", sys.argv[1]).write_text("half")
print("preparing", flush=True)
time.sleep(900 if n == "13" else 0)
Path("prepared", sys.argv[1]).write_text(n)
"""
# Stands for a fit: a series of dvclive, a model, metrics; with size 13 a child of its own goes on until it is killed.
FIT = """
import json, os, subprocess, sys, time
from pathlib import Path
name = sys.argv[1]
size = int(next(line for line in Path("params.yaml").read_text().splitlines() if "coreset_ratio" in line).split(":")[1])
series = Path("plots/fit", name, "plots/metrics"); series.mkdir(parents=True, exist_ok=True)
(series / "loss.tsv").write_text("step\\tloss\\n1\\t0.5\\n2\\t0.25\\n")
os.makedirs("models", exist_ok=True)
Path("models", name).write_text("half")
print("fitting", name, flush=True)
if size == 13:
    file = str(Path(os.environ["PIDS"]) / "child")
    program = f"import os, time; open({file!r}, 'w').write(str(os.getpid())); time.sleep(900)"
    subprocess.Popen([sys.executable, "-c", program])
    time.sleep(900)
if size == 7:
    sys.exit("ConfigError: seven is no size")
Path("models", name).write_text(str(size))
Path("metrics/evaluate").mkdir(parents=True, exist_ok=True)
Path(f"metrics/evaluate/{name}.json").write_text(json.dumps({"image_auroc": size / 10}))
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queue") / "project"
    folder.mkdir()
    site = str(tmp_path_factory.mktemp("site"))

    def run(*words):
        subprocess.run(
            words, cwd=folder, check=True, capture_output=True, env=os.environ | {"DVC_SITE_CACHE_DIR": site}
        )

    run("git", "init", "--quiet")
    run("git", "config", "user.name", "Ada")
    run("git", "config", "user.email", "ada@localhost")
    run(sys.executable, "-m", "dvc", "init", "--quiet")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "fit.py").write_text(FIT)
    (folder / "prepare.py").write_text(PREPARE)
    (folder / "params.yaml").write_text(
        "seed: 1\ncategories: [brick]\nraw: data/raw\n"
        "fit:\n  detector: knn\n  coreset_ratio: 1\noverrides: {brick: {}}\nprepare:\n  n: 1\n"
    )
    (folder / ".gitignore").write_text("/models\n/plots\n/prepared\n__pycache__\n")
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/.keep").touch()
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "start")
    return folder


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    subprocess.run(["cp", "-a", str(template), str(tmp_path / "project")], check=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("PIDS", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    return tmp_path / "project"


def test_a_fit_becomes_an_experiment_and_the_workspace_stays_as_it_is(project):
    runs = Runs(project)
    first = runs.add("fit", "brick", ["fit.coreset_ratio=9"], by="Ada")
    second = runs.add("fit", "brick", ["fit.coreset_ratio=7"], by="Bob")
    assert [(run.id, run.state) for run in runs.all()] == [(second.id, "queued"), (first.id, "queued")]
    before = git(project, "status", "--porcelain"), (project / "params.yaml").read_text()
    assert runs.work() == 2
    assert (git(project, "status", "--porcelain"), (project / "params.yaml").read_text()) == before
    done, failed = runs.get(first.id), runs.get(second.id)
    assert (done.state, done.reason, done.by) == ("done", "", "Ada")
    assert failed.state == "failed"
    assert "seven is no size" in failed.reason
    assert runs.series(first.id) == {"loss": [(1.0, 0.5), (2.0, 0.25)]}
    assert "fitting brick" in runs.log(first.id)
    (reference,) = git(project, "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").split()
    assert reference.endswith(f"/{first.id}")
    assert json.loads(git(project, "show", f"{reference}:metrics/evaluate/brick.json")) == {"image_auroc": 0.9}
    assert not (runs.folder(first.id) / "clone").exists()


def test_a_project_may_lie_in_a_subfolder_of_its_repository(project, monkeypatch):
    place = project / "vision" / "gauges"
    place.mkdir(parents=True)
    for path in list(project.iterdir()):
        if path.name not in (".git", "vision"):
            path.rename(place / path.name)
    git(project, "rm", "-r", "--quiet", "--cached", ".")
    git(project, "commit", "--quiet", "--message", "Nothing yet")
    monkeypatch.chdir(place)
    runs = Runs(place)
    too_early = runs.add("fit", "brick", ["fit.coreset_ratio=9"], by="Ada")
    assert runs.work() == 1
    assert runs.get(too_early.id).reason.startswith(f"PipelineError: the last commit of {project} does not have the")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "One folder among others")
    run = runs.add("fit", "brick", ["fit.coreset_ratio=9"], by="Ada")
    assert runs.work() == 1
    assert (runs.get(run.id).state, runs.get(run.id).reason) == ("done", "")
    assert runs.series(run.id) == {"loss": [(1.0, 0.5), (2.0, 0.25)]}
    (reference,) = git(place, "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").split()
    assert json.loads(git(place, "show", f"{reference}:./metrics/evaluate/brick.json")) == {"image_auroc": 0.9}
    assert git(place, "status", "--porcelain") == ""
    assert not (runs.folder(run.id) / "clone").exists()


@needs_kill
def test_a_run_that_is_stopped_ends_with_all_its_processes_and_leaves_nothing(project, tmp_path):
    runs = Runs(project)
    first = runs.add("fit", "brick", ["fit.coreset_ratio=13"], by="Ada")
    waits = runs.add("fit", "brick", ["fit.coreset_ratio=5"], by="Ada")
    thread = threading.Thread(target=runs.work)
    thread.start()
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    assert runs.get(first.id).state == "running"
    assert "fitting brick" in runs.log(first.id)
    assert runs.series(first.id)["loss"][-1] == (2.0, 0.25)  # while it goes on
    assert runs.stop(waits.id).state == "stopped"
    runs.stop(first.id)
    thread.join(120)
    assert not thread.is_alive()
    assert runs.get(first.id).state == "stopped"
    child = int((tmp_path / "child").read_text())
    until(lambda: not _alive(child))
    assert git(project, "for-each-ref", "refs/exps") == ""
    assert git(project, "status", "--porcelain") == ""
    assert not (project / "models").exists()
    assert not (runs.folder(first.id) / "clone").exists()
    with pytest.raises(DataError, match="has ended: stopped"):
        runs.stop(first.id)


@needs_kill
def test_a_preparation_that_is_stopped_leaves_what_was_there_before(project):
    runs, made = Runs(project), project / "prepared" / "brick"
    first = runs.add("prepare", "brick", by="Ada")
    runs.work()
    assert (runs.get(first.id).state, made.read_text()) == ("done", "1")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("n: 1\n", "n: 13\n"))
    second = runs.add("prepare", "brick", by="Ada")
    thread = threading.Thread(target=runs.work)
    thread.start()
    until(lambda: "preparing" in runs.log(second.id))
    assert made.read_text() == "half"
    runs.stop(second.id)
    thread.join(120)
    assert (runs.get(second.id).state, made.read_text()) == ("stopped", "1")


def _alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z" if Path("/proc").is_dir() else True


def test_images_that_lie_outside_of_the_project_are_found_from_the_clone(project):
    (project.parent / "images").mkdir()
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("data/raw", "../images"))
    git(project, "commit", "--quiet", "--all", "--message", "elsewhere")
    runs = Runs(project)
    run = runs.add("fit", "brick", ["fit.coreset_ratio=6"], by="Ada")
    runs.work()
    assert (runs.get(run.id).state, runs.get(run.id).reason) == ("done", "")
    (reference,) = git(project, "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").split()
    params = YAML(typ="safe").load(git(project, "show", f"{reference}:params.yaml"))  # a long path has its own line
    assert params["raw"] == str((project.parent / "images").resolve())


def test_a_run_whose_worker_died_is_interrupted_and_the_queue_goes_on(project):
    runs = Runs(project)
    dead, next_one = (runs.add("fit", "brick", ["fit.coreset_ratio=4"], by="Ada") for _ in range(2))
    write_json(runs.folder(dead.id) / "started.json", {"at": 1.0, "group": 0})
    (runs.folder(dead.id) / "clone").mkdir()
    assert runs.get(dead.id).state == "interrupted"
    with FileLock(project / ROOM / "worker.lock"):
        assert runs.get(dead.id).state == "running"
    assert runs.work() == 1
    assert [runs.get(run.id).state for run in (dead, next_one)] == ["interrupted", "done"]
    assert not (runs.folder(dead.id) / "clone").exists()


def test_the_command_sees_the_same_runs_and_a_second_worker_ends_at_once(project, capsys, monkeypatch):
    monkeypatch.setattr("gonogo.project.runs.LOOK_SECONDS", 0.1)
    monkeypatch.setattr(Runs, "start_worker", lambda _: None)
    assert main(["runs", "start", "brick", "-S", "fit.coreset_ratio=3", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["run"]
    assert (made["by"], made["state"], made["settings"]) == ("Ada", "queued", ["fit.coreset_ratio=3"])
    with FileLock(project / ROOM / "worker.lock"):
        assert Runs(project).work() == 0
    assert main(["runs"]) == 0
    assert made["id"] in capsys.readouterr().out
    assert main(["runs", "stop", made["id"]]) == 0
    assert main(["runs", "log", "../../etc"]) == 3
    with pytest.raises(SystemExit):
        main(["runs", "start", "grass"])
    assert main(["runs", "start", "brick", "-S", "fit.no_such=3"]) == 3
    assert "no_such" in capsys.readouterr().err


@needs_kill
def test_a_worker_of_its_own_outlives_who_started_it(project):
    runs = Runs(project)
    run = runs.add("fit", "brick", ["fit.coreset_ratio=2"], by="Ada")
    runs.start_worker()
    until(lambda: not runs.get(run.id).is_open and (runs.folder(run.id) / "ended.json").exists())
    assert runs.get(run.id).state == "done"
    assert read_json(runs.folder(run.id) / "run.json")["by"] == "Ada"


@pytest.mark.parametrize("setting", [
    "raw=/etc", "prepare.source=folder", "overrides.brick.prepare.root=x", "fit.weights=/etc/passwd",
    "fit.weights=../../secret.pt", "fit.weights='../x'", "fit.layers=[1,../x]", "fit.python=bin/python",
    "overrides.brick.fit.python=x", "fit.weights=${oc.env:HOME}", "+fit.weights=a/../../x", "~raw", "fit.weights=..\\x",
])  # fmt: skip
def test_no_setting_of_a_client_leads_out_of_the_project(setting, tmp_path):
    with pytest.raises(ConfigError):
        require_inside([setting], tmp_path)


def test_settings_that_stay_inside_are_let_through(tmp_path):
    require_inside(
        ["fit.weights=models/own.pt", "overrides.brick.fit.layers=[1,2]", "fit.tiling={height:3,width:4}",
         "+calibrate.false_alarm_rate=0.05", "fit.backbone=tf_efficientnet_lite0", "~overrides.brick.fit.smoothing"],
        tmp_path,
    )  # fmt: skip
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(ConfigError, match="stay in the project"):
        require_inside(["fit.weights=link/passwd"], tmp_path)
