"""What the benchmarks compute by themselves: which points are due, exponents, radii, and the tables of their page."""

import hashlib
import itertools
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import benchmark_tables
import coreset
import covering
import frontier
import frontier_plot
import good_parts
import growth
import metrics
import recipes
import results
import search_trials
import stated_rates
import watch_kill
from anomalib_side_by_side import FIT_FIGURES, over_repeats, relative_difference
from checkout import ROOT
from gonogo.data.sample import Sample
from gonogo.images.dataset import Record
from gonogo.line.inputs import Item
from gonogo.params import read_yaml
from growth_plot import write_plot

RECORD = Record(
    path="",
    sha256="",
    category="tile",
    role="fit",
    label=0,
    defect_type="good",
    mask=None,
    mask_sha256=None,
    group_id="",
    width=1,
    height=1,
)
ORIGIN = {
    "machine": {"cpu": "abacus", "cores": 2, "memory_mb": 25000, "threads": 2},
    "versions": {"torch": "2"},
    "commit": "0123456789ab-dirty",
}


def test_a_certified_rate_is_exceeded_in_as_many_draws_as_its_confidence_allows():
    found = stated_rates.row(lambda: stated_rates.simulated("normal", "holdout", 29, n_draws=400))
    assert (found["n_trials"], found["n_groups"]) == (400, 29)
    assert 0.02 < found["exceeded"] < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert 0.02 < found["measured"] < 0.05 < found["stated"] < 0.1


def test_a_method_that_refuses_so_few_parts_is_told_as_refused():
    found = stated_rates.row(lambda: stated_rates.simulated("normal", "tail", 50, n_draws=1))
    assert set(found) == {"refused"}
    assert "200 good parts" in found["refused"]


def test_a_split_keeps_parts_together_and_deals_them_anew():
    records = [replace(RECORD, path=f"{part}_{shot}", group_id=str(part)) for part in range(20) for shot in range(2)]
    deals = [stated_rates.dealt(records, seed) for seed in (1, 2)]
    assert [len(deal[role]) for deal in deals for role in ("fit", "calibrate", "test")] == [12, 18, 10] * 2
    for deal in deals:
        parts = [{record.group_id for record in of} for of in deal.values()]
        assert not parts[0] & parts[1] | parts[1] & parts[2] | parts[0] & parts[2]
    assert deals[0]["test"] != deals[1]["test"]


def test_the_exponent_of_a_power_is_its_power():
    fitted = growth.exponent([50, 200, 1000], [3 * x**1.5 for x in (50, 200, 1000)])
    assert fitted == pytest.approx({"slope": 1.5, "least": 1.5, "largest": 1.5})


def test_the_exponents_range_shows_a_curve_that_is_no_power():
    fitted = growth.exponent([1, 10, 100], [1, 1, 100])  # flat, then square
    assert fitted == pytest.approx({"slope": 1.0, "least": 0.0, "largest": 2.0})


def test_a_figure_that_is_not_above_zero_has_no_place_on_a_curve():
    assert growth.exponent([1, 10, 100], [0, 1, 10]) == pytest.approx({"slope": 1, "least": 1, "largest": 1})
    assert growth.exponent([1, 10], [-1, 5]) is None


def test_each_direction_has_its_own_exponents_and_takes_no_skipped_point():
    def row(n, side, curves, cost):
        return {"detector": "pca", "n_images": n, "side": side, "curves": curves} | dict.fromkeys(growth.FIGURES, cost)

    skipped = {"detector": "pca", "n_images": 1000, "side": 256, "curves": ["n_images"], "skipped": "too long"}
    rows = [row(100, 256, ["n_images", "side"], 8.0), row(200, 256, ["n_images"], 16.0), skipped]
    along_images, along_side = growth.exponents([*rows, row(100, 128, ["side"], 2.0)])
    assert (along_images["from"], along_images["to"]) == (100, 200)
    assert along_images["fit_s"]["slope"] == pytest.approx(1)
    assert (along_side["from"], along_side["to"]) == (128, 256)
    assert along_side["verdict_ms"]["slope"] == pytest.approx(2)


def test_a_point_on_both_curves_is_measured_once():
    found = growth.points(["pca", "padim"], [100, 50], [256, 128])
    padim = [point for point in found if point["detector"] == "padim"]
    assert [(p["n_images"], p["side"], p["curves"]) for p in padim] == [
        (50, 256, ["n_images"]),
        (100, 256, ["n_images", "side"]),
        (100, 128, ["side"]),
    ]
    # Its default image_size is another one than that of the images: growing with them is another point.
    pca = [(p["n_images"], p["side"], p["image_size"]) for p in found if p["detector"] == "pca"]
    assert pca == [(50, 256, 32), (100, 256, 32), (100, 128, 128), (100, 256, 256)]


def test_a_point_is_measured_once_unless_asked_or_skipped_under_a_shorter_limit():
    (point,) = growth.points(["padim"], [50], [])
    assert growth.is_due(point, [], limit_s=60, again=False)
    assert not growth.is_due(point, [point | {"fit_s": 1.0}], limit_s=60, again=False)
    assert growth.is_due(point, [point | {"fit_s": 1.0}], limit_s=60, again=True)
    skipped = [point | {"skipped": "forecast 100 s", "limit_s": 60}]
    assert not growth.is_due(point, skipped, limit_s=60, again=False)
    assert growth.is_due(point, skipped, limit_s=120, again=False)
    assert growth.is_due(point | {"n_images": 51}, [point | {"fit_s": 1.0}], limit_s=60, again=False)


def test_a_new_row_takes_the_place_of_the_old_one_of_its_key(tmp_path):
    path = tmp_path / "rows.json"
    for row in ({"a": 1, "s": 1.0}, {"a": 2, "s": 2.0}, {"a": 1, "s": 3.0}):
        results.add_row(path, row, key=["a"])
    assert results.read_rows(path) == [{"a": 1, "s": 3.0}, {"a": 2, "s": 2.0}]


def test_the_covering_radius_is_that_of_a_double_loop_even_far_from_zero():
    generator = torch.Generator().manual_seed(3)
    patches = torch.randn(60, 5, generator=generator) + 1000
    bank = patches[:7]
    nearest = [min(math.dist(patch, chosen) for chosen in bank.tolist()) for patch in patches.tolist()]
    assert covering.covering_radius([patches[:40], patches[40:]], bank) == pytest.approx(max(nearest), rel=1e-9)
    alone = [covering.covering_radius([patch[None]], bank) for patch in patches]
    assert alone == pytest.approx(nearest, rel=1e-9)


def test_the_composable_coreset_covers_within_its_promise_and_the_exact_one_exactly(monkeypatch):
    monkeypatch.setattr(coreset, "CHUNK", 256)
    exact = coreset.measured("exact", 3000, 8, 30, 1.0)
    parts = coreset.measured("composable", 3000, 8, 30, 0.1)
    assert exact["covering_radius"] == pytest.approx(exact["covering_radius_reported"], rel=1e-6)
    assert parts["n_parts"] > 3
    assert exact["covering_radius"] < parts["covering_radius"] <= parts["covering_radius_at_most"] * (1 + 1e-6)


def test_the_composable_coreset_is_made_of_the_patches_themselves(monkeypatch):
    monkeypatch.setattr(coreset, "CHUNK", 256)
    bank, _ = coreset.composable(3000, 8, 30, 100_000)
    distance = torch.cdist(bank, torch.cat(list(coreset.patches(3000, 8))), compute_mode="donot_use_mm_for_euclid_dist")
    assert len(bank) == 30
    assert float(distance.amin(dim=1).max()) < 1e-5


def test_gonogo_and_scikit_learn_agree_on_maps_read_from_files(tmp_path):
    metrics.write_images(tmp_path, 4, 64)
    ours, theirs = (metrics.measured(library, tmp_path) for library in ("gonogo", "scikit-learn"))
    assert 0.6 < theirs["pixel_auroc"] < 1
    assert ours["pixel_auroc"] == pytest.approx(theirs["pixel_auroc"], abs=1e-9)
    assert ours["pixel_ap"] == pytest.approx(theirs["pixel_ap"], abs=1e-9)


def test_features_differ_relative_to_the_largest_and_a_missing_number_is_no_agreement():
    assert relative_difference(np.array([4.0, -8.0]), np.array([4.0, -8.4])) == pytest.approx(0.05)
    assert not relative_difference(np.array([1.0]), np.array([np.nan])) <= 1e-4


def test_of_several_fits_costs_are_medians_and_accuracy_is_a_mean_with_its_range():
    costs = dict.fromkeys((*FIT_FIGURES, "covering_radius"), 1.0)
    rows = [costs | {"coreset_s": s, "image_auroc": a} for s, a in ((1.0, 0.9), (2.0, 0.8), (9.0, 1.0))]
    found = over_repeats(rows)
    assert found["coreset_s"] == 2.0
    assert found["image_auroc"] == pytest.approx(0.9)
    assert (found["image_auroc_least"], found["image_auroc_largest"]) == (0.8, 1.0)
    assert "aupro_30" not in found


def test_the_plot_has_a_curve_per_detector_in_each_panel_and_none_of_a_skipped_point(tmp_path):
    costs = dict.fromkeys(growth.FIGURES, 5.0)
    rows = [{"detector": "a < b", "n_images": n, "side": 256, "curves": ["n_images"]} | costs for n in (50, 200)] + [
        {"detector": "a < b", "n_images": 1000, "side": 256, "curves": ["n_images"], "skipped": "too long"}
    ]
    write_plot(tmp_path / "images" / "growth.svg", rows)
    svg = (tmp_path / "images" / "growth.svg").read_text(encoding="utf-8")
    assert svg.count("<polyline") == len(growth.FIGURES)
    assert svg.count('r="3"') == 2 * len(growth.FIGURES)
    assert "a &lt; b" in svg


ROLES = ("fit", "calibrate", "test")


def absent(name):
    raise FileNotFoundError(name)


TABLES = [name for name in vars(benchmark_tables) if name.endswith("_table")]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_whose_results_are_absent_or_of_nothing_says_so(table):
    assert getattr(benchmark_tables, table)(absent) == "Not measured on this commit.\n"
    assert getattr(benchmark_tables, table)(reading([])) == "Not measured on this commit.\n"


@pytest.mark.parametrize("name", ["NA", "nan", "null", "None", "001", "1", "1e5", "True"])
def test_a_name_a_whole_number_and_what_a_row_lacks_stay_what_they_are_in_every_table(name):
    """What a table of numbers would make of them: a missing value, another number, a fraction."""
    of_part = {"library": "gonogo", "label": name, "n_fit": 20, "n_good": 6, "n_defective": 17, "peak_mb": 400} | ORIGIN
    rows = [
        of_part | {"part": part, "image_size": side, "image_auroc": 1, **more}
        for part, side, more in ((name, 128, {"onnx_mb": 3}), ("1.0", 256, {"fit_s": None}), (name, 64, {}))
    ]
    text = benchmark_tables.frontier_table(reading(rows))
    assert re.findall(r"\*\*(.+)\*\*: 20 fit images; 6 good and 17", text) == [name, "1.0"]
    assert f"| gonogo, {name} | 64 | 1.000 | – | – | – | – | – | 400 MB |\n" \
        f"| gonogo, {name} | 128 | 1.000 | – | – | – | 3.0 MB | – | 400 MB |\n" in text  # fmt: skip
    assert f"| gonogo, {name} | 256 | 1.000 | – | – | – | – | – | 400 MB |\n" in text


def test_rows_of_a_part_come_together_in_the_order_of_the_first_and_each_name_stands_once_above_them():
    figures = {
        "seen": "mean",
        "accuracy": 1.0,
        "accuracy_low": 1,
        "wrong_rate": 0,
        "stranger_rate": 0.5,
        "left_out": [],
    }
    names = ["001", "NA", "001", "1", "NA", "001"]
    rows = [{"set": name, "n_categories": number, **figures} | ORIGIN for number, name in enumerate(names)]
    lines = [line.split(" | ") for line in benchmark_tables.router_table(reading(rows)).splitlines()[2:8]]
    assert [(line[0], line[-1]) for line in lines] == [
        (f"| {name}", f"0 of {number} |")
        for name, number in (("001", 0), ("", 2), ("", 5), ("NA", 1), ("", 4), ("1", 3))
    ]


def test_a_number_of_parts_stands_again_below_another_part():
    shares = {f"{name}{end}": 0.25 for name in ("false_alarm_rate", "recall") for end in ("", "_low", "_high")}
    rest = {"method": "split", "stated": 0.2, "image_auroc": 0.9, "bank": 50} | shares | ORIGIN
    rows = [{"part": part, "n": n} | rest for part, n in (("nut", 40), ("nut", 40), ("pin", 40), ("pin", 1000))]
    lines = benchmark_tables.good_parts_table(reading(rows)).splitlines()[2:6]
    assert [line.split(" | ")[:2] for line in lines] == [["| nut", "40"], ["| ", ""], ["| pin", "40"], ["| ", "1,000"]]


def reading(rows, **more):
    return lambda _: json.dumps({"rows": rows, **more})


def test_the_side_by_side_divides_their_costs_by_ours_and_leaves_a_dash_where_there_is_nothing():
    about = {"part": "nut", "image_size": 256, "n_fit": 20, "n_patches": 20480, "dims": 152, "n_picks": 205}
    about |= {"n_good": 6, "n_defective": 17, "image_auroc": 1.0} | ORIGIN
    about |= {"image_auroc_least": 0.99, "image_auroc_largest": 1.0}
    ours = {"library": "gonogo", "coreset_s": 0.25, "peak_mb": 400.0, "verdict_onnx_ms": 10.0, "covering_radius": 3.0}
    theirs = {"library": "anomalib", "coreset_s": 30.0, "peak_mb": 1300.0, "verdict_engine_ms": 90.0}
    lines = benchmark_tables.peers_table(reading([about | ours, about | theirs])).splitlines()
    assert "| coreset | 0.25 s | 30.00 s | 120.0 | 100 times |" in lines
    assert "| peak memory of the fit | 400 MB | 1,300 MB | 3.2 | 3 times |" in lines
    assert "| verdict, against their engine | 10.0 ms | 90.0 ms | 9.0 | 8 times |" in lines
    assert "| verdict, against their ONNX file | 10.0 ms | – | – | 4 times |" in lines
    assert "| image AUROC | 1.0000 [0.9900, 1.0000] | 1.0000 [0.9900, 1.0000] |  | at least theirs |" in lines
    assert "| its covering radius | 3.000 | – |  | at most theirs |" in lines
    assert lines[-1] == "Measured on abacus, 2 cores, 25 GB, 2 threads; torch 2; commit 0123456789-dirty."


COSTS = {"onnx_mb": 3.0, "fit_s": 0.5, "peak_mb": 400.0, "image_auroc": 0.9}


def frontier_rows():
    """Two libraries at two sizes and a recipe; anomalib's larger one has no ONNX file that runs."""
    of = {"part": "nut", "n_fit": 20, "n_good": 6, "n_defective": 17} | COSTS | ORIGIN
    ours = of | {"library": "gonogo", "label": "PatchCore"}
    theirs = of | {"library": "anomalib", "label": "PatchCore", "image_auroc": 0.95}
    return [
        ours | {"image_size": 128, "verdict_onnx_ms": 5.0},
        theirs | {"image_size": 128, "verdict_onnx_ms": 9.0, "verdict_engine_ms": 40.0},
        ours | {"image_size": 256, "verdict_onnx_ms": 10.0, "image_auroc": 0.92},
        theirs | {"image_size": 256, "verdict_network_ms": 70.0, "verdict_engine_ms": 80.0},
        ours | {"image_size": 384, "verdict_onnx_ms": 20.0, "image_auroc": 0.99, "label": "recipe accurate"},
    ]


def test_the_frontier_has_what_no_other_point_equals_at_a_lower_cost():
    points = [(5.0, 0.90), (9.0, 0.95), (9.0, 0.93), (10.0, 0.95), (20.0, 0.99), (70.0, 0.95)]
    assert frontier_plot.front(points) == [(5.0, 0.90), (9.0, 0.95), (20.0, 0.99)]


def test_the_frontiers_table_and_plot_show_each_point_by_the_quickest_way(tmp_path):
    text = benchmark_tables.frontier_table(reading(frontier_rows()))
    assert "**nut**: 20 fit images; 6 good and 17 defective test images" in text
    assert "| anomalib, PatchCore | 128 | 0.950 | – | – | 9.0 ms | 3.0 MB | 0.50 s | 400 MB |" in text
    assert "| anomalib, PatchCore | 256 | 0.950 | – | – | 70.0 ms |" in text
    frontier_plot.write_plot(tmp_path / "a.svg", frontier_rows())
    drawn = (tmp_path / "a.svg").read_text()
    panels = len(frontier_plot.COSTS)  # no row has figures of pixels
    assert drawn.count("<g transform") == panels
    assert drawn.count('<circle cx="') == panels * 3 + 1  # and one in the legend
    assert drawn.count('<rect x="') == panels * 2 + 1
    assert drawn.count(">accurate</text>") == panels


def test_a_point_without_times_is_shown_where_it_needs_none(tmp_path):
    untimed = {key: value for key, value in frontier_rows()[0].items() if key not in ("fit_s", "verdict_onnx_ms")}
    rows = [*frontier_rows(), untimed | {"label": "PaDiM"}]
    assert "| gonogo, PaDiM | 128 | 0.900 | – | – | – | 3.0 MB | – | 400 MB |" in benchmark_tables.frontier_table(
        reading(rows)
    )
    frontier_plot.write_plot(tmp_path / "a.svg", rows)
    assert (tmp_path / "a.svg").read_text().count(f'r="4" fill="{frontier_plot.COLOURS["gonogo", "PaDiM"]}"') == 2


MARK = r'<circle cx="([^"]+)" cy="([^"]+)"'


@pytest.mark.parametrize("part", ["hazelnut", "cookie"])
def test_no_axis_of_a_frontier_goes_beyond_1_and_no_label_covers_another_or_a_point(part, tmp_path):
    rows = [row for row in results.read_rows(ROOT / "benchmarks" / "frontier.json") if row["part"] == part]
    for shown in (rows, frontier.detector_rows(part)):
        frontier_plot.write_plot(tmp_path / "a.svg", shown)
        panels = (tmp_path / "a.svg").read_text().split("<g transform")[1:]
        assert len(panels) == 2 * len(frontier_plot.COSTS)
        for panel in panels:
            values = [float(value) for value in re.findall(r'text-anchor="end">([^<]+)<', panel)]
            assert max(values) <= 1
            assert len(values) > 1
            found = re.findall(r'<text x="([^"]+)" y="([^"]+)" font-size="10"[^>]*>([^<]+)<', panel)
            assert found
            marks = [(x, str(float(y) + frontier_plot.LINE / 2 - 2), "") for x, y in re.findall(MARK, panel)]
            for (x, y, said), (right, low, _) in [*itertools.permutations(found, 2), *itertools.product(found, marks)]:
                wide = frontier_plot.LETTER * len(said)
                apart = abs(float(low) - float(y)) >= frontier_plot.LINE
                assert apart or float(right) < float(x) or float(right) >= float(x) + wide


def test_differences_that_are_no_differences_are_not_blown_up():
    assert frontier_plot.accuracies_of([1.0, 1.0, 0.9999]) == [0.98, 0.985, 0.99, 0.995, 1.0]


def test_a_recipe_is_a_point_of_gonogo_alone_at_its_own_size():
    points = frontier.gauges(["patchcore", "padim"], [128, 256], {})
    assert [(label, side) for label, side, _ in points[:4]] == [
        ("PatchCore", 128),
        ("PatchCore", 256),
        ("PaDiM", 128),
        ("PaDiM", 256),
    ]
    label, side, gauge = points[-1]
    assert (label, side, gauge.libraries, gauge.options["coreset_ratio"]) == ("recipe accurate", 384, ("gonogo",), 0.02)


def test_times_of_the_metrics_are_compared_with_gonogos_on_the_same_images_alone():
    figures = {"peak_mb": 10.0, "before_mb": 5.0, "pixel_auroc": 0.5} | ORIGIN
    rows = [
        {"library": "gonogo", "n_images": 8, "side": 64, "seconds": 2.0} | figures,
        {"library": "scikit-learn", "n_images": 8, "side": 64, "seconds": 5.0} | figures,
        {"library": "scikit-learn", "n_images": 9, "side": 64, "seconds": 5.0} | figures,
    ]
    text = benchmark_tables.pixel_metrics_table(reading(rows))
    assert "| scikit-learn: pixel AUROC | 8 of 64 × 64 | 5.0 s | 2.5 | 10 MB | 5 MB |" in text
    assert "| scikit-learn: pixel AUROC | 9 of 64 × 64 | 5.0 s | – | 10 MB | 5 MB |" in text


def test_the_coresets_table_tells_a_promise_from_what_was_measured():
    figures = {"n_patches": 1000, "dims": 8, "n_picks": 10, "seconds": 1.0, "peak_mb": 2.0, "before_mb": 1.0}
    row = {"method": "composable", "n_parts": 4, "room_mb": 200.0, "covering_radius": 2.5} | figures | ORIGIN
    text = benchmark_tables.coreset_table(reading([row | {"covering_radius_at_most": 4.0}]))
    assert "| composable, 4 parts in 200 MB | 1,000 × 8 | 10 | 1.0 s | 2 MB | 1 MB | 2.5000 | ≤ 4.0000 |" in text


def test_the_services_table_has_its_loads_and_says_what_it_adds_and_what_it_survived():
    load = {
        "what": "load",
        "workers": 1,
        "concurrency": 8,
        "n_requests": 1200,
        "n_errors": 0,
        "n_refused": 3,
        "per_s": 20.04,
    }
    load |= {"p50_ms": 400.0, "p95_ms": 410.0, "p99_ms": 500.25, "memory_start_mb": 200.0, "memory_end_mb": 201.0}
    added = {
        "what": "overhead",
        "workers": 1,
        "service_ms": 52.5,
        "scorer_ms": 50.0,
        "overhead_ms": 2.5,
        "disk_ms": 0.9,
    }
    added |= {"stages_ms": {"keep": 1.5}, "overhead_without_disk_ms": 1.0}
    fuzz = {"what": "fuzz", "n_requests": 3000, "by_status": {"400": 1000, "422": 2000}, "by_kind": {"a": 1, "b": 2}}
    kill = {"what": "kill", "n_kills": 20, "n_lost": 0, "n_acknowledged": 1000}
    watch = {"what": "watch_kill", "n_kills": 20, "n_files": 3000, "n_lost": 0, "n_judged_twice": 1}
    watch |= {"n_without_verdict": 2}
    mixed = {"what": "mixed", "concurrency": 64, "by_status": {"200": 90, "503": 1200}, "n_small": 90, "n_large": 0}
    mixed |= {"small_p50_ms": 500.4, "small_p99_ms": 1000.0, "memory_most_mb": 1200.0, "memory_mb": 4096}
    text = benchmark_tables.service_table(reading([row | ORIGIN for row in (added, load, mixed, fuzz, kill, watch)]))
    assert " | 8 | 20.0 | 400.0 ms | 410.0 ms | 500.2 ms | 3 of 1,200 | 200 MB | 201 MB |" in text
    assert "so the service adds 2.5 ms: 1.5 ms to commit the row, 1.0 ms all else" in text
    assert "- 3,000 malformed requests of 2 kinds: 1,000 times 400, 2,000 times 422." in text
    assert "beside slow clients: 90 times 200, 1,200 times 503; small images: p50 500 ms, p99 1,000 ms; at most" in text
    assert "- 20 kills under load: 0 of 1,000 acknowledged inspections lost." in text
    assert "of 3,000 files 0 lost, 1 judged twice, 2 sorted without a verdict." in text


def test_a_file_that_the_killed_watch_lost_judged_twice_or_sorted_without_its_verdict_is_found(tmp_path):
    folder, good, written, rows = tmp_path / "incoming", tmp_path / "sorted/good", {}, []
    folder.mkdir()
    good.mkdir(parents=True)
    for number in range(5):
        path, data = folder / f"{number}.jpg", f"file {number}".encode()
        path.write_bytes(data)
        written[path.name] = hashlib.sha256(data).hexdigest()
        row = {"file": str(path), "key": Item(str(path), path, Path(path.name)).key, "verdict": "pass"}
        rows.append(row | {"moved_to": str(path.rename(good / path.name))})

    def found():
        return {name: len(files) for name, files in watch_kill.faults(written, folder, good.parent, rows).items()}

    fine = dict.fromkeys(("lost", "in_two_places", "left", "judged_twice", "without_verdict"), 0)
    assert found() == fine
    (good / "0.jpg").unlink()
    assert found() == fine | {"lost": 1}
    rows.append(rows[1])
    assert found() == fine | {"lost": 1, "judged_twice": 2}
    (good.parent / "reject").mkdir()
    (good / "2.jpg").rename(good.parent / "reject/2.jpg")
    assert found() == fine | {"lost": 1, "judged_twice": 2, "without_verdict": 1}
    rows[3]["verdict"] = "reject"
    shutil.copy(good / "4.jpg", folder / "5.jpg")
    shutil.copy(good / "4.jpg", good / "5.jpg")
    assert found() == {"lost": 1, "in_two_places": 1, "left": 1, "judged_twice": 2, "without_verdict": 3}


def test_the_growth_table_has_both_directions_the_exponents_and_what_was_skipped():
    point = {"detector": "padim", "n_images": 100, "side": 256, "curves": ["n_images", "side"]} | ORIGIN
    measured = point | {"fit_s": 2.0, "fit_mb": 160.0, "verdict_ms": 20.0, "onnx_mb": 44.2}
    skipped = point | {"n_images": 5000, "curves": ["n_images"], "skipped": "forecast 4,000 s, more than 900 s"}
    exponents = [
        {"detector": "padim", "along": "n_images", "from": 50, "to": 100}
        | {"fit_s": {"slope": 1.0, "least": 0.9, "largest": 1.125}}
    ]
    lines = benchmark_tables.growth_table(reading([skipped, measured], exponents=exponents)).splitlines()
    assert lines.count("| padim | 100 | 2.0 s | 160 MB | 20.0 ms | 44.2 MB |") == 1
    assert lines.count("| padim | 256 | 2.0 s | 160 MB | 20.0 ms | 44.2 MB |") == 1
    assert [line for line in lines if "skipped" in line] == ["| padim | 5,000 | skipped |  |  |  |"]
    assert "| padim | fit images, 50 to 100 | 1.00 [0.90, 1.12] | – | – | – |" in lines
    assert "- padim, 5,000 images of 256: forecast 4,000 s, more than 900 s" in lines


def test_the_table_of_good_parts_names_each_part_once_and_calls_a_mean_a_mean():
    figures = {key: 0.25 for name in ("false_alarm_rate", "recall") for key in (name, f"{name}_low", f"{name}_high")}
    about = {"machine": {"cpu": "x", "cores": 2, "memory_mb": 1000, "threads": 1}, "versions": {}, "commit": "abc"}
    rows = [
        {"part": "nut", "n": 40, "method": method, "stated": 0.2, "image_auroc": 0.9, "bank": 50, **figures, **about}
        for method in ("split", "leave one out")
    ]
    table = benchmark_tables.good_parts_table(reading(rows))
    assert "| nut | 40 | split | ≤ 20.0% | 25.0% [25%, 25%] | 25.0% [25%, 25%] | 0.900 | 50 |" in table
    assert "|  |  | leave one out | ≤ 20.0% on average |" in table


def test_the_table_of_recipes_has_the_spread_of_seeds_and_the_change_beside_the_plain_one():
    rest = {"recall": 0.5, "false_alarm_rate": 0.1, "light": "varying", "part": "nut"} | ORIGIN
    rows = [
        rest | {"seed": seed, "recipe": recipe, "image_auroc": auroc, "aupro_30": 0.5}
        for seed, recipe, auroc in ((1, "plain", 0.8), (2, "plain", 0.9), (1, "finetuned", 0.9), (2, "finetuned", 0.88))
    ]
    table = benchmark_tables.recipes_table(reading([*rows, rest | rows[2] | {"light": "even"}]))
    assert "| varying | nut | `plain` | 2 | 0.850 [0.800, 0.900] | 0.500 [0.500, 0.500] |" in table
    assert "| even | nut | `finetuned` | 1 | 0.900 | 0.500 |" in table
    assert "- `finetuned` under the varying light: image AUROC +0.040 [-0.020, +0.100], AUPRO +0.000" in table
    assert "over 2 pairs of a part and a seed. Image AUROC of nut +0.040 [-0.020, +0.100]." in table
    assert table.count("under the") == 1  # the other one has no plain recipe beside it


def test_a_varying_light_only_darkens_and_depends_on_the_name_and_the_seed_alone():
    pixels = np.full((20, 30, 3), 200, dtype=np.uint8)
    sample = Sample(name="a", image=pixels, label=0, defect_type="good", roles=("fit",))
    first, again, other = (recipes.in_varying_light(sample, seed).image for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.max() <= round(200 * recipes.LIGHTEST * (1 + recipes.TINT))
    assert first.min() >= int(200 * recipes.DARKEST * (1 - recipes.SHADE) * (1 - recipes.TINT))


def test_the_plain_recipe_is_the_tuned_one_without_its_tuning():
    content = read_yaml(ROOT / "params.yaml")
    plain, tuned = (recipes.fit_of(content, name) for name in ("plain", "finetuned"))
    assert {name for name in tuned if tuned[name] != plain[name]} == {"finetune"}


def test_the_good_parts_of_a_draw_have_one_role_each_and_the_rest_is_test(digits):
    """The test parts are the same for all methods, and none of them is fitted or calibrated on."""
    split, whole = (good_parts.drawn(digits, 40, 3, split=is_split) for is_split in (True, False))
    fit, calibrate, test = ({r.group_id for r in split.records if r.role == role and r.label == 0} for role in ROLES)
    assert (len(fit), len(calibrate)) == (28, 12)
    assert not (fit | calibrate) & test
    assert {r.group_id for r in whole.records if r.role == "fit"} == fit | calibrate
    assert [r.path for r in whole.with_role("test")] == [r.path for r in split.with_role("test")]
    assert good_parts.sizes_of(50) == [40]
    assert good_parts.sizes_of(34) == [24]


def test_the_table_of_the_router_counts_the_categories_that_are_left_out():
    about = {"machine": {"cpu": "x", "cores": 2, "memory_mb": 1000, "threads": 1}, "versions": {}, "commit": "abc"}
    figures = {"accuracy": 0.9, "accuracy_low": 0.5, "wrong_rate": 0.1, "stranger_rate": 0.0}
    row = {"set": "digits", "seen": "mean", **figures, "left_out": ["digit_3"], "n_categories": 10, **about}
    other = row | {"set": "unlike"}  # measured in between
    table = benchmark_tables.router_table(reading([row, other, row | {"seen": "parts", "left_out": []}]))
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:5]] == ["digits", "", "unlike"]
    assert "| digits | mean | 90.0% | 50.0% | 10.0% | 0.0% | 1 of 10 |" in table
    assert "|  | parts | 90.0% | 50.0% | 10.0% | 0.0% | 0 of 10 |" in table


def test_the_trials_of_the_search_find_the_nearest_entry_or_one_hardly_farther():
    rng = np.random.default_rng(4)
    bank, rows = (rng.normal(size=(n, 24)).astype(np.float32) for n in (150, 70))
    nearest = np.linalg.norm(rows[:, None] - bank[None], axis=2)
    trials = {
        "exact": search_trials.in_floats(bank, 70),
        "integers": search_trials.in_integers(bank, 70, bits=7),
        "few": search_trials.in_integers(bank, 70, bits=7, few=2),
        "axes": search_trials.in_floats(bank, 70, axes=np.eye(24, 12, dtype=np.float32), few=3),
    }
    _, found = search_trials.measured(trials, [rows])
    rise = {name: nearest[np.arange(70), index[0][0]] / nearest.min(axis=1) - 1 for name, index in found.items()}
    assert rise["exact"].max() < 1e-5
    assert rise["few"].max() <= rise["integers"].max() < 0.02
    assert rise["axes"].max() > 0
    assert 0 < search_trials.share_of_blocks_left(bank, rows) <= 1


def test_the_table_of_the_search_trials_has_a_line_for_the_blocks_that_are_left():
    about = {"machine": {"cpu": "x", "cores": 2, "memory_mb": 1000, "threads": 1}, "versions": {}, "commit": "abc"}
    figures = {"ms": 1.5, "ratio": 0.25, "largest_rise": 0.0125, "n_moved": 2, "n_patches": 1000, "image_auroc": 0.9}
    whole = {"part": "nut", "search": "integers", "bank": 216, **figures, **about}
    left = {"part": "nut", "search": "blocks that bounds leave", "bank": 216, "share_left": 0.97, **about}
    table = benchmark_tables.search_trials_table(reading([whole, left]))
    assert "| nut | 216 | integers | 1.50 ms | 0.25 | 1.25% | 2 of 1,000 | 0.900 |" in table
    assert "97% of the blocks" in table
