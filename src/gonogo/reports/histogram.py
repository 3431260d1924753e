"""A histogram of scores as shapes of a page."""

from collections.abc import Sequence
from typing import Any

import numpy as np

WIDTH, HEIGHT, MARGIN, BINS = 460, 170, 28, 36


def histogram(
    good: Sequence[float], defective: Sequence[float], threshold: float, *, band: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Geometry of a stacked histogram: `bars` as (x, y, width, height, kind), the threshold's x, and axis ticks.

    The threshold is an edge between two bars, so that no bar mixes verdicts. Of a `band` of scores come its ends' x.
    """
    every = [*good, *defective, threshold, *(band or ())]
    step = (max(every) - min(every)) / BINS or 1.0

    def bins_of(values: Sequence[float]) -> np.ndarray:
        return np.floor((np.array(values) - threshold) / step).astype(int)

    first, last = int(bins_of(every).min()), int(bins_of(every).max())
    edges = threshold + step * np.arange(first, last + 2)
    counts = {
        kind: np.bincount(bins_of(values) - first, minlength=last - first + 1)
        for kind, values in (("good", good), ("defective", defective))
    }
    tallest = max(1, int((counts["good"] + counts["defective"]).max()))

    def x_of(value: float) -> float:
        return float(MARGIN + (value - edges[0]) / (edges[-1] - edges[0]) * (WIDTH - 2 * MARGIN))

    unit = (HEIGHT - 2 * MARGIN) / tallest
    bars = []
    for number in range(len(edges) - 1):
        left, right, base = x_of(edges[number]), x_of(edges[number + 1]), float(HEIGHT - MARGIN)
        for kind in ("good", "defective"):
            height = float(counts[kind][number]) * unit
            if height:
                base -= height
                bars.append((left, base, right - left - 0.8, height, kind))
    ticks = [(x_of(float(value)), f"{value:.3g}") for value in np.linspace(edges[0], edges[-1], 5)]
    return {"bars": bars, "threshold": x_of(threshold), "ticks": ticks, "tallest": tallest, "width": WIDTH,
            "height": HEIGHT, "margin": MARGIN, "band": [x_of(value) for value in band or ()]}  # fmt: skip
