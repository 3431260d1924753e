"""Small, real, seeded images and the fitted models of every detector that several tests share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gonogo.detectors import DETECTORS
from gonogo.detectors.contract import Detector
from gonogo.inspector import FitImages, Inspector
from gonogo.manifest import Manifest, write_samples
from gonogo.sample import Sample
from gonogo.sources import SOURCES

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

# Small enough to fit in a second, and otherwise the detectors that the pipeline runs.
OPTIONS: dict[str, dict[str, object]] = {
    "mean_image": {"image_size": 8},
    "pca": {"image_size": 8, "explained_variance": 0.9},
    "isolation_forest": {"image_size": 8, "n_estimators": 25},
    "patchcore": {"image_size": 64, "coreset_ratio": 0.05},
}


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


def fitted(name: str, manifest: Manifest, *, seed: int = 17) -> Inspector:
    """An inspector whose detector `name` was fitted on the manifest's fit images."""
    detector: Detector = DETECTORS[name](**OPTIONS[name])
    inspector = Inspector(detector)
    paths = [manifest.path_of(record) for record in manifest.with_role("fit")][:40]
    detector.fit(FitImages(inspector, paths), seed=seed)
    return inspector


@pytest.fixture(scope="session", params=list(DETECTORS))
def inspector(request: pytest.FixtureRequest, digits: Manifest) -> Inspector:
    """Each registered detector in turn, fitted."""
    return fitted(request.param, digits)
