"""A comparison says what got better, what got worse and what is only a fact, and the gate has the last word."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from checkout import ROOT
from gonogo.cli.main import main
from gonogo.errors import ConfigError, DataError
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.evaluation.accuracy.paired import changed_verdicts, difference_intervals, paired
from gonogo.files import write_json, write_rows
from gonogo.images.dataset import Record, write_dataset
from gonogo.project.changes import MetricChange, changes_in
from gonogo.project.compare import Comparison, render
from gonogo.project.gate import judge, read_tolerances
from gonogo.project.revision import Revisions

THRESHOLD = 1.0


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


def rendered(metrics: Mapping[str, Any], params: Mapping[str, Any] = PARAMS, **more: Any) -> str:
    facts = {"images": {}, "intervals": {}, "other_data": [], "gate": None} | more
    return render(Comparison(("origin/main", "workspace"), changes_in(metrics), changes_in(params), **facts), {})


def row(report: str, name: str) -> list[str]:
    """The cells of the only row that begins with `name`."""
    (found,) = [line for line in report.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in found.strip("|").split("|")[1:]]


@pytest.fixture
def report() -> str:
    return rendered(METRICS)


def test_the_first_line_counts_the_metrics_of_the_categories_by_verdict(report):
    expected = "**2 worse, 1 better, 1 unchanged** (1 changed)."
    assert report.splitlines()[:3] == ["# workspace against origin/main", "", expected]


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
    assert MetricChange("metrics/evaluate/brick.json", name, old, new).verdict == verdict


def test_worse_stands_out_and_a_fact_has_no_verdict(report):
    assert row(report, "false_alarm_rate") == ["0.1", "0.2", "+0.1", "", "**worse**"]
    assert row(report, "image_auroc") == ["0.8", "0.9", "+0.1", "", "better"]
    assert row(report, "bank_patches") == ["600", "2400", "+1800", "", "changed"]


def test_a_small_number_stays_visible():
    files = {"metrics/parity/brick.json": {"score_max_diff": pair(1.2e-07, 3.4e-07)}}
    assert row(rendered(files), "score_max_diff")[:3] == ["1.2e-07", "3.4e-07", "+2.2e-07"]


def test_headlines_come_first_then_categories_by_name_then_the_costs(report):
    heads = [line for line in report.splitlines() if line.startswith("#")][1:]
    assert heads == ["## Params", "## Metrics", "### brick", "### grass", "## Costs"]
    assert report.index("| image_auroc.mean |") < report.index("### brick")


def test_the_order_of_the_values_does_not_matter(report):
    backwards = {file: dict(reversed(values.items())) for file, values in reversed(METRICS.items())}
    assert rendered(backwards) == report


def test_an_unchanged_metric_is_shown_in_the_headline_only(report):
    assert row(report, "n_categories")[-1] == "unchanged"
    assert "| recall |" not in report


def test_speed_is_apart_and_never_counted_in_the_verdict(report):
    costs = report.partition("## Costs")[2]
    assert "depend on the machine" in costs
    assert row(costs, "brick: p50_ms") == ["10", "20", "+10", "**worse**"]
    without = {file: values for file, values in METRICS.items() if "bench" not in file}
    assert rendered(without).splitlines()[2] == report.splitlines()[2]


def test_no_change_is_said_in_so_many_words():
    report = rendered({"metrics/evaluate/brick.json": {"recall": pair(0.5, 0.5)}}, {})
    assert "Nothing changed" in report.splitlines()[2]
    assert "No parameter changed." in report
    assert "### brick" not in report


def test_a_new_and_a_removed_category_are_named_and_not_judged():
    report = rendered(
        {
            "metrics/evaluate/brick.json": {"recall": pair(None, 0.5)},
            "metrics/evaluate/grass.json": {"recall": pair(0.5, None)},
            "metrics/summary.json": {"n_categories": pair(1, 2)},
        }
    )
    assert "0 worse, 0 better, 0 unchanged** (1 new, 1 gone)" in report
    assert "### brick: new" in report
    assert "### grass: gone" in report
    assert "compare category by category" in report


# The gate


def tolerances(folder: Path, text: str) -> Any:
    path = folder / "tolerances.yaml"
    path.write_text(text, encoding="utf-8")
    return read_tolerances(path)


@pytest.mark.parametrize(
    ("rule", "old", "new", "passes"),
    [
        ("{fall: 0.01}", 0.908276, 0.898276, True),  # exactly so far, but for rounding
        ("{fall: 0.01}", 0.908276, 0.898270, False),
        ("{fall: 0.01}", 0.5, 0.9, True),
        ("{rise: 0.05}", 0.1, 0.16, False),
        ("{rise: 0.05}", 0.1, 0.0, True),
        ("{rise: 10%}", 50.0, 55.0, True),
        ("{rise: 10%}", 50.0, 55.1, False),
        ("{fall: 10%}", -50.0, -55.1, False),
        ("{fall: 0}", True, False, False),
        ("{fall: 0}", False, True, True),
        ("{fall: 0.1, rise: 0.1}", 0.5, 0.65, False),
        ("{fall: 0.1, rise: 0.1}", 0.5, 0.35, False),
        ("{rise: 0.05}", None, 0.9, True),
        ("{rise: 0.05}", 0.9, None, False),
    ],
)
def test_a_metric_may_move_for_the_worse_as_far_as_its_rule_says(tmp_path, rule, old, new, passes):
    verdict = judge(
        [MetricChange("metrics/evaluate/brick.json", "x", old, new)], tolerances(tmp_path, f"evaluate: {{x: {rule}}}")
    )
    assert verdict.passed is passes
    assert ("passes" if passes else "FAILS") in verdict.sentence


def test_a_breach_says_what_moved_and_what_was_allowed(tmp_path):
    rules = tolerances(tmp_path, "evaluate: {recall: {fall: 5%}, image_auroc: {fall: 0.01}}")
    changes = changes_in({"metrics/evaluate/brick.json": {"recall": pair(0.8, 0.7), "image_auroc": pair(0.9, None)}})
    assert [breach.sentence for breach in judge(changes, rules).breaches] == [
        "brick: evaluate.image_auroc no longer exists; it was 0.9",
        "brick: evaluate.recall went from 0.8 to 0.7; it may fall by 0.05 of itself",
    ]


def test_good_images_alone_pass_rules_about_metrics_that_need_defects():
    """Those that `gonogo init` writes; of good test images there is no recall, and of one category none goes astray."""
    rules = read_tolerances(ROOT / "tolerances.yaml")
    evaluated = {"certified": True, "false_alarm_rate": 0.1, "certified_false_alarm_rate": 0.2}
    files = {
        "metrics/evaluate/parts.json": evaluated,
        "metrics/parity/parts.json": {"passed": True, "n_flips": 0},
        "metrics/robustness/parts.json": {"worst_false_alarm_rate": 0.3},
        "metrics/router.json": {"n_categories_left_out": 0},
        "metrics/bench/parts.json": {"bundle_mb": 3.0},
    }
    same = {file: {name: pair(value, value) for name, value in values.items()} for file, values in files.items()}
    verdict = judge(changes_in(same), rules)
    needing = ("evaluate.image_auroc", "evaluate.aupro_30", "evaluate.recall", "router.astray_rate")
    assert verdict.passed
    assert verdict.unmeasured == needing
    assert verdict.sentence == (
        f"the gate passes: 8 metrics within their tolerances; without a value on either side: {', '.join(needing)}"
    )
    same["metrics/evaluate/parts.json"]["false_alarm_rate"] = pair(0.1, 0.3)
    assert not judge(changes_in(same), rules).passed
    same["metrics/evaluate/parts.json"]["recall"] = pair(0.9, None)
    assert len(judge(changes_in(same), rules).breaches) == 2


def test_only_a_category_that_may_go_goes(tmp_path):
    changes = changes_in({"metrics/evaluate/brick.json": {"recall": pair(0.8, None)}})
    assert not judge(changes, tolerances(tmp_path, "evaluate: {recall: {fall: 1}}")).passed
    assert judge(changes, tolerances(tmp_path, "evaluate: {recall: {fall: 1}}\nmay_go: [brick]")).passed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "evaluate: {recal: {fall: 0.1}}",
            r"recal is a metric of no category; did you mean recall\? it has detector, recall",
        ),
        ("evaluate: {f1: {fall: 0}, image_ap: {fall: 0}}", "no metric of a rule has a value on either side"),
        ("evaluate: {n_flips: {rise: 0}}", "evaluate.n_flips is a metric of no category; it has detector, recall"),
        ("evaluat: {recall: {fall: 0.1}}", "evaluat.recall is a metric of no category; there is no such stage"),
        ("evaluate: {recall: {drop: 0.1}}", "the key 'drop'; a metric may `fall` or `rise`"),
        ("evaluate: {recall: {fall: -0.1}}", "evaluate.recall.fall is -0.1; expected a number from 0 up"),
        ("evaluate: {recall: {fall: .nan}}", "evaluate.recall.fall is nan"),
        ("evaluate: {recall: {fall: much}}", "evaluate.recall.fall is 'much'"),
        ("evaluate: {recall: 0.1}", "evaluate.recall is 0.1; expected STAGE"),
        ("evaluate: 0.1", "evaluate is 0.1; expected STAGE"),
        ("may_go: brick", "may_go is 'brick'; expected a list"),
        ("may_go: []", "has no rule"),
        ("evaluate: {detector: {fall: 0}}", "evaluate.detector is 'pca', not a number"),
    ],
)
def test_a_rule_that_could_not_fail_is_an_error(tmp_path, text, message):
    evaluated = {"recall": pair(0.8, 0.7), "detector": pair("pca", "pca")}
    changes = changes_in(
        {"metrics/evaluate/brick.json": evaluated, "metrics/parity/brick.json": {"n_flips": pair(0, 0)}}
    )
    with pytest.raises(ConfigError, match=message):
        judge(changes, tolerances(tmp_path, text))


def test_the_projects_own_rules_are_about_metrics_that_it_has():
    files = {
        file.relative_to(ROOT).as_posix(): {
            name: pair(value, value) for name, value in json.loads(file.read_text(encoding="utf-8")).items()
        }
        for file in (ROOT / "metrics").rglob("*.json")
    }
    if not files:
        pytest.skip("no metrics in this checkout; `dvc repro` writes them")
    assert judge(changes_in(files), read_tolerances(ROOT / "tolerances.yaml")).n_checked > 20


# Two gauges on the same images


def records(scores: Mapping[str, float], threshold: float = THRESHOLD) -> list[dict[str, str]]:
    """Rows of per-image records; a name that begins with `bad` is a defect, what stands before a `+` its part."""
    return [
        {
            "image": name,
            "role": "test",
            "label": str(int(name.startswith("bad"))),
            "defect_type": "hole" if name.startswith("bad") else "good",
            "group_id": name.partition("+")[0],
            "score": str(score),
            "threshold": str(threshold),
        }
        for name, score in scores.items()
    ]


def test_images_are_paired_by_name_and_label_and_those_of_one_side_alone_are_left_out():
    old = [*records({"good_1": 0.5, "bad_1": 2.0, "gone": 0.1}), {**records({"good_2": 9})[0], "role": "calibrate"}]
    judged = paired(old, records({"bad_1": 4.0, "good_1": 0.7, "good_2": 0.2, "new": 0.1}, threshold=2.0))
    assert [(one.image, one.old_score, one.new_score, one.new_threshold) for one in judged] == [
        ("bad_1", 2.0, 4.0, 2.0),
        ("good_1", 0.5, 0.7, 2.0),
    ]


LOOKS_LIKE_SOMETHING_ELSE = ("NA", "nan", "null", "None", "", "1", "001", "1e5", "100000.0", "True")


def test_a_name_stays_itself_whatever_it_looks_like():
    rows = [{**row, "defect_type": row["image"]} for row in records(dict.fromkeys(LOOKS_LIKE_SOMETHING_ELSE, 0.5))]
    judged = paired(rows, list(reversed(rows)))
    assert [one.image for one in judged] == list(reversed(LOOKS_LIKE_SOMETHING_ELSE))
    assert all(one.image == one.defect_type == one.group_id and type(one.image) is str for one in judged)
    assert {(type(one.label), type(one.old_score), type(one.new_threshold)) for one in judged} == {(int, float, float)}


def test_every_digit_of_a_score_stays_and_a_score_may_be_no_number_or_infinite():
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 0.30000000000000004, float("inf"), float("-inf")]
    scores = {str(number): value for number, value in enumerate(values)}
    (*judged, last) = paired(records(scores | {"last": float("nan")}), records(scores | {"last": 1.0}))
    assert [one.old_score for one in judged] == [one.new_score for one in judged] == values
    assert np.isnan(last.old_score)
    assert not last.was_rejected


def test_a_side_without_records_has_no_pair_and_an_image_twice_on_a_side_has_no_single_score():
    one = records({"good_1": 0.5})
    assert paired([], one) == paired(one, []) == paired([], []) == []
    assert paired(one, [{**one[0], "label": "1"}]) == []
    assert len(paired([*one, {**one[0], "role": "calibrate"}], one)) == 1
    for old, new, side in (([*one, *one], one, "old"), (one, [*one, {**one[0], "label": "1"}], "new")):
        with pytest.raises(DataError, match=f"the {side} per-image records have good_1 more than once"):
            paired(old, new)


def test_changed_verdicts_begin_with_those_that_got_wrong():
    old = records({"good_1": 2.0, "good_2": 0.5, "bad_1": 2.0, "bad_2": 0.5, "bad_3": 1.0})
    new = records({"good_1": 0.5, "good_2": 1.0, "bad_1": 0.9, "bad_2": 2.0, "bad_3": 1.5})
    changed = changed_verdicts(paired(old, new))
    assert [(one.image, one.newly_wrong) for one in changed] == [
        ("good_2", True),
        ("bad_1", True),
        ("good_1", False),
        ("bad_2", False),
    ]


def test_the_paired_interval_is_that_of_a_plain_loop_over_resampled_parts():
    rng = np.random.default_rng(3)
    names = [f"{kind}_{part}+{shot}" for kind in ("good", "bad") for part in range(12) for shot in range(2)]
    old = {name: rng.normal(1.0 if name.startswith("bad") else 0.0) for name in names}
    new = {name: old[name] + rng.normal(0.2, 0.3) for name in names}
    judged = paired(records(old), records(new))
    low, high = difference_intervals(judged, n_resamples=300, confidence=0.9, seed=5)["image_auroc"]

    draws = np.random.default_rng(5)
    parts = sorted({one.group_id for one in judged})
    differences = []
    for _ in range(300):
        chosen = [
            one
            for number in draws.integers(len(parts), size=len(parts))
            for one in judged
            if one.group_id == parts[number]
        ]
        labels = np.array([bool(one.label) for one in chosen])
        if labels.all() or not labels.any():
            continue
        before, after = (
            auroc(np.array([getattr(one, side) for one in chosen]), labels) for side in ("old_score", "new_score")
        )
        differences.append(after - before)
    assert (low, high) == pytest.approx(tuple(np.quantile(differences, [0.05, 0.95])), abs=1e-12)


def test_what_is_hard_for_both_cancels_so_that_the_paired_interval_is_the_narrower_one():
    rng = np.random.default_rng(4)
    old = {f"{kind}_{part}": rng.normal(float(kind == "bad")) for kind in ("good", "bad") for part in range(40)}
    new = {name: score + rng.normal(0, 0.01) for name, score in old.items()}
    shuffled = dict(zip(new, rng.permutation([*new.values()]).tolist(), strict=True))
    width = {}
    for name, other in (("paired", new), ("unrelated", shuffled)):
        interval = difference_intervals(paired(records(old), records(other)), n_resamples=300, confidence=0.95, seed=1)
        width[name] = interval["image_auroc"][1] - interval["image_auroc"][0]
    assert width["paired"] < 0.2 * width["unrelated"]


def test_a_metric_without_a_value_is_absent_and_so_are_all_where_nothing_moved():
    good = records({"good_1": 0.5, "good_2": 1.5})
    moved = records({"good_1": 1.5, "good_2": 1.6})
    assert set(difference_intervals(paired(good, moved), n_resamples=200, confidence=0.9, seed=1)) == {
        "false_alarm_rate"
    }
    assert difference_intervals(paired(good, good), n_resamples=200, confidence=0.9, seed=1) == {}
    assert difference_intervals([], n_resamples=200, confidence=0.9, seed=1) == {}


# The command, on two commits of a project


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def write_results(project: Path, scores: Mapping[str, float], fingerprint: str = "a" * 64) -> None:
    """What the pipeline writes of one category, from the scores of its test images."""
    rows = records(scores)
    labels = np.array([row["label"] == "1" for row in rows])
    values = np.array(list(scores.values()))
    metrics = {
        "image_auroc": auroc(values, labels),
        "recall": float((values[labels] >= THRESHOLD).mean()),
        "false_alarm_rate": float((values[~labels] >= THRESHOLD).mean()),
        "data_fingerprint": fingerprint,
    }
    write_json(project / "metrics" / "evaluate" / "tile.json", metrics)
    write_rows(project / "plots" / "records" / "tile.csv", rows)


BEFORE = {"good_1": 0.2, "good_2": 0.4, "good_3": 0.6, "bad_1": 1.5, "bad_2": 1.7, "bad_3": 0.9}
BETTER = {**BEFORE, "bad_3": 1.2}
WORSE = {**BEFORE, "bad_1": 0.5}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one category with one commit, which `BEFORE` describes."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    folder = tmp_path / "project"
    prepared = folder / "data" / "prepared" / "tile"
    prepared.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / ".dvc").mkdir()
    (folder / "params.yaml").write_text("seed: 17\nraw: data/raw\ncategories: [tile]\n", encoding="utf-8")
    (folder / "dvc.yaml").write_text("vars: [{plots: plots}, {prepared: data/prepared}]\n", encoding="utf-8")
    (folder / "tolerances.yaml").write_text(
        "evaluate: {image_auroc: {fall: 0.01}, recall: {fall: 0.1}}\n", encoding="utf-8"
    )
    found = []
    for name in BEFORE:
        Image.new("RGB", (40, 30), (90, 140, 60) if name.startswith("good") else (160, 60, 60)).save(
            prepared / name, format="PNG"
        )
        label = int(name.startswith("bad"))
        found.append(
            Record(
                path=f"{name}",
                sha256="",
                category="tile",
                role="test",
                label=label,
                mask=None,
                mask_sha256=None,
                defect_type="hole" if label else "good",
                group_id=name,
                width=40,
                height=30,
            )
        )
    write_dataset(prepared, folder / "data" / "raw", found)
    write_results(folder, BEFORE)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "before")
    monkeypatch.chdir(folder)
    return folder


def commit(project: Path, scores: Mapping[str, float], **more: Any) -> None:
    write_results(project, scores, **more)
    git(project, "commit", "--quiet", "--all", "--message", "after")


def test_the_gate_lets_the_better_of_two_commits_pass_and_stops_the_worse_one(project, capsys):
    commit(project, BETTER)
    assert main(["compare", "HEAD~1", "HEAD"]) == 0
    passed = capsys.readouterr()
    assert "| recall | 0.666667 | 1 | +0.333 |" in passed.out
    assert "gonogo: the gate passes: 2 metrics" in passed.err

    commit(project, WORSE)
    assert main(["compare", "HEAD~1", "--out", "build", "--picture-url", "https://example.org/"]) == 1
    failed = capsys.readouterr()
    assert "the gate FAILS: 2 of 2 metrics" in failed.err
    report = (project / "build" / "report.md").read_text(encoding="utf-8")
    assert "tile: evaluate.recall went from 1 to 0.333333; it may fall by 0.1" in report
    assert "| `bad_1` | hole | reject 1.500 | pass 0.500 | **wrong** |" in report
    assert "](https://example.org/tile.png)" in report
    with Image.open(project / "build" / "tile.png") as picture:
        assert (160, 60, 60) in set(picture.convert("RGB").getdata())  # the defect that is missed now


def test_the_command_prints_one_json_object_with_the_verdict_and_the_changed_images(project, capsys):
    commit(project, WORSE)
    assert main(["compare", "HEAD~1", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["passed"]) == (True, False)
    assert [breach["metric"] for breach in said["breaches"]] == ["image_auroc", "recall"]
    assert [one["image"] for one in said["changed_images"]["tile"]] == ["bad_1"]
    low, high = said["intervals"]["tile"]["recall"]
    assert -1 <= low < high <= 0
    assert all(math.isfinite(limit) for limits in said["intervals"]["tile"].values() for limit in limits)


def test_the_workbench_and_the_stages_of_a_category_start_without_pandas():
    modules = "gonogo.project.compare, gonogo.project.registry, gonogo.evaluation.accuracy.summary"
    program = [sys.executable, "-c", f"import sys; sys.modules['pandas'] = None; import {modules}"]
    assert subprocess.run(program, capture_output=True, text=True, check=False).stderr == ""


def test_without_pandas_the_command_names_what_to_install(project, capsys, monkeypatch):
    commit(project, BETTER)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert main(["compare", "HEAD~1"]) == 4
    assert "pandas" in (said := capsys.readouterr().err)
    assert "pip install 'gonogo[pipeline]'" in said


def test_other_data_are_refused_unless_it_is_said_that_they_are_meant(project, capsys):
    commit(project, BETTER, fingerprint="b" * 64)
    assert main(["compare", "HEAD~1"]) == 3
    assert "are of different data: tile from aaaaaaaaaaaa to bbbbbbbbbbbb" in capsys.readouterr().err
    assert main(["compare", "HEAD~1", "--other-data"]) == 0
    assert "**The data of tile differ**" in capsys.readouterr().out


def test_without_rules_nothing_is_judged_and_an_unknown_revision_is_one_clear_sentence(project, capsys):
    commit(project, WORSE)
    (project / "tolerances.yaml").unlink()
    assert main(["compare", "HEAD~1"]) == 0
    assert "gate" not in capsys.readouterr().err
    assert main(["compare", "nowhere"]) == 3
    said = capsys.readouterr()
    assert "expected a git revision or the name of one DVC experiment, got 'nowhere'" in said.err
    assert "Traceback" not in said.err


def test_all_figures_are_compared_and_headline_files_and_other_folders_are_not(project):
    for name, value in {"bench/tile": {"p50_ms": 1.0}, "router": {"accuracy": {"tile": 1.0}}}.items():
        write_json(project / "metrics" / f"{name}.json", value)
    for name in ("tile", "headline", "headline/tile", "mine/tile"):
        write_json(project / "metrics" / f"{name}.json", {"recall": 0.1})
    changes = Revisions(project, "HEAD", None).metric_changes()
    assert {(change.file, change.name, change.verdict) for change in changes if change.stage != "evaluate"} == {
        ("metrics/bench/tile.json", "p50_ms", "new"),
        ("metrics/router.json", "accuracy.tile", "new"),
    }
    evaluated = {change.name: change.verdict for change in changes if change.stage == "evaluate"}
    assert evaluated == dict.fromkeys(("image_auroc", "recall", "false_alarm_rate", "data_fingerprint"), "unchanged")


def test_values_and_names_stay_what_they_are_whatever_they_look_like_and_a_side_may_have_none(project):
    values = {"NA": "NA", "001": True, "1e5": 1, "nan": 0.1, "null": "null", "None": "", "recall": 3}
    write_json(project / "metrics" / "evaluate" / "None.json", values)
    found = [one for one in Revisions(project, "HEAD", None).metric_changes() if one.category == "None"]
    assert [(one.name, one.new, type(one.new)) for one in found] == [
        (name, value, type(value)) for name, value in sorted(values.items())
    ]
    assert {(one.old, one.verdict) for one in found} == {(None, "new")}
    shutil.rmtree(project / "metrics")
    assert {one.verdict for one in Revisions(project, "HEAD", None).metric_changes()} == {"gone"}
    write_json(project / "metrics" / "evaluate" / "tile.json", {"n_good": 3, "recall": 0.5})  # numbers alone
    found = [one.new for one in Revisions(project, "HEAD", None).metric_changes() if one.new is not None]
    assert [(value, type(value)) for value in found] == [(3, int), (0.5, float)]


def test_an_experiment_is_compared_by_its_name(project):
    commit(project, BETTER)
    git(project, "update-ref", "refs/exps/ab/cdef0123/rosy-apse", "HEAD")
    git(project, "reset", "--quiet", "--hard", "HEAD~1")
    sides = Revisions(project, "HEAD", "rosy-apse")
    (recall,) = [change for change in sides.metric_changes() if change.name == "recall"]
    assert (recall.old, recall.new) == (2 / 3, 1.0)
    assert [row["score"] for row in sides.rows("plots/records/tile.csv")[1]] == list(map(str, BETTER.values()))


def test_a_metrics_file_that_is_not_json_is_named(project):
    (project / "metrics" / "evaluate" / "tile.json").write_text("<<<<<<< HEAD", encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics/evaluate/tile\.json at the workspace: expected JSON"):
        Revisions(project, "HEAD", None).metric_changes()


def test_what_git_lacks_is_said_for_what_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "dvc.yaml").write_text("vars:\n- plots: plots\n")
    assert main(["compare", "HEAD"]) == 3
    assert "lies in no git repository" in capsys.readouterr().err
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert main(["compare", "HEAD"]) == 3
    assert "git has no commit yet" in capsys.readouterr().err
    as_ = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for message in ("first", "second"):
        subprocess.run(["git", *as_, "commit", "--quiet", "--allow-empty", "--message", message], check=True)
    assert main(["compare", "v1"]) == 3
    err = capsys.readouterr().err
    assert "git log --oneline" in err
    assert "shallow" not in err
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", tmp_path.as_uri(), "clone"], check=True)
    (tmp_path / "clone" / "dvc.yaml").write_text("vars:\n- plots: plots\n")
    monkeypatch.chdir(tmp_path / "clone")
    assert main(["compare", "v1"]) == 3
    assert "this clone is shallow" in capsys.readouterr().err
