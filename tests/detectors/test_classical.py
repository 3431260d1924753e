"""The classical detectors: each gives scikit-learn's or a dumb loop's number, and shows what it is known for."""

import math

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import LocalOutlierFactor as SklearnLOF
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM as SklearnSVM

from gonogo.detectors.backbones.pooled_features import PooledFeatures
from gonogo.detectors.ecod import ECOD
from gonogo.detectors.knn import KNearestNeighbours
from gonogo.detectors.lof import LocalOutlierFactor
from gonogo.detectors.mahalanobis import Mahalanobis
from gonogo.detectors.ocsvm import OneClassSVM
from gonogo.detectors.options import (
    ECODOptions,
    KNNOptions,
    LOFOptions,
    MahalanobisOptions,
    OneClassSVMOptions,
    RowOptions,
)
from gonogo.errors import ConfigError, DataError

OPTIONS_OF = {
    Mahalanobis: MahalanobisOptions,
    KNearestNeighbours: KNNOptions,
    LocalOutlierFactor: LOFOptions,
    ECOD: ECODOptions,
    OneClassSVM: OneClassSVMOptions,
}
KINDS = list(OPTIONS_OF)
D = 3 * 4 * 4


def cloud(n, *, seed=0):
    """(n, 48) float32: correlated, skewed to either side, far from zero."""
    rng = np.random.default_rng(seed)
    mixed = rng.gamma(2, 1, (n, D)) * np.where(np.arange(D) % 2, 3, -3) + rng.normal(0, 2, (n, 1))
    return (120 + mixed).astype(np.float32)


def images(rows):
    """The pixels (n, 3, 4, 4) that flatten to these rows."""
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)).view(-1, 3, 4, 4)


def fitted_on(kind, rows, **options):
    return kind(OPTIONS_OF[kind](features="pixels", image_size=4, **options)).fit([images(rows)], seed=0)


def scores_of(detector, rows):
    return detector(images(rows))[0].numpy()


def planar(points):
    """(n, 48) rows whose distances are those of points (n, 2)."""
    rows = np.zeros((len(points), D), np.float32)
    rows[:, :2] = points
    return rows


# All of them


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_of_a_detector_of_whole_images_is_its_score(kind):
    scores, grid = fitted_on(kind, cloud(30))(images(cloud(5, seed=1)))
    assert not kind.localises
    assert grid.shape == (5, 1, 1)
    torch.testing.assert_close(grid[:, 0, 0], scores, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [cloud(2), np.full((3, D), 7, np.float32)])
def test_two_images_or_three_alike_give_finite_scores_or_a_refusal(kind, rows):
    try:
        detector = fitted_on(kind, rows)
    except DataError as error:
        assert "fit images that differ" in str(error)  # noqa: PT017  either outcome is right
        assert np.ptp(rows) == 0
        return
    scores = scores_of(detector, cloud(9, seed=3))
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_a_large_image_and_a_backbone_for_a_tiny_one_are_refused(kind):
    with pytest.raises(ConfigError, match="image_size is 33, 3,267 dimensions"):
        OPTIONS_OF[kind](features="pixels", image_size=33)
    with pytest.raises(ConfigError, match="a backbone sees at least 32"):
        OPTIONS_OF[kind](features="backbone", image_size=31)


def test_pooled_features_are_each_channels_mean_over_the_image():
    rows = PooledFeatures(RowOptions(layers=[1, 3], weights="random", image_size=64))
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    fine, coarse = (feature.numpy() for feature in rows.backbone(pixels))
    pooled = rows(pixels).numpy()
    assert pooled.shape == (2, 24 + 112)
    assert pooled[1, 5] == pytest.approx(fine[1, 5].mean(), rel=1e-5)
    assert pooled[0, 24 + 70] == pytest.approx(coarse[0, 70].mean(), rel=1e-5)


# Mahalanobis


@pytest.mark.parametrize("n_images", [20, 300])  # fewer and more than dimensions
def test_mahalanobis_is_the_distance_of_scikit_learns_ledoit_wolf(n_images):
    good, probe = cloud(n_images), cloud(20, seed=1)
    expected = np.sqrt(LedoitWolf().fit(good.astype(np.float64)).mahalanobis(probe.astype(np.float64)))
    np.testing.assert_allclose(scores_of(fitted_on(Mahalanobis, good), probe), expected, rtol=1e-4)


def test_squared_mahalanobis_distances_of_gaussian_rows_average_their_dimension():
    rng = np.random.default_rng(4)
    mixing = 10 * np.eye(D) + rng.normal(size=(D, D))
    detector = fitted_on(Mahalanobis, rng.normal(size=(8000, D)) @ mixing)
    squared = scores_of(detector, rng.normal(size=(2000, D)) @ mixing) ** 2
    assert squared.mean() == pytest.approx(D, rel=0.03)
    assert squared.var() == pytest.approx(2 * D, rel=0.15)  # chi-squared


# Nearest neighbours


@pytest.mark.parametrize("k", [1, 5])
def test_knn_is_the_distance_to_scikit_learns_kth_neighbour_or_their_mean(k):
    good, probe = cloud(40), cloud(15, seed=1)
    distances, _ = NearestNeighbors(n_neighbors=k).fit(good).kneighbors(probe)
    kth, mean = (fitted_on(KNearestNeighbours, good, n_neighbors=k, distance=how) for how in ("kth", "mean"))
    np.testing.assert_allclose(scores_of(kth, probe), distances[:, -1], rtol=1e-5)
    np.testing.assert_allclose(scores_of(mean, probe), distances.mean(axis=1), rtol=1e-5)


def test_knn_of_more_neighbours_than_images_is_the_distance_to_the_farthest_image():
    good, probe = cloud(4), cloud(6, seed=1)
    farthest = [max(math.dist(row, other) for other in good) for row in probe]
    np.testing.assert_allclose(
        scores_of(fitted_on(KNearestNeighbours, good, n_neighbors=50), probe), farthest, rtol=1e-5
    )


def test_knn_finds_no_distance_from_an_image_to_itself():
    good = cloud(9) + 1000
    assert scores_of(fitted_on(KNearestNeighbours, good, n_neighbors=1), good).max() == 0


# Local outlier factor


@pytest.mark.parametrize(("n_images", "k"), [(60, 20), (60, 3), (8, 20)])
def test_lof_is_scikit_learns_for_novelties(n_images, k):
    good, probe = cloud(n_images), cloud(20, seed=1)
    expected = -SklearnLOF(n_neighbors=min(k, n_images - 1), novelty=True).fit(good).score_samples(probe)
    np.testing.assert_allclose(
        scores_of(fitted_on(LocalOutlierFactor, good, n_neighbors=k), probe), expected, rtol=1e-4
    )


def test_lof_sees_the_outlier_beside_a_dense_cluster_that_distance_alone_cannot_see():
    """The paper's figure 1: o2 is nearer to the dense cluster than the sparse cluster's members are to each other."""
    rng = np.random.default_rng(0)
    sparse, dense = rng.uniform(0, 100, (200, 2)), rng.uniform(200, 205, (200, 2))
    o2, member = planar([[197.0, 197.0]]), planar([[50.0, 50.0]])
    good = planar(np.concatenate([sparse, dense]))
    lof, knn = fitted_on(LocalOutlierFactor, good), fitted_on(KNearestNeighbours, good, n_neighbors=20)
    assert scores_of(lof, o2)[0] > 2 * scores_of(lof, member)[0]
    assert scores_of(knn, o2)[0] < scores_of(knn, member)[0]


def test_lof_is_one_deep_inside_a_uniform_cluster():
    lattice = planar(np.stack(np.meshgrid(np.arange(30.0), np.arange(30.0)), axis=-1).reshape(-1, 2))
    inside = planar([[14.0, 14.0], [15.5, 12.5]])
    np.testing.assert_allclose(scores_of(fitted_on(LocalOutlierFactor, lattice), inside), 1, atol=0.1)  # lemma 1


# One-class support vector machine


@pytest.mark.parametrize("nu", [0.1, 0.5])
def test_the_svms_score_gives_scikit_learns_decision_function_and_its_order(nu):
    good, probe = cloud(80).astype(np.float64), cloud(40, seed=1).astype(np.float64)
    machine = SklearnSVM(kernel="rbf", gamma="scale", nu=nu).fit(good)
    scores = scores_of(fitted_on(OneClassSVM, good, nu=nu), probe).astype(np.float64)
    decisions = machine.decision_function(probe)
    total = machine.dual_coef_.sum()
    np.testing.assert_allclose(np.exp(-scores) * total + machine.intercept_, decisions, atol=1e-5 * total)
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(-decisions))


@pytest.mark.parametrize("nu", [0.1, 0.3])
def test_nu_bounds_the_good_images_outside_from_above_and_the_support_vectors_from_below(nu):
    good = planar(np.random.default_rng(0).normal(size=(1000, 2)))
    detector = fitted_on(OneClassSVM, good, nu=nu)
    outside = (scores_of(detector, good) > float(detector.boundary_) + 1e-4).mean()
    assert 0.8 * nu <= outside <= nu  # proposition 3
    assert nu * 1000 <= len(detector.support_vectors_) < 1.2 * nu * 1000


def test_far_images_of_the_svm_keep_their_order_where_the_kernel_is_zero_in_single_precision():
    good = cloud(50)
    far = good.mean(axis=0) + np.outer([300, 600, 1200], np.ones(D))
    assert np.exp(-scores_of(fitted_on(OneClassSVM, good), far[:1]).astype(np.float64))[0] < 1e-30
    assert (np.diff(scores_of(fitted_on(OneClassSVM, good), far)) > 1).all()


# ECOD


def ecod_by_the_papers_loop(good, row):
    """Algorithm 1 on the good rows and this one, in plain loops; skewness of the good ones."""
    n, total = len(good) + 1, np.zeros(3)
    for feature in range(D):
        values = [*good[:, feature], row[feature]]
        left = -math.log(sum(value <= row[feature] for value in values) / n)
        right = -math.log(sum(value >= row[feature] for value in values) / n)
        known = good[:, feature].astype(np.float64)
        mean = sum(known) / len(known)
        third = sum((value - mean) ** 3 for value in known) / len(known)
        skewness = third / (sum((value - mean) ** 2 for value in known) / (len(known) - 1)) ** 1.5
        total += [left, right, left if skewness < 0 else right]
    return total.max()


@pytest.mark.parametrize("step", [1e-9, 1.0])  # of the values: as they come, and whole numbers with many ties
def test_ecod_is_the_papers_loop(step):
    good, probe = (np.round(cloud(n, seed=seed) / step) * step for n, seed in ((50, 0), (12, 1)))
    good, probe = good.astype(np.float32), probe.astype(np.float32)
    expected = [ecod_by_the_papers_loop(good, row) for row in probe]
    np.testing.assert_allclose(scores_of(fitted_on(ECOD, good, ramp=1e-9), probe), expected, rtol=1e-3)
    np.testing.assert_allclose(scores_of(fitted_on(ECOD, good), probe), expected, rtol=0.02)


def test_ecod_of_an_image_beyond_all_others_in_every_feature_is_d_times_log_of_the_count():
    good = cloud(50)
    for beyond in (good.max(axis=0) + 5, good.min(axis=0) - 5):
        assert scores_of(fitted_on(ECOD, good), beyond[None])[0] == pytest.approx(D * math.log(51), rel=1e-5)


def test_ecod_is_unchanged_when_each_feature_is_scaled_and_shifted():
    good, probe = cloud(50), cloud(10, seed=1)
    scale, shift = np.linspace(0.5, 8, D, dtype=np.float32), np.linspace(-90, 90, D, dtype=np.float32)
    moved = scores_of(fitted_on(ECOD, good * scale + shift), probe * scale + shift)
    np.testing.assert_allclose(moved, scores_of(fitted_on(ECOD, good), probe), rtol=2e-3)


def test_ecod_does_not_jump_where_an_image_equals_a_fit_image_but_for_rounding():
    good = cloud(50)
    detector = fitted_on(ECOD, good)
    exact, rounded = scores_of(detector, good), scores_of(detector, good * np.float32(1 - 1e-7))
    np.testing.assert_allclose(rounded, exact, rtol=1e-4)
    stepping = fitted_on(ECOD, good)
    stepping.ramps_.fill_(1e-9)
    jumps = np.abs(scores_of(stepping, good * np.float32(1 - 1e-7)) / scores_of(stepping, good) - 1)
    assert jumps.max() > 1e-2
