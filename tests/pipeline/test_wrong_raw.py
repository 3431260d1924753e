"""A `raw` that leads nowhere: the stages name params.yaml, the key and where they looked, at any depth."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from checkout import ROOT

RECORD = {
    "path": "raw/good/a.png", "sha256": "ab" * 32, "category": "parts", "role": "fit", "label": 0,
    "defect_type": "good", "mask": None, "mask_sha256": None, "group_id": "a", "width": 8, "height": 8,
}  # fmt: skip


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A project that was copied to another depth than the one that its relative `raw` is seen from."""
    project = tmp_path / "a" / "b" / "project"
    project.mkdir(parents=True)
    shutil.copy(ROOT / "dvc.yaml", project)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"raw": "../images", "categories": ["parts"], "overrides": {}}
    params["prepare"] |= {"source": "manifest", "file": "list.csv"}
    del params["prepare"]["part"]
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (project / "data" / "prepared" / "parts").mkdir(parents=True)
    (project / "data" / "prepared" / "parts" / "manifest.jsonl").write_text(json.dumps(RECORD) + "\n")
    (tmp_path / "images").mkdir()
    return project


@pytest.mark.parametrize(
    "words",
    [("fingerprint",), ("prepare", "--category", "parts"), ("report", "--category", "parts", "--data-card")],
    ids=lambda words: words[0],
)
def test_a_stage_says_which_key_leads_nowhere_and_where_it_looked(words, moved):
    script = ROOT / "stages" / f"{words[0]}.py"
    ran = subprocess.run([sys.executable, script, *words[1:]], cwd=moved, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "`raw` in params.yaml is '../images', and there is no folder" in ran.stderr
    assert str(moved.parent / "images") in ran.stderr
    assert "as seen from the folder of params.yaml" in ran.stderr
    assert "Errno" not in ran.stderr


def test_the_first_stage_runs_where_raw_was_changed_so_that_it_speaks_before_dvc_does():
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    assert "raw" in pipeline["stages"]["code"]["params"]
    assert any("${code}" in dep for dep in pipeline["stages"]["prepare"]["deps"])
