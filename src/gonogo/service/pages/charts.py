"""Charts as shapes of SVG, which the server makes: they need no script, and are there at the first paint."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.reports.histogram import histogram
from gonogo.service.schemas import Bin, ControlPoint

WIDE, HIGH, LEFT, RIGHT, ABOVE, BELOW = 900, 240, 56, 14, 14, 26  # of a chart over time, and its margins
MOST_TICKS = 5  # of an axis
RATE_STEPS = (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # between ticks
BIN_STEPS = (1, 2, 5, 10, 20, 50)
SMALL_WIDE, SMALL_HIGH, SIDE = 380, 150, 14  # of a histogram
SHOWN_SPANS = 2.0  # how far beyond the threshold the axis goes, in distances from the lowest good score to it


def score_chart(record: ThresholdRecord, score: float) -> dict[str, Any]:
    """The histogram of good scores with the threshold and a score, as `histogram` has it, with `at`, the score's x.

    A score beyond the axis is shown at its end, and `beyond` is true.
    """
    low = min(*record.good_scores, record.threshold)
    end = record.threshold + SHOWN_SPANS * max(record.threshold - low, 1e-12)
    shown = min(max(score, low), end)
    chart = histogram(record.good_scores, [shown], record.threshold, band=(record.band_low, record.band_high))
    left, _, width, _, _ = next(bar for bar in chart["bars"] if bar[4] == "defective")
    good = [bar for bar in chart["bars"] if bar[4] == "good"]
    return chart | {"bars": good, "at": left + width / 2, "beyond": score > end}


def control_chart(points: Sequence[ControlPoint]) -> dict[str, Any] | None:
    """A p-chart: `points` as (x, y, point), the paths of the shares, the limits and their mean; None without a point.

    Limits are steps, since each holds for the number inspected in its own period.
    """
    if not points:
        return None
    highest = max(max(point.rate, point.upper_limit) for point in points)
    step = next((step for step in RATE_STEPS if MOST_TICKS * step >= highest), RATE_STEPS[-1])
    top = step * max(1, math.ceil(highest / step - 1e-9))
    first, last = points[0].begin.timestamp(), points[-1].begin.timestamp()
    span = max(last - first, 1.0)

    def x_of(point: ControlPoint) -> float:
        share = (point.begin.timestamp() - first) / span if len(points) > 1 else 0.5
        return LEFT + share * (WIDE - LEFT - RIGHT)

    def y_of(rate: float) -> float:
        return HIGH - BELOW - rate / top * (HIGH - BELOW - ABOVE)

    placed = [(x_of(point), y_of(point.rate), point) for point in points]
    steps = {
        name: _steps([(x, y_of(getattr(point, name))) for x, _, point in placed])
        for name in ("lower_limit", "upper_limit")
    }
    return {
        **{"width": WIDE, "height": HIGH, "left": LEFT, "right": WIDE - RIGHT, "base": HIGH - BELOW},
        "points": placed,
        "line": "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in placed),
        "limits": list(steps.values()),
        "mean": y_of(sum(point.rejected for point in points) / sum(point.inspected for point in points)),
        "ticks": [(y_of(number * step), number * step) for number in range(round(top / step) + 1)],
        "dates": [placed[number] for number in sorted({0, len(placed) // 2, len(placed) - 1})],
    }


def bar_chart(bins: Sequence[Bin]) -> dict[str, Any] | None:
    """A histogram: `bars` as (x, y, width, height, bin), without empty bins at its end; None where all are empty."""
    if not any(found.n for found in bins):
        return None
    shown = max(number for number, found in enumerate(bins) if found.n) + 1
    bars, tallest = bins[:shown], max(found.n for found in bins)
    step = (SMALL_WIDE - 2 * SIDE) / shown
    placed = []
    for number, found in enumerate(bars):
        height = (SMALL_HIGH - BELOW - ABOVE) * found.n / tallest
        placed.append((SIDE + number * step, SMALL_HIGH - BELOW - height, max(step - 1, 0.6), height, found))
    every = next(every for every in BIN_STEPS if MOST_TICKS * every >= shown)
    return {
        **{"width": SMALL_WIDE, "height": SMALL_HIGH, "base": SMALL_HIGH - BELOW, "side": SIDE},
        "bars": placed,
        "ticks": [(SIDE + number * step, bars[number].low) for number in range(0, shown, every)],
        "tallest": tallest,
    }


def _steps(places: Sequence[tuple[float, float]]) -> str:
    """A path that keeps the height of each place halfway to its neighbours."""
    edges = [places[0][0], *((left[0] + right[0]) / 2 for left, right in pairwise(places)), places[-1][0]]
    return "M" + "L".join(
        f"{begin:.1f} {y:.1f}L{end:.1f} {y:.1f}" for (begin, end), (_, y) in zip(pairwise(edges), places, strict=True)
    )
