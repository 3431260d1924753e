"""From an anomaly map to the regions that a defect covers. Needs numpy alone; evaluation and the line both use it.

A region explains a verdict and never changes it: the verdict is the score against the certified threshold.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from gonogo.errors import ConfigError, ShapeError

CELLS = 512  # per side of the mask of what is inspected; a ROI's edge is exact to 1/512 of the image's side


@dataclass(frozen=True)
class RegionParams:
    """The `regions` section; params.yaml says what each key means."""

    pixel_threshold: Literal["quantile", "sigma"]
    pixel_false_positive_rate: float
    sigma: float
    hysteresis: float
    opening: int
    closing: int
    min_area: int
    roi: list[list[float]] | None
    border: float

    def __post_init__(self) -> None:
        points = [] if self.roi is None else self.roi
        requirements = {
            "pixel_threshold": (self.pixel_threshold in ("quantile", "sigma"), "quantile or sigma"),
            "pixel_false_positive_rate": (0 <= self.pixel_false_positive_rate < 1, "a share in [0, 1)"),
            "sigma": (0 < self.sigma < math.inf, "a number above 0"),
            "hysteresis": (0 < self.hysteresis <= 1, "a share in (0, 1]"),
            "opening": (self.opening >= 0, "0 or more pixels"),
            "closing": (self.closing >= 0, "0 or more pixels"),
            "min_area": (self.min_area >= 1, "1 or more pixels"),
            "roi": (
                self.roi is None
                or (len(points) >= 3 and all(len(p) == 2 and 0 <= min(p) <= max(p) <= 1 for p in points)),
                "null or at least three [x, y] in fractions of width and height",
            ),
            "border": (0 <= self.border < 0.5, "a fraction in [0, 0.5)"),
        }
        for key, (holds, expected) in requirements.items():
            if not holds:
                raise ConfigError(f"regions: {key} is {getattr(self, key)!r}; expected {expected}")
        if self.inside is not None and not self.inside.any():
            raise ConfigError(f"regions: roi {self.roi} and border {self.border:g} leave nothing to inspect")

    @cached_property
    def inside(self) -> np.ndarray | None:
        """(CELLS, CELLS) bool: True where the cell's centre is inspected; None where the whole image is.

        Of a polygon that crosses itself, the points that lie in an odd number of its loops are inside.
        """
        if self.roi is None and self.border == 0:
            return None
        centres = (np.arange(CELLS) + 0.5) / CELLS
        kept = (centres >= self.border) & (centres <= 1 - self.border)
        inside = np.asarray(kept[:, None] & kept)
        if self.roi is not None:
            odd = np.zeros_like(inside)
            for (x1, y1), (x2, y2) in zip(self.roi, self.roi[1:] + self.roi[:1], strict=True):
                rows = np.flatnonzero((y1 <= centres) != (y2 <= centres))  # whose line the edge crosses
                crossing = x1 + (centres[rows] - y1) * (x2 - x1) / (y2 - y1)
                odd[rows] ^= centres < crossing[:, None]
            inside &= odd
        return inside

    def roi_mask(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool: True where a pixel is inspected, by ROI and border; as in `Inspector`."""
        if self.inside is None:
            return np.ones((height, width), dtype=bool)
        rows, columns = (cell_of(np.arange(length), length) for length in (height, width))
        return np.asarray(self.inside[rows[:, None], columns])


def cell_of(position: Any, length: int) -> Any:
    """Index of the cell in which the centre of each pixel along a side of `length` pixels lies.

    Whole numbers alone, so that numpy, torch and ONNX agree.
    """
    return (2 * position + 1) * CELLS // (2 * length)


@dataclass(frozen=True)
class PixelThreshold:
    """A threshold on map values, and the target it was calibrated for. `value >= threshold` is anomalous.

    `measured_false_positive_rate` is the share of the good calibrate pixels at or above it: measured, not certified,
    since the pixels of one image are not independent.
    """

    threshold: float
    method: str
    target: float
    measured_false_positive_rate: float
    n_pixels: int
    n_images: int


@dataclass(frozen=True)
class RegionRule:
    """How a gauge turns maps into regions. A gauge that does not localise has no threshold, and finds no regions."""

    params: RegionParams
    threshold: PixelThreshold | None

    def to_dict(self) -> dict[str, Any]:
        """The rule as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The rule that `to_dict` wrote."""
        threshold = content["threshold"]
        return cls(RegionParams(**content["params"]), None if threshold is None else PixelThreshold(**threshold))


@dataclass(frozen=True)
class Region:
    """One connected part of the defect mask, in pixels of the image; `peak` and `mean` are of the map.

    `box` is (x, y, width, height); x grows to the right, y downwards. `centroid` (x, y) is that of the pixels'
    indices, each counted alike.
    """

    box: tuple[int, int, int, int]
    area: int
    centroid: tuple[float, float]
    peak: float
    mean: float


def defect_mask(anomaly_map: np.ndarray, rule: RegionRule) -> np.ndarray:
    """(h, w) bool: the pixels of a map (h, w) that belong to a region.

    At or above the threshold; grown by hysteresis; opened, then closed; inside the ROI; small regions dropped.

    Raises:
        ShapeError: the map is not (h, w).
    """
    if anomaly_map.ndim != 2:
        raise ShapeError(f"anomaly_map: expected (h, w), got {anomaly_map.shape}")
    if rule.threshold is None:
        return np.zeros(anomaly_map.shape, dtype=bool)
    params, threshold = rule.params, rule.threshold.threshold
    mask = np.asarray(anomaly_map >= threshold)
    if params.hysteresis < 1 and mask.any():
        labels, n_labels = label(anomaly_map >= params.hysteresis * threshold)
        grown = np.zeros(n_labels + 1, dtype=bool)
        grown[labels[mask]] = True
        mask = grown[labels]
    if params.opening:
        mask = dilated(~dilated(~mask, params.opening), params.opening)
    if params.closing:
        mask = ~dilated(~dilated(mask, params.closing), params.closing)
        mask &= params.roi_mask(*mask.shape)
    if params.min_area > 1:
        labels, _ = label(mask)
        mask = mask & (np.bincount(labels.ravel()) >= params.min_area)[labels]
    return mask


def find_regions(anomaly_map: np.ndarray, mask: np.ndarray) -> list[Region]:
    """The 8-connected regions of a defect mask (h, w), highest peak first; equal ones in reading order."""
    runs = _runs_of(mask)
    order = np.argsort(runs.region, kind="stable")  # region by region, each in reading order
    first = np.flatnonzero(np.diff(runs.region[order], prepend=-1))
    values = anomaly_map[mask]  # run after run
    begins = np.cumsum(runs.length) - runs.length
    length, rows, left = runs.length[order], runs.row[order], runs.left[order]
    right = left + length - 1
    area = np.add.reduceat(length, first)
    totals = ((left + right) * length // 2, rows * length, np.add.reduceat(values, begins, dtype=np.float64)[order])
    x, y, mean = (np.add.reduceat(total, first, dtype=np.float64) / area for total in totals)
    lowest_x, top = (np.minimum.reduceat(column, first) for column in (left, rows))
    highest_x, bottom = (np.maximum.reduceat(column, first) for column in (right, rows))
    peak = np.maximum.reduceat(np.maximum.reduceat(values, begins)[order], first)
    return [
        Region(
            box=(
                int(lowest_x[i]),
                int(top[i]),
                int(highest_x[i] - lowest_x[i]) + 1,
                int(bottom[i] - top[i]) + 1,
            ),
            area=int(area[i]),
            centroid=(float(x[i]), float(y[i])),
            peak=float(peak[i]),
            mean=float(mean[i]),
        )
        for i in np.argsort(-peak, kind="stable").tolist()
    ]


def label(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels (h, w) of the 8-connected regions of a mask (h, w) bool, 1 to n in reading order, 0 elsewhere; and n."""
    runs = _runs_of(mask)
    labels = np.zeros(mask.shape, dtype=np.int32)
    labels[mask] = np.repeat(runs.region + 1, runs.length)
    return labels, runs.n_regions


@dataclass(frozen=True)
class _Runs:
    """The runs of marked pixels in the rows of a mask, (n,) each, in reading order.

    region: the number of the region that each belongs to, 0 to n_regions - 1 in reading order.
    """

    row: np.ndarray
    left: np.ndarray
    length: np.ndarray
    region: np.ndarray
    n_regions: int


def _runs_of(mask: np.ndarray) -> _Runs:
    """The runs of a mask (h, w) bool. Those that touch are joined by the lowest of their numbers until nothing changes.

    Source: run-based two-pass labelling, He, Chao and Suzuki 2008; the joining as in Liu and Tarjan 2019, "Simple
    concurrent labeling algorithms for connected components".
    """
    height, width = mask.shape
    stride = width + 1  # a column of nothing keeps a row's last run apart from the next row's first
    padded = np.zeros((height, stride), dtype=np.int8)
    padded[:, :width] = mask
    edges = np.flatnonzero(np.diff(padded.ravel(), prepend=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]  # of each run; the end is exclusive
    # Those of the row above that touch run i are runs first[i] to last[i] - 1; corners touch.
    first = np.searchsorted(ends + stride, starts, side="left")
    last = np.searchsorted(starts + stride, ends, side="right")
    touching = np.maximum(last - first, 0)
    below = np.repeat(np.arange(len(starts)), touching)
    offsets = np.arange(len(below)) - np.repeat(np.cumsum(touching) - touching, touching)
    above = first[below] + offsets

    root = np.arange(len(starts))
    while len(below):
        low, high = np.minimum(root[below], root[above]), np.maximum(root[below], root[above])
        apart = low < high
        below, above = below[apart], above[apart]
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(root, jumped := root[root]):
            root = jumped
    roots, regions = np.unique(root, return_inverse=True)
    row, left = np.divmod(starts, stride)
    return _Runs(row, left, ends - starts, regions, len(roots))


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """A mask (h, w) bool dilated by a square of side 2 * radius + 1; `~dilated(~mask, radius)` erodes it.

    Pixels outside the image neither grow a region nor shrink one.
    """
    for axis in (0, 1):
        length = mask.shape[axis]
        counts = np.cumsum(mask, axis=axis, dtype=np.int32)
        counts = np.insert(counts, 0, 0, axis=axis)  # of marked pixels before each
        start = np.clip(np.arange(length) - radius, 0, length)
        stop = np.clip(np.arange(length) + radius + 1, 0, length)
        mask = np.asarray(counts.take(stop, axis=axis) > counts.take(start, axis=axis))
    return mask
