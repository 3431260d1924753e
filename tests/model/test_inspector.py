"""Where a gauge does not look, nothing can change what it says: in the reference and in the ONNX file alike."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from conftest import REGIONS, fitted, made, needs_anomalib
from gonogo.calibration.regions import CELLS
from gonogo.export.graph import export_onnx
from gonogo.inference.scorer import open_session, run_session
from gonogo.model.inspector import Inspector

ROI = replace(REGIONS, roi=[[0.1, 0.2], [0.9, 0.1], [0.8, 0.95], [0.2, 0.7]], border=0.05)
SIZES = [(8, 8), (33, 51), (90, 70)]


# Painting comes before the detector, whichever it is: on pixels, on a backbone, in scikit-learn's trees, in a process.
PAINTED = ["mean_image", "patchcore", "isolation_forest", pytest.param("anomalib", marks=needs_anomalib)]


@pytest.fixture(scope="module", params=PAINTED)
def looking(request, digits, tmp_path_factory):
    """(inspector that looks at the ROI alone, session of its ONNX file) of some detectors in turn."""
    if request.param == "anomalib":
        request.getfixturevalue("anomalib_trained")
    inspector = fitted(request.param, digits, regions=ROI)
    path = tmp_path_factory.mktemp("looking") / "gauge.onnx"
    export_onnx(inspector, path, metadata={}, opset=18)
    return inspector, open_session(path)


def images(size, seed):
    """(3, h, w, 3) uint8, and the same with everything outside the ROI replaced: by noise, black and white."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (3, *size, 3), dtype=np.uint8)
    other = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
    other[1], other[2] = 0, 255
    return pixels, np.where(ROI.roi_mask(*size)[..., None], pixels, other)


@pytest.mark.parametrize("size", SIZES)
def test_what_lies_outside_the_roi_changes_neither_score_nor_map(looking, size):
    inspector, session = looking
    pixels, changed = images(size, seed=1)
    assert (pixels != changed).any(axis=(1, 2, 3)).all()
    for run in (inspector.inspect, lambda given: run_session(session, given)):
        for ours, theirs in zip(run(pixels), run(changed), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("size", SIZES)
def test_what_lies_inside_the_roi_changes_the_score_and_both_runtimes_say_how(looking, size):
    inspector, session = looking
    pixels, _ = images(size, seed=2)
    inspected = ROI.roi_mask(*size)[..., None]
    changed = np.where(inspected, 255 - pixels // 3, pixels)
    scores, maps = inspector.inspect(changed)
    assert (scores != inspector.inspect(pixels)[0]).all()
    onnx_scores, onnx_maps = run_session(session, changed)
    np.testing.assert_allclose(onnx_scores, scores, rtol=1e-4)
    np.testing.assert_allclose(onnx_maps, maps, rtol=1e-4, atol=1e-4 * scores.max())


@pytest.mark.parametrize("size", SIZES)
def test_the_map_is_zero_outside_the_roi_and_something_inside(looking, size):
    inspector, session = looking
    inspected = ROI.roi_mask(*size)
    for _, maps in (inspector.inspect(images(size, 3)[0]), run_session(session, images(size, 3)[0])):
        assert (maps[:, ~inspected] == 0).all()
        assert (maps[:, inspected] > 0).mean() > 0.99


@pytest.mark.parametrize("length", [1, 2, 3, 97, CELLS - 1, CELLS, CELLS + 1, 1999])
def test_torch_and_numpy_look_at_the_same_pixels(length):
    inspector = Inspector(made("mean_image", image_size=8), ROI.inside)
    np.testing.assert_array_equal(inspector.roi_mask(length, 61).numpy(), ROI.roi_mask(length, 61))


def test_a_roi_of_the_whole_image_gives_bit_for_bit_what_none_gives(inspector, pixels):
    everywhere = replace(REGIONS, roi=[[0, 0], [1, 0], [1, 1], [0, 1]])
    looking = Inspector(inspector.detector, everywhere.inside)
    for ours, theirs in zip(looking.inspect(pixels), inspector.inspect(pixels), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["mean_image", "patchcore"])
def test_without_roi_and_border_nothing_is_painted_in_the_graph(name, digits, tmp_path):
    def nodes(given):
        export_onnx(given, tmp_path / "gauge.onnx", metadata={}, opset=18)
        return [node.op_type for node in onnx.load(tmp_path / "gauge.onnx").graph.node]

    assert REGIONS.inside is None
    plain = nodes(fitted(name, digits))
    painting = nodes(fitted(name, digits, regions=ROI))
    assert painting.count("Where") == plain.count("Where") + 2
    assert painting.count("Range") >= plain.count("Range") + 2  # one of rows, one of columns


def test_a_fitted_detector_never_saw_what_lies_outside_the_roi(digits):
    mean = fitted("mean_image", digits, regions=ROI).detector.mean_.numpy()  # (3, 8, 8), the digits' own size
    inspected = ROI.roi_mask(8, 8)
    np.testing.assert_allclose(mean[:, ~inspected], 127.5, rtol=1e-6)
    assert (abs(mean[:, inspected] - 127.5) > 1).all()
