"""Speed: figures that hang together, of a process that holds the scorer alone, or an error and no figure at all."""

import math
import os
import shutil

import numpy as np
import pytest

from gonogo.errors import ConfigError, DataError, GonogoError, IntegrityError, MissingExtraError
from gonogo.evaluation.metric_table import is_known
from gonogo.evaluation.speed import bench
from gonogo.evaluation.speed.bench import BenchParams, measure, roofline_figures
from gonogo.evaluation.speed.roofline import Work, count_work
from gonogo.evaluation.speed.timing import settings

PARAMS = BenchParams(runs=40, warmup=5, threads=1)
MEASURED = [
    "cold_start_ms",
    "p50_ms",
    "p95_ms",
    "mean_ms",
    "images_per_second",
    "decode_p50_ms",
    "model_p50_ms",
    "rest_p50_ms",
    "regions_p50_ms",
    "peak_memory_mb",
    "roofline_ms",
    "roofline_model_ms",
    "roofline_decode_ms",
    "times_roofline",
    "matmul_gflops",
    "copy_gb_per_s",
    "gflop_per_image",
    "mb_per_image",
    "best_images_per_second",
]
BALLAST_MB = 512


@pytest.fixture(scope="module")
def images(digits):
    return [digits.path_of(record) for record in digits.with_role("test")][:7]


@pytest.fixture(scope="module")
def figures(bundle, images, tmp_path_factory):
    """Measured while this process holds much memory, where torch cannot be imported and stderr is flooded."""
    folder = tmp_path_factory.mktemp("hostile")
    for package in ("torch", "timm", "scipy", "sklearn", "pydantic", "onnx"):
        (folder / f"{package}.py").write_text(f"raise SystemExit('{package} was imported')\n")
    (folder / "sitecustomize.py").write_text("import sys\nsys.stderr.write('a warning\\n' * 100_000)\n")
    ballast = np.ones(BALLAST_MB * 2**17)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        measured = measure(bundle, images, PARAMS)
    assert ballast.nbytes == BALLAST_MB * 2**20
    return measured


def test_every_figure_is_in_the_table_and_every_measured_one_a_finite_number_above_zero(figures):
    assert all(map(is_known, figures))
    for name in MEASURED:
        assert isinstance(figures[name], float)
        assert math.isfinite(figures[name])
        assert figures[name] > 0


def test_decoding_model_and_the_rest_add_up_to_about_the_whole(figures):
    parts = figures["decode_p50_ms"] + figures["model_p50_ms"] + figures["rest_p50_ms"]
    assert parts == pytest.approx(figures["p50_ms"], rel=0.3)
    assert max(figures["decode_p50_ms"], figures["model_p50_ms"], figures["rest_p50_ms"]) <= figures["p50_ms"]


def test_the_figures_agree_with_each_other(figures):
    assert figures["p50_ms"] <= figures["p95_ms"]
    assert figures["images_per_second"] * figures["mean_ms"] == pytest.approx(1000)
    assert figures["cold_start_ms"] > 10 * figures["p50_ms"]  # Python, onnxruntime and the first verdict


def test_the_process_needs_neither_torch_nor_any_package_of_the_pipeline(figures):
    assert figures["runs"] == PARAMS.runs  # the fixture's packages end any process that imports them


def test_the_roofline_is_operations_and_bytes_over_the_best_rates_and_the_verdict_its_median_over_that():
    work = Work(operations=4 * 10**9, bytes=8 * 10**6)
    product, copy = 2 * 1024**3 / 50e9, 8e6 / 20e9  # 50 GFLOP/s and 20 GB/s
    rounds = [(2 * product, copy, 3e-3), (product, 3 * copy, 5e-3), (9 * product, 9 * copy, 9e-3)]
    figures = roofline_figures(work, rounds, 200.0)
    assert figures["matmul_gflops"] == pytest.approx(50)
    assert figures["copy_gb_per_s"] == pytest.approx(20)
    assert figures["roofline_model_ms"] == pytest.approx(80 + 0.4)
    assert figures["roofline_decode_ms"] == pytest.approx(3)
    assert figures["roofline_ms"] == pytest.approx(83.4)
    assert figures["times_roofline"] == pytest.approx(200 / 83.4)
    assert (figures["gflop_per_image"], figures["mb_per_image"]) == (4, 8)


def test_a_copy_too_small_to_time_is_made_larger_and_counted_so():
    figures = roofline_figures(Work(0, 1000), [(1e-3, 1e-4, 1e-3)], 10.0)
    assert figures["copy_gb_per_s"] == pytest.approx(2**20 / 1e-4 / 1e9)


def test_the_work_is_that_of_the_bundles_graph_for_an_image_of_the_test_set(figures, bundle):
    work = count_work((bundle / "gauge.onnx").read_bytes(), 8, 8)
    assert figures["gflop_per_image"] == work.operations / 1e9 > 0
    assert figures["mb_per_image"] == work.bytes / 1e6


def test_each_setting_of_the_sweep_has_its_images_per_second_and_the_fastest_is_named(figures):
    settings = {name: value for name, value in figures.items() if name.startswith("images_per_second_w")}
    assert set(settings) == {f"images_per_second_w1_t1_b{size}" for size in (1, 8, 32)}
    best = f"images_per_second_w1_t1_b{figures['best_batch_size']}"
    assert figures["best_images_per_second"] == settings[best] == max(settings.values())
    assert (figures["best_workers"], figures["best_worker_threads"]) == (1, 1)


def test_the_sweep_tries_one_thread_and_all_of_them_divided_and_no_batch_that_memory_has_no_room_for():
    assert set(settings(4, (1, 8), most=1000)) == {
        *((1, 1, 1), (1, 1, 8), (1, 4, 1), (1, 4, 8), (2, 2, 1), (2, 2, 8), (4, 1, 1), (4, 1, 8))
    }
    assert set(settings(4, (1, 8), most=16)) == set(settings(4, (1, 8), most=1000)) - {(4, 1, 8)}
    assert set(settings(2, (1, 8), most=0)) == {(1, 1, 1), (1, 2, 1), (2, 1, 1)}


def test_memory_is_that_of_the_measured_process_and_not_of_the_one_that_started_it(figures):
    assert 20 < figures["peak_memory_mb"] < BALLAST_MB


def test_the_figures_say_what_they_were_measured_on(figures):
    import onnxruntime
    import PIL

    assert (figures["runs"], figures["threads"]) == (40, 1)
    assert (figures["image_width"], figures["image_height"]) == (8, 8)
    assert (figures["onnxruntime"], figures["pillow"]) == (onnxruntime.__version__, PIL.__version__)
    assert figures["cores"] == os.cpu_count()
    assert figures["cpu"] == bench.cpu_name() != ""


def test_a_bundle_that_is_not_the_proven_one_gets_no_figures(bundle, images, tmp_path):
    shutil.copytree(bundle, tmp_path / "tampered")
    with (tmp_path / "tampered" / "gauge.onnx").open("ab") as gauge:
        gauge.write(b"\0")
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        measure(tmp_path / "tampered", images, PARAMS)


def test_an_image_that_cannot_be_read_gives_no_figures_even_after_the_first_verdict(bundle, images, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(GonogoError, match=r"ImageError: .*broken\.png"):
        measure(bundle, [*images, tmp_path / "broken.png"], PARAMS)


def test_openvino_is_timed_beside_onnxruntime_and_scores_as_it_does(bundle, images):
    pytest.importorskip("openvino", reason="needs gonogo[openvino]")
    told = measure(bundle, images, BenchParams(runs=30, warmup=1, threads=1, openvino=True))
    assert told["openvino_p50_ms"] > 0
    assert told["onnxruntime_beside_openvino_p50_ms"] > 0
    assert told["openvino_score_max_diff_e6"] < 100
    assert told["openvino_n_flips"] == 0
    assert all(map(is_known, told))


def test_openvino_that_is_not_installed_is_an_error_that_names_the_extra(bundle, images, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"gonogo\[openvino\]"):
        measure(bundle, images, BenchParams(runs=1, warmup=0, threads=1, openvino=True))


def test_no_image_is_an_error(bundle):
    with pytest.raises(DataError, match="needs at least one image"):
        measure(bundle, [], PARAMS)


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"threads": 0}, {"warmup": -1}])
def test_parameters_below_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="runs and threads must be at least 1 and warmup at least 0"):
        BenchParams(**({"runs": 1, "warmup": 0, "threads": 1} | wrong))
