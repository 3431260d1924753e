"""PaDiM: the distance is SciPy's Mahalanobis distance, from one pass whose memory does not grow with the images."""

import gc

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import OAS

from gonogo.detectors.contract import FitContext
from gonogo.detectors.options import PaDiMOptions
from gonogo.detectors.padim import Gaussians, PaDiM, shrink_oas, whitening
from gonogo.errors import ConfigError, DataError
from gonogo.model.inspector import Inspector


def textures(n, *, seed=0):
    """Pixels (n, 3, 64, 64) in [0, 255] of noise that lies about grey."""
    return torch.from_numpy(np.random.default_rng(seed).integers(80, 140, (n, 3, 64, 64)).astype(np.float32))


def fitted_on(pixels, *, seed=17, **options):
    return PaDiM(PaDiMOptions(**{"image_size": 64, "n_features": 20} | options)).fit(
        [image[None] for image in pixels], seed=seed
    )


@torch.no_grad()
def patches(detector, pixels):
    """(n, gh, gw, d) float64: the drawn dimensions of the patch features."""
    return detector.patch_features(pixels)[..., detector.features_].double().numpy()


@pytest.mark.parametrize("n_images", [60, 6])  # more and fewer than dimensions
def test_a_patch_scores_scipys_mahalanobis_distance_at_its_own_place(n_images):
    good, probe = textures(n_images), textures(2, seed=1) * 1.2
    detector = fitted_on(good, epsilon=0.3)
    learned, seen = patches(detector, good), patches(detector, probe)
    scores, grid = detector(probe)
    for row, column in [(0, 0), (3, 5), (7, 2)]:
        covariance = np.cov(learned[:, row, column].T) + 0.3 * np.eye(20)
        for image in range(2):
            expected = mahalanobis(
                seen[image, row, column], learned[:, row, column].mean(axis=0), np.linalg.inv(covariance)
            )
            assert float(grid[image, row, column]) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(scores, grid.flatten(1).max(dim=1).values)


def test_one_pass_in_batches_of_any_size_is_the_two_pass_covariance():
    features = np.random.default_rng(2).normal(1e4, 1, (11, 2, 3, 5))  # far from zero, where sums of squares fail
    gaussians = Gaussians.none(6, 5, torch.device("cpu"))
    for part in (slice(0, 1), slice(1, 5), slice(5, 7), slice(7, 11)):
        gaussians.add(torch.from_numpy(features[part]))
    at = features.reshape(11, 6, 5)
    np.testing.assert_allclose(gaussians.mean, at.mean(axis=0), rtol=1e-12)
    for place in range(6):
        np.testing.assert_allclose(gaussians.scatter[place] / 10, np.cov(at[:, place].T), rtol=1e-8, atol=1e-8)


def test_gaussians_of_parts_joined_are_those_of_all_images():
    features = torch.from_numpy(np.random.default_rng(2).normal(1e4, 1, (11, 2, 3, 5)))
    whole, joined = (Gaussians.none(6, 5, torch.device("cpu")) for _ in range(2))
    whole.add(features)
    for some in (slice(0, 1), slice(1, 5), slice(5, 11)):
        part = Gaussians.none(6, 5, torch.device("cpu"))
        part.add(features[some])
        joined.join(part)
    assert joined.n == whole.n == 11
    torch.testing.assert_close(joined.mean, whole.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(joined.scatter, whole.scatter, rtol=1e-8, atol=1e-8)


def test_what_is_held_while_fitting_does_not_grow_with_the_images():
    held = []

    def weigh(*_):
        gc.collect()
        tensors = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor and thing.device.type == "cpu"]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        held.append(sum(storages.values()))

    images = textures(12)
    PaDiM(PaDiMOptions(image_size=64, n_features=20)).fit(
        [image[None] for image in images], seed=0, context=FitContext(progress=weigh)
    )
    assert len(held) == 12
    assert held[-1] <= held[1]


def test_the_state_has_the_same_size_after_few_and_after_many_images():
    few, many = fitted_on(textures(3)).state_dict(), fitted_on(textures(9)).state_dict()
    assert {name: t.shape for name, t in few.items()} == {name: t.shape for name, t in many.items()}
    assert few["whitening_"].shape == (8 * 8, 20, 20)


def test_a_seed_draws_its_own_dimensions_and_the_same_ones_again():
    images = textures(3)
    drawn = [fitted_on(images, seed=seed).features_.tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert sorted(set(drawn[0])) == drawn[0]
    assert len(drawn[0]) == 20


def test_a_change_at_one_place_is_the_maximum_there():
    detector = fitted_on(textures(30), smoothing=0.0)
    changed = textures(1, seed=5)
    changed[0, :, 44:52, 12:20] += 100
    pixels = changed.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    scores, maps = Inspector(detector).inspect(pixels)
    row, column = np.unravel_index(maps[0].argmax(), (64, 64))
    assert 40 <= row < 56
    assert 8 <= column < 24
    assert scores[0] > 2 * float(detector(textures(1, seed=5))[0])


def test_a_place_is_judged_by_what_is_usual_at_that_place():
    striped = textures(60)
    striped[:, :, :, :32] += 100  # always bright on the left
    detector = fitted_on(striped)
    usual = textures(1, seed=7)
    usual[:, :, :, :32] += 100
    scores, grids = detector(torch.cat([usual, usual.flip(3)]))
    assert float(grids[1].median()) > 1.4 * float(grids[0].median())
    assert float(scores[1]) > 1.3 * float(scores[0])


def test_fewer_images_than_dimensions_still_tell_good_from_changed():
    detector = fitted_on(textures(3), n_features=100)
    good, changed = textures(8, seed=3), textures(8, seed=3)
    changed[:, :, 20:40, 20:40] += 60
    good_scores, changed_scores = detector(good)[0], detector(changed)[0]
    assert bool(torch.isfinite(changed_scores).all())
    assert float(changed_scores.min()) > float(good_scores.max())


@pytest.mark.parametrize("n", [10, 40, 400])
def test_oas_shrinks_as_scikit_learn_does_but_for_its_terms_in_2_over_d(n):
    rows = np.random.default_rng(n).normal(size=(n, 100)) * np.linspace(0.1, 3, 100)
    biased = torch.from_numpy(np.cov(rows.T, bias=True))[None].clone()  # scikit-learn's divisor
    shrink_oas(biased, n)
    np.testing.assert_allclose(biased[0], OAS().fit(rows).covariance_, rtol=0.03, atol=0.03)


def test_oas_is_equation_23_of_its_paper():
    sample = np.cov(np.random.default_rng(3).normal(size=(6, 4)).T * np.array([[1], [2], [3], [4]]))
    ours = torch.from_numpy(sample)[None].clone()
    shrink_oas(ours, 6)
    p, n, trace, square = 4, 6, np.trace(sample), np.trace(sample @ sample)
    rho = min(1, ((1 - 2 / p) * square + trace**2) / ((n + 1 - 2 / p) * (square - trace**2 / p)))
    np.testing.assert_allclose(ours[0], (1 - rho) * sample + rho * trace / p * np.eye(p), rtol=1e-12)


def test_shrinkage_changes_the_distance_and_the_grid_stays_finite_where_nothing_varies():
    images = textures(4)
    images[:, :, 40:] = 0.0
    plain, shrunk = (fitted_on(images, shrinkage=kind)(textures(1, seed=2))[1] for kind in ("none", "oas"))
    assert bool(torch.isfinite(shrunk).all())
    assert not torch.allclose(plain, shrunk, rtol=0.05)


def test_whitening_of_a_covariance_gives_the_identity():
    root = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 8, 8)))
    covariance = root @ root.transpose(1, 2) + 0.1 * torch.eye(8)
    white = whitening(covariance).double()
    identity = torch.eye(8, dtype=torch.float64).expand(3, 8, 8)
    torch.testing.assert_close(white @ covariance @ white.transpose(1, 2), identity, atol=1e-4, rtol=0)
    assert float(white.triu(1).abs().max()) == 0


def test_more_dimensions_than_the_layers_have_are_refused():
    with pytest.raises(ConfigError, match="n_features is 153; these layers have 152 dimensions"):
        fitted_on(textures(2), n_features=153)


def test_one_image_has_no_covariance():
    with pytest.raises(DataError, match="at least 2 fit images, got 1"):
        fitted_on(textures(1))
