"""The vectors by which images are compared, from the features that a bundle's network gives beside score and map."""

from typing import NamedTuple

import numpy as np

from gonogo.calibration.regions import Region


class Vectors(NamedTuple):
    """Mean features (d,) float32 of an image, and of its region with the highest peak; None where it has no region."""

    image: np.ndarray
    region: np.ndarray | None


def vectors_of(features: np.ndarray, regions: list[Region], defect_mask: np.ndarray) -> Vectors:
    """The vectors of an image.

    Args:
        features: (d, ch, cw) of cells that cover the image.
        regions: highest peak first.
        defect_mask: (h, w) bool, the pixels of all regions.
    """
    image = features.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
    return Vectors(image, region_vector(features, regions[0], defect_mask) if regions else None)


def region_vector(features: np.ndarray, region: Region, defect_mask: np.ndarray) -> np.ndarray:
    """(d,) float32: the mean of the features (d, ch, cw), each cell weighted by the area of the region in it."""
    weights = area_by_cell(defect_mask, region.box, features.shape[1:])
    return np.asarray((features * (weights / weights.sum())).sum(axis=(1, 2), dtype=np.float64), dtype=np.float32)


def area_by_cell(mask: np.ndarray, box: tuple[int, int, int, int], cells: tuple[int, ...]) -> np.ndarray:
    """(ch, cw): how many pixels of the mask (h, w), within the box (x, y, width, height), lie in each cell."""
    x, y, width, height = box
    down = _overlap(cells[0], mask.shape[0])[:, y : y + height]
    across = _overlap(cells[1], mask.shape[1])[:, x : x + width]
    return np.asarray(down @ mask[y : y + height, x : x + width] @ across.T)


def _overlap(n_cells: int, length: int) -> np.ndarray:
    """(n_cells, length): the share of each pixel of an axis that lies in each of the cells that divide it."""
    edges = np.arange(n_cells + 1)[:, None] * length / n_cells
    pixels = np.arange(length)
    return np.asarray(np.clip(np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels), 0, None))
