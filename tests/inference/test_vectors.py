"""Features come out of the bundle's own network, proven by parity; vectors are their means, over image and region."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from conftest import OPTIONS, REGIONS, fitted, made
from gonogo.calibration.regions import defect_mask, find_regions
from gonogo.errors import DataError, IntegrityError, ParityError
from gonogo.export import parity as parity_module
from gonogo.export.graph import export_onnx
from gonogo.export.parity import ParityParams, ParityResult, check_parity
from gonogo.files import seal
from gonogo.inference.scorer import Scorer, open_session, run_named
from gonogo.inference.vectors import region_vector, sum_by_cell
from gonogo.model.feature_space import feature_facts, feature_space
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import Tiling
from gonogo.model.inspector import Inspector
from gonogo.model.saved import bundle_facts

PARITY = ParityParams(1e-4, [1, 8], [[9, 9], [30, 20]], 8, 0.01, 0.02)


@pytest.fixture(scope="module")
def known(patchcore_bundle):
    """The bundle of a detector with features."""
    return patchcore_bundle


def few(dataset):
    return replace(dataset, records=tuple([one for one in dataset.records if one.role != "fit"][::16]))


def test_the_verdict_with_features_is_the_one_without(known, pixels):
    scorer = Scorer(known)
    for plain, with_features in zip(
        scorer.score_pixels(pixels), scorer.score_pixels(pixels, features=True), strict=True
    ):
        assert plain.row() == with_features.row()
        assert plain.vectors is None
        image, region = with_features.vectors
        np.testing.assert_allclose(image, with_features.features.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
        assert (region is None) == (with_features.regions == [])


def test_parity_records_the_features_and_refuses_other_ones(patchcore_model, known, digits, monkeypatch):
    proven = check_parity(patchcore_model, known / "gauge.onnx", few(digits), PARITY)
    assert 0 < proven.metrics()["features_max_diff_e6"] < 100
    proven.require_agreement()

    def other(session, images, *names):
        scores, maps, *others = run_named(session, images, *names)
        return scores, maps, *(one * 1.001 if one.dtype == np.float32 else one for one in others)

    monkeypatch.setattr(parity_module, "run_named", other)
    refused = check_parity(patchcore_model, known / "gauge.onnx", few(digits), PARITY)
    assert refused.metrics()["passed"] is False
    with pytest.raises(ParityError, match="features"):
        refused.require_agreement()


def test_features_of_another_shape_differ_by_infinity():
    expected = np.ones((2, 3, 4, 4), dtype=np.float32)
    assert parity_module._features_differences(expected[:, :2], expected) == [np.inf, np.inf]
    assert parity_module._features_differences(expected * 2, expected) == [1.0, 1.0]
    assert ParityResult("a.png", "8 x 8", 1, 1.0, 1.0, 0.0).features_difference is None


def test_in_tiles_both_runtimes_give_the_same_features(digits, tmp_path):
    inspector = fitted("patchcore", digits, tiling=Tiling(height=96, width=112, overlap=16))
    export_onnx(inspector, tmp_path / "gauge.onnx", metadata={}, opset=18)
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 60, 3), dtype=np.uint8)
    features = run_named(open_session(tmp_path / "gauge.onnx"), images, "features")[2]
    expected = inspector.inspect_all(images)["features"]
    assert list(features.shape[1:]) == [feature_facts(inspector)["dims"], *feature_facts(inspector)["cells"]]
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_a_space_is_of_the_features_and_not_of_what_a_fit_learns(digits):
    def space(tiling=None, regions=REGIONS, n_images=20, **options):
        detector = made("knn", **OPTIONS["knn"] | options)
        inspector = Inspector(detector, regions.inside, tiling=tiling)
        detector.fit(FitImages(inspector, digits, digits.with_role("fit")[:n_images]), seed=1)
        return feature_space(inspector)

    first = space()
    assert space(n_images=30) == first
    assert space(n_neighbors=2) == first
    others = [
        space(layers=[1, 2]),
        space(image_size=[32, 64]),
        space(regions=replace(REGIONS, border=0.1)),
        space(tiling=Tiling(height=96, width=96, overlap=16)),
    ]
    assert len({first, *others}) == 5
    detector = made("knn", **OPTIONS["knn"])
    detector.load_weights()
    assert feature_space(Inspector(detector)) == first
    next(iter(detector.backbones()[0].model.parameters())).data.flatten()[0] += 1
    assert feature_space(Inspector(detector)) != first


def test_a_sum_by_cell_is_of_the_pixels_in_the_box_alone():
    image = np.random.default_rng(3).random((13, 7))
    box = (1, 2, 5, 9)
    expected = np.zeros((4, 3))
    fine = 12  # parts of a pixel, which the edges of the cells fall between
    for y in range(2, 11):
        for x in range(1, 6):
            for i in range(fine):
                for j in range(fine):
                    row, column = (y + (i + 0.5) / fine) * 4 / 13, (x + (j + 0.5) / fine) * 3 / 7
                    expected[int(row), int(column)] += image[y, x] / fine**2
    np.testing.assert_allclose(sum_by_cell(image[2:11, 1:6], box, image.shape, (4, 3)), expected, atol=1e-9)


def test_the_vector_of_a_region_is_the_mean_of_its_cells_weighted_by_its_excess(known):
    scorer = Scorer(known)
    threshold = scorer.rule.threshold.threshold
    rng = np.random.default_rng(5)
    features = rng.normal(size=(6, 4, 4)).astype(np.float32)
    anomaly_map = np.zeros((16, 16), dtype=np.float32)
    anomaly_map[2:6, 3:5] = threshold + 100  # two by two pixels of the region in each of four cells
    anomaly_map[2:4, 3:5] = threshold + 300
    anomaly_map[12:, 12:] = threshold + 1  # a region with a lower peak
    mask = defect_mask(anomaly_map, scorer.rule)
    region = find_regions(anomaly_map, mask)[0]
    expected = (3 * features[:, 0, :2] + features[:, 1, :2]).sum(axis=1) / 8
    np.testing.assert_allclose(region_vector(features, region, mask, anomaly_map, threshold), expected, rtol=1e-4)


def test_a_region_that_lies_at_the_threshold_counts_by_its_area():
    features = np.arange(8.0).reshape(2, 2, 2)
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2] = True
    level = np.where(mask, 5.0, 0.0)
    region = find_regions(level, mask)[0]
    np.testing.assert_allclose(region_vector(features, region, mask, level, 5.0), features[:, 0].mean(axis=1))


def resealed(bundle, folder, **changes):
    """A copy of a bundle whose manifest says something else of its features; without changes, nothing."""
    shutil.copytree(bundle, folder)
    content = json.loads((folder / "manifest.json").read_text())
    features, listed = content.pop("features"), content.pop("files")
    content.pop("manifest_sha256")
    seal(folder, content | ({"features": features | changes} if changes else {}), listed)
    return folder


def test_a_bundle_of_an_older_gonogo_scores_and_says_that_it_gives_no_features(known, pixels, tmp_path):
    old = Scorer(resealed(known, tmp_path / "old"))
    assert old.space is None
    assert old.score_pixels(pixels[:1], features=True)[0].row() == Scorer(known).score_pixels(pixels[:1])[0].row()
    with pytest.raises(DataError, match="an older gonogo wrote it"):
        old.require_space()


def test_a_detector_without_a_network_says_so(bundle):
    with pytest.raises(DataError, match="no features of a pretrained network"):
        Scorer(bundle).require_space()


def test_a_manifest_that_tells_of_another_space_is_refused(known, tmp_path):
    with pytest.raises(IntegrityError, match="disagree on features"):
        Scorer(resealed(known, tmp_path / "other", space="0" * 64))


def test_the_manifest_says_how_far_good_parts_are_from_each_other(known, digits):
    scorer = Scorer(known)
    records = digits.with_role("calibrate")
    means = [scorer.score_pixels(digits.pixels_of(one)[None], features=True)[0].vectors.image for one in records]
    between = [np.linalg.norm(a - b) for number, a in enumerate(means) for b in means[:number]]
    below = np.mean(np.array(between) <= scorer.good_distances["image"])
    assert 0.94 < below < 0.96
    assert scorer.good_distances["region"] > scorer.good_distances["image"]  # one cell varies more than the mean


def test_facts_in_the_file_and_in_the_manifest_are_the_same(patchcore_model, known):
    assert bundle_facts(patchcore_model)["features"] == json.loads((known / "manifest.json").read_text())["features"]
