"""What a score is made of, by features and by gradients, with the fitted model."""

import json
import math

import numpy as np
import pytest
import torch

from conftest import OPTIONS, TINY, bundled, fitted, modelled, name_of
from gonogo.cli.main import main
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError
from gonogo.images.reading import read_image
from gonogo.model.attribution.cams import METHODS, cam, layer_of, mass_over_chance, points_at
from gonogo.model.attribution.features import attribute_features
from gonogo.model.fit_params import Tiling

NETWORKS_OF_THEIR_OWN = {"supersimplenet", "efficientad", "anomalib"}


def test_the_terms_of_every_detector_sum_to_its_score(inspector, pixels):
    held = []
    for image in pixels[:6]:
        found = attribute_features(inspector, image)
        assert (found is None) == (name_of(inspector) in NETWORKS_OF_THEIR_OWN)
        if found is None:
            continue
        score = float(inspector.inspect(image[None])[0][0])
        assert found.score == pytest.approx(score, rel=1e-6)
        assert abs(found.error) <= 2e-6 * score  # the detector's own rounding, in single precision
        held.append(np.abs(found.terms).sum())
        assert sum(size for _, size in found.layers) == len(found.terms)
        total = math.fsum(group.value for group in found.groups())
        assert found.base + found.remainder + total == pytest.approx(score, rel=2e-6)
    assert name_of(inspector) in NETWORKS_OF_THEIR_OWN or max(held) > 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("patchcore", {"n_neighbors": 3}),
        ("patchcore", {"top_share": 0.05}),
        ("patchcore", {"foreground": "pca", "n_neighbors": 2, "top_share": 0.02}),
        ("patchcore", {"whitening": 0.5}),
        ("knn", {"distance": "mean", "n_neighbors": 4}),
        ("knn", {"distance": "kth", "n_neighbors": 3}),
        ("lof", {"features": "backbone", "image_size": 64} | TINY),
        ("ocsvm", {"features": "backbone", "image_size": 64} | TINY),
        ("mahalanobis", {"features": "backbone", "image_size": 64} | TINY),
    ],
)
def test_options_that_change_the_score_change_its_terms_likewise(digits, pixels, name, options, monkeypatch):
    monkeypatch.setitem(OPTIONS, name, OPTIONS[name] | options)
    DETECTOR_OPTIONS[name](**OPTIONS[name])
    inspector = fitted(name, digits)
    for image in pixels[:4]:
        found = attribute_features(inspector, image)
        assert abs(found.error) <= 3e-6 * found.score + 2e-7  # a small score is a difference of larger numbers


def test_of_tiles_the_one_that_decides_is_taken_apart(digits, pixels):
    inspector = fitted("patchcore", digits, tiling=Tiling(96, 96, 32))
    score = float(inspector.inspect(pixels[:1])[0][0])
    found = attribute_features(inspector, pixels[0])
    assert found.score == pytest.approx(score, rel=1e-6)
    assert abs(found.error) < 2e-6 * score


def test_terms_are_where_the_image_differs(digits):
    inspector = fitted("mean_image", digits)
    mean = inspector.detector.mean_
    image = mean.round().permute(1, 2, 0).numpy().astype(np.uint8)
    image[2, 5, 1] = np.uint8(255 if image[2, 5, 1] < 128 else 0)
    terms = attribute_features(inspector, image).terms.reshape(3, 8, 8)
    assert np.unravel_index(terms.argmax(), terms.shape) == (1, 2, 5)


def test_gradient_times_activation_sums_to_the_change_of_the_score_along_the_gradient(fitted_once, pixels):
    inspector = fitted_once("patchcore")
    activations, gradients, _ = layer_of(inspector, pixels[0])
    with torch.no_grad():
        expected = float((activations * gradients).sum(dim=0).clamp(min=0).sum())
    assert float(METHODS["hirescam"](activations, gradients).sum()) == pytest.approx(expected, rel=1e-6)
    handles = []

    def scaled(step):
        module = inspector.detector.backbones()[0].model
        name = module.feature_info[min(inspector.detector.backbones()[0].layers)]["module"]
        handles.append(module.get_submodule(name).register_forward_hook(lambda _, __, output: output * (1 + step)))
        with torch.no_grad():
            score = float(inspector.detector(inspector.resized(torch.from_numpy(pixels[:1])))[0].double())
        handles.pop().remove()
        return score

    slope = (scaled(1e-3) - scaled(-1e-3)) / 2e-3
    assert float((activations * gradients).sum()) == pytest.approx(slope, rel=0.05)


def test_the_three_methods_are_what_their_papers_say():
    generator = torch.Generator().manual_seed(4)
    a, g = torch.rand(3, 4, 5, generator=generator), torch.randn(3, 4, 5, generator=generator)
    expected = {name: np.zeros((4, 5)) for name in METHODS}
    for c in range(3):
        ac, gc = a[c].numpy().astype(float), g[c].numpy().astype(float)
        expected["hirescam"] += ac * gc
        expected["gradcam"] += gc.mean() * ac
        alpha = gc**2 / (2 * gc**2 + ac.sum() * gc**3)
        expected["gradcam++"] += (alpha * np.maximum(gc, 0)).sum() * ac
    for name, method in METHODS.items():
        np.testing.assert_allclose(method(a, g).numpy(), np.maximum(expected[name], 0), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("tiling", [None, Tiling(96, 96, 32)])
def test_a_map_has_the_size_of_the_image_and_leaves_the_detector_as_it_was(digits, pixels, tiling):
    inspector = fitted("patchcore", digits, tiling=tiling)
    before = inspector.inspect(pixels[:1])[0]
    for method in METHODS:
        found = cam(inspector, np.repeat(pixels[0], 3, axis=1), method)
        assert found.shape == (8, 24)
        assert found.min() >= 0
        assert np.isfinite(found).all()
    np.testing.assert_array_equal(inspector.inspect(pixels[:1])[0], before)


def test_a_detector_without_a_network_has_no_activations_to_look_into(fitted_once, pixels):
    with pytest.raises(ConfigError, match="no backbone"):
        cam(fitted_once("pca"), pixels[0])


def test_localisation_is_one_where_a_map_is_even_and_counts_only_the_highest_place():
    mask = np.zeros((10, 10), dtype=bool)
    mask[2:4, 2:7] = True
    assert mass_over_chance(np.ones((10, 10)), mask) == pytest.approx(1.0)
    assert mass_over_chance(mask.astype(float), mask) == pytest.approx(10.0)
    assert mass_over_chance(np.zeros((10, 10)), mask) == 0.0
    found = np.zeros((10, 10))
    assert not points_at(found, mask)
    found[3, 6], found[9, 9] = 2.0, 1.0
    assert points_at(found, mask)
    found[9, 9] = 3.0
    assert not points_at(found, mask)


def test_the_command_tells_what_the_model_knows_and_refuses_another_model(digits, tmp_path, capsys):
    inspector = fitted("patchcore", digits)
    bundle = bundled(modelled(inspector, digits, tmp_path / "model"), digits, tmp_path)
    image = digits.path_of(next(record for record in digits.with_role("test") if record.label == 1))
    words = ["explain", str(bundle), str(image), "--model", str(tmp_path / "model"), "--method", "gradcam"]
    assert main([*words, "--json", "--reaction", str(tmp_path / "why.png")]) == 0
    report = json.loads(capsys.readouterr().out)
    total = report["features"]["base"] + sum(group["value"] for group in report["features"]["groups"])
    assert total == pytest.approx(report["score"], rel=1e-4)
    reaction = cam(inspector, read_image(image), "gradcam")
    x, y = report["reaction"]["at"]
    assert reaction[y, x] == reaction.max()
    assert read_image(tmp_path / "why.png").shape == (8, 8, 3)
    modelled(fitted("mean_image", digits), digits, tmp_path / "other")
    assert main([*words[:3], "--model", str(tmp_path / "other")]) == 3
    assert "another model than that of the bundle: detector differs" in capsys.readouterr().err
