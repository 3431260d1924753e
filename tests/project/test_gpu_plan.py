"""A fit on a rented GPU: the plan says what is sent and costs, and the body computes what the stage computes."""

import io
import json
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import copy_pipeline, run_stage
from gonogo.cli.main import main
from gonogo.errors import DataError, PipelineError
from gonogo.project.git import git
from gonogo.project.gpu_plan import PRICES, archive_of, fit_archive, pins, plan_fit, unpack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rented")
    copy_pipeline(folder)
    assert run_stage(folder, "prepare").status == 0
    git(folder, "init", "--quiet")
    git(folder, "add", "src", "stages", "params.yaml", "dvc.yaml")
    git(folder, "-c", "user.name=Ada", "-c", "user.email=ada@localhost", "commit", "--quiet", "--message", "Start")
    return folder


@pytest.fixture
def project(prepared, monkeypatch):
    monkeypatch.chdir(prepared)
    return prepared


def test_the_plan_says_what_is_sent_and_what_it_costs_at_most(project, capsys):
    assert main(["gpu-train", "digit_0", "--gpu", "H100", "--hours", "2", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["dollars"] == pytest.approx(2 * PRICES["H100"])
    assert plan["stage"] == "fit@digit_0"
    names = zipfile.ZipFile(io.BytesIO(archive_of("digit_0"))).namelist()
    assert plan["n_files"] == len(names)
    images = [name for name in names if name.startswith("data/prepared/digit_0/")]
    assert len(images) > 100
    assert {"stages/fit.py", "params.yaml", "dvc.yaml", "src/gonogo/model/fitting.py"} <= set(names)
    assert plan["bytes_up"] == sum((project / name).stat().st_size for name in names)
    assert main(["gpu-train", "digit_0"]) == 0
    assert "nothing was sent" in capsys.readouterr().out
    assert main(["gpu-train", "digit_0", "--gpu", "abacus"]) == 3
    assert main(["gpu-train", "digit_0", "--hours", "48"]) == 3
    with pytest.raises(SystemExit):
        main(["gpu-train", "grass"])


def test_the_body_computes_the_model_that_the_stage_computes_here(project, tmp_path):
    assert run_stage(project, "fit").status == 0
    made = fit_archive(archive_of("digit_0"), "digit_0")
    names = unpack(made, tmp_path)
    assert "models/fitted/digit_0/manifest.json" in names
    assert not any(name.startswith(("src/", "data/")) for name in names)
    for name in names:
        if name.startswith(("models/fitted/", "models/left_out")) and not name.endswith(".npz"):
            assert (tmp_path / name).read_bytes() == (project / name).read_bytes(), name
    assert plan_fit("digit_0", gpu="L4", hours=1).bytes_down > 1000


def test_a_stage_that_fails_there_is_told_in_its_own_words(project):
    archive = archive_of("digit_0")
    broken = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(broken, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            wrong = text.replace(b"explained_variance: 0.9", b"explained_variance: 9")
            new.writestr(name, wrong if name == "params.yaml" else text)
    with pytest.raises(PipelineError, match="explained_variance is 9"):
        fit_archive(broken.getvalue(), "digit_0")
    assert project


def test_an_archive_that_leads_out_is_refused(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("fine", "x")
        archive.writestr("../out", "x")
    with pytest.raises(DataError, match="outside of its folder"):
        unpack(packed.getvalue(), tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_without_modal_launching_is_a_clear_error(project, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "modal", None)
    assert main(["gpu-train", "digit_0", "--launch"]) == 4
    assert "gonogo[gpu]" in capsys.readouterr().err
    assert any(pin.startswith("torch==") for pin in pins())
    assert not any("+" in pin for pin in pins())
    assert Path(project, "params.yaml").is_file()
