"""From a coarse grid of patch scores to a smooth anomaly map at the image's own size."""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gonogo.images.size import ImageSize


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bilinear resize of (n, c, h, w): the one resize kernel of pixels and of maps."""
    return F.interpolate(images, size=(height, width), mode="bilinear", antialias=True, align_corners=False)


def positive(values: Tensor) -> Tensor:
    """1 + v where v > 0, else 1 / (1 - v): above 0, strictly increasing and smooth, 1 for v = 0."""
    return values.clamp(min=0) + 1 / (1 - values.clamp(max=0))


def image_score(grid: Tensor, top_share: float | None) -> Tensor:
    """(n,): the score of an image by its grid (n, gh, gw): the mean of the cells with the highest values.

    Args:
        grid: higher is more anomalous.
        top_share: of the cells, in [0, 1], at least one; 0 or None: the highest alone; 1: all.
    """
    cells = grid.flatten(1)
    if not top_share:
        return cells.amax(dim=1)
    return cells.topk(max(1, int(top_share * cells.shape[1])), dim=1).values.mean(dim=1)


def upsample(grid: Tensor, image_size: ImageSize, sigma: float, height: int, width: int) -> Tensor:
    """Map of (n, height, width) from a (n, gh, gw) grid, smoothed by `sigma` pixels at `image_size`."""
    rows, columns = (_upsampling(*lengths, sigma) for lengths in zip(grid.shape[1:], image_size, strict=True))
    maps = torch.from_numpy(rows) @ grid @ torch.from_numpy(columns).T
    return resize(maps[:, None], height, width)[:, 0]


@lru_cache(maxsize=32)
def _upsampling(n_in: int, n_out: int, sigma: float) -> np.ndarray:
    """(n_out, n_in) float32: bilinear resize, then a Gaussian with replicated borders, along one axis.

    Both are linear and separable, so two small products do what two wide convolutions would, many times faster.
    """
    return np.asarray(smoothed(axis_matrix(n_in, n_out), sigma), dtype=np.float32)


def axis_matrix(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in): antialiased bilinear resize along one axis."""
    scale = n_in / n_out
    centres = scale * (np.arange(n_out) + 0.5)
    reach = max(scale, 1.0)  # antialiased where the grid is finer than the map
    weights = np.clip(1 - np.abs(np.arange(n_in) + 0.5 - centres[:, None]) / reach, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def smoothed(matrix: np.ndarray, sigma: float) -> np.ndarray:
    """(n_out, n_in): `matrix`, followed by a Gaussian of `sigma` rows with replicated borders; 0: none."""
    if sigma == 0:
        return matrix
    radius = math.ceil(4 * sigma)
    offsets = np.arange(-radius, radius + 1)
    gaussian = np.exp(-0.5 * (offsets / sigma) ** 2)
    gaussian /= gaussian.sum()
    result = np.zeros_like(matrix)
    for offset, weight in zip(offsets, gaussian, strict=True):
        result += weight * matrix[np.clip(np.arange(len(matrix)) + offset, 0, len(matrix) - 1)]
    return result
