"""The report stage: it draws a category from records alone, the same bytes each time, without torch or DVC."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from checkout import ROOT
from gonogo.files import read_json, write_json, write_rows
from gonogo.inference.scorer import Scorer
from gonogo.model.left_out import LeftOutScores, save_left_out
from gonogo.project.fingerprint import closure

CATEGORY = "digit_0"
VARS = ("prepared", "cards", "bundles", "left_out", "plots", "reports", "metrics")
# Runs the stage as DVC does, and prints which of some packages were imported by then.
RUN = """
import json, runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = [sys.argv[1] + "/report.py", *sys.argv[2:]]
runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps([name for name in ("torch", "timm", "dvc", "sklearn", "onnxruntime") if name in sys.modules]))
"""
CARD = {
    "category": CATEGORY,
    "source": "digits",
    "options": {"normal_class": 0},
    "counts": {
        "n_fit": 9, "n_fit_defective": 0, "n_calibrate": 9, "n_calibrate_groups": 9, "n_validate": 0, "n_accepted": 0,
        "n_test_good": 9, "n_test_defective": 9, "n_masks": 0, "n_left_out": 0, "n_excluded": 0, "n_rejects": 0,
        "n_warnings": 0, "data_fingerprint": "ab" * 32,
    },
    "defect_types": {"digit_1": {"images": 9, "masks": 0, "boxes": 0}},
    "sizes": {"8 x 8": 27},
    "modes": {"RGB": 27},
    "problems": [],
    "excluded": [{"pattern": "good/7*", "reason": "dents at the rim", "images": ["good/70.png", "good/71.png"]}],
    "accepted": [],
    "rejects": [],
}  # fmt: skip


def project_of(folder, digits):
    """A project of which only the prepare stage has run."""
    (folder / "dvc.yaml").write_text(json.dumps({"vars": [{name: name} for name in VARS]}), encoding="utf-8")
    params = {"categories": [CATEGORY], "raw": "raw", "report": {"sheet_cases": 1}}
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    shutil.copytree(digits.folder, folder / "prepared" / CATEGORY)
    write_json(folder / "cards" / f"{CATEGORY}.json", CARD)
    return folder


@pytest.fixture(scope="module")
def project(digits, bundle, tmp_path_factory):
    """A project of which every stage before the report has run, on a few images."""
    folder = project_of(tmp_path_factory.mktemp("project"), digits)
    shutil.copytree(bundle, folder / "bundles" / CATEGORY)
    scorer = Scorer(bundle)
    chosen = [*digits.with_role("calibrate")[:9], *digits.with_role("test")[::8]]
    rows = [
        {
            "image": record.path,
            "role": record.role,
            "label": record.label,
            "defect_type": record.defect_type,
            "group_id": record.group_id,
            "score": scorer.score_pixels(digits.pixels_of(record)[None])[0].score,
            "threshold": scorer.threshold,
        }
        for record in chosen
    ]
    write_rows(folder / "plots" / "records" / f"{CATEGORY}.csv", rows)
    evaluated = {"image_auroc": 0.9, "recall": 0.8, "data_fingerprint": "ab" * 32}
    write_json(folder / "metrics" / "evaluate" / f"{CATEGORY}.json", evaluated)
    images = [record.path for record in digits.with_role("fit")[:5]]
    scores = LeftOutScores(images, np.arange(5, dtype=np.float32), [4, 3], [np.ones((8, 8), np.float32)] * 2)
    save_left_out(folder / "left_out" / f"{CATEGORY}.npz", scores)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(ROOT / "stages"), "--category", CATEGORY, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def written(folder: Path) -> dict[str, bytes]:
    paths = [path for name in ("reports", "plots") for path in (folder / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.suffix != ".csv"}


def test_a_category_is_drawn_from_records_without_torch_the_same_bytes_each_time(project):
    ran = run(project)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == ["onnxruntime"]
    first = written(project)
    assert sorted(first) == [
        f"plots/left_out/{CATEGORY}.png",
        f"plots/parts/{CATEGORY}.json",
        f"plots/sheets/{CATEGORY}.png",
        f"reports/{CATEGORY}/calibration.html",
        f"reports/{CATEGORY}/data_card.html",
        f"reports/{CATEGORY}/operating_points.html",
    ]
    assert len(read_json(project / "plots" / "parts" / f"{CATEGORY}.json")["parts"]) >= 5
    for page in ("calibration", "data_card"):
        excluded = "<code>good/7*</code>, 2 images: dents at the rim"
        assert excluded in first[f"reports/{CATEGORY}/{page}.html"].decode()
    assert run(project).returncode == 0
    assert written(project) == first


def test_the_data_card_alone_needs_only_what_prepare_wrote(digits, tmp_path):
    project = project_of(tmp_path, digits)
    ran = run(project, "--data-card")
    assert ran.returncode == 0, ran.stderr
    assert sorted(written(project)) == [f"reports/{CATEGORY}/data_card.html"]


def test_without_a_record_the_stage_ends_with_one_sentence(digits, tmp_path):
    ran = run(project_of(tmp_path, digits))
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"report@{CATEGORY}: IntegrityError: ")
    assert "Traceback" not in ran.stderr


def test_only_the_report_and_the_summary_draw():
    drawing = {
        script.stem
        for script in (ROOT / "stages").glob("*.py")
        if any("gonogo/reports/" in path.as_posix() for path in closure(script, package=ROOT / "src/gonogo"))
    }
    assert drawing == {"report", "summary"}
