"""gonogo benchmark: every variant on every category is a row, a failure too, and it goes on where it ended."""

import json

import numpy as np
import pytest
from PIL import Image

from gonogo.cli.main import main
from gonogo.project.benchmark import BenchmarkRow, as_cells, with_means
from gonogo.project.git import git


def two_products(folder):
    """Good and damaged parts of two products, 20 x 24 pixels, in MVTec AD's layout."""
    rng = np.random.default_rng(1)
    for product, level in (("plate", 90), ("ring", 160)):
        for place, count, damaged in (("train/good", 40, False), ("test/good", 8, False), ("test/hole", 8, True)):
            (folder / product / place).mkdir(parents=True)
            for number in range(count):
                pixels = level + 20 * np.sin(np.arange(24) / 3) + rng.normal(0, 4, (20, 24))
                pixels[6:12, 8:14] -= 80 * damaged
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert("RGB")
                image.save(folder / product / place / f"{number:03}.png")
    return folder


@pytest.mark.slow
def test_what_was_computed_is_not_computed_again_and_each_run_is_an_experiment(tmp_path, capsys):
    data, project = two_products(tmp_path / "data"), tmp_path / "project"
    words = ["benchmark", "--data", str(data), "--into", str(project), "--category", "plate", "--json"]
    assert main([*words, "--detector", "mean_image"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["variant"], row["category"], row["reason"]) == ("mean_image", "plate", "")
    assert row["metrics"]["image_auroc_low"] <= row["metrics"]["image_auroc"] == 1.0
    assert row["metrics"]["certified_false_alarm_rate"] < 1
    assert main([*words, "--detector", "mean_image", "pca"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(one["variant"], one["category"]) for one in rows] == [("mean_image", "plate"), ("pca", "plate")]
    assert rows[0]["metrics"]["fit_s"] == row["metrics"]["fit_s"]  # not measured anew
    assert json.loads((project / "benchmark.json").read_text(encoding="utf-8"))["rows"] == rows
    assert (project / "benchmark.md").read_text(encoding="utf-8").count("\n") == 2 + len(rows)
    commits = git(project, "for-each-ref", "--format=%(objectname)", "refs/exps").split()
    assert {one["commit"] for one in rows} == set(commits)
    experiments = git(project, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    assert {name.rpartition("/")[2] for name in experiments} == {"mean_image-plate", "pca-plate"}
    assert git(project, "status", "--porcelain").split() == ["??", "benchmark.json", "??", "benchmark.md"]
    assert main(["benchmark", "--data", str(tmp_path), "--into", str(project)]) == 3
    assert "is a project of the images in" in capsys.readouterr().err


def test_a_variant_that_failed_is_a_row_with_its_reason_and_counts_in_no_mean():
    done = {"image_auroc": 0.9, "image_auroc_low": 0.8, "image_auroc_high": 0.95, "p50_ms": 4.0}
    rows = [
        BenchmarkRow("pca", "a", done),
        BenchmarkRow("pca", "b", done | {"image_auroc": 0.7, "recall": 0.5}),
        BenchmarkRow("pca", "c", {}, "no fit image"),
        BenchmarkRow("padim", "a", done),
    ]
    table = with_means(rows)
    assert [(row.variant, row.category) for row in table] == [
        ("pca", "a"), ("pca", "b"), ("pca", "c"), ("pca", "mean"), ("padim", "a")
    ]  # fmt: skip
    assert table[3].metrics == {"image_auroc": pytest.approx(0.8), "recall": 0.5, "p50_ms": 4.0}
    head, first, *_ = cells = as_cells(table)
    assert head == ["", "category", "image AUROC", "recall", "median time from file to verdict, ms", "failed, since"]
    assert first == ["pca", "a", "0.900 [0.800, 0.950]", "", "4.0", ""]
    assert cells[3][-1] == "no fit image"


def test_the_mean_of_a_variant_is_of_its_own_rows_whatever_it_is_called():
    names = ("NA", "nan", "1", "001", "1e5", "100000.0")
    rows = [
        BenchmarkRow(name, category, {"recall": number + step, "p50_ms": 1})
        for category, step in (("a", 0.0), ("b", 0.5))
        for number, name in enumerate(names)
    ]
    table = with_means(rows)
    assert [(row.variant, row.category) for row in table] == [
        (name, one) for name in names for one in ("a", "b", "mean")
    ]
    means = [row.metrics for row in table if row.category == "mean"]
    assert means == [{"recall": number + 0.25, "p50_ms": 1.0} for number in range(len(names))]
    json.dumps([row.to_dict() for row in table], allow_nan=False)


def test_where_all_failed_and_where_nothing_ran_there_is_no_mean():
    failed = [BenchmarkRow("pca", category, {}, "no fit image") for category in ("a", "b")]
    assert with_means(failed) == failed
    assert with_means([]) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--detector", "padimm"], "there is no detector 'padimm'; did you mean padim"),
        (["--category", "rings"], "has no category 'rings'; did you mean ring? choose one of plate, ring"),
        (["--category", "all", "cup"], "has no category 'all'; choose one of plate, ring"),
        (["--recipe", "quick"], "no recipe 'quick' in "),
    ],
)
def test_a_name_that_does_not_exist_is_wrong_usage_before_anything_is_written(words, message, tmp_path, capsys):
    data, into = two_products(tmp_path / "data"), tmp_path / "into"
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(["benchmark", "--data", str(data), "--into", str(into), *words]))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not into.exists()
