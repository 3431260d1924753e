"""The report tells a reviewer, in the same words each time, what got better, what got worse and what is only a fact."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from import_closure import ROOT
from pull_request_report import MORE_IS_BETTER, Change, render

SCRIPT = ROOT / "tools" / "pull_request_report.py"


def pair(old: object, new: object) -> dict[str, object]:
    return {"old": old, "new": new}


METRICS = {
    "metrics/summary.json": {"image_auroc.mean": pair(0.9, 0.95), "n_categories": pair(2, 2)},
    "metrics/evaluate/grass.json": {"false_alarm_rate": pair(0.1, 0.2), "bank_patches": pair(600, 2400)},
    "metrics/evaluate/brick.json": {
        "recall": pair(0.5, 0.5),
        "image_auroc": pair(0.8, 0.9),
        "certified": pair(True, False),
    },
    "metrics/bench/brick.json": {"p50_ms": pair(10.0, 20.0), "threads": pair(2, 2)},
}
PARAMS = {"params.yaml": {"fit.image_size": pair(128, 256)}}


def row(report: str, name: str) -> list[str]:
    """The cells of the only row that begins with `name`."""
    (found,) = [line for line in report.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in found.strip("|").split("|")[1:]]


@pytest.fixture
def report() -> str:
    return render(METRICS, PARAMS, base="origin/main")


def test_the_first_line_counts_the_metrics_of_the_categories_by_verdict(report):
    expected = "**Against `origin/main`: 2 worse, 1 better, 1 unchanged** (1 changed)."
    assert report.splitlines()[:3] == ["# Experiment report", "", expected]


@pytest.mark.parametrize(
    ("name", "old", "new", "verdict"),
    [
        ("image_auroc", 0.8, 0.9, "better"),
        ("image_auroc.worst", 0.9, 0.8, "worse"),
        ("false_alarm_rate", 0.1, 0.2, "worse"),
        ("p95_ms", 20.0, 10.0, "better"),
        ("images_per_second", 20.0, 10.0, "worse"),
        ("certified", True, False, "worse"),
        ("recall", 0.5, 0.5, "unchanged"),
        ("bank_patches", 600, 2400, "changed"),
        ("image_auroc.worst_category", "brick", "grass", "changed"),
        ("recall", None, 0.5, "new"),
        ("recall", 0.5, None, "gone"),
    ],
)
def test_a_verdict_follows_the_direction_of_its_metric(name, old, new, verdict):
    assert Change("metrics/evaluate/brick.json", name, old, new).verdict == verdict


def test_worse_stands_out_and_a_fact_has_no_verdict(report):
    assert row(report, "false_alarm_rate") == ["0.1", "0.2", "+0.1", "**worse**"]
    assert row(report, "image_auroc") == ["0.8", "0.9", "+0.1", "better"]
    assert row(report, "bank_patches") == ["600", "2400", "+1800", "changed"]


def test_a_small_number_stays_visible():
    files = {"metrics/parity/brick.json": {"score_max_diff": pair(1.2e-07, 3.4e-07)}}
    assert row(render(files, {}, base="main"), "score_max_diff")[:3] == ["1.2e-07", "3.4e-07", "+2.2e-07"]


def test_headlines_come_first_then_categories_by_name_then_the_bench(report):
    heads = [line for line in report.splitlines() if line.startswith("#")]
    assert heads == ["# Experiment report", "## Params", "## Metrics", "### brick", "### grass", "## Bench"]
    assert report.index("| image_auroc.mean |") < report.index("### brick")


def test_the_order_of_dvcs_answer_does_not_matter(report):
    backwards = {file: dict(reversed(values.items())) for file, values in reversed(METRICS.items())}
    assert render(backwards, PARAMS, base="origin/main") == report


def test_an_unchanged_metric_is_shown_in_the_headline_only(report):
    assert row(report, "n_categories")[-1] == "unchanged"
    assert "| recall |" not in report


def test_speed_is_apart_and_never_counted_in_the_verdict(report):
    bench = report.partition("## Bench")[2]
    assert "Speed depends on the machine" in bench
    assert row(bench, "brick: p50_ms") == ["10", "20", "+10", "**worse**"]
    without = {file: values for file, values in METRICS.items() if "bench" not in file}
    assert render(without, PARAMS, base="origin/main").splitlines()[2] == report.splitlines()[2]


def test_no_change_is_said_in_so_many_words():
    same = {"metrics/evaluate/brick.json": {"recall": pair(0.5, 0.5)}}
    report = render(same, {}, base="main")
    assert "nothing changed" in report.splitlines()[2]
    assert "No parameter changed." in report
    assert "### brick" not in report


def test_a_new_and_a_removed_category_are_named_and_not_judged():
    files = {
        "metrics/evaluate/brick.json": {"recall": pair(None, 0.5)},
        "metrics/evaluate/grass.json": {"recall": pair(0.5, None)},
        "metrics/summary.json": {"n_categories": pair(1, 2)},
    }
    report = render(files, {}, base="main")
    assert "0 worse, 0 better, 0 unchanged** (1 new, 1 gone)" in report
    assert "### brick: new" in report
    assert "### grass: gone" in report
    assert "compare category by category" in report


def test_a_directed_metric_is_one_that_the_pipeline_writes():
    written = set()
    for file in (ROOT / "metrics").rglob("*.json"):
        written |= {name.removesuffix(".mean") for name in json.loads(file.read_text(encoding="utf-8"))}
    if not written:
        pytest.skip("no metrics in this checkout; `dvc repro` writes them")
    assert set(MORE_IS_BETTER) - written == set()


def test_an_unknown_revision_is_one_clear_sentence_and_exit_status_2(tmp_path: Path):
    (tmp_path / ".dvc").mkdir()
    for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "one"]):
        subprocess.run(
            ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *command], cwd=tmp_path, check=True
        )
    command = [sys.executable, str(SCRIPT), "--base", "nowhere"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert "unknown Git revision 'nowhere'" in result.stderr
    assert "Traceback" not in result.stderr
