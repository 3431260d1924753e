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
    merge: int = 0  # these three are not in a bundle of an earlier version, which used none of them
    min_solidity: float = 0.0
    max_elongation: float | None = None

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
                or (len(points) >= 3 and all(len(p) == 2 and all(0 <= side <= 1 for side in p) for p in points)),
                "null or at least three [x, y] in fractions of width and height",
            ),
            "border": (0 <= self.border < 0.5, "a fraction in [0, 0.5)"),
            "merge": (self.merge >= 0, "0 or more pixels"),
            "min_solidity": (0 <= self.min_solidity <= 1, "a share in [0, 1]"),
            "max_elongation": (
                self.max_elongation is None or 1 <= self.max_elongation < math.inf,
                "null or a ratio of 1 or more",
            ),
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
    """How a gauge turns maps into regions. A gauge that does not localise has no threshold, and finds no regions.

    Raises:
        ConfigError: regions grow down to a share of the threshold, and it is not above 0.
    """

    params: RegionParams
    threshold: PixelThreshold | None

    def __post_init__(self) -> None:
        if self.threshold is not None and self.threshold.threshold <= 0 and self.params.hysteresis < 1:
            raise ConfigError(
                f"regions: hysteresis is {self.params.hysteresis:g}, a share of the pixel threshold, which is "
                f"{self.threshold.threshold:g}: no share of it is lower; set hysteresis to 1"
            )

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
    indices, each counted alike. `solidity` is the share of the region's convex hull that it covers, in (0, 1];
    `elongation` the ratio of the axes of the ellipse that has its second moments, 1 or more. Parts that `merge` joined
    are one region.
    """

    box: tuple[int, int, int, int]
    area: int
    centroid: tuple[float, float]
    peak: float
    mean: float
    solidity: float
    elongation: float


def defect_mask(anomaly_map: np.ndarray, rule: RegionRule) -> np.ndarray:
    """(h, w) bool: the pixels of a map (h, w) that belong to a region.

    At or above the threshold; grown by hysteresis; opened, then closed; inside the ROI; regions dropped that are small,
    jagged or long, where those that `merge` joins are one.

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
        runs = Runs.of(anomaly_map >= params.hysteresis * threshold)
        mask = runs.painted(runs.per_region(np.logical_or, runs.per_run(np.logical_or, mask)))
    if params.opening:
        mask = dilated(~dilated(~mask, params.opening), params.opening)
    if params.closing:
        mask = ~dilated(~dilated(mask, params.closing), params.closing)
        mask &= params.roi_mask(*mask.shape)
    if params.min_area > 1 or params.min_solidity > 0 or params.max_elongation is not None:
        runs = Runs.of(mask, merge=params.merge)
        kept = runs.per_region(np.add, runs.lengths) >= params.min_area
        if params.min_solidity > 0:
            kept &= solidity(runs) >= params.min_solidity
        if params.max_elongation is not None:
            kept &= elongation(runs) <= params.max_elongation
        mask = runs.painted(kept)
    return mask


def find_regions(anomaly_map: np.ndarray, mask: np.ndarray, *, merge: int = 0) -> list[Region]:
    """The 8-connected regions of a defect mask (h, w), highest peak first; equal ones in reading order.

    Those with a gap of at most `2 * merge` pixels are one.
    """
    runs = Runs.of(mask, merge=merge)
    left, right, rows = runs.left, runs.left + runs.lengths - 1, runs.rows
    area = runs.per_region(np.add, runs.lengths)
    x, y, mean = (
        runs.per_region(np.add, total) / area
        for total in ((left + right) * runs.lengths / 2, rows * runs.lengths, runs.per_run(np.add, anomaly_map))
    )
    x1, y1 = (runs.per_region(np.minimum, side) for side in (left, rows))
    x2, y2 = (runs.per_region(np.maximum, side) for side in (right, rows))
    peak = runs.per_region(np.maximum, runs.per_run(np.maximum, anomaly_map))
    solid, long = solidity(runs), elongation(runs)
    return [
        Region(
            box=(int(x1[i]), int(y1[i]), int(x2[i] - x1[i]) + 1, int(y2[i] - y1[i]) + 1),
            area=int(area[i]),
            centroid=(float(x[i]), float(y[i])),
            peak=float(peak[i]),
            mean=float(mean[i]),
            solidity=float(solid[i]),
            elongation=float(long[i]),
        )
        for i in np.argsort(-peak, kind="stable").tolist()
    ]


@dataclass(frozen=True)
class Runs:
    """The 8-connected regions of a mask as runs of marked pixels in its rows, so that work goes with their number.

    mask: (h, w) bool.
    rows, left, lengths: (n,) int64; the row, the first column and the pixels of each run, in reading order.
    region: (n,) int64; the number of the region that each run belongs to, from 0, in reading order of regions.
    """

    mask: np.ndarray
    rows: np.ndarray
    left: np.ndarray
    lengths: np.ndarray
    region: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, *, merge: int = 0) -> Self:
        """The runs of a mask (h, w) bool. Those that touch are joined by the lowest number until nothing changes.

        With `merge`, those belong to one region that touch when each pixel is widened by a square of this radius.

        Source: run-based two-pass labelling, He, Chao and Suzuki 2008; the joining as in Liu and Tarjan 2019, "Simple
        concurrent labeling algorithms for connected components".
        """
        height, width = mask.shape
        stride = width + 1  # a column of nothing keeps a row's last run apart from the next row's first
        padded = np.zeros(height * stride + 1, dtype=bool)
        padded[1:].reshape(height, stride)[:, :width] = mask
        edges = np.flatnonzero(padded[1:] != padded[:-1])
        starts, ends = edges[::2], edges[1::2]  # of each run, in reading order; the end is exclusive
        rows, left = np.divmod(starts, stride)
        runs = cls(mask, rows, left, ends - starts, _joined(starts, ends, stride))
        if not merge or not len(starts):
            return runs
        wide = cls.of(dilated(mask, merge))
        merged = wide.painted(np.arange(1, wide.region.max() + 2))[rows, left]
        _, first, region = np.unique(merged, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))  # in reading order of the runs themselves
        return cls(mask, rows, left, ends - starts, order[region])

    def per_run(self, ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
        """(n,): the values (h, w) in each run, reduced; floating-point numbers in float64."""
        if not len(self.lengths):
            return np.zeros(0)
        dtype = np.float64 if values.dtype.kind == "f" else None
        return np.asarray(ufunc.reduceat(values[self.mask], np.cumsum(self.lengths) - self.lengths, dtype=dtype))

    def per_region(self, ufunc: np.ufunc, of_runs: np.ndarray) -> np.ndarray:
        """(number of regions,): what each run (n,) has, reduced region by region."""
        if not len(of_runs):
            return of_runs
        order, first = self._by_region
        return np.asarray(ufunc.reduceat(of_runs[order], first))

    @cached_property
    def _by_region(self) -> tuple[np.ndarray, np.ndarray]:
        """The order (n,) of the runs region by region, and where in it each region begins."""
        order = np.argsort(self.region, kind="stable")
        return order, np.flatnonzero(np.diff(self.region[order], prepend=-1))

    def painted(self, of_regions: np.ndarray) -> np.ndarray:
        """(h, w): the value of each pixel's region, 0 where there is none; of the type of `of_regions`."""
        pixels = np.zeros(self.mask.shape, dtype=of_regions.dtype)
        if len(self.lengths):
            pixels[self.mask] = np.repeat(of_regions[self.region], self.lengths)
        return pixels


def elongation(runs: Runs) -> np.ndarray:
    """(number of regions,): the ratio of the axes of the ellipse with a region's second moments; 1 for a square pixel.

    Of pixels that are squares, not points: a square's own second moment, 1/12, is added along both axes.
    """
    n, left, rows = runs.lengths.astype(np.float64), runs.left.astype(np.float64), runs.rows.astype(np.float64)
    area = runs.per_region(np.add, n)
    centre = left + (n - 1) / 2
    x, y = (runs.per_region(np.add, total) / area for total in (centre * n, rows * n))
    dx, dy = centre - x[runs.region], rows - y[runs.region]
    xx, yy, xy = (
        runs.per_region(np.add, total) / area for total in (n * dx**2 + n * (n**2 - 1) / 12, n * dy**2, n * dx * dy)
    )
    half, apart = (xx + yy) / 2 + 1 / 12, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.asarray(np.sqrt((half + apart) / np.maximum(half - apart, 1 / 12)))


def solidity(runs: Runs) -> np.ndarray:
    """(number of regions,): the share of a region's convex hull, that of its pixels as squares, which it covers."""
    if not len(runs.lengths):
        return np.zeros(0)
    region, rows = np.tile(runs.region, 2), np.concatenate([runs.rows, runs.rows + 1])
    right = runs.left + runs.lengths
    hull = _under_hull(region, rows, np.tile(right, 2)) + _under_hull(region, rows, -np.tile(runs.left, 2))
    return np.asarray(runs.per_region(np.add, runs.lengths) / hull)


def _under_hull(region: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(number of regions,): the area between x = 0 and the hull of each region's points (y, x), on the side of large x.

    Points on or below the line between their neighbours are left out, all at once, until there are none: each lies
    inside the hull, since its neighbours are points of the region, whether or not they are left out too.
    """
    order = np.lexsort((-x, y, region))
    region, y, x = region[order], y[order], x[order]
    first = np.append(True, (np.diff(region) != 0) | (np.diff(y) != 0))  # the largest x of each y
    region, y, x = region[first], y[first], x[first]
    while True:
        inner = np.zeros(len(region), dtype=bool)
        inner[1:-1] = region[:-2] == region[2:]
        bend = np.zeros(len(region), dtype=np.int64)
        bend[1:-1] = (x[1:-1] - x[:-2]) * (y[2:] - y[:-2]) - (x[2:] - x[:-2]) * (y[1:-1] - y[:-2])
        below = inner & (bend <= 0)
        if not below.any():
            break
        region, y, x = region[~below], y[~below], x[~below]
    same = region[1:] == region[:-1]
    areas = np.where(same, (x[1:] + x[:-1]) * (y[1:] - y[:-1]) / 2, 0.0)
    return np.bincount(region[1:], weights=areas, minlength=int(region[-1]) + 1)


def _joined(starts: np.ndarray, ends: np.ndarray, stride: int) -> np.ndarray:
    """(n,) int64: the region of each run, which begin and end at these places of rows of `stride` pixels."""
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
    return np.unique(root, return_inverse=True)[1]


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
