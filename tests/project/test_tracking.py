"""Tracking: what git has of a commit arrives in a real MLflow server, once, with the series of its fits as steps."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from checkout import ROOT
from gonogo.cli.main import main
from gonogo.errors import DataError
from gonogo.project.git import git
from gonogo.project.tracking import read_tracked

MLFLOW = ROOT / ".venv-mlflow" / "bin" / "python"
LOCK = "stages:\n  parity@brick:\n    outs: [{path: bundles/brick, md5: 0123abcd.dir}, {path: m.json, md5: x}]\n"
FILES = {
    "params.yaml": "seed: 1\ncategories: [brick]\nfit: {detector: knn, layers: [1, 2], tiling: null}\n",
    "dvc.yaml": "vars: []\n",
    "dvc.lock": LOCK,
    "metrics/evaluate/brick.json": '{"image_auroc": 0.9, "certified": true, "detector": "knn"}',
    "metrics/robustness/brick.json": '{"worst_recall": 0.5}',
    "metrics/mean.json": '{"image_auroc": {"mean": 0.9}}',
    "metrics/code/fit.txt": "abc",
    "plots/fit/brick/plots/metrics/loss.tsv": "step\tloss\n1\t0.5\n2\t0.25\n",
    "plots/sheets/brick.png": "not text",
    "registry.jsonl": "",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")
    git(tmp_path, *who, "commit", "--quiet", "--message", "First")
    return tmp_path


def test_a_commit_tells_its_parameters_metrics_series_and_files(project):
    tracked = read_tracked(project, "HEAD")
    assert tracked.subject == "First"
    assert tracked.params == {
        "seed": "1", "categories": '["brick"]', "fit.detector": "knn", "fit.layers": "[1, 2]", "fit.tiling": "null",
    }  # fmt: skip
    assert tracked.metrics == {
        "evaluate.brick.image_auroc": 0.9, "evaluate.brick.certified": 1.0, "robustness.brick.worst_recall": 0.5,
        "mean.image_auroc.mean": 0.9,
    }  # fmt: skip
    assert tracked.series == {"brick.loss": [(1, 0.5), (2, 0.25)]}
    assert tracked.categories == ["brick"]
    assert (tracked.bundle_of("brick"), tracked.bundle_of("grass")) == ("0123abcd.dir", None)
    assert "plots/sheets/brick.png" not in tracked.files
    assert tracked.experiment is None


def test_what_cannot_be_tracked_is_named(project, capsys):
    with pytest.raises(DataError, match="expected a git revision"):
        read_tracked(project, "no-such")
    git(project, "rm", "-r", "--quiet", "metrics")
    git(project, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "--message", "none")
    with pytest.raises(DataError, match="has no metrics"):
        read_tracked(project, "HEAD")
    if not _has_mlflow():
        assert main(["track", "HEAD~1"]) == 4
        assert "gonogo[mlflow]" in capsys.readouterr().err


def _has_mlflow():
    from importlib.util import find_spec

    return find_spec("mlflow") is not None


def run(*words, **environment):
    """What a command prints in the environment of MLflow."""
    own = os.environ | {"PYTHONPATH": str(ROOT / "src"), "MLFLOW_DISABLE_TELEMETRY": "true"} | environment
    done = subprocess.run([str(MLFLOW), *words], env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def server(tmp_path_factory):
    """The address of an MLflow server with a SQLite database of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(MLFLOW), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder / "files")]
    own = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{MLFLOW.parent}:{os.environ['PATH']}"}
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.5)
    yield url
    os.killpg(process.pid, 15)
    process.wait(60)
    log.close()


READ = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient()
(experiment,) = [one for one in client.search_experiments() if one.name == "bricks"]
(run,) = client.search_runs([experiment.experiment_id])
steps = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "fit.brick.loss")]
version = client.get_model_version_by_alias("gauge-brick", "production") if "alias" in sys.argv else None
files = sorted(one.path for one in client.list_artifacts(run.info.run_id))
print(json.dumps({"params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags, "steps": steps,
    "files": files, "versions": [v.version for v in client.search_model_versions("name = 'gauge-brick'")],
    "version": None if version is None else [version.version, version.run_id == run.info.run_id, version.tags]}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not MLFLOW.exists(), reason="no .venv-mlflow: `make mlflow` makes it")
def test_a_commit_arrives_in_a_real_server_once_with_steps_version_and_alias(project, server):
    track = ("-m", "gonogo.cli", "track", "--name", "bricks", "--json")
    first = json.loads(run(*track, MLFLOW_TRACKING_URI=server))
    assert (first["uri"], first["is_new"], first["versions"]) == (server, True, {"gauge-brick": "1"})
    commit = git(project, "rev-parse", "HEAD").strip()
    entry = {
        "id": 1, "at": "2026-11-29T16:40:00Z", "action": "promote", "category": "brick", "alias": "production",
        "bundle": "b" * 64, "commit": commit, "gate": None, "by": "Ada", "reason": "start", "replaces": None,
        "restores": None, "previous": "0" * 64,
    }  # fmt: skip
    Path("registry.jsonl").write_text(json.dumps(entry) + "\n")
    again = json.loads(run(*track, MLFLOW_TRACKING_URI=server))
    assert (again["id"], again["is_new"], again["versions"]) == (first["id"], False, {"gauge-brick": "1"})
    found = json.loads(run("-c", READ, "alias", MLFLOW_TRACKING_URI=server))
    assert found["params"]["fit.detector"] == "knn"
    assert found["metrics"]["evaluate.brick.image_auroc"] == 0.9
    assert found["tags"]["git.commit"] == commit
    assert found["steps"] == [[1, 0.5], [2, 0.25]]
    assert found["files"] == ["dvc.lock", "dvc.yaml", "metrics", "params.yaml", "plots"]
    assert found["version"] == ["1", True, {"git.commit": commit, "dvc.bundle": "0123abcd.dir"}]


@pytest.mark.slow
@pytest.mark.skipif(not MLFLOW.exists(), reason="no .venv-mlflow: `make mlflow` makes it")
def test_without_a_server_it_is_a_file_here_and_one_that_cannot_be_reached_is_said(project):
    made = json.loads(run("-m", "gonogo.cli", "track", "--name", "bricks", "--json", MLFLOW_TRACKING_URI=""))
    assert made["uri"] == "sqlite:///mlflow.db"
    assert (project / "mlflow.db").is_file()
    own = os.environ | {
        "PYTHONPATH": str(ROOT / "src"), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }  # fmt: skip
    command = [str(MLFLOW), "-m", "gonogo.cli", "track", "--json"]
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "PipelineError"
