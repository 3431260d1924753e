"""Statistics of an image: each tells what it is named after, and little else."""

import numpy as np
import pytest

from gonogo.evaluation.robustness.corruptions import corrupted
from gonogo.images.statistics import STATISTICS, image_statistics


def told(pixels):
    return dict(zip(STATISTICS, image_statistics(pixels), strict=True))


@pytest.fixture(scope="module")
def part():
    """A disc on a background, with a little noise."""
    down, across = np.mgrid[:300, :400]
    grey = np.where((down - 150) ** 2 + (across - 200) ** 2 < 90**2, 160, 70)
    noise = np.random.default_rng(1).normal(0, 2, (300, 400, 3))
    return np.rint(np.clip(grey[..., None] + noise, 0, 255)).astype(np.uint8)


def test_a_level_image_has_its_colour_and_nothing_else():
    level = np.full((7, 9, 3), (90, 100, 130), dtype=np.uint8)
    found = told(level)
    assert found["brightness"] == pytest.approx(0.299 * 90 + 0.587 * 100 + 0.114 * 130, rel=1e-5)
    assert (found["red"], found["blue"], found["size"]) == (-10, 30, 63)
    assert [found[name] for name in ("contrast", "sharpness", "noise")] == pytest.approx([0, 0, 0], abs=1e-3)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_noise_is_measured_in_grey_levels_whatever_the_edges(part, sigma):
    """In grey, the noise of the three colours is sqrt(0.299^2 + 0.587^2 + 0.114^2) = 0.669 of each of them."""
    noise = np.random.default_rng(2).normal(0, sigma, part.shape)
    noisy = np.rint(np.clip(part + noise, 0, 255)).astype(np.uint8)
    assert told(noisy)["noise"] == pytest.approx(0.669 * np.hypot(sigma, 2.0), rel=0.1)


@pytest.mark.parametrize(
    ("kind", "moved", "still"),
    [("blur", "sharpness", "brightness"), ("noise", "noise", "brightness"), ("white balance", "red", "noise")],
)
def test_a_disturbance_moves_what_is_named_after_it(part, kind, moved, still):
    before, after = told(part), told(corrupted(part, kind, 4, seed=[1]))
    assert abs(after[moved] - before[moved]) > 0.3 * max(abs(before[moved]), 5)
    assert after[still] == pytest.approx(before[still], rel=0.15)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 5000), (4000, 3)])
def test_an_image_of_any_shape_has_finite_statistics(shape):
    pixels = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.isfinite(image_statistics(pixels)).all()
