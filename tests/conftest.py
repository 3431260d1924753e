"""Small, real, seeded images and the fitted models of every detector that several tests share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gonogo.detectors import DETECTORS
from gonogo.detectors.contract import Detector
from gonogo.export import export_onnx
from gonogo.inspection import inspect_calibrate
from gonogo.inspector import FitImages, Inspector
from gonogo.manifest import Manifest, write_samples
from gonogo.model import Model, load_model, save_model
from gonogo.parity import ParityParams, bundle_facts, compare, write_bundle
from gonogo.regions import RegionParams
from gonogo.sample import Sample
from gonogo.sources import SOURCES
from gonogo.threshold import certify

# Small enough to fit in a second, and otherwise the detectors that the pipeline runs.
OPTIONS: dict[str, dict[str, object]] = {
    "mean_image": {"image_size": 8},
    "pca": {"image_size": 8, "explained_variance": 0.9},
    "isolation_forest": {"image_size": 8, "n_estimators": 25},
    "patchcore": {"image_size": 64, "coreset_ratio": 0.05},
}

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


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The digit 0 as good parts, every other digit as a defect."""
    samples: Iterator[Sample] = SOURCES["digits"](normal_class=0).samples(seed=17)
    return write_samples(tmp_path_factory.mktemp("digits"), "digit_0", samples)


@pytest.fixture(scope="session")
def pixels(digits: Manifest) -> np.ndarray:
    """(12, 8, 8, 3) uint8: test images, good and defective."""
    from gonogo.images import read_image

    records = digits.with_role("test")
    return np.stack([read_image(digits.path_of(record)) for record in records[:: len(records) // 12][:12]])


def fitted(name: str, manifest: Manifest, *, seed: int = 17, regions: RegionParams = REGIONS) -> Inspector:
    """An inspector whose detector `name` was fitted on the manifest's fit images."""
    detector: Detector = DETECTORS[name](**OPTIONS[name])
    inspector = Inspector(detector, regions.inside)
    paths = [manifest.path_of(record) for record in manifest.with_role("fit")][:40]
    detector.fit(FitImages(inspector, paths), seed=seed)
    return inspector


@pytest.fixture(scope="session", params=list(DETECTORS))
def inspector(request: pytest.FixtureRequest, digits: Manifest) -> Inspector:
    """Each registered detector in turn, fitted."""
    return fitted(request.param, digits)


def name_of(inspector: Inspector) -> str:
    """The name that the registry has for the inspector's detector."""
    return next(name for name, kind in DETECTORS.items() if type(inspector.detector) is kind)


def modelled(inspector: Inspector, manifest: Manifest, folder: Path, *, regions: RegionParams = REGIONS) -> Model:
    """A fitted inspector, calibrated on the manifest, saved in `folder` and loaded again."""
    name = name_of(inspector)
    good, rule = inspect_calibrate(inspector, manifest, regions)
    save_model(
        folder,
        inspector.detector,
        certify(good.scores, good.groups, false_alarm_rate=0.1, confidence=0.95, margin=1e-3),
        rule,
        category="digit_0",
        detector_name=name,
        options=OPTIONS[name],
        data_fingerprint=manifest.fingerprint,
    )
    return load_model(folder)


@pytest.fixture(scope="session")
def digits_model(digits: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The digits' PCA gauge, before its export."""
    return modelled(fitted("pca", digits), digits, tmp_path_factory.mktemp("digits_model"))


@pytest.fixture(scope="session")
def bundle(digits: Manifest, digits_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `digits_model`, proven on the digits."""
    folder = tmp_path_factory.mktemp("gauge")
    export_onnx(digits_model.inspector, folder / "gauge.onnx", metadata=bundle_facts(digits_model), opset=18)
    parity = compare(digits_model, folder / "gauge.onnx", digits, ParityParams(1e-4, [1, 8], [[9, 9], [30, 20]]))
    write_bundle(folder / "bundle", folder / "gauge.onnx", digits_model, parity)
    return folder / "bundle"
