"""Which patches of an image show the part and not its background, from patch features alone.

Source: Damm et al. 2025, "AnomalyDINO: Boosting Patch-based Few-shot Anomaly Detection with DINOv2" (WACV), and its
code (dammsi/AnomalyDINO): the first principal component of an image's patches against a threshold, then a dilation.
Deviations, so that an image's mask depends on that image and what was learned alone: the component is that of all fit
patches, not of each image; its threshold is Otsu's (1979), not 10, which holds for DINOv2's tokens; its sign makes
the border the background, where theirs makes the centre the foreground. A patch passes from background to foreground
over a band around the threshold, since a score that jumps would let rounding decide between two runtimes. Background
is what the border reaches, so that a hole in a part counts, which their closing does for small ones. Their masking
test, by eye and by category, is one of three numbers here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SOFTNESS = 0.1  # half the band, in units of the gap between the means of background and foreground
MIN_SEPARABILITY = 0.75  # of an even spread; two clusters have more, a bell curve has 0.64
MIN_CENTRE_SHARE = 0.35  # as in the authors' code
MAX_BORDER_TO_CENTRE = 0.5


class Foreground(NamedTuple):
    """The learned foreground, in tensors that a detector saves as its buffers.

    Attributes:
        axis: (d,) direction that grows from background to foreground; (0,) where the masking test failed, and all
            patches count.
        band: (2,) projections on the axis at which a patch is all background and all foreground.
        least: () smallest mean weight of a fit image.
        test: (3,) the masking test: separability by the axis, foreground's share of the centre and of the border.
    """

    axis: Tensor
    band: Tensor
    least: Tensor
    test: Tensor

    @property
    def is_on(self) -> bool:
        """Whether the masking test was passed."""
        return self.axis.numel() > 0

    def weights(self, features: Tensor) -> Tensor:
        """(n, gh, gw) in [0, 1] of features (n, gh, gw, d): 0 background, 1 foreground.

        In an image with much less foreground than any fit image, the part is missing, and all patches count.
        """
        if not self.is_on:
            return torch.ones_like(features[..., 0])
        weights = _grown_and_filled(self._raw(features))
        trust = (4 * weights.mean(dim=(1, 2)) / self.least - 1).clamp(0, 1)  # 0 below a quarter of it, 1 from a half
        return 1 - trust[:, None, None] * (1 - weights)

    def _raw(self, features: Tensor) -> Tensor:
        low, high = self.band
        weights: Tensor = (features @ self.axis - low) / (high - low)
        return weights.clamp(0, 1)

    def fit_facts(self) -> dict[str, str | float]:
        """Whether the mask is used, by which numbers."""
        separability, centre, border = self.test.tolist()
        return {
            "foreground": "pca" if self.is_on else "off, since the masking test failed",
            "foreground_separability": separability,
            "foreground_share_of_centre": centre,
            "foreground_share_of_border": border,
        }


def learn_foreground(grids: Sequence[Tensor]) -> Foreground:
    """The foreground of good images whose features are `grids`, each (b, gh, gw, d)."""
    features = torch.cat(list(grids))
    patches = features.flatten(0, 2)
    mean = patches.mean(dim=0)
    axis = torch.linalg.eigh(((patches - mean).T @ (patches - mean)).double()).eigenvectors[:, -1].float()
    centred = (features - mean) @ axis  # (n, gh, gw)
    if centred[:, _border(centred)].mean() > 0:
        axis, centred = -axis, -centred
    threshold, separability = otsu(centred.flatten())
    is_high = centred >= threshold
    gap = centred[is_high].mean() - centred[~is_high].mean()
    band = mean @ axis + threshold + SOFTNESS * gap * centred.new_tensor([-1, 1])
    foreground = Foreground(axis, band, centred.new_ones(()), centred.new_zeros(3))
    weights = foreground._raw(features)
    centre, border = weights[:, _centre(weights)].mean(), weights[:, _border(weights)].mean()
    test = torch.stack([separability.to(centre), centre, border])
    if separability <= MIN_SEPARABILITY or centre < MIN_CENTRE_SHARE or border > MAX_BORDER_TO_CENTRE * centre:
        return foreground._replace(axis=axis[:0], test=test)
    return foreground._replace(least=_grown_and_filled(weights).mean(dim=(1, 2)).min().clamp(min=1e-6), test=test)


def widened(weights: Tensor) -> Tensor:
    """(n, gh, gw): the weights, each cell given the largest of its 3 x 3 cells."""
    return F.max_pool2d(weights[:, None], 3, stride=1, padding=1)[:, 0]


def _grown_and_filled(weights: Tensor) -> Tensor:
    """Weights (n, gh, gw) after a dilation, with holes filled: background is what the border reaches."""
    background = 1 - widened(weights)
    reached = background * _border(weights)
    for _ in range(max(weights.shape[1:])):  # from cell to cell; a longer way round is taken for foreground
        reached = torch.minimum(widened(reached), background)
    return 1 - reached


def otsu(values: Tensor) -> tuple[Tensor, Tensor]:
    """Threshold () that best parts values (n,) in two, and the share () of their variance that lies between the two.

    Source: Otsu 1979, "A Threshold Selection Method from Gray-Level Histograms", with its measure eta.
    """
    ordered = values.double().sort().values
    n = len(ordered)
    count = torch.arange(1, n, device=values.device, dtype=torch.float64)
    below = ordered.cumsum(0)[:-1] / count
    above = (ordered.sum() - below * count) / (n - count)
    between = count * (n - count) / n**2 * (above - below).square()
    index = between.argmax()
    variance = ordered.var(correction=0)
    return (ordered[index] + ordered[index + 1]).float() / 2, (between[index] / variance.clamp(min=1e-30)).float()


def _border(weights: Tensor) -> Tensor:
    """(gh, gw) bool of (n, gh, gw): the outermost cells."""
    inside = torch.zeros(weights.shape[1:], dtype=torch.bool, device=weights.device)
    inside[1:-1, 1:-1] = True
    return ~inside


def _centre(weights: Tensor) -> Tensor:
    """(gh, gw) bool of (n, gh, gw): the grid without a fifth of it at each side."""
    height, width = weights.shape[1:]
    inside = torch.zeros((height, width), dtype=torch.bool, device=weights.device)
    inside[int(0.2 * height) : int(0.8 * height), int(0.2 * width) : int(0.8 * width)] = True
    return inside
