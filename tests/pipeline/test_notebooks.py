"""The notebooks: each runs as a script on the committed results, and reaches for nothing but them."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from checkout import ROOT

OWN = ROOT / ".venv-notebooks" / "bin" / "python"  # that `make notebooks` makes
PYTHON = sys.executable if find_spec("marimo") else str(OWN)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
# Runs a script in which every attempt to reach another machine fails.
OFFLINE = """
import runpy, socket, sys
def refuse(*_, **__):
    raise SystemExit("a notebook reaches for the network")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
needs_marimo = pytest.mark.skipif(str(OWN) == PYTHON and not OWN.exists(), reason="no marimo: `make notebooks` adds it")


def run(path, cwd):
    command = [PYTHON, "-c", OFFLINE, str(path)]
    return subprocess.run(command, cwd=cwd, env=dict(os.environ), capture_output=True, text=True, check=False)


@needs_marimo
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_a_script_without_a_network(path, tmp_path):
    done = run(path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "brick" in done.stdout
    assert list(tmp_path.iterdir()) == []  # nothing is written where it runs


@needs_marimo
@pytest.mark.slow
def test_a_notebook_fails_where_the_results_are_not_what_it_computes(tmp_path):
    for name in ("notebooks", "metrics", "plots", "src"):
        if name != "metrics":
            (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "metrics/evaluate").mkdir(parents=True)
    for path in (ROOT / "metrics/evaluate").glob("*.json"):
        text = path.read_text().replace('"image_auroc": 0.9', '"image_auroc": 0.8')
        (tmp_path / "metrics/evaluate" / path.name).write_text(text)
    (tmp_path / "notebooks").unlink()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/01_curves.py").write_bytes((ROOT / "notebooks/01_curves.py").read_bytes())
    done = run(tmp_path / "notebooks/01_curves.py", tmp_path)
    assert done.returncode != 0
    assert "AssertionError" in done.stderr


def test_there_are_three_and_none_names_another_host():
    assert [path.stem for path in NOTEBOOKS] == ["01_curves", "02_parts", "03_threshold"]
    assert all("://" not in path.read_text(encoding="utf-8") for path in NOTEBOOKS)
