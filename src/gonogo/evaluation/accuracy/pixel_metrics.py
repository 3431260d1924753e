"""Exact metrics of maps against masks, from maps that are added one at a time.

Maps: higher is more anomalous, any unit; only the order of their values matters, and ties count exactly. Masks: True is
anomalous.

Each metric is a mean over the defect pixels of a function of the number of pixels with a higher value. It is therefore
enough to sort runs of pixels that fit in memory, and to keep them in a temporary file until the end; where all pixels
fit in one run, no file is written.
"""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
from scipy import ndimage

from gonogo.errors import ConfigError, DataError, ShapeError, UndefinedMetricError

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
RUN_PIXELS = 1 << 24  # sorted at a time: 64 MiB of float32
DROPPED_BITS = 16  # of the 23 binary digits of a float32 after its first one, where pixels are counted in bins
BLOCK_CELLS = 1 << 20  # of resamples by bins, at a time


@dataclass(frozen=True)
class PixelMetrics:
    """How well maps find the defects' pixels."""

    pixel_auroc: float
    pixel_ap: float
    aupro_30: float
    aupro_05: float


def pixel_metrics(anomaly_maps: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> PixelMetrics:
    """All four of n maps (h, w) and their masks; see `PixelTally`, which takes them one by one."""
    return _tally(anomaly_maps, masks).metrics()


def aupro(anomaly_maps: Iterable[np.ndarray], masks: Iterable[np.ndarray], *, fpr_limit: float) -> float:
    """Area under mean region overlap against false-positive rate up to `fpr_limit`, scaled to [0, 1].

    A small region counts as much as a large one.

    Args:
        anomaly_maps: n maps (h, w); images may differ in size.
        masks: n masks (h, w) bool. Regions are 8-connected, counted per image.
        fpr_limit: largest false-positive rate integrated, in (0, 1].

    Raises:
        ConfigError: `fpr_limit` outside its range.
        ShapeError: a mask does not fit its map, or a value is not finite.
        UndefinedMetricError: no defect pixel, or no normal one.

    Source: Bergmann et al. 2021 (IJCV), section 4.3; checked against a brute-force loop in
        tests/evaluation/test_pixel_metrics.py.
    """
    if not 0 < fpr_limit <= 1:
        raise ConfigError(f"fpr_limit: expected a rate in (0, 1], got {fpr_limit}")
    return _tally(anomaly_maps, masks).areas([fpr_limit])[2][0]


def _tally(anomaly_maps: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> "PixelTally":
    tally = PixelTally()
    for anomaly_map, mask in zip(anomaly_maps, masks, strict=True):
        tally.add(anomaly_map, mask)
    return tally


class PixelTally:
    """Pixel metrics of maps that are added one by one, in memory that does not grow with their number."""

    def __init__(self, *, run_pixels: int = RUN_PIXELS) -> None:
        """Start without images. `run_pixels` are sorted at a time, which changes memory and speed, never a metric."""
        self.n_images = 0
        self._normal = _Runs(run_pixels)
        self._defective = _Runs(max(1, run_pixels // 8))  # whose counts need several times the memory of their values

    @property
    def n_normal(self) -> int:
        """Normal pixels of the images added."""
        return self._normal.n_values

    @property
    def n_defective(self) -> int:
        """Defect pixels of the images added."""
        return self._defective.n_values

    def add(self, anomaly_map: np.ndarray, mask: np.ndarray) -> None:
        """Take in the map (h, w) of one image and its mask (h, w) bool.

        Raises:
            ShapeError: the mask does not fit, or a value is not finite.
            DataError: the temporary file cannot be written.
        """
        number, self.n_images = self.n_images, self.n_images + 1
        fits = anomaly_map.ndim == 2 and mask.shape == anomaly_map.shape and mask.dtype == np.bool_
        if not fits or 0 in mask.shape:
            raise ShapeError(
                f"image {number}: expected map (h, w) and mask (h, w) bool, got {anomaly_map.shape} and "
                f"{mask.shape} {mask.dtype}; threshold masks first"
            )
        if not np.isfinite(anomaly_map).all():
            raise ShapeError(f"image {number}: its map holds values that are not finite")
        if not mask.any():
            self._normal.add(anomaly_map.flatten())
            return
        self._normal.add(anomaly_map[~mask])
        regions, _ = ndimage.label(mask, EIGHT_CONNECTED)
        region = regions[mask]
        self._defective.add(anomaly_map[mask], 1 / np.bincount(region)[region])

    def metrics(self) -> PixelMetrics:
        """The metrics of all images added so far.

        Raises:
            UndefinedMetricError: no defect pixel, or no normal one.
        """
        pixel_auroc, pixel_ap, (aupro_30, aupro_05) = self.areas([0.30, 0.05])
        return PixelMetrics(pixel_auroc, pixel_ap, aupro_30, aupro_05)

    def areas(self, fpr_limits: Sequence[float]) -> tuple[float, float, list[float]]:
        """Pixel AUROC, pixel AP, and AUPRO up to each of the limits in (0, 1].

        Raises:
            UndefinedMetricError: no defect pixel, or no normal one.
        """
        n_normal, n_defective = self._normal.n_values, self._defective.n_values
        if not n_normal or not n_defective:
            raise UndefinedMetricError(
                f"defect and normal pixels are needed, got {n_defective} of {n_normal + n_defective}"
            )
        auroc, ap, overlap, n_regions = 0.0, 0.0, np.zeros(len(fpr_limits)), 0.0
        for values, shares in self._defective:
            above, equal = self._normals_beside(values)
            not_below = sum(len(others) - np.searchsorted(others, values) for others, _ in self._defective)
            auroc += float((1 - (above + equal / 2) / n_normal).sum())
            ap += float((not_below / (not_below + above + equal)).sum())
            overlap += [float((shares * _within(limit * n_normal, above, equal)).sum()) for limit in fpr_limits]
            n_regions += float(shares.sum())
        return auroc / n_defective, ap / n_defective, [float(area) for area in overlap / n_regions]

    def _normals_beside(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many normal pixels lie above each of the ascending values, and how many are equal to it."""
        above, equal = np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.int64)
        for normal, _ in self._normal:
            not_above = np.searchsorted(normal, values, side="right")
            above += len(normal) - not_above
            tied = np.flatnonzero((not_above > 0) & (normal[not_above - 1] == values))
            equal[tied] += not_above[tied] - np.searchsorted(normal, values[tied])
        return above, equal


def random_pixel_metrics(n_normal: int, n_defective: int) -> PixelMetrics:
    """What maps of independent random values give on average; of pixel AP, the limit for many pixels."""
    return PixelMetrics(0.5, n_defective / (n_normal + n_defective), 0.30 / 2, 0.05 / 2)


def _within(limit: float | np.ndarray, above: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """For each defect pixel, the share of the range of 0 to `limit` false positives over which it is found.

    A pixel is found from `above` false positives on. Where normal pixels have the same value, it counts as found with a
    share that grows linearly from there until all `equal` of them are false positives too.
    """
    on_the_way = np.clip(limit - above, 0, equal)
    found = on_the_way**2 / (2 * np.maximum(equal, 1)) + np.maximum(limit - above - equal, 0)
    return np.asarray(found / limit)


class _Runs:
    """Values as sorted runs, each value with a weight where weights are given; all but the last run are in a file."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.n_values = 0
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._n_waiting = 0
        self._file: IO[bytes] | None = None
        self._written: list[list[tuple[int, int, np.dtype]]] = []  # of each run's two arrays: offset, length, dtype

    def add(self, values: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Take in values (n,) and their weights; none of them is changed later."""
        narrow = values.dtype in (np.float16, np.float32)
        values = values.astype(np.float32 if narrow else np.float64, copy=False)
        self._waiting.append((values, np.zeros(0) if weights is None else weights))
        self._n_waiting += len(values)
        self.n_values += len(values)
        if self._n_waiting >= self.length:
            self._write()

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each run: values ascending, and their weights; no weights where none were given."""
        for arrays in self._written:
            values, weights = (self._read(*array) for array in arrays)
            yield values, weights
        if self._waiting:
            self._waiting = [self._sorted()]
            yield self._waiting[0]

    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        values, weights = (np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
        self._waiting.clear()
        if not len(weights):
            values.sort()
            return values, weights
        order = np.argsort(values)
        return values[order], weights[order]

    def _write(self) -> None:
        run = self._sorted()
        self._n_waiting = 0
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed when this object goes
                weakref.finalize(self, self._file.close)
            places = []
            for array in run:
                places.append((self._file.seek(0, os.SEEK_END), len(array), array.dtype))
                self._file.write(array.data)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{tempfile.gettempdir()}: the pixels of all maps wait there for their metrics, and {error}; let "
                "TMPDIR name a folder with more room"
            ) from error
        self._written.append(places)

    def _read(self, offset: int, length: int, dtype: np.dtype) -> np.ndarray:
        assert self._file is not None
        array = np.empty(length, dtype)
        self._file.seek(offset)
        self._file.readinto(array.data)  # type: ignore[attr-defined]
        return array


class MaskOverlap:
    """The agreement of the pixels that a gauge marks with the masks, over all images together."""

    def __init__(self) -> None:
        self.n_images = 0
        self._hits, self._errors, self._n_defective = 0, 0, 0

    def add(self, marked: np.ndarray, mask: np.ndarray) -> None:
        """Take in the marked pixels of one image, (h, w) bool, and its mask of the same shape.

        Raises:
            ShapeError: one does not fit the other.
        """
        number, self.n_images = self.n_images, self.n_images + 1
        if marked.shape != mask.shape or marked.dtype != np.bool_ or mask.dtype != np.bool_:
            raise ShapeError(
                f"image {number}: expected two masks (h, w) bool, got {marked.shape} {marked.dtype} and "
                f"{mask.shape} {mask.dtype}"
            )
        self._hits += int((marked & mask).sum())
        self._errors += int((marked ^ mask).sum())
        self._n_defective += int(mask.sum())

    def f1(self) -> float:
        """F1 of the marked pixels. It depends on the pixel threshold, unlike the metrics of maps.

        Raises:
            UndefinedMetricError: no image has a defect pixel.

        Source: Heckler-Kram et al. 2025, "The MVTec AD 2 Dataset", where it is SegF1.
        """
        if not self._n_defective:
            raise UndefinedMetricError("SegF1 needs defect pixels, got none")
        return 2 * self._hits / (2 * self._hits + self._errors)


class BinnedPixels:
    """The values of each image's pixels in bins, from which the metrics of maps are computed for many resamples.

    A value falls into the same bin as all that are equal to it in their first eight binary digits, so that a metric
    differs from that of `PixelTally` by what such small differences decide: enough for an interval.
    """

    def __init__(self) -> None:
        self._images: list[dict[str, tuple[np.ndarray, np.ndarray]]] = []  # by kind: bins, ascending, and their weights
        self._overlap: list[tuple[int, int, int]] = []  # hits, errors and defect pixels
        self._marked: list[tuple[int, int]] = []  # marked and inspected pixels of good images

    def add(self, anomaly_map: np.ndarray, mask: np.ndarray | None, marked: np.ndarray, *, n_inspected: int) -> None:
        """Take in the map (h, w) of the next image, its mask (h, w) bool, and the pixels in its regions (h, w) bool.

        Args:
            mask: None: the image counts for the false-positive rate alone.
            n_inspected: pixels that can be marked, where the image is good; 0 where it is not.
        """
        self._marked.append((int(marked.sum()) if n_inspected else 0, n_inspected))
        if mask is None:
            self._images.append({})
            self._overlap.append((0, 0, 0))
            return
        bins = _bins_of(anomaly_map)
        regions, n_regions = ndimage.label(mask, EIGHT_CONNECTED)
        shares = 1 / np.bincount(regions[mask])[regions[mask]] if n_regions else np.zeros(0)
        self._images.append(
            {
                "normal": _binned(bins[~mask], np.ones(int((~mask).sum()))),
                "defective": _binned(bins[mask], np.ones(int(mask.sum()))),
                "shares": _binned(bins[mask], shares),
            }
        )
        self._overlap.append((int((marked & mask).sum()), int((marked ^ mask).sum()), int(mask.sum())))

    def resampled(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """The metrics as functions of counts (r, n) of the n images added: values (r,), NaN where one is undefined."""
        hits, errors, n_defective = np.array(self._overlap, dtype=float).reshape(-1, 3).T
        marked, inspected = np.array(self._marked, dtype=float).reshape(-1, 2).T
        areas = _Areas(self._images)

        def area(number: int) -> Callable[[np.ndarray], np.ndarray]:
            return lambda counts: areas.of(counts)[number]

        def seg_f1(counts: np.ndarray) -> np.ndarray:
            found, defective = counts @ hits, counts @ n_defective
            return np.where(defective > 0, 2 * found / np.maximum(2 * found + counts @ errors, 1), np.nan)

        def false_positive_rate(counts: np.ndarray) -> np.ndarray:
            n_inspected = counts @ inspected
            return np.where(n_inspected > 0, counts @ marked / np.maximum(n_inspected, 1), np.nan)

        return {
            **{name: area(number) for number, name in enumerate(("pixel_auroc", "pixel_ap", "aupro_30", "aupro_05"))},
            "seg_f1": seg_f1,
            "pixel_false_positive_rate": false_positive_rate,
        }


class _Areas:
    """Pixel AUROC, pixel AP and both AUPRO of resamples."""

    def __init__(self, images: Sequence[dict[str, tuple[np.ndarray, np.ndarray]]]) -> None:
        """`images` have their bins and weights by kind; or nothing, without a mask."""
        used = [bins for image in images for bins, _ in image.values()]
        self._bins = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *used]))[::-1]  # the highest values first
        self._weights = {kind: self._table(images, kind) for kind in ("normal", "defective", "shares")}
        self._last: tuple[np.ndarray, list[np.ndarray]] | None = None

    def _table(self, images: Sequence[dict[str, tuple[np.ndarray, np.ndarray]]], kind: str) -> np.ndarray:
        table = np.zeros((len(images), len(self._bins)), dtype=np.float32)
        for row, image in zip(table, images, strict=True):
            if image:
                bins, weights = image[kind]
                row[len(self._bins) - 1 - np.searchsorted(self._bins[::-1], bins)] = weights
        return table

    def of(self, counts: np.ndarray) -> list[np.ndarray]:
        """The four, (r,) each; they are asked for in turn, and computed together."""
        if self._last is None or self._last[0] is not counts:
            rows = max(1, BLOCK_CELLS // max(1, len(self._bins)))
            parts = [self._of(counts[start : start + rows]) for start in range(0, len(counts), rows)]
            self._last = counts, [np.concatenate(values) for values in zip(*parts, strict=True)]
        return self._last[1]

    def _of(self, counts: np.ndarray) -> list[np.ndarray]:
        normal, defective, shares = (
            (counts.astype(np.float32) @ self._weights[kind]).astype(np.float64)
            for kind in ("normal", "defective", "shares")
        )
        n_normal, n_defective = normal.sum(axis=1, keepdims=True), defective.sum(axis=1, keepdims=True)
        above = np.cumsum(normal, axis=1) - normal
        found = np.cumsum(defective, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = (defective * (1 - (above + normal / 2) / n_normal)).sum(axis=1) / n_defective[:, 0]
            precision = np.where(found > 0, found / (found + above + normal), 0)
            ap = (defective * precision).sum(axis=1) / n_defective[:, 0]
            overlaps = [
                (shares * _within(limit * n_normal, above, normal)).sum(axis=1) / shares.sum(axis=1)
                for limit in (0.30, 0.05)
            ]
        undefined = (n_normal[:, 0] == 0) | (n_defective[:, 0] == 0)
        return [np.where(undefined, np.nan, values) for values in (auroc, ap, *overlaps)]


def _bins_of(values: np.ndarray) -> np.ndarray:
    """The bin of each value: ascending as the values are."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.int32)
    ordered = np.where(bits < 0, np.int32(-(2**31)) - bits, bits)  # as whole numbers, negative values run backwards
    return ordered >> DROPPED_BITS


def _binned(bins: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(bins):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    lowest = int(bins.min())
    sums = np.bincount(bins - lowest, weights)
    used = np.flatnonzero(sums)
    return used + lowest, sums[used]
