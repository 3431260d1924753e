"""Retraining: from the first good part to a certificate that holds again, with the real service, git and DVC."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from checkout import ROOT
from conftest import STAGES_IN_ONE
from serving import Running
from small_project import one_stage

# isort: split
from gonogo.cli.main import main
from gonogo.data.digits import read_digits
from gonogo.images.dataset import read_dataset
from gonogo.images.reading import write_png
from gonogo.params import read_yaml
from gonogo.project.registry import read_registry
from gonogo.service.settings import Settings

pytestmark = pytest.mark.slow

CATEGORY = "digit_0"
TOLERANCES = "evaluate: {image_auroc: {fall: 0.2}, recall: {fall: 0.9}}\n"


def run(*words):
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A committed project whose gauge was made by DVC, in the current folder."""
    root = tmp_path / "project"
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("constraints.txt", "data/accepted.jsonl", "data/raw/README.md", ".dvcignore", "params.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    text = (root / "params.yaml").read_text().replace("n_resamples: 1000", "n_resamples: 100")
    text = re.sub(r"categories:\n(- .*\n)+", "categories: [digit_0]\n", text)
    text = re.sub(r"other_sizes: .*\n( +- .*\n)+", "other_sizes: [[9, 9], [20, 12]]\n", text)
    (root / "params.yaml").write_text(text.replace("normal_class: 0}", "normal_class: 0, defects_per_class: 2}"))
    (root / "dvc.yaml").write_text(json.dumps(one_stage(read_yaml(ROOT / "dvc.yaml"))))
    (root / "gauge.py").write_text(STAGES_IN_ONE)
    (root / "tolerances.yaml").write_text(TOLERANCES)
    monkeypatch.chdir(root)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    dvc = [sys.executable, "-m", "dvc"]
    run("git", "init", "--quiet")
    run("git", "config", "user.name", "Ada")
    run("git", "config", "user.email", "ada@localhost")
    run(*dvc, "init", "--quiet")
    run(*dvc, "config", "core.analytics", "false")
    (root / ".gitignore").write_text("/data/raw/accepted\n")
    run("git", "add", ".")
    run("git", "commit", "--quiet", "--message", "the project")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    run(*dvc, "repro")
    run("git", "add", ".")
    run("git", "commit", "--quiet", "--message", "the first gauge")
    return root


def darker(number):
    """(8, 8, 3) uint8: a handwritten 0 in less light, with a little noise of its own."""
    images, digits = read_digits()
    zeros = images[np.flatnonzero(digits == 0)]
    noise = np.random.default_rng(number).integers(-6, 7, zeros[0].shape)
    return np.clip(0.75 * zeros[number % len(zeros)] + noise, 0, 255).astype(np.uint8)


def inspect(running, path):
    answer = running.ask("POST", "/v1/inspect", content=path.read_bytes())
    assert answer.status_code == 200, answer.text
    return answer.json()["inspections"][0]


def review_as_good(running, parts):
    for part in parts:
        path = f"/v1/inspections/{part['id']}/review"
        assert running.ask("POST", path, role="review", json={"label": "good"}).status_code == 200


def retrain(capfd, *words):
    capfd.readouterr()
    status = main(["retrain", CATEGORY, "--by", "Ada", "--json", *map(str, words)])
    return status, json.loads(capfd.readouterr().out)


def committed(folder="."):
    """What git and the raw folder of a project hold."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True).stdout
    changed = subprocess.run(
        ["git", "status", "--short"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    return head, changed, sorted(path.name for path in Path(folder, "data/raw").rglob("*"))


def test_from_good_parts_through_darker_ones_to_a_certificate_that_holds_again(project, tmp_path, capfd):
    data, bundles = tmp_path / "data", tmp_path / "bundles"
    bundles.mkdir()
    dataset = read_dataset(project / f"data/prepared/{CATEGORY}", project / "data/raw")
    good = [dataset.path_of(one) for one in dataset.with_role("calibrate", "test") if one.label == 0]
    dark = [tmp_path / f"{number}.png" for number in range(90)]
    for number, path in enumerate(dark):
        write_png(path, darker(number))
    settings = Settings(
        bundle=project / f"bundles/{CATEGORY}",
        bundles=bundles,
        data=data,
        threads=1,
        deadline=60.0,
        rate=1e6,
        burst=10**6,
    )
    store = ("--data", data)
    with Running(settings) as running:
        # Good parts, then darker ones: the alarm, and withdrawn in the next answer.
        known = [inspect(running, path) for path in good]
        assert "withdrawn" not in {part["certificate"]["state"] for part in known}  # in doubt it may be, by chance
        assert retrain(capfd, *store)[1]["reason"] == "the certificate is not withdrawn"
        told = [inspect(running, path) for path in dark]
        states = [part["certificate"]["state"] for part in told]
        assert states[0] != "withdrawn"
        assert states[-1] == "withdrawn"
        assert all(part["verdict"] in ("pass", "reject") for part in told)
        found = running.ask("GET", "/v1/drift").json()
        assert {"brightness", "contrast"} & {one["name"] for one in found["moved"] if abs(one["shift"] or 0) > 0.5}

        # A person reviews them as good; before enough are, nothing is done.
        before = committed()
        assert "it takes 30" in retrain(capfd, *store)[1]["reason"]
        review_as_good(running, [*known[:3], *told[:28]])
        why_not = "28 good parts are newly reviewed; it takes 30; 3 more are images that the data have already"
        assert retrain(capfd, *store)[1]["reason"] == why_not
        review_as_good(running, told[28:34])

        # A gate that does not pass: the project is as it was, and the next attempt waits.
        (project / "tolerances.yaml").write_text("evaluate: {threshold: {rise: 0, fall: 0}}\n")
        run("git", "commit", "--quiet", "--all", "--message", "strict")
        strict = committed()
        status, answer = retrain(capfd, *store)
        assert (status, answer["action"]) == (1, "gate failed")
        assert "evaluate.threshold" in answer["reason"]
        assert committed() == strict
        assert "at least 24 must pass" in retrain(capfd, *store)[1]["reason"]
        (project / "tolerances.yaml").write_text(TOLERANCES)
        run("git", "commit", "--quiet", "--all", "--message", "as before")

        # Through the gate: a branch, and no deployment.
        at = committed()
        status, answer = retrain(capfd, *store, "--cool-down", 0)
        assert (status, answer["action"]) == (0, "proposed"), answer
        proposal = answer["proposal"]
        assert proposal["n_accepted"] == 34
        assert committed()[:2] == at[:2]
        assert not (project / "registry.jsonl").exists()
        test_before = [one for one in dataset.records if one.role == "test"]
        assert len(committed()[2]) > len(before[2])  # the copies that the branch's commit needs
        assert list(bundles.iterdir()) == []

        # A person promotes it, and activates it: the certificate holds again.
        run("git", "merge", "--quiet", "--ff-only", proposal["branch"])
        assert main(["promote", CATEGORY, "--no-tag", "--by", "Ada", "--reason", "less light"]) == 0
        (entry,) = read_registry()
        assert entry.bundle == proposal["bundle"]
        run(sys.executable, "-m", "dvc", "checkout")
        shutil.copytree(project / f"bundles/{CATEGORY}", bundles / "new")
        after = read_dataset(project / f"data/prepared/{CATEGORY}", project / "data/raw")
        assert [one.sha256 for one in after.records if one.role == "test"] == [one.sha256 for one in test_before]
        assert sum(one.accepted is not None for one in after.records if one.role == "calibrate") == 34
        assert sum(one.accepted is not None for one in after.records if one.role != "calibrate") == 0
        running.ask("POST", "/v1/bundles:activate", role="admin", json={"fingerprint": proposal["bundle"]})
        part = inspect(running, dark[0])
        assert (part["bundle"], part["certificate"]["state"]) == (proposal["bundle"], "holds")
        assert retrain(capfd, *store, "--cool-down", 0)[1]["reason"] == "the certificate is not withdrawn"
    log = [json.loads(line) for line in (data / "retrain.jsonl").read_text().splitlines()]
    assert [event["action"] for event in log] == ["gate failed", "proposed"]
