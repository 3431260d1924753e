"""What DVC shows of the metrics that dvc.yaml declares fits a terminal, with names that need no path."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT
from gonogo.params import read_yaml

CATEGORIES = ("connector", "digit_0", "washer")
COLUMNS = ("aupro_30", "certified_rate", "false_alarm_rate", "image_auroc", "recall")
INDENT = len("└── 471ecc8 []")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the metrics that dvc.yaml declares, and an experiment in which all of them differ."""
    folder = tmp_path_factory.mktemp("project")
    declared = read_yaml(ROOT / "dvc.yaml")["metrics"]
    (folder / "dvc.yaml").write_text(json.dumps({"metrics": declared, "params": ["params.yaml"]}))
    _write(folder, 0.123456, 0.01)
    for words in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], *COMMIT):
        run(folder, *words)
    head = run(folder, "git", "rev-parse", "HEAD").strip()
    _write(folder, 0.234567, 0.02)
    for words in COMMIT:
        run(folder, *words)
    run(folder, "git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/eerie-acne", "HEAD")
    run(folder, "git", "reset", "--quiet", "--hard", head)
    return folder


COMMIT = (["git", "add", "--all"], ["git", "commit", "--quiet", "--message", "A run"])


def _write(folder: Path, value: float, ratio: float) -> None:
    files = ["mean.json", *(f"headline/{name}.json" for name in CATEGORIES)]
    for file in (folder / "metrics" / name for name in files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dict.fromkeys(COLUMNS, value) | {"data": "6d80c44e"}))
    override = {"washer": {"fit": {"coreset_ratio": ratio}}}
    (folder / "params.yaml").write_text(json.dumps({"fit": {"coreset_ratio": ratio}, "overrides": override}))


def run(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", *words] if words[0] == "dvc" else list(words)
    names = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "DVC_SITE_CACHE_DIR": str(folder.parent / "site"), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_experiments_and_what_differs_in_them_fit_120_columns(project):
    table = run(project, "dvc", "exp", "show", "--only-changed", "--csv", "--precision", "5")
    rows = [row for row in csv.reader(io.StringIO(table)) if row]
    widths = {name: max(len(row[place]) for row in rows) for place, name in enumerate(rows[0])}
    assert set(COLUMNS) < widths.keys()  # by their own names
    assert not [name for name in widths if "metrics/" in name]
    shown = [name for name in COLUMNS if name != "certified_rate"]  # fixed by the number of calibrate parts
    common = 2 + INDENT + len("eerie-acne") + 3 + sum(widths[name] + 3 for name in shown)
    created = len("Nov 29, 2026") + 3
    assert common + created + widths["fit.coreset_ratio"] + 3 <= 120
    assert common + widths["overrides.washer.fit.coreset_ratio"] + 3 <= 120  # with --drop Created


def test_the_metrics_of_each_category_fit_120_columns(project):
    table = run(project, "dvc", "metrics", "show", "metrics/headline", "metrics/mean.json").splitlines()
    assert len(table) == 2 + len(CATEGORIES)
    assert max(map(len, table)) <= 120
