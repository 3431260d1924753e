"""The pixel threshold, from the maps of good calibrate images, which are added one at a time."""

from collections.abc import Sequence

import numpy as np

from gonogo.calibration.regions import PixelThreshold, RegionParams
from gonogo.errors import DataError


class GoodPixels:
    """The largest values, the mean and the variance of good maps, from which a pixel threshold is computed.

    Only pixels inside the ROI count. Memory holds the share of the pixels that can lie at or above the threshold: the
    wanted rate, or 1 / (1 + sigma^2), since at most that share lies sigma standard deviations above the mean (Cantelli
    1928).
    """

    def __init__(self, params: RegionParams, sizes: Sequence[tuple[int, int]]) -> None:
        """Start without maps; `sizes` has the (height, width) of each map that will be added."""
        self.params = params
        self.n_images = len(sizes)
        counts = {size: int(params.roi_mask(*size).sum()) for size in set(sizes)}
        self.n_pixels = sum(counts[size] for size in sizes)
        quantile = params.pixel_threshold == "quantile"
        share = params.pixel_false_positive_rate if quantile else 1 / (1 + params.sigma**2)
        self._n_allowed = int(share * self.n_pixels)
        self._kept: list[np.ndarray] = []
        self._n_seen = 0
        self._mean = 0.0
        self._squares = 0.0  # sum of squared differences to the mean

    def add(self, anomaly_map: np.ndarray) -> None:
        """Take in one map (h, w) float32.

        Raises:
            DataError: it holds a value that is not finite.
        """
        values = anomaly_map[self.params.roi_mask(*anomaly_map.shape)]
        if not np.isfinite(values).all():
            raise DataError("regions: a calibrate map holds values that are not finite; no pixel threshold can be set")
        self._kept.append(values)
        if sum(map(len, self._kept)) > 2 * self._n_allowed:  # so seldom that each value is sorted a few times only
            self._kept = [self._largest()]
        mean = values.mean(dtype=np.float64) if len(values) else 0.0
        total, gap = self._n_seen + len(values), float(mean) - self._mean
        if total:
            self._squares += float(np.square(np.subtract(values, mean, dtype=np.float64)).sum())
            self._squares += gap**2 * self._n_seen * len(values) / total
            self._mean += gap * len(values) / total
        self._n_seen = total

    def threshold(self) -> PixelThreshold:
        """The threshold by the method of the section `regions`.

        By quantile, it lies in the gap below the largest values, as many as the wanted rate allows, or higher where
        ties would exceed the rate; by sigma, that many standard deviations above the mean. It is a float32, as maps
        are, so that every comparison with it is exact.

        Raises:
            DataError: maps are missing.
        """
        if not self.n_pixels or self._n_seen != self.n_pixels:
            raise DataError(f"regions: expected {self.n_pixels} calibrate pixels, saw {self._n_seen}")
        largest = self._largest()
        if self.params.pixel_threshold == "quantile":
            target = self.params.pixel_false_positive_rate
            low = largest.min()  # the largest value that is one too many
            above = largest[largest > low]
            threshold = np.float32((float(low) + float(above.min())) / 2) if len(above) else low
        else:
            target = self.params.sigma
            low = np.float32(self._mean)
            threshold = np.float32(self._mean + target * (self._squares / self.n_pixels) ** 0.5)
        if threshold <= low:
            threshold = np.nextafter(low, np.float32(np.inf))
        return PixelThreshold(
            threshold=float(threshold),
            method=self.params.pixel_threshold,
            target=target,
            measured_false_positive_rate=float((largest >= threshold).sum() / self.n_pixels),
            n_pixels=self.n_pixels,
            n_images=self.n_images,
        )

    def _largest(self) -> np.ndarray:
        """The largest of the values seen, one more than may lie at or above the threshold, in no order."""
        values = np.concatenate(self._kept)
        surplus = len(values) - self._n_allowed - 1
        return np.partition(values, surplus)[surplus:].copy() if surplus > 0 else values
