"""A threshold above good scores that are rounding noise alone is refused at the fit, with the reason."""

from dataclasses import replace

import numpy as np
import pytest

from conftest import CALIBRATE, PREPARE, unseen
from gonogo.data.prepare.prepare import prepare
from gonogo.data.sample import Sample
from gonogo.detectors.options import PCAOptions
from gonogo.detectors.pca import PCAReconstruction
from gonogo.errors import DataError
from gonogo.images.roles import ROLES
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import inspect_records, require_above_rounding
from gonogo.model.inspector import Inspector


def fitted(images, folder):
    """A PCA that is fitted on the images that prepare deals to fit, the dataset, and the scores of the others."""
    samples = [
        Sample(name=f"{number:02d}", image=pixels, label=0, defect_type="good", roles=ROLES)
        for number, pixels in enumerate(images)
    ]
    values = replace(PREPARE, calibrate_share=0.4, test_share=0.2)
    dataset = prepare(
        samples, values, CALIBRATE, category="parts", folder=folder, raw=folder, seed=3, progress=unseen
    ).dataset
    inspector = Inspector(PCAReconstruction(PCAOptions(image_size=8, explained_variance=0.9)))
    inspector.detector.fit(FitImages(inspector, dataset, dataset.with_role("fit")), seed=3)
    return inspector, dataset, inspect_records(inspector, dataset, dataset.with_role("calibrate"))


def test_flat_images_that_are_explained_without_rest_are_refused(tmp_path):
    flat = [np.full((9, 11, 3), 90 + 2 * number, np.uint8) for number in range(14)]
    with pytest.raises(DataError, match=r"the good images' scores are all about 0 .* one of rounding noise"):
        require_above_rounding(*fitted(flat, tmp_path))


def test_images_with_the_least_noise_of_a_camera_are_not(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    noisy = [90 + 2 * number + rng.integers(-1, 2, (9, 11, 3)) for number in range(14)]
    inspector, dataset, good = fitted([pixels.astype(np.uint8) for pixels in noisy], tmp_path)
    real, together = inspector.inspect, []
    monkeypatch.setattr(inspector, "inspect", lambda pixels: together.append(len(pixels)) or real(pixels))
    require_above_rounding(inspector, dataset, good)
    assert good.scores.max() > 0.1
    assert together == [1, 1]  # two large ones at a time would take more memory than a fit was granted
