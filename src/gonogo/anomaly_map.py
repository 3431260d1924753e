"""From a coarse grid of patch scores to a smooth anomaly map at the image's own size."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_kernel(sigma: float) -> Tensor:
    """(2 k + 1,) weights of a Gaussian that sum to 1, cut at k = ceil(4 sigma)."""
    radius = math.ceil(4 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return (weights / weights.sum()).to(torch.float32)


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of (n, h, w) maps, borders replicated; `sigma` in pixels, 0 for none."""
    if sigma == 0:
        return maps
    kernel = gaussian_kernel(sigma).to(maps)
    radius = len(kernel) // 2
    padded = F.pad(maps[:, None], (radius, radius, radius, radius), mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1))[:, 0]


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bilinear resize of (n, c, h, w): the one resize kernel of pixels and of maps."""
    return F.interpolate(images, size=(height, width), mode="bilinear", antialias=True, align_corners=False)


def upsample(grid: Tensor, image_size: int, sigma: float, height: int, width: int) -> Tensor:
    """Map of (n, height, width) from a (n, gh, gw) grid, smoothed by `sigma` pixels at (image_size, image_size)."""
    maps = smooth(resize(grid[:, None], image_size, image_size)[:, 0], sigma)
    return resize(maps[:, None], height, width)[:, 0]
