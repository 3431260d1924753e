"""The vectors by which images are compared, from the features that a bundle's network gives beside score and map."""

from typing import NamedTuple

import numpy as np

from gonogo.calibration.regions import Region


class Vectors(NamedTuple):
    """Mean features (d,) float32 of an image, and of its region with the highest peak; None where it has no region."""

    image: np.ndarray
    region: np.ndarray | None


def vectors_of(
    features: np.ndarray, regions: list[Region], defect_mask: np.ndarray, anomaly_map: np.ndarray, threshold: float
) -> Vectors:
    """The vectors of an image.

    Args:
        features: (d, ch, cw) of cells that cover the image.
        regions: highest peak first.
        defect_mask: (h, w) bool, the pixels of all regions.
        anomaly_map: (h, w), whose regions these are.
        threshold: of a pixel of the map.
    """
    image = features.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
    if not regions:
        return Vectors(image, None)
    return Vectors(image, region_vector(features, regions[0], defect_mask, anomaly_map, threshold))


def region_vector(
    features: np.ndarray, region: Region, defect_mask: np.ndarray, anomaly_map: np.ndarray, threshold: float
) -> np.ndarray:
    """(d,) float32: the mean of the features (d, ch, cw) over a region, each pixel weighted by its excess.

    The excess is what the map has above the threshold. A map is smooth, so that a region reaches beyond its defect;
    there the excess is small, and the good part around the defect counts little. The arguments are as in `vectors_of`.
    """
    x, y, width, height = region.box
    inside = defect_mask[y : y + height, x : x + width]
    excess = np.maximum(anomaly_map[y : y + height, x : x + width].astype(np.float64) - threshold, 0) * inside
    weights = sum_by_cell(excess if excess.any() else inside, region.box, defect_mask.shape, features.shape[1:])
    return np.asarray((features * (weights / weights.sum())).sum(axis=(1, 2), dtype=np.float64), dtype=np.float32)


def sum_by_cell(
    values: np.ndarray, box: tuple[int, int, int, int], image: tuple[int, ...], cells: tuple[int, ...]
) -> np.ndarray:
    """(ch, cw): the sum of the pixels in each of the cells that divide an image.

    Args:
        values: (height, width) of the pixels in the box; those outside of it are 0.
        box: x, y, width and height, in pixels of the image.
        image: its height and width.
        cells: ch and cw.
    """
    x, y, width, height = box
    down = _overlap(cells[0], image[0])[:, y : y + height]
    across = _overlap(cells[1], image[1])[:, x : x + width]
    return np.asarray(down @ values @ across.T)


def _overlap(n_cells: int, length: int) -> np.ndarray:
    """(n_cells, length): the share of each pixel of an axis that lies in each of the cells that divide it."""
    edges = np.arange(n_cells + 1)[:, None] * length / n_cells
    pixels = np.arange(length)
    return np.asarray(np.clip(np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels), 0, None))
