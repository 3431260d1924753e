"""Small, real, seeded images and the fitted models of every detector that several tests share."""

import copy
import gc
import io
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkout import ROOT
from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import CalibrateParams, threshold_of
from gonogo.data.digits import Digits
from gonogo.data.prepare.params import PrepareParams
from gonogo.data.prepare.prepare import prepare, shares_of
from gonogo.data.sample import Sample, Shares
from gonogo.detectors import DETECTORS, detector_class, detector_with
from gonogo.detectors.contract import Detector
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.export.graph import export_onnx
from gonogo.export.model_card import CategoryResults
from gonogo.export.parity import ParityParams, check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.files import sha256_of
from gonogo.images.dataset import Dataset
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import Tiling
from gonogo.model.inspection import inspect_calibrate
from gonogo.model.inspector import Inspector
from gonogo.model.saved import Model, bundle_facts, load_model, save_model

gc.disable()  # until `modules_and_tests_are_no_garbage`: collecting the tests takes half the time

# timm's smallest, for what does not depend on how good features are: the default backbone takes three times as long.
TINY: dict[str, object] = {"backbone": "test_resnet", "weights": "random"}

# What a bundle's model card tells, where a test does not come by it through the pipeline.
MEASURED = CategoryResults(
    prepare={"n_fit": 1, "n_fit_defective": 0, "n_calibrate": 1, "n_calibrate_groups": 1, "n_test_good": 0},
    evaluate={
        "data_fingerprint": "0" * 64,
        "interval_confidence": 0.95,
        "n_defective": 0,
        "n_good": 0,
        "threshold": 1.0,
        "uncertain_rate": 0.0,
    },
    rows=[],
)

# Small enough to fit in a second, and otherwise the detectors that the pipeline runs; some see squares, others do not.
OPTIONS: dict[str, dict[str, object]] = {
    "mean_image": {"image_size": 8},
    "pca": {"image_size": 8, "explained_variance": 0.9},
    "isolation_forest": {"image_size": [8, 6], "n_estimators": 25},
    "mahalanobis": {"features": "pixels", "image_size": [6, 10]},
    "knn": {"image_size": 64} | TINY,
    "lof": {"features": "pixels", "image_size": 8},
    "ecod": {"image_size": [32, 96]} | TINY,
    "ocsvm": {"features": "pixels", "image_size": 8},
    "padim": {"image_size": [32, 96], "n_features": 20} | TINY,
    "patchcore": {"image_size": 64, "coreset_ratio": 0.05} | TINY,
    "softpatch": {"image_size": [96, 32], "coreset_ratio": 0.05} | TINY,
    "supersimplenet": {"image_size": 64, "noise_std": 1.0, "epochs": 8, "head_lr": 1e-3} | TINY,
    "efficientad": {
        "teacher": "random",
        "size": "tiny",
        "image_size": [48, 64],
        "steps": 8,
        "epoch_steps": 4,
        "lr": 1e-3,
    },
    "anomalib": {"model": "padim", "image_size": 64},  # the checkpoint comes from `anomalib_trained`
}

# The interpreter that `make anomalib` makes. It is not needed to use gonogo, so its tests are left out without it.
ANOMALIB = Path(__file__).parents[1] / ".venv-anomalib" / "bin" / "python"
needs_anomalib = pytest.mark.skipif(not ANOMALIB.exists(), reason="no .venv-anomalib: `make anomalib` makes it")

# As in params.yaml: nothing is grown, opened, closed, dropped or left out.
REGIONS = RegionParams(
    pixel_threshold="quantile",
    pixel_false_positive_rate=1e-3,
    sigma=3.0,
    hysteresis=1.0,
    opening=0,
    closing=0,
    min_area=1,
    roi=None,
    border=0.0,
)


PREPARE = PrepareParams(
    calibrate_share=0.25,
    test_share=0.2,
    split="layout",
    group_pattern=None,
    exclude=[],
    contaminate=0.0,
    validate_share=0.0,
    max_rejects=0,
)
CALIBRATE = CalibrateParams(
    method="holdout",
    folds=5,
    tail_share=0.2,
    false_alarm_rate=0.1,
    confidence=0.95,
    margin=1e-3,
    probability=None,
    defect_rate=None,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: a worker that gets one last would keep the others waiting for its end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def dvc_reports_nothing() -> Iterator[None]:
    """At its end each command of DVC would start a process that tries to tell its makers so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def operators_read_once() -> Iterator[None]:
    """For each export torch reads anew, from Python source, how its operators are written in ONNX; here once for all.

    It takes 0.4 s, a fifth of the export of a small gauge.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    read = cache(ONNXRegistry.from_torchlib)

    def registry(opset_version: int) -> ONNXRegistry:
        found = copy.copy(read(opset_version))
        found.functions = {name: list(written) for name, written in found.functions.items()}
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(registry))
        yield


@pytest.fixture(scope="session", autouse=True)
def modules_and_tests_are_no_garbage(operators_read_once: None) -> Iterator[None]:  # noqa: ARG001  of large modules
    """Garbage collection passes over what lives to the end: to look through all of it takes half a second each time."""
    gc.collect()
    gc.freeze()
    gc.enable()
    yield
    gc.unfreeze()


def unseen(n_done: int, n_total: int) -> None:
    """Progress that nobody looks at."""


def shares(seed: int) -> Shares:
    """How the tests deal good parts to the roles."""
    return shares_of(PREPARE, seed)


def manifest_of(samples: Iterable[Sample], folder: Path, *, raw: Path = Path("no raw folder")) -> Dataset:
    """The dataset that the prepare stage makes of samples, provided that it finds no error."""
    prepared = prepare(samples, PREPARE, CALIBRATE, category="parts", folder=folder, raw=raw, seed=17, progress=unseen)
    prepared.require_no_error()
    return prepared.dataset


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The digit 0 as good parts, every other digit as a defect."""
    samples = Digits(normal_class=0).samples("digit_0", Path(), shares(17))
    return manifest_of(samples, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def pixels(digits: Dataset) -> np.ndarray:
    """(12, 8, 8, 3) uint8: test images, good and defective."""
    records = digits.with_role("test")
    return np.stack([digits.pixels_of(record) for record in records[:: len(records) // 12][:12]])


def made(name: str, **options: Any) -> Detector:
    """The registered detector `name`, not fitted yet."""
    return detector_with(name, DETECTOR_OPTIONS[name](**options))


def fitted(
    name: str, dataset: Dataset, *, seed: int = 17, regions: RegionParams = REGIONS, tiling: Tiling | None = None
) -> Inspector:
    """An inspector whose detector `name` was fitted on the dataset's fit images."""
    detector = made(name, **OPTIONS[name])
    inspector = Inspector(detector, regions.inside, tiling=tiling)
    detector.fit(FitImages(inspector, dataset, dataset.with_role("fit")[:40]), seed=seed)
    return inspector


@pytest.fixture(scope="session")
def anomalib_trained(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `anomalib_training` writes from 40 images of the digit 0; completes OPTIONS."""
    images, folder = tmp_path_factory.mktemp("digits_for_anomalib"), tmp_path_factory.mktemp("anomalib")
    (images / "good").mkdir()
    for record in digits.with_role("fit")[:40]:
        shutil.copy(digits.path_of(record), images / "good")
    script = Path(__file__).with_name("anomalib_training.py")
    command = [str(ANOMALIB), "-I", str(script), str(images), "64", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    checkpoint = folder / "padim.ckpt"
    OPTIONS["anomalib"] |= {
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256_of(checkpoint),
        "python": os.path.relpath(ANOMALIB),
    }
    return folder


# The detectors that learn from good images alone; test_boxes.py and test_onnx_boxes.py have those that need labels.
FROM_GOOD = [name for name in DETECTORS if not name.endswith("_boxes")]
EACH = [pytest.param(name, marks=needs_anomalib if name == "anomalib" else ()) for name in FROM_GOOD]


@pytest.fixture(scope="session")
def fitted_once(digits: Dataset) -> Callable[[str], Inspector]:
    """A registered detector, fitted when it is first asked for; nobody may change it."""
    return cache(lambda name: fitted(name, digits))


@pytest.fixture(scope="session", params=EACH)
def inspector(request: pytest.FixtureRequest, fitted_once: Callable[[str], Inspector]) -> Inspector:
    """Each registered detector in turn, fitted."""
    if request.param == "anomalib":
        request.getfixturevalue("anomalib_trained")
    return fitted_once(request.param)


def name_of(inspector: Inspector) -> str:
    """The name that the registry has for the inspector's detector."""
    return next(name for name in DETECTORS if type(inspector.detector) is detector_class(name))


def modelled(
    inspector: Inspector,
    dataset: Dataset,
    folder: Path,
    *,
    regions: RegionParams = REGIONS,
    category: str = "digit_0",
) -> Model:
    """A fitted inspector, calibrated on the dataset, saved in `folder` and loaded again."""
    name = name_of(inspector)
    good, rule = inspect_calibrate(inspector, dataset, regions)
    save_model(
        folder,
        inspector,
        threshold_of(good.scores, good.groups, CALIBRATE, seed=17),
        rule,
        category=category,
        detector_name=name,
        options=OPTIONS[name],
        data_fingerprint=dataset.fingerprint,
        fitted_on=[record.path for record in dataset.with_role("fit")[:40]],
        calibrated_on=good.score_rows(),
    )
    return load_model(folder)


@pytest.fixture(scope="session")
def digits_model(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The digits' PCA gauge, before its export."""
    return modelled(fitted("pca", digits), digits, tmp_path_factory.mktemp("digits_model"))


def bundled(model: Model, dataset: Dataset, folder: Path) -> Path:
    """The bundle in `folder` of a model that is proven on the dataset."""
    export_onnx(model.inspector, folder / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    parity = check_parity(
        model, folder / "gauge.onnx", dataset, ParityParams(1e-4, [1, 8], [[9, 9], [30, 20]], 64, 0.01, 0.02)
    )
    write_bundle(folder / "bundle", folder / "gauge.onnx", model, parity, dataset, MEASURED)
    return folder / "bundle"


@pytest.fixture(scope="session")
def bundle(digits: Dataset, digits_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `digits_model`, proven on the digits."""
    return bundled(digits_model, digits, tmp_path_factory.mktemp("gauge"))


@pytest.fixture(scope="session")
def patchcore_model(
    digits: Dataset, fitted_once: Callable[[str], Inspector], tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """The digits' PatchCore, before its export."""
    return modelled(fitted_once("patchcore"), digits, tmp_path_factory.mktemp("patchcore_model"))


@pytest.fixture(scope="session")
def patchcore_bundle(digits: Dataset, patchcore_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `patchcore_model`: of a detector with features of a network, a memory bank and a map."""
    return bundled(patchcore_model, digits, tmp_path_factory.mktemp("patchcore"))


OF_CATEGORY = ("prepare", "fit", "evaluate", "export", "parity", "robustness", "bench", "report")
OF_ALL = ("router", "retrieve", "summary")  # stages that run once for all categories


def copy_pipeline(folder: Path, *changes: tuple[str, str]) -> None:
    """Copy what the stages need into `folder`, for one small category; each change replaces a pattern of params.yaml.

    Parity looks at two small sizes alone.
    """
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    small = (
        (r"categories:\n(- .*\n)+", "categories: [digit_0]\n"),
        (r"other_sizes: .*\n( +- .*\n)+", "other_sizes: [[9, 9], [20, 12]]\n"),
    )
    for old, new in (*small, *changes):
        text, n_found = re.subn(old, new, text)
        assert n_found == 1, old
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    (folder / "data" / "raw").mkdir(parents=True)


# A script that runs the stages that its first argument names in one process, which imports torch once.
STAGES_IN_ONE = """
import runpy, sys
sys.path.insert(0, "stages")
for stage in sys.argv.pop(1).split():
    runpy.run_path(f"stages/{stage}.py", run_name="__main__")
"""


@dataclass(frozen=True)
class Ran:
    """How a stage ended, and what it said."""

    status: int
    out: str
    err: str


def run_stage(folder: Path, stage: str, category: str | None = "digit_0") -> Ran:
    """Run the script of a stage in the project `folder`, in this process, which has imported torch already.

    Its library is the one under test, of which the project has a copy.
    """
    script = folder / "stages" / f"{stage}.py"
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.syspath_prepend(str(script.parent))
        patch.setattr(sys, "argv", [str(script), *(["--category", category] if category else [])])
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.delitem(sys.modules, "entry_point", raising=False)
        patch.setattr(gc, "freeze", lambda: None)  # what tests hold goes with them
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            gc.enable()
        sys.modules.pop("entry_point", None)
    return Ran(status, out.getvalue(), err.getvalue())


def run_stages(folder: Path, stages: Iterable[str], category: str = "digit_0") -> dict[str, str]:
    """What each of the stages says, all of which must end well."""
    said = {}
    for stage in stages:
        ran = run_stage(folder, stage, None if stage in OF_ALL else category)
        assert ran.status == 0, f"{stage}: {ran.err}"
        said[stage] = ran.out
    return said
