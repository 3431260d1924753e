"""Speed: figures that hang together, of a process that holds the scorer alone, or an error and no figure at all."""

import math
import os
import shutil

import numpy as np
import pytest

from gonogo import bench
from gonogo.bench import BenchParams, measure
from gonogo.errors import ConfigError, DataError, GonogoError

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
]
BALLAST_MB = 512


@pytest.fixture(scope="module")
def images(digits):
    return [digits.path_of(record) for record in digits.with_role("test")][:7]


@pytest.fixture(scope="module")
def figures(bundle, images, tmp_path_factory):
    """Measured while this process holds much memory, where torch cannot be imported and stderr is flooded."""
    folder = tmp_path_factory.mktemp("hostile")
    for package in ("torch", "timm", "scipy", "sklearn", "pydantic"):
        (folder / f"{package}.py").write_text(f"raise SystemExit('{package} was imported')\n")
    (folder / "sitecustomize.py").write_text("import sys\nsys.stderr.write('a warning\\n' * 100_000)\n")
    ballast = np.ones(BALLAST_MB * 2**17)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        measured = measure(bundle, images, PARAMS)
    assert ballast.nbytes == BALLAST_MB * 2**20
    return measured


def test_every_figure_is_a_finite_number_above_zero(figures):
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
    with pytest.raises(GonogoError, match=r"exit code 1: (.|\n)*IntegrityError: .*SHA-256 differs"):
        measure(tmp_path / "tampered", images, PARAMS)


def test_an_image_that_cannot_be_read_gives_no_figures_even_after_the_first_verdict(bundle, images, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(GonogoError, match=r"ImageError: .*broken\.png"):
        measure(bundle, [*images, tmp_path / "broken.png"], PARAMS)


def test_no_image_is_an_error(bundle):
    with pytest.raises(DataError, match="needs at least one image"):
        measure(bundle, [], PARAMS)


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"threads": 0}, {"warmup": -1}])
def test_parameters_below_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="runs and threads must be at least 1 and warmup at least 0"):
        BenchParams(**({"runs": 1, "warmup": 0, "threads": 1} | wrong))
