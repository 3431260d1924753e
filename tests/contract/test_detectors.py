"""One contract suite over every registered detector, then what each paper or library promises."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from conftest import OPTIONS, fitted, made, name_of
from gonogo.detectors import CAPABILITIES, DETECTORS, detector_class
from gonogo.detectors.contract import FitContext, HasMemoryBank
from gonogo.detectors.isolation_forest import IsolationForest
from gonogo.detectors.options import DETECTOR_OPTIONS, IsolationForestOptions, PatchCoreOptions, PCAOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.detectors.pca import PCAReconstruction
from gonogo.errors import DataError, NotFittedError, ShapeError
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import inspect_records
from gonogo.model.inspector import Inspector

# The contract


def test_scores_and_maps_are_finite_and_of_the_images_size(inspector, pixels):
    scores, maps = inspector.inspect(pixels)
    assert scores.shape == (12,)
    assert maps.shape == (12, 8, 8)
    assert np.isfinite(scores).all()
    assert np.isfinite(maps).all()


def test_a_grid_is_nowhere_below_zero_so_that_zero_means_nothing_here(inspector, pixels):
    noise = np.random.default_rng(4).integers(0, 256, (8, 20, 30, 3), dtype=np.uint8)
    extremes = np.stack([np.zeros_like(noise[0]), np.full_like(noise[0], 255)])
    for given in (pixels, noise, extremes):
        _, grid = inspector.detector(inspector.resized(torch.from_numpy(given)))
        assert float(grid.min()) >= 0
        assert float(grid.max()) > 0


def test_a_map_has_the_size_of_its_image_whatever_that_is(inspector, pixels):
    tall = np.repeat(np.repeat(pixels[:2], 5, axis=1), 3, axis=2)
    assert inspector.inspect(tall)[1].shape == (2, 40, 24)


def test_defective_images_score_higher_than_good_ones(inspector, digits):
    inspection = inspect_records(inspector, digits, digits.with_role("test"))
    assert auroc(inspection.scores, inspection.labels) > 0.8


def test_score_of_a_batch_equals_scores_of_its_images(inspector, pixels):
    scores, maps = inspector.inspect(pixels)
    for position in range(len(pixels)):
        score, anomaly_map = inspector.inspect(pixels[position : position + 1])
        np.testing.assert_allclose(score[0], scores[position], rtol=1e-5)
        np.testing.assert_allclose(anomaly_map[0], maps[position], rtol=1e-4, atol=1e-4 * abs(scores).max())


def test_a_detector_sent_to_another_process_scores_the_same_bits_there(inspector, pixels):
    there = pickle.loads(pickle.dumps(inspector))
    for ours, theirs in zip(inspector.inspect(pixels), there.inspect(pixels), strict=True):
        assert np.array_equal(ours, theirs)


def test_the_order_of_a_batch_does_not_matter(inspector, pixels):
    forward, _ = inspector.inspect(pixels)
    backward, _ = inspector.inspect(pixels[::-1].copy())
    np.testing.assert_allclose(backward[::-1], forward, rtol=1e-5)


def test_a_restored_detector_scores_bit_for_bit_the_same(inspector, pixels):
    name = name_of(inspector)
    state = {key: tensor.clone() for key, tensor in inspector.detector.state_dict().items()}
    restored = Inspector(made(name, **OPTIONS[name]).restore(state))
    for ours, theirs in zip(restored.inspect(pixels), inspector.inspect(pixels), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_same_seed_gives_the_same_scores(inspector, pixels, digits):
    name = name_of(inspector)
    np.testing.assert_array_equal(fitted(name, digits).inspect(pixels)[0], inspector.inspect(pixels)[0])


def test_an_unfitted_detector_refuses_to_score(inspector, pixels):
    name = name_of(inspector)
    with pytest.raises(NotFittedError, match="call fit"):
        Inspector(made(name, **OPTIONS[name])).inspect(pixels)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_wrong_input_is_refused_with_what_was_expected(inspector, wrong):
    with pytest.raises(ShapeError, match=r"expected \(n, h, w, 3\) uint8"):
        inspector.inspect(wrong)


def test_no_fit_image_looks_more_like_the_others_for_having_been_left_out(inspector, digits):
    images = FitImages(inspector, digits, digits.with_role("fit")[:40])
    detector = made(name_of(inspector), **OPTIONS[name_of(inspector)])
    with pytest.raises(NotFittedError):
        detector.score_without(images[0], range(1))
    with torch.inference_mode():
        given = np.array([float(inspector.detector(image)[0]) for image in images])
        left_out = [inspector.detector.score_without(image, range(i, i + 1)) for i, image in enumerate(images)]
    without = np.array([float(score) for score, _ in left_out])
    assert np.isfinite(without).all()
    assert (without >= given * (1 - 1e-4) - 1e-6).mean() > 0.9


def test_what_the_registry_says_that_a_detector_can_do_is_what_its_class_does():
    for name in DETECTORS:
        can, kind, options = CAPABILITIES[name], detector_class(name), DETECTOR_OPTIONS[name]
        needs = {"weights", "teacher", "checkpoint", "model"} & {field.name for field in dataclasses.fields(options)}
        assert can.localises in (kind.localises, None), name
        assert can.trains == hasattr(options, "checkpoint_every"), name
        assert can.needs_weights == bool(needs), name
        assert can.remembers == hasattr(kind, "score_with_nearest"), name
    assert [name for name in DETECTORS if CAPABILITIES[name].exports is not True] == ["anomalib"]
    assert list(CAPABILITIES) == list(DETECTORS)


def test_what_the_registry_says_holds_for_the_fitted_detector(inspector):
    can, detector = CAPABILITIES[name_of(inspector)], inspector.detector
    assert can.remembers == isinstance(detector, HasMemoryBank)
    assert can.localises in (detector.localises, None)


def test_fitting_on_nothing_is_refused(inspector, digits):
    name = name_of(inspector)
    empty = Inspector(made(name, **OPTIONS[name]))
    with pytest.raises(DataError):
        empty.detector.fit(FitImages(empty, digits, []), seed=0)


# What each promises


def test_pca_residual_is_that_of_scikit_learn(digits, pixels):
    from sklearn.decomposition import PCA

    detector = PCAReconstruction(PCAOptions(image_size=8, explained_variance=0.9))
    inspector = Inspector(detector)
    records = digits.with_role("fit")
    batches = FitImages(inspector, digits, records)
    detector.fit(batches, seed=0)
    rows = torch.cat(list(batches)).flatten(1).numpy().astype(np.float64)
    pca = PCA(n_components=0.9, svd_solver="full").fit(rows)
    probe = inspector.resized(torch.from_numpy(pixels)).flatten(1).numpy().astype(np.float64)
    residual = probe - pca.inverse_transform(pca.transform(probe))
    np.testing.assert_allclose(inspector.inspect(pixels)[0], np.sqrt((residual**2).mean(axis=1)), rtol=1e-3)


def test_the_rebuilt_forest_scores_as_scikit_learns_own(digits, pixels):
    from sklearn.ensemble import IsolationForest as Forest

    inspector = fitted("isolation_forest", digits)
    detector = inspector.detector
    assert isinstance(detector, IsolationForest)
    records = digits.with_role("fit")[:40]
    rows = torch.cat([detector.features(batch) for batch in FitImages(inspector, digits, records)]).numpy()
    forest = Forest(n_estimators=25, max_samples=40, random_state=17).fit(rows)
    resized = inspector.resized(torch.from_numpy(pixels))
    probe = detector.features(resized).numpy()
    expected = -forest.score_samples(probe)
    np.testing.assert_allclose(2 ** (-detector.forest().predict(probe) / detector.expected()), expected, rtol=1e-14)
    np.testing.assert_array_equal(detector(resized)[0].numpy(), expected.astype(np.float32))


def test_the_forests_live_curve_ends_at_the_path_length_that_its_scores_are_made_of(digits):
    curve = []
    detector = IsolationForest(IsolationForestOptions(image_size=8, n_estimators=1, max_samples=256))
    records = digits.with_role("fit")
    images = FitImages(Inspector(detector), digits, records)
    progress = FitContext(progress=lambda *report: curve.append(report[3]["mean_path_length"]))
    detector.fit(images, seed=0, context=progress)
    scores = torch.cat([detector(image)[0] for image in images]).double().numpy()
    expected = 2 * (np.log(len(records) - 1) + np.euler_gamma) - 2 * (len(records) - 1) / len(records)
    assert curve[-1] == pytest.approx((-np.log2(scores) * expected).mean(), rel=1e-5)


def test_patchcore_with_the_whole_bank_gives_the_brute_force_distance(digits, pixels):
    detector = PatchCore(PatchCoreOptions(image_size=64, coreset_ratio=1.0))
    inspector = Inspector(detector)
    records = digits.with_role("fit")[:3]
    batches = FitImages(inspector, digits, records)
    detector.fit(batches, seed=0)
    bank = torch.cat([detector.patch_features(batch).flatten(0, 2) for batch in batches]).double()
    with torch.inference_mode():
        patches = detector.patch_features(inspector.resized(torch.from_numpy(pixels[:2]))).flatten(1, 2).double()
    for image in range(2):
        brute = min_distances(patches[image], bank)
        np.testing.assert_allclose(inspector.inspect(pixels[image : image + 1])[0][0], brute.max(), rtol=1e-4)


def min_distances(patches, bank):
    return np.array([min(float((patch - other).norm()) for other in bank) for patch in patches])


def test_patchcore_finds_nothing_in_an_image_of_its_whole_bank(digits):
    detector = PatchCore(PatchCoreOptions(image_size=64, coreset_ratio=1.0))
    inspector = Inspector(detector)
    records = digits.with_role("fit")[:2]
    detector.fit(FitImages(inspector, digits, records), seed=0)
    scores = inspect_records(inspector, digits, records).scores
    strange = inspect_records(inspector, digits, digits.with_role("test")).scores
    assert scores.max() < 1e-3 * strange.max()


def test_patchcore_map_peaks_where_the_image_was_changed():
    rng = np.random.default_rng(0)
    texture = rng.integers(90, 110, (6, 64, 64, 3), dtype=np.uint8)
    detector = PatchCore(PatchCoreOptions(image_size=128, coreset_ratio=0.2, smoothing=2.0))
    inspector = Inspector(detector)
    detector.fit([inspector.resized(torch.from_numpy(texture[:5]))], seed=0)
    changed = texture[5:].copy()
    changed[0, 40:52, 8:20] = [200, 30, 30]
    row, column = np.unravel_index(inspector.inspect(changed)[1][0].argmax(), (64, 64))
    assert 36 <= row < 56
    assert 4 <= column < 24
