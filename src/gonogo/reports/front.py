"""The front of a search as shapes of a page: the criterion against the milliseconds of a verdict."""

from collections.abc import Mapping
from typing import Any

import numpy as np

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 220, 52, 14, 12, 36
TICKS = 4


def front_chart(results: Mapping[str, Any]) -> dict[str, Any]:
    """Geometry of the candidates that were timed and judged, from what `gonogo tune` wrote.

    `points` are all of them, `line` joins those than which none is both quicker and better, `current` and `chosen` are
    the options before and after, and `budget` is the x of the milliseconds that were allowed.
    """
    rows = [row for row in results["tried"] if row["ms"] is not None and row["value"] is not None]
    times, values = ([row[key] for row in rows] for key in ("ms", "value"))
    right = 1.05 * max([*times, results["verdict_ms"]])
    margin = 0.08 * (max(values) - min(values)) or 0.01
    low, high = min(values) - margin, max(values) + margin

    def place(row: Mapping[str, Any]) -> tuple[float, float]:
        return x_of(row["ms"]), y_of(row["value"])

    def x_of(ms: float) -> float:
        return float(LEFT + ms / right * (WIDTH - LEFT - RIGHT))

    def y_of(value: float) -> float:
        return float(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM))

    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "points": [place(row) for row in rows],
        "line": " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, results["front"])),
        "current": place(results["current"]),
        "chosen": place(results["chosen"]),
        "budget": x_of(results["verdict_ms"]),
        "columns": [(x_of(float(ms)), f"{ms:.3g}") for ms in np.linspace(0, right, TICKS + 1)],
        "rows": [(y_of(float(value)), f"{value:.3f}") for value in np.linspace(low, high, TICKS)],
    }
