"""What DVC runs again after a change: the stages that it concerns, and no other. DVC itself answers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT
from conftest import OF_ALL, OF_CATEGORY, copy_pipeline, run_stages

pytestmark = pytest.mark.slow

CATEGORY = "digit_0"


def run(folder: Path, *words: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PATH": path,
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one small category, as `dvc repro` and a commit leave it.

    The stages run in this process, which has imported torch already, and `dvc commit` takes what they made.
    """
    folder = tmp_path_factory.mktemp("project")
    copy_pipeline(folder, (r"runs: 200", "runs: 3"), (r"warmup: 20", "warmup: 1"))
    for name in ("constraints.txt", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    for name in ("data/raw", "searches"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "README.md").write_text("Empty.\n")
    shutil.copy(ROOT / "data/accepted.jsonl", folder / "data")
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "config", "user.name", "test")
    run(folder, "git", "config", "user.email", "test@localhost")
    run(folder, "dvc", "init", "--quiet")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "Before")
    run_stages(folder, (*OF_CATEGORY, *OF_ALL))
    run(folder, sys.executable, "-B", "stages/fingerprint.py")
    run(folder, "dvc", "commit", "--force")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "After")
    return folder


def concerned(project: Path) -> set[str]:
    """The stages that DVC would run, once the stage `code` has written what changed; stages of a category by name."""
    run(project, sys.executable, "-B", "stages/fingerprint.py")
    changed = {name.partition("@")[0] for name in json.loads(run(project, "dvc", "status", "--json"))}
    return changed - {"code"}


@pytest.fixture
def edited(project: Path):
    """Edits a file of the project, tells which stages are concerned, and takes the edit back."""

    def edit(name: str, old: str = r"\Z", new: str = "\n# edited\n") -> set[str]:
        text, n = re.subn(old, new, (project / name).read_text(), count=1)
        assert n == 1
        (project / name).write_text(text)
        return concerned(project)

    yield edit
    run(project, "git", "checkout", "--quiet", ".")


def test_nothing_runs_again_and_git_is_clean_where_nothing_changed(project):
    assert "Data and pipelines are up to date." in run(project, "dvc", "repro")
    assert run(project, "git", "status", "--porcelain") == ""


def test_a_file_that_no_stage_imports_concerns_no_stage(edited):
    assert edited("src/gonogo/service/app.py") == set()


def test_a_template_or_a_colour_concerns_report_and_summary_alone(edited):
    assert edited("src/gonogo/reports/templates/report.html.j2", new="\n<!-- edited -->\n") == {"report", "summary"}


def test_a_colour_concerns_what_draws_alone(edited):
    stages = edited("src/gonogo/images/colours.py")
    assert "report" in stages
    assert stages <= {"report", "summary"}


def test_a_detector_concerns_the_stages_that_may_run_it(edited):
    stages = edited("src/gonogo/detectors/padim.py")
    assert {"fit", "evaluate", "export", "parity"} <= stages
    assert not stages & {"prepare", "robustness", "bench", "report"}


def test_an_override_of_fit_does_not_concern_prepare(edited):
    assert edited("params.yaml", "explained_variance: 0.9", "explained_variance: 0.8") == {"fit", "evaluate"}


def test_an_override_of_another_category_concerns_no_stage(edited):
    assert edited("params.yaml", "fit_stride: 4", "fit_stride: 8") == set()


def test_a_parameter_of_one_stage_concerns_that_stage(edited):
    assert edited("params.yaml", "runs: 3", "runs: 4") == {"bench"}


def test_the_pinned_versions_concern_every_stage(edited):
    assert edited("constraints.txt") == {*OF_CATEGORY, *OF_ALL}


def test_a_registered_gauge_is_got_by_its_name(project, tmp_path):
    run(project, "gto", "register", f"gauge-{CATEGORY}", "--version", "v1.0.0")
    run(project, "dvc", "artifacts", "get", ".", f"gauge-{CATEGORY}", "--out", str(tmp_path / "got"))
    ours, theirs = project / "bundles" / CATEGORY, tmp_path / "got"
    names = sorted(path.name for path in ours.iterdir())
    assert "gauge.onnx" in names
    assert {name: (theirs / name).read_bytes() for name in names} == {
        name: (ours / name).read_bytes() for name in names
    }
