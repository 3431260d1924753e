"""The colours of every picture, anomaly maps and masks among them. Needs only numpy: sheets and the line draw so."""

import numpy as np

OUTLINE = (255, 45, 210)  # of a mask
LABELLED_BOX, FOUND_BOX = (12, 148, 62), (240, 128, 16)  # of a defect, and of what a gauge finds: green and orange
INK, FAINT, PAPER, RULE = (28, 30, 33), (110, 116, 124), (255, 255, 255), (222, 225, 229)
REJECT, PASS = (176, 32, 22), (20, 110, 60)
# Anomaly map colours at 0, half the threshold, the threshold, and twice the threshold or more.
STOPS = np.array([0.0, 0.5, 1.0, 2.0])
COLOURS = np.array([[24, 36, 92], [66, 132, 178], [247, 245, 236], [178, 24, 43]], dtype=np.float64)


def map_colours(anomaly_map: np.ndarray, threshold: float) -> np.ndarray:
    """(h, w, 3) uint8 colours of a map (h, w) on the one fixed scale: blue below the threshold, red above it."""
    relative = np.clip(anomaly_map / threshold, 0, STOPS[-1]) if threshold > 0 else np.zeros_like(anomaly_map)
    return np.stack([np.interp(relative, STOPS, channel) for channel in COLOURS.T], axis=-1).round().astype(np.uint8)
