"""The one upsampling and smoothing of maps, against torch's own resize and scipy's Gaussian."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from gonogo.detectors.anomaly_map import resize, upsample
from gonogo.images.size import ImageSize


@pytest.mark.parametrize("sigma", [0.0, 0.7, 4.0])
@pytest.mark.parametrize("grid_size", [(1, 1), (7, 7), (16, 12), (64, 64), (90, 70)])
@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_upsampling_is_a_resize_and_then_a_gaussian_with_replicated_borders(size, grid_size, sigma):
    grid = np.random.default_rng(0).normal(25, 5, (2, *grid_size)).astype(np.float32)
    expected = resize(torch.from_numpy(grid)[:, None], *size)[:, 0].double().numpy()
    for axis in (1, 2) if sigma else ():
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=int(np.ceil(4 * sigma)))
    np.testing.assert_allclose(upsample(torch.from_numpy(grid), ImageSize(*size), sigma, *size), expected, rtol=1e-5)


def test_a_map_has_the_images_own_size_whatever_the_grid():
    assert upsample(torch.ones(3, 5, 5), ImageSize(64, 64), 2.0, 31, 77).shape == (3, 31, 77)


def test_a_constant_grid_gives_that_constant_everywhere():
    np.testing.assert_allclose(upsample(torch.full((1, 4, 9), 3.5), ImageSize(32, 32), 4.0, 50, 20), 3.5, rtol=1e-6)
