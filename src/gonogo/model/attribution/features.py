"""Which features a score is made of: terms that sum to it exactly, but for rounding in double precision.

A score that is a distance is a sum already, and what enters it is held fixed: the patch that decides, the neighbours
that were chosen, the weights of support vectors. A term answers how much of this distance a feature has, and not what
the score would be without it, since another neighbour would then be nearest.

For d = sqrt(sum_j (x_j - m_j)^2) the terms are (x_j - m_j)^2 / d. For a Mahalanobis distance they are
(x - mu)_j (inv(S) (x - mu))_j / d, of which some may be negative.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gonogo.detectors.contract import Detector
from gonogo.detectors.ecod import ECOD
from gonogo.detectors.isolation_forest import IsolationForest
from gonogo.detectors.knn import KNearestNeighbours
from gonogo.detectors.lof import LocalOutlierFactor
from gonogo.detectors.mahalanobis import Mahalanobis
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.memory_bank.distance import proximity
from gonogo.detectors.memory_bank.foreground import Foreground
from gonogo.detectors.ocsvm import OneClassSVM
from gonogo.detectors.padim import PaDiM
from gonogo.detectors.patchcore import PatchCore
from gonogo.detectors.pca import PCAReconstruction
from gonogo.detectors.softpatch import SoftPatch
from gonogo.images.reading import require_pixels
from gonogo.model.inspector import Inspector

Kind = Literal["feature", "axis", "pixel", "split"]
CHANNEL_GROUPS = 8  # of a layer, by default


@dataclass(frozen=True)
class Group:
    """Terms added up: of a layer, or of some of its channels, `first` to `last`; of pixels a colour's."""

    layer: str
    first: int
    last: int
    value: float


@dataclass(frozen=True)
class FeatureAttribution:
    """Terms that sum to `score - base - remainder`, but for `error`.

    Attributes:
        score: the detector's, in single precision.
        base: of the forest, the score of an image that is isolated after as many splits as chance takes; otherwise 0.
        remainder: what no feature has: of a local outlier factor, the distances that are replaced by a neighbour's own
            reach; of a support vector machine, the entropy of its support vectors' shares.
        kind: what a term belongs to: a feature of the backbone, a principal axis, a pixel's colour, or a grey level
            that the forest splits by.
        terms: (d,) float64.
        layers: name and number of terms of each layer, in the order of the terms; their sum is d.
    """

    score: float
    base: float
    remainder: float
    kind: Kind
    terms: np.ndarray
    layers: tuple[tuple[str, int], ...]

    @property
    def error(self) -> float:
        """What the terms lack of the score."""
        return self.score - self.base - self.remainder - math.fsum(self.terms.tolist())

    def groups(self, per_layer: int = CHANNEL_GROUPS) -> list[Group]:
        """The terms of each layer in groups of consecutive channels, as many as `per_layer`."""
        found, start = [], 0
        for layer, size in self.layers:
            edges = [round(number * size / min(per_layer, size)) for number in range(min(per_layer, size) + 1)]
            for first, end in pairwise(edges):
                value = math.fsum(self.terms[start + first : start + end].tolist())
                found.append(Group(layer, first, end - 1, value))
            start += size
        return found


@dataclass(frozen=True)
class _Terms:
    """What is known before the layers are: `of` has the feature of the backbone that each term belongs to."""

    kind: Kind
    terms: Tensor
    base: float = 0.0
    remainder: float = 0.0
    of: Tensor | None = None


@torch.no_grad()
def attribute_features(inspector: Inspector, pixels: np.ndarray) -> FeatureAttribution | None:
    """Which features the score of an image is made of; of tiles, those of the one that decides.

    None where the score is a trained network's own and no sum of anything.

    Args:
        pixels: (h, w, 3) uint8 RGB.

    Raises:
        ShapeError: another shape or dtype.
        NotFittedError: before `fit`.
    """
    require_pixels(pixels[None])
    detector, tiles = inspector.detector, inspector.tiles
    seen = inspector.resized(torch.from_numpy(pixels)[None])
    if tiles is not None:
        seen = max(
            (tiles.tile(seen, number) for number in range(len(tiles))), key=lambda tile: float(detector(tile)[0])
        )
    score = float(detector(seen)[0])
    found = _terms(detector, seen)
    if found is None:
        return None
    return FeatureAttribution(
        score, found.base, found.remainder, found.kind, found.terms.double().numpy(), _layers(detector, found)
    )


def _terms(detector: Detector, seen: Tensor) -> _Terms | None:
    match detector:
        case PatchCore():
            return _patchcore(detector, seen)
        case SoftPatch():
            _, grid, nearest = detector.score_with_nearest(seen)
            patches, entries = detector.patch_features(seen).flatten(0, 2) - detector.mean_, nearest.flatten()
            terms = [
                detector.bank_weights_[entries[cell]].double()
                * _of_distance(patches[cell], detector.memory_bank_[entries[cell]])
                for cell in _deciding(detector.options.top_share, grid)
            ]
            return _Terms("feature", torch.stack(terms).mean(dim=0))
        case PaDiM():
            features = detector.patch_features(seen).flatten(0, 2)[:, detector.features_]
            terms = [
                _of_mahalanobis(features[cell] - detector.mean_[cell], detector.whitening_[cell])
                for cell in _deciding(detector.options.top_share, detector(seen)[1])
            ]
            return _Terms("feature", torch.stack(terms).mean(dim=0), of=detector.features_)
        case Mahalanobis():
            return _of_rows(detector, _of_mahalanobis(detector.rows(seen)[0] - detector.mean_, detector.whitening_))
        case KNearestNeighbours():
            return _knn(detector, seen)
        case LocalOutlierFactor():
            return _lof(detector, seen)
        case ECOD():
            return _ecod(detector, seen)
        case OneClassSVM():
            return _ocsvm(detector, seen)
        case MeanImage():
            return _of_residual(seen - detector.mean_, detector.options.top_share)
        case PCAReconstruction():
            centred = seen.flatten(1).double() - detector.mean_.double()
            components = detector.components_.double()
            residual = centred - (centred @ components.T) @ components
            return _of_residual(residual.view_as(seen), detector.options.top_share)
        case IsolationForest():
            return _forest(detector, seen)
        case _:
            return None


def _of_distance(x: Tensor, m: Tensor) -> Tensor:
    """(d,) float64: the terms of the l2 distance of x (d,) to m (d,); 0 where they are equal."""
    squares = (x - m).double().square()
    return squares / squares.sum().sqrt().clamp(min=torch.finfo(torch.float64).tiny)


def _of_mahalanobis(centred: Tensor, whitening: Tensor) -> Tensor:
    """(d,) float64: the terms of |W c|, which are c (W'W c) / |W c|."""
    c, w = centred.double(), whitening.double()
    white = w @ c
    length = white.square().sum().sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    return c * (w.T @ white) / length


def _deciding(top_share: float | None, grid: Tensor) -> Tensor:
    """(k,): the cells of a grid (1, gh, gw) whose mean is the score, as `image_score` takes them."""
    n_cells = max(1, int(top_share * grid.numel())) if top_share else 1
    return grid.flatten().topk(n_cells).indices


def _of_residual(residual: Tensor, top_share: float | None) -> _Terms:
    """The terms of a residual (1, 3, h, w): of its root mean square, or of the mean of a share of its pixels.

    A pixel's value is the root mean square of its three colours, which their squares have shares of.
    """
    if top_share is not None:
        squares = residual[0].double().square()  # (3, h, w)
        pixels = squares.mean(dim=0).sqrt()
        chosen = torch.zeros(pixels.numel(), dtype=torch.float64)
        cells = _deciding(top_share, pixels[None].float())
        chosen[cells] = 1 / len(cells)
        shares = squares / (3 * pixels.clamp(min=torch.finfo(torch.float64).tiny))
        return _Terms("pixel", (shares * chosen.view_as(pixels)).flatten())
    squares = residual.flatten().double().square()
    score = squares.mean().sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    return _Terms("pixel", squares / (len(squares) * score))


def _of_rows(
    detector: Mahalanobis | KNearestNeighbours | LocalOutlierFactor | ECOD | OneClassSVM,
    terms: Tensor,
    remainder: float = 0.0,
) -> _Terms:
    return _Terms("pixel" if detector.rows.backbone is None else "feature", terms, remainder=remainder)


def _patchcore(detector: PatchCore, seen: Tensor) -> _Terms:
    """The distances to the neighbours of the patch that decides, or of the highest ones, with their weights."""
    options, features = detector.options, detector.patch_features(seen)
    patches = features.flatten(0, 2) - detector.mean_
    projects = options.reduction != "none" or options.whitening > 0
    if projects:
        patches = patches @ detector.projection_
    _, grid, nearest = detector.score_with_nearest(seen)
    cells = _deciding(options.top_share, grid)
    n_cells = len(cells)
    weights = torch.ones(grid.numel())
    if options.foreground == "pca":
        learned = (detector.foreground_axis_, detector.foreground_band_, detector.foreground_least_)
        weights = Foreground(*learned, detector.foreground_test_).weights(features).flatten()
    terms = torch.zeros(patches.shape[1], dtype=torch.float64)
    for cell in cells:
        entries = nearest.flatten()[cell][None]
        if options.n_neighbors > 1:
            entries = proximity(patches[cell][None], detector.memory_bank_).topk(options.n_neighbors, dim=1).indices[0]
        of_entries = torch.stack([_of_distance(patches[cell], detector.memory_bank_[entry]) for entry in entries])
        terms += weights[cell].double() * of_entries.mean(dim=0) / n_cells
    return _Terms("axis" if projects else "feature", terms)


def _knn(detector: KNearestNeighbours, seen: Tensor) -> _Terms:
    row = detector.rows(seen)[0]
    order = (row - detector.rows_).norm(dim=1).argsort()[: detector.options.n_neighbors]
    chosen = order[-1:] if detector.options.distance == "kth" else order
    terms = torch.stack([_of_distance(row, detector.rows_[entry]) for entry in chosen]).mean(dim=0)
    return _of_rows(detector, terms)


def _lof(detector: LocalOutlierFactor, seen: Tensor) -> _Terms:
    """The mean density of the neighbours times the mean of max(distance, the neighbour's own reach)."""
    row = detector.rows(seen)[0]
    distances = (row - detector.rows_).double().square().sum(dim=1).sqrt()
    k = min(detector.options.n_neighbors, len(detector.rows_) - 1)
    nearest, index = distances.topk(k, largest=False)
    scale = float(detector.densities_[index].double().mean()) / k
    terms, remainder = torch.zeros(len(row), dtype=torch.float64), 0.0
    for distance, entry in zip(nearest, index, strict=True):
        reach = float(detector.k_distances_[entry])
        if float(distance) >= reach:
            terms += scale * _of_distance(row, detector.rows_[entry])
        else:
            remainder += scale * reach
    return _of_rows(detector, terms, remainder)


def _ecod(detector: ECOD, seen: Tensor) -> _Terms:
    """The tails of each feature, of the side that is the largest sum."""
    ahead = (detector.rows(seen) - detector.rows_) / detector.ramps_
    n = len(detector.rows_) + 1
    left = -((1 + (1 + ahead).clamp(0, 1).double().sum(dim=0)) / n).log()
    right = -((1 + (1 - ahead).clamp(0, 1).double().sum(dim=0)) / n).log()
    sides = [left, right, torch.where(detector.skewness_ < 0, left, right)]
    return _of_rows(detector, max(sides, key=lambda side: float(side.sum())))


def _ocsvm(detector: OneClassSVM, seen: Tensor) -> _Terms:
    """-log sum_i w_i exp(-g d_i^2) = sum_i p_i g d_i^2 + sum_i p_i log(p_i / w_i), p the shares of that sum."""
    squares = (detector.rows(seen) - detector.support_vectors_).double().square()  # (m, d)
    gamma, log_weights = detector.gamma_.double(), detector.log_weights_.double()
    exponents = log_weights - gamma * squares.sum(dim=1)
    log_shares = exponents - torch.logsumexp(exponents, dim=0)
    shares = log_shares.exp()
    return _of_rows(detector, gamma * shares @ squares, float((shares * (log_shares - log_weights)).sum()))


def _forest(detector: IsolationForest, seen: Tensor) -> _Terms:
    """What each split changes of the expected path length, brought to the score's scale.

    From the root to the leaf the changes sum to the path length of the image less that at the root. The score is
    2^(-length / expected); each change is multiplied by the one factor with which they sum to the score less its base.

    Source: Saabas 2014, "Interpreting random forests", for the sum along the path.
    """
    row = detector.features(seen)[0].numpy()
    trees = detector.forest().estimators_
    changes, root = np.zeros(len(row)), 0.0
    for tree in (each.tree_ for each in trees):
        lengths, node = tree.value[:, 0, 0], 0
        root += lengths[0] / len(trees)
        while tree.children_left[node] != -1:
            goes_left = row[tree.feature[node]] <= tree.threshold[node]
            child = tree.children_left[node] if goes_left else tree.children_right[node]
            changes[tree.feature[node]] += (lengths[child] - lengths[node]) / len(trees)
            node = child
    expected, total = detector.expected(), changes.sum()
    base = 2 ** (-root / expected)
    score = 2 ** (-(root + total) / expected)
    factor = (score - base) / total if total else 0.0
    return _Terms("split", torch.from_numpy(factor * changes), base=float(base))


def _layers(detector: Detector, found: _Terms) -> tuple[tuple[str, int], ...]:
    """The layers of the terms: the backbone's, the colours of pixels, or one of all."""
    if found.kind == "pixel":
        return tuple((colour, len(found.terms) // 3) for colour in ("red", "green", "blue"))
    if found.kind != "feature":
        return ((found.kind, len(found.terms)),)
    (backbone,) = detector.backbones()
    sizes = [(f"layer {layer}", int(backbone.model.feature_info[layer]["num_chs"])) for layer in backbone.layers]
    if found.of is None:
        return tuple(sizes)
    edges = np.cumsum([0, *(size for _, size in sizes)])
    counts = np.histogram(found.of.numpy(), bins=edges)[0]
    return tuple((name, int(count)) for (name, _), count in zip(sizes, counts, strict=True))
