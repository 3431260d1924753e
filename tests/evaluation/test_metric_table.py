"""The table of metrics knows every metric that a stage writes, and what it says of one is consistent."""

import json
import subprocess
import sys
from dataclasses import asdict, fields

import pytest

from checkout import ROOT
from gonogo.evaluation.accuracy.metrics import image_statistics, random_metrics
from gonogo.evaluation.accuracy.pixel_metrics import BinnedPixels, PixelMetrics, random_pixel_metrics
from gonogo.evaluation.accuracy.resampling import resampled_metrics
from gonogo.evaluation.accuracy.summary import DATA
from gonogo.evaluation.metric_table import ACCURACY, HEADLINES, METRICS, SUMMARISED, is_known, metric_of
from gonogo.export.router import routing_metrics

STAGES = ("prepare", "fit", "evaluate", "parity", "robustness", "bench")
DETECTOR_FACTS = {"bank_patches", "covering_radius", "weights"}  # of the detectors of this project's params.yaml


@pytest.mark.parametrize("stage", [*STAGES, "."])
def test_every_metric_that_the_project_has_is_in_the_table(stage):
    files = sorted((ROOT / "metrics" / stage).glob("*.json"))
    if not files:
        pytest.skip(f"no metrics of {stage} in this checkout; `dvc repro` writes them")
    columns = {metric.column or name for name, metric in HEADLINES.items()} | {DATA}
    for file in files:
        if file.name == "origin.json":
            continue  # what the metrics were made with
        if file.name == "mean.json":
            assert json.loads(file.read_text(encoding="utf-8")).keys() <= columns
            continue
        unknown = {name for name in json.loads(file.read_text(encoding="utf-8")) if not is_known(name)}
        assert unknown <= (DETECTOR_FACTS if stage == "evaluate" else set()), file


def test_a_misspelt_metric_is_not_known():
    for name in ("image_aurok", "image_auroc_lows", "recall_mean", "n_test", "images_per_second_w1", "threshold.mean"):
        assert not is_known(name)


def test_every_headline_and_every_accuracy_has_a_direction():
    assert HEADLINES.keys() <= set(SUMMARISED)
    assert [name for name in SUMMARISED if METRICS[name].better is None] == []


def test_every_metric_has_a_title_of_its_own_kind():
    assert all(metric.title for metric in METRICS.values())
    titles = [metric.title for metric in ACCURACY.values()]
    assert len(set(titles)) == len(titles)


def test_the_accuracies_are_those_that_are_computed():
    of_pixels = {"pixel_false_positive_rate", "seg_f1", *(field.name for field in fields(PixelMetrics))}
    assert {name for name, metric in ACCURACY.items() if metric.kind == "pixels"} == of_pixels
    assert ACCURACY.keys() == of_pixels | image_statistics(0).keys()
    with_interval = {name for name, metric in ACCURACY.items() if metric.has_interval}
    of_images = resampled_metrics([0.0, 1.0], [0, 1], 0.5).keys() - {"f1"}
    assert with_interval == of_images | BinnedPixels().resampled().keys()


def test_what_chance_gives_is_of_the_metrics_that_rank_images_or_pixels():
    by_chance = random_metrics(3, 2) | asdict(random_pixel_metrics(9, 1))
    of_ranks = {name for name, metric in ACCURACY.items() if metric.kind == "ranks"} - {"f1_oracle"}
    assert by_chance.keys() == of_ranks | {field.name for field in fields(PixelMetrics)}
    assert all(is_known(f"{name}_random") for name in by_chance)


def test_a_mean_and_a_worst_value_have_the_direction_of_their_metric_and_a_limit_has_none():
    assert metric_of("recall.mean") is metric_of("recall.worst") is METRICS["recall"]
    assert metric_of("recall_low") is metric_of("recall.worst_category") is None


def test_the_router_writes_metrics_of_the_table():
    import numpy as np

    distances = {name: np.array([[1.0, 5.0], [5.0, 1.0]]) for name in ("a", "b")}
    labels = {name: np.array([0, 1]) for name in distances}
    assert {name for name in routing_metrics(distances, labels, np.array([2.0, 2.0])) if not is_known(name)} == set()


def test_the_table_imports_the_standard_library_alone():
    script = (
        "import sys; before = set(sys.modules); import gonogo.evaluation.metric_table; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    environment = {"PYTHONPATH": str(ROOT / "src")}
    printed = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == ["gonogo"]
