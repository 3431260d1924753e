"""DVC as gonogo calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

from gonogo.errors import ConfigError, PipelineError
from gonogo.project.dvc import get_artifact, run_dvc
from gonogo.project.git import git
from gonogo.project.registry import Entry, mirror


@pytest.mark.parametrize("command", ["repro", "exp"])
def test_a_raw_folder_that_is_gone_is_said_with_what_to_write(command, tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    Path("params.yaml").write_text('categories: [nut]\nraw: "../images"\n')
    with pytest.raises(
        ConfigError, match=f"`raw` in params.yaml is '../images', and there is no folder {tmp_path}/images"
    ):
        run_dvc(command)


@pytest.mark.parametrize("where", [(), ("--cd", ".")])
def test_a_command_that_fails_is_named_without_its_folder(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"^dvc status failed with exit status \d+; what it said stands above$"):
        run_dvc(*where, "status")


@pytest.fixture(params=[".", "vision/gauges"])
def commits(request, tmp_path, monkeypatch):
    """The commits of two versions of a folder that DVC tracks, of a project at the top of a repository or below."""
    project = tmp_path / request.param
    project.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(project)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "Ada")
    git(tmp_path, "config", "user.email", "ada@localhost")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--quiet", *(["--subdir"] if request.param != "." else [])], check=True)
    found = []
    for text in ("old", "new"):
        Path("bundles/plate").mkdir(parents=True, exist_ok=True)
        Path("bundles/plate/gauge").write_text(text)
        Path("dvc.yaml").write_text("artifacts: {gauge-plate: {path: bundles/plate, type: model}}\n")
        subprocess.run([*dvc, "add", "--quiet", "bundles/plate"], check=True)
        git(Path(), "add", "--all")
        git(Path(), "commit", "--quiet", "--message", text)
        found.append(git(Path(), "rev-parse", "HEAD").strip())
    return found


def test_what_a_commit_has_is_brought_and_what_none_has_is_named(commits, tmp_path):
    for number, (commit, text) in enumerate(zip(commits, ("old", "new"), strict=True)):
        get_artifact(Path("bundles/plate"), commit, into := tmp_path / f"folder-{number}")
        assert [path.name for path in into.iterdir()] == ["gauge"]
        assert (into / "gauge").read_text() == text
        get_artifact(Path("bundles/plate/gauge"), commit, into := tmp_path / f"file-{number}")
        assert into.read_text() == text
    with pytest.raises(PipelineError, match="file-0 is there already"):
        get_artifact(Path("bundles/plate/gauge"), commits[1], tmp_path / "file-0")
    assert (tmp_path / "file-0").read_text() == "old"
    assert Path("bundles/plate/gauge").read_text() == "new"
    where = rf"^dvc has no bundles/ring of the commit {commits[0][:12]}: DVC tracks nothing there; `dvc pull"
    with pytest.raises(PipelineError, match=where):
        get_artifact(Path("bundles/ring"), commits[0], tmp_path / "ring")
    with pytest.raises(PipelineError, match=r"of the commit 0{12}: .*0{40}"):
        get_artifact(Path("bundles/plate"), "0" * 40, tmp_path / "none")

    # Nothing is left of what is neither in the cache nor in a remote: a file of the folder, then its list of files.
    for name, lost in (("*[!r]", commits[0]), ("*.dir", commits[1])):
        for path in Path(".dvc/cache/files").rglob(name):
            if path.is_file():
                path.unlink()
        with pytest.raises(PipelineError, match=r"of the commit \w{12}: \[Errno 2\] .*; `dvc pull"):
            get_artifact(Path("bundles/plate"), lost, into := tmp_path / "lost")
        assert not into.exists()


def test_dvc_finds_a_promoted_gauge_by_its_tag(commits, tmp_path):
    line = dict.fromkeys(("id", "at", "bundle", "gate", "replaces", "restores", "previous"), None)
    line |= {"action": "promote", "category": "plate", "by": "Ada", "reason": "a better lamp"}
    (tag,) = mirror(Entry(**line, alias="production", commit=commits[0]))
    name, alias, _ = tag.split("#")
    assert (name, alias) in {("gauge-plate", "production"), ("vision/gauges=gauge-plate", "production")}
    found = [sys.executable, "-m", "dvc", "artifacts", "get", ".", name.replace("=", ":"), "--stage", "production"]
    subprocess.run([*found, "--quiet", "--out", str(tmp_path / "found")], check=True)
    assert (tmp_path / "found/gauge").read_text() == "old"
