"""dvc.yaml tells the truth: dependencies are the real imports, parameters the real reads, outputs the real writes.

Otherwise a change could serve stale results, which is the one thing that a pipeline must never do.
"""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from checkout import ROOT
from conftest import OF_ALL, copy_pipeline, run_stage, run_stages
from gonogo.files import combined_sha256
from gonogo.images.dataset import read_dataset
from gonogo.images.reading import write_png
from gonogo.model.saved import load_model
from gonogo.params import Params, read_yaml
from gonogo.project.fingerprint import closure

STAGES = ["prepare", "fit", "evaluate", "export", "parity", "robustness", "bench", "report", "router", "retrieve"]
STAGES += ["summary"]
PIPELINE = read_yaml(ROOT / "dvc.yaml")
OVERRIDES = "${code}/overrides.json"
RAW = read_yaml(ROOT / "params.yaml")["raw"]  # the one path that a user changes per experiment
PATHS = {name: folder for entry in PIPELINE["vars"] for name, folder in entry.items()}

LEFT_OUT = ("plots/left_out/digit_0.csv", "models/left_out/digit_0.npz")

# Runs stages as DVC does, and tells which library files each loaded, which parameters it read and what it wrote. The
# packages that take seconds to import are there before; each stage is a fork, and has none of the library's files yet.
WITNESS = """
import json, os, runpy, sys, traceback
from pathlib import Path
import dvclive.live, onnxruntime, onnxscript, scipy.stats, sklearn, torch._dynamo, torch.onnx
def files():
    return {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*") if path.is_file()}
def run(script, *words):
    sys.argv[:] = [script, *words]
    sys.path[0] = str(Path(script).resolve().parent)
    import entry_point
    seen = []
    real = entry_point.Params.__init__
    def remember(self, *args, **kwargs):
        real(self, *args, **kwargs)
        seen.append(self)
    entry_point.Params.__init__ = remember
    runpy.run_path(script, run_name="__main__")
    source = Path.cwd() / "src"
    loaded = {Path(m.__file__).resolve() for m in sys.modules.values() if getattr(m, "__file__", None)}
    Path("witness.json").write_text(json.dumps({
        "params": sorted(set().union(*(p.sections_read for p in seen))),
        "files": sorted(f.relative_to(Path.cwd()).as_posix() for f in loaded if f.is_relative_to(source)),
    }))
told = {}
for words in json.loads(sys.argv[1]):
    before = files()
    child = os.fork()
    if child == 0:
        try:
            run(*words)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(words[0])
    written = [path for path, time in files().items() if before.get(path) != time and path.name != "witness.json"]
    told[Path(words[0]).stem] = json.loads(Path("witness.json").read_text()) | {
        "written": [path.relative_to(Path.cwd()).as_posix() for path in written]
    }
Path("told.json").write_text(json.dumps(told))
"""


def filled(text: str, category: str = "") -> str:
    for name, folder in (PATHS | {"raw": RAW}).items():
        text = text.replace("${" + name + "}", folder)
    return text.replace("${item.category}", category)


def entries(stage: str, key: str, category: str = "") -> list[str]:
    """The paths or sections that `stage` declares under `key`; parameters of another file are left out."""
    items = PIPELINE["stages"][stage].get(key, [])
    plain = [item if isinstance(item, str) else next(iter(item)) for item in items]
    return [filled(item, category) for item in plain if key != "params" or item != OVERRIDES]


def overridden(stage: str) -> set[str]:
    """The sections whose overrides, by category, `stage` declares to read."""
    items = [item for item in PIPELINE["stages"][stage].get("params", []) if not isinstance(item, str)]
    names = [name for item in items for name in item[OVERRIDES]]
    assert all(name.startswith("${item.category}.") for name in names)
    return {name.removeprefix("${item.category}.") for name in names}


def library(stage: str) -> set[str]:
    """The library's Python files that a stage's fingerprint covers."""
    files = closure(ROOT / "stages" / f"{stage}.py", package=ROOT / "src" / "gonogo")
    return {path.relative_to(ROOT).as_posix() for path in files if path.suffix == ".py"}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_depends_on_code_through_its_own_fingerprint_alone(stage):
    assert PIPELINE["stages"][stage]["deps"][0] == f"${{code}}/{stage}.txt"
    assert not [path for path in entries(stage, "deps") if path.startswith(("src/", "stages/"))]


def test_the_stage_code_looks_at_every_file_that_a_fingerprint_covers():
    deps = entries("code", "deps")
    assert {"constraints.txt", "stages", "src/gonogo"} <= set(deps)
    assert {"categories", "overrides"} <= set(entries("code", "params"))


@pytest.mark.parametrize("stage", OF_ALL)
def test_two_stages_run_once_for_all_categories(stage):
    assert "matrix" not in PIPELINE["stages"][stage]


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in OF_ALL])
def test_every_other_stage_runs_once_per_category_of_params_yaml(stage):
    assert PIPELINE["stages"][stage]["matrix"] == {"category": "${categories}"}
    assert PIPELINE["stages"][stage]["cmd"] == f"python stages/{stage}.py --category ${{item.category}}"


def test_no_path_of_a_stage_stands_outside_vars():
    for stage in STAGES:
        for key in ("outs", "metrics", "plots"):
            for item in PIPELINE["stages"][stage].get(key, []):
                path = item if isinstance(item, str) else next(iter(item))
                assert path.startswith("${"), f"{stage}: {path}"


def test_every_category_has_an_artifact():
    params = read_yaml(ROOT / "params.yaml")
    assert {a["path"] for a in PIPELINE["artifacts"].values()} == {f"bundles/{c}" for c in params["categories"]}


def test_metrics_are_in_git_and_bench_is_never_replayed():
    n_seen = 0
    for stage in STAGES:
        for out in PIPELINE["stages"][stage].get("outs", []):
            if isinstance(out, dict) and next(iter(out)).startswith("${metrics}"):
                settings = next(iter(out.values()))
                assert settings["cache"] is False
                assert settings.get("persist", False) is (stage == "bench")
                n_seen += 1
    assert n_seen >= 8


def test_every_override_of_the_repository_is_valid():
    from gonogo.calibration.regions import RegionParams
    from gonogo.data import SOURCES
    from gonogo.data.prepare.params import PrepareParams
    from gonogo.detectors.options import DETECTOR_OPTIONS
    from gonogo.model.fit_params import FitParams

    for category in read_yaml(ROOT / "params.yaml")["categories"]:
        params = Params(ROOT / "params.yaml", category)
        params.variant("prepare", SOURCES, PrepareParams)
        params.variant("fit", DETECTOR_OPTIONS, FitParams)
        params.values("regions", RegionParams)


def test_the_defaults_for_regions_are_those_of_the_tests_and_leave_nothing_out():
    from conftest import REGIONS
    from gonogo.calibration.regions import RegionParams

    assert Params(ROOT / "params.yaml").values("regions", RegionParams) == REGIONS


def test_the_threshold_keeps_more_distance_than_parity_tolerates():
    params = read_yaml(ROOT / "params.yaml")
    assert params["calibrate"]["margin"] >= 2 * params["parity"]["tolerance"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the pipeline needs, with one small category and few repetitions."""
    folder = tmp_path_factory.mktemp("checkout")
    copy_pipeline(folder, (r"runs: 200", "runs: 3"))
    assert read_yaml(folder / "params.yaml")["categories"] == ["digit_0"]
    return folder


@pytest.fixture(scope="module")
def witnessed(checkout: Path) -> dict[str, dict[str, list[str]]]:
    """What each stage loaded, read and wrote when all of them ran in order."""
    (checkout / "witness.py").write_text(WITNESS)
    words = [[f"stages/{stage}.py", *([] if stage in OF_ALL else ["--category", "digit_0"])] for stage in STAGES]
    command = [sys.executable, "-B", "witness.py", json.dumps(words)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    seen: dict[str, dict[str, list[str]]] = json.loads((checkout / "told.json").read_text())
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_loads_no_library_file_that_it_does_not_declare(witnessed, stage):
    assert witnessed[stage]["files"]
    assert set(witnessed[stage]["files"]) <= library(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_exactly_the_parameters_that_it_declares(witnessed, stage):
    read = set(witnessed[stage]["params"]) - {"overrides"}
    assert read == {section.partition(".")[0] for section in entries(stage, "params")}
    assert overridden(stage) == (set() if stage in OF_ALL else read - {"seed"})


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_writes_only_what_it_declares_and_all_of_it(witnessed, stage, checkout):
    declared = [path for key in ("outs", "metrics", "plots") for path in entries(stage, key, "digit_0")]
    written = witnessed[stage]["written"]
    assert written
    assert [w for w in written if not any(w == d or w.startswith(d + "/") for d in declared)] == []
    assert [d for d in declared if not (checkout / d).exists()] == []


@pytest.mark.usefixtures("witnessed")
def test_every_metrics_file_is_flat_and_finite_and_names_its_data(checkout):
    data = json.loads((checkout / "metrics" / "prepare" / "digit_0.json").read_text())["data_fingerprint"]
    files = sorted((checkout / "metrics").rglob("*.json"))
    named = {file.relative_to(checkout / "metrics").as_posix(): json.loads(file.read_text()) for file in files}
    origin = named.pop("origin.json")
    assert origin["data"] == {"digit_0": data}
    assert origin["versions"].keys() >= {"gonogo", "python", "torch", "onnxruntime"}
    of_all = combined_sha256({"digit_0": data})
    for name, metrics in named.items():
        short = name == "mean.json" or name.startswith("headline/")
        found = metrics["data" if short else "data_fingerprint"]
        expected = data if "/" in name else combined_sha256({"digit_0": data[:8] if short else data})
        assert found == (expected[:8] if short else expected), name
        assert all(isinstance(value, str | int | float) for value in metrics.values())
        assert not [value for value in metrics.values() if isinstance(value, float) and not math.isfinite(value)]
    assert named["summary.json"]["data_fingerprint"] == of_all
    assert len(named) == len(STAGES) - 2 + 2  # report writes headline, export none; summary writes two more


def test_the_origin_of_a_run_depends_on_the_code_of_every_stage():
    assert set(entries("summary", "deps")) >= {f"metrics/code/{stage}.txt" for stage in STAGES}


@pytest.mark.usefixtures("witnessed")
def test_a_fit_writes_the_memory_that_was_forecast_beside_what_it_took(checkout):
    costs = json.loads((checkout / "metrics" / "fit" / "digit_0.json").read_text())
    assert costs["fit_s"] > 0
    assert 0.5 < costs["forecast_mb"] / costs["peak_memory_mb"] < 2


@pytest.mark.usefixtures("witnessed")
def test_a_failed_parity_leaves_its_evidence_and_no_bundle(checkout, tmp_path):
    import onnx

    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder)
    shutil.rmtree(folder / "bundles")
    gauge = folder / "models" / "exported" / "digit_0" / "gauge.onnx"
    proto = onnx.load(gauge)
    for node in proto.graph.node:
        node.output[:] = ["true_score" if name == "score" else name for name in node.output]
    proto.graph.initializer.append(onnx.helper.make_tensor("fault", onnx.TensorProto.FLOAT, [1], [1.01]))
    proto.graph.node.append(onnx.helper.make_node("Mul", ["true_score", "fault"], ["score"]))
    onnx.save(proto, gauge)
    refused = run_stage(folder, "parity")
    assert refused.status == 1
    assert "parity@digit_0: ParityError" in refused.err
    assert ".png" in refused.err
    assert not (folder / "bundles" / "digit_0").exists()
    assert json.loads((folder / "metrics" / "parity" / "digit_0.json").read_text())["passed"] is False


@pytest.mark.usefixtures("witnessed")
def test_eight_bits_are_asked_for_in_the_export_and_judged_in_the_parity_stage(checkout, tmp_path):
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder)
    params = (folder / "params.yaml").read_text()
    assert "int8: false" in params
    (folder / "params.yaml").write_text(params.replace("int8: false", "int8: true"))
    refused = run_stage(folder, "export")
    assert refused.status == 1
    assert "export@digit_0: ExportError: export.int8 is true, but the graph has no convolution" in refused.err

    shutil.copy(
        folder / "models/exported/digit_0/gauge.onnx", folder / "models/exported/digit_0/gauge_int8.onnx"
    )  # a perfect rounding
    run_stages(folder, ["parity"])
    metrics = json.loads((folder / "metrics/parity/digit_0.json").read_text())
    assert (metrics["int8_flips"], metrics["int8_auroc_change"], metrics["int8_score_change"]) == (0, 0, 0)
    dataset = json.loads((folder / "bundles/digit_0/manifest.json").read_text())
    assert dataset["parity"]["int8_threshold"] == dataset["threshold"]["threshold"]


@pytest.mark.usefixtures("witnessed")
def test_the_same_stages_run_again_give_the_same_bytes(checkout, tmp_path):
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder)
    for stage in ("prepare", "fit", "evaluate"):
        for declared in [d for key in ("outs", "metrics", "plots") for d in entries(stage, key, "digit_0")]:
            path = folder / declared
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run_stages(folder, [stage])
    names = ["metrics/evaluate/digit_0.json", "models/fitted/digit_0/manifest.json"]
    for name in (*names, "plots/records/digit_0.csv", "plots/regions/digit_0.csv", *LEFT_OUT):
        assert (folder / name).read_bytes() == (checkout / name).read_bytes()


@pytest.mark.usefixtures("witnessed")
def test_crosswise_every_good_image_is_fitted_on_and_scored_by_a_gauge_that_did_not_see_it(checkout, tmp_path):
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("method: holdout ", "method: cross "))
    run_stages(folder, ("fit", "evaluate", "export", "parity"))
    prepared = json.loads((folder / "metrics" / "prepare" / "digit_0.json").read_text())
    bundle = json.loads((folder / "bundles" / "digit_0" / "manifest.json").read_text())
    n_good = prepared["n_fit"] + prepared["n_calibrate"]
    assert (bundle["threshold"]["method"], bundle["threshold"]["certified"]) == ("cross", False)
    assert bundle["threshold"]["n_calibrate"] == len(bundle["threshold"]["good_scores"]) == n_good
    with (folder / "plots" / "records" / "digit_0.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "calibrate"]
    assert sorted(float(row["score"]) for row in rows) == bundle["threshold"]["good_scores"]
    model = load_model(folder / "models" / "fitted" / "digit_0")
    dataset = read_dataset(folder / "data" / "prepared" / "digit_0", folder / "data" / "raw")
    fitted_on = dataset.with_role("fit")
    own = [float(model.inspector.inspect(dataset.pixels_of(record)[None])[0][0]) for record in fitted_on]
    crosswise = {row["image"]: float(row["score"]) for row in rows}
    others = np.array([crosswise[record.path] for record in fitted_on])
    assert (others > np.array(own)).mean() > 0.9  # an image fits the gauge that saw it better
    assert not (folder / "models" / "checkpoints" / "digit_0").exists()


OWN_PARTS = """
  tiles:
    prepare: {source: folder, folder: tiles}
    fit: {detector: pca, image_size: [16, 12], tiling: {height: 24, width: 32, overlap: 4}}
    regions: {pixel_false_positive_rate: 0.01, min_area: 4, border: 0.05}
"""


def with_tiles(checkout: Path, folder: Path, *, n_defective: int) -> Path:
    """A copy of the checkout with a folder of images of our own and a change of params.yaml alone."""
    shutil.copytree(checkout, folder)
    text = (folder / "params.yaml").read_text().replace("categories: [digit_0]", "categories: [tiles]")
    (folder / "params.yaml").write_text(text + OWN_PARTS)
    rng = np.random.default_rng(0)
    for number in range(60 + n_defective):
        pixels = np.clip(120 + 40 * np.sin(np.arange(32) / 3) + rng.normal(0, 6, (24, 32)), 0, 255)
        mask = np.zeros((24, 32), bool)
        if number >= 60:
            mask[8:14, 10:20] = True
            pixels[mask] = 240
            write_png(folder / "data/raw/tiles/ground_truth/chip" / f"{number}_mask.png", mask)
        kind = "chip" if number >= 60 else "good"
        path = folder / "data/raw/tiles" / kind / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


@pytest.mark.usefixtures("witnessed")
def test_a_folder_of_images_gets_the_whole_report_by_a_change_of_params_alone(checkout, tmp_path):
    folder = with_tiles(checkout, tmp_path / "own", n_defective=6)
    said = run_stages(folder, STAGES, "tiles")
    assert "36 fit, 12 calibrate, 12 good and 6 defective test images" in said["prepare"]
    assert "12 good parts to calibrate certify at most 22.1%" in said["prepare"]
    metrics = json.loads((folder / "metrics/evaluate/tiles.json").read_text())
    assert metrics["recall"] == 1.0
    assert metrics["pixel_auroc"] > 0.9
    assert metrics["seg_f1"] > 0
    bundle = json.loads((folder / "bundles/tiles/manifest.json").read_text())
    assert bundle["regions"]["params"]["border"] == 0.05
    assert bundle["preprocessing"]["tiling"] == {"height": 24, "width": 32, "overlap": 4}
    assert bundle["preprocessing"]["image_size"] == [16, 12]
    assert "tiles" in (folder / "reports" / "index.html").read_text()
    assert not list((folder / "data/prepared/tiles").rglob("*.bmp"))
    for image in (folder / "data/raw/tiles/chip").iterdir():
        image.write_bytes(image.read_bytes()[:-1] + b"\x07")
    changed = run_stage(folder, "evaluate", "tiles")
    assert changed.status == 1
    assert ".bmp has changed since the prepare stage saw it; run dvc repro" in changed.err


@pytest.mark.usefixtures("witnessed")
def test_good_images_alone_get_a_certified_gauge_and_a_report(checkout, tmp_path):
    folder = with_tiles(checkout, tmp_path / "good", n_defective=0)
    said = run_stages(folder, STAGES, "tiles")
    assert "no recall can be measured" in said["prepare"]
    assert "no defective part to measure recall on" in said["evaluate"]
    assert json.loads((folder / "metrics/summary.json").read_text())["n_categories"] == 1
    assert "no defective part in test" in (folder / "reports" / "index.html").read_text()
