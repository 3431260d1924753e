"""The colours of every picture, anomaly maps and masks among them. Needs only numpy: sheets and the line draw so."""

from typing import Literal

import numpy as np

OUTLINE = (255, 45, 210)  # of a mask
LABELLED_BOX, FOUND_BOX = (12, 148, 62), (240, 128, 16)  # of a defect, and of what a gauge finds: green and orange
INK, FAINT, PAPER, RULE = (28, 30, 33), (110, 116, 124), (255, 255, 255), (222, 225, 229)
REJECT, PASS = (176, 32, 22), (20, 110, 60)
# Anomaly map colours at 0, half the threshold, the threshold, and twice the threshold or more.
STOPS = np.array([0.0, 0.5, 1.0, 2.0])
COLOURS = np.array([[24, 36, 92], [66, 132, 178], [247, 245, 236], [178, 24, 43]], dtype=np.float64)


# What a picture's colours of a map stand for: multiples of the threshold, or the map's own range. Scores and regions
# never see a map on its own range: two such pictures cannot be compared, and a good part looks as red as a bad one.
PictureScale = Literal["threshold", "min-max", "percentile"]


def scaled_colours(anomaly_map: np.ndarray, threshold: float, scale: PictureScale) -> np.ndarray:
    """(h, w, 3) uint8 colours of a map (h, w), by `map_colours` or on the map's own range."""
    return map_colours(anomaly_map, threshold) if scale == "threshold" else picture_range_colours(anomaly_map, scale)


def picture_range_colours(anomaly_map: np.ndarray, scale: Literal["min-max", "percentile"]) -> np.ndarray:
    """(h, w, 3) uint8 colours of a map (h, w) on its own range, for a picture alone: blue is its least value.

    Args:
        anomaly_map: of one image.
        scale: min-max, from the least value to the largest; percentile, from the 1st to the 99th percentile.
    """
    low, high = np.quantile(anomaly_map, (0.0, 1.0) if scale == "min-max" else (0.01, 0.99))
    if high <= low:
        return map_colours(np.zeros_like(anomaly_map), 1.0)
    return map_colours((anomaly_map - low) / (high - low) * STOPS[-1], 1.0)


def map_colours(anomaly_map: np.ndarray, threshold: float) -> np.ndarray:
    """(h, w, 3) uint8 colours of a map (h, w) on the one fixed scale: blue below the threshold, red above it."""
    relative = np.clip(anomaly_map / threshold, 0, STOPS[-1]) if threshold > 0 else np.zeros_like(anomaly_map)
    return np.stack([np.interp(relative, STOPS, channel) for channel in COLOURS.T], axis=-1).round().astype(np.uint8)
