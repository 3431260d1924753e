"""The rows of benchmarks/frontier.py as one SVG: accuracy against milliseconds, megabytes and seconds of the fit."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from gonogo.files import write_text
from gonogo.reports.panels import scale_of

ACCURACY = {"image_auroc": "image AUROC", "aupro_30": "AUPRO@0.30"}
COSTS = {"ms": "file to verdict, ms", "onnx_mb": "ONNX file, MB", "fit_s": "fit, s"}
QUICKEST = ("verdict_onnx_ms", "verdict_network_ms", "verdict_engine_ms")  # the first that a row has
COLOURS = {  # Okabe and Ito, told apart with any eyes
    ("gonogo", "PatchCore"): "#0072b2",
    ("gonogo", "recipe fast"): "#0072b2",
    ("gonogo", "recipe accurate"): "#0072b2",
    ("anomalib", "PatchCore"): "#d55e00",
    ("gonogo", "PaDiM"): "#009e73",
    ("anomalib", "PaDiM"): "#cc79a7",
    ("gonogo", "EfficientAD"): "#000000",
    ("anomalib", "EfficientAD"): "#e69f00",
}
OTHER = "#0072b2"  # of gonogo's other detectors, which have one size each and are named where they are on the steps
WIDTH, HEIGHT = 270, 170  # pixels of a panel's axes
LEFT, RIGHT, TOP, BOTTOM = 62, 40, 40, 46  # around them
HEAD = 34  # above all panels, for the legend
LEAST_SPAN = 0.02  # of an axis of accuracy: smaller differences are not blown up
LETTER, LINE = 5.8, 10.0  # width of a letter and height of a line of a label, in pixels

Row = Mapping[str, Any]
Box = tuple[float, float, float, float]  # left, top, right and bottom, in pixels of the panel


def with_ms(row: Row) -> Row:
    """The row, and `ms` from the file to the verdict by the quickest way that its library has, where it has times."""
    return {**row} | next(({"ms": float(row[key])} for key in QUICKEST if key in row), {})


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, accuracy) than which none is both as cheap and better, or cheaper and as good, in order."""
    kept: list[tuple[float, float]] = []
    for cost, accuracy in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not kept or accuracy > kept[-1][1]:
            kept.append((cost, accuracy))
    return kept


def accuracies_of(shown: Sequence[float]) -> list[float]:
    """Round numbers that enclose the accuracies, of which none lies above 1."""
    values = scale_of(min(min(shown), max(shown) - LEAST_SPAN), max(shown))
    return [value for value in values if value <= 1]


def beside(x: float, y: float, said: str, taken: Sequence[Box], *, first: str) -> Box | None:
    """Where a label of the point stands: the first place around it that covers nothing; None where there is none.

    Args:
        x, y: of the point.
        said: the label.
        taken: what stands already.
        first: the place that is tried first: above, below or corner.
    """
    wide, gap = LETTER * len(said), 6.0
    lefts = {"centre": x - wide / 2, "right": x + gap, "left": x - gap - wide}
    bottoms = {"above": y - gap, "below": y + gap + LINE, "beside": y + LINE / 2}
    far = {"above": y - gap - LINE, "below": y + gap + 2 * LINE, "lower": y + gap + 3 * LINE}
    places = [(lefts["centre"], bottoms["above"]), (lefts["centre"], bottoms["below"])]
    places += [(lefts[side], bottoms[row]) for row in ("below", "above", "beside") for side in ("right", "left")]
    places += [(lefts[side], far[row]) for row in far for side in ("centre", "right", "left")]
    begin = {"above": 0, "below": 1, "corner": 2}[first]
    boxes = [(left, low - LINE, left + wide, low) for left, low in [places[begin], *places]]
    inside = [box for box in boxes if min(box[0], box[1] + 18) >= 0 and box[2] <= WIDTH + RIGHT and box[3] <= HEIGHT]
    free = [box for box in inside if not any(_overlap(box, other) for other in taken)]
    return next(iter(free), None)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """Draw the rows of one part; figures that no row has, such as those of pixels without masks, have no panel."""
    shown = [with_ms(row) for row in rows]
    accuracies = {key: title for key, title in ACCURACY.items() if any(key in row for row in shown)}
    wide, high = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(COSTS) * wide} {HEAD + len(accuracies) * high}" '
        'font-family="sans-serif" font-size="12" fill="#222222">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *_legend(shown),
    ]
    for line, (accuracy, title) in enumerate(accuracies.items()):
        of = [row for row in shown if accuracy in row]
        for column, (cost, below) in enumerate(COSTS.items()):
            place = f"translate({LEFT + column * wide} {HEAD + TOP + line * high})"
            parts += [
                f'<g transform="{place}">',
                *_panel([r for r in of if cost in r], cost, accuracy, title, below),
                "</g>",
            ]
    write_text(path, "\n".join([*parts, "</svg>"]) + "\n")


def _legend(rows: Sequence[Row]) -> list[str]:
    parts, x = [], float(LEFT)
    names = dict.fromkeys((row["library"], row["label"]) for row in rows)
    legend = {
        f"{library}, {label}" if (library, label) in COLOURS else f"{library}'s detectors": (library, label)
        for library, label in names
        if not label.startswith("recipe")
    }
    for said, (library, label) in legend.items():
        parts.append(_mark(x, HEAD - 16, library, COLOURS.get((library, label), OTHER)))
        parts.append(f'<text x="{x + 10}" y="{HEAD - 12}">{escape(said)}</text>')
        x += 30 + 7 * len(said)
    parts.append(f'<line x1="{x}" x2="{x + 22}" y1="{HEAD - 16}" y2="{HEAD - 16}" stroke="#bbbbbb" stroke-width="5"/>')
    parts.append(f'<text x="{x + 28}" y="{HEAD - 12}">nothing is both cheaper and better</text>')
    return parts


def _mark(x: float, y: float, library: str, colour: str) -> str:
    """A disc for gonogo, a square for anomalib: told apart without colours too."""
    if library == "gonogo":
        return f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>'
    return f'<rect x="{x - 4}" y="{y - 4}" width="8" height="8" fill="{colour}"/>'


def _panel(rows: Sequence[Row], cost: str, accuracy: str, title: str, below: str) -> list[str]:
    points = [(float(row[cost]), float(row[accuracy])) for row in rows]
    values = accuracies_of([y for _, y in points])
    low, high = (math.log10(end(x for x, _ in points)) for end in (min, max))
    margin = 0.08 * (high - low) or 0.5

    def across(value: float) -> float:
        return round((math.log10(value) - low + margin) / (high - low + 2 * margin) * WIDTH, 1)

    def up(value: float) -> float:
        return round((values[-1] - value) / (values[-1] - values[0]) * HEIGHT, 1)

    parts = [
        f'<text x="0" y="-24" font-weight="bold">{escape(title)}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 38}" text-anchor="middle">{escape(below)}</text>',
    ]
    for value in values:
        parts.append(f'<line x1="0" x2="{WIDTH}" y1="{up(value)}" y2="{up(value)}" stroke="#dddddd"/>')
        parts.append(f'<text x="-6" y="{up(value) + 4}" text-anchor="end">{value:g}</text>')
    for tick in _ticks(10 ** (low - margin), 10 ** (high + margin)):
        parts.append(
            f'<line x1="{across(tick)}" x2="{across(tick)}" y1="{HEIGHT}" y2="{HEIGHT + 4}" stroke="#888888"/>'
        )
        parts.append(f'<text x="{across(tick)}" y="{HEIGHT + 18}" text-anchor="middle">{tick:g}</text>')
    steps = front(points)
    corners = [(x, y) for (x, y) in steps[:1]]
    for (_, before), (x, y) in pairwise(steps):
        corners += [(x, before), (x, y)]
    corners.append((10 ** (high + margin), steps[-1][1]))
    places = " ".join(f"{across(x)},{up(y)}" for x, y in corners)
    parts.append(f'<polyline points="{places}" fill="none" stroke="#bbbbbb" stroke-width="5"/>')
    labels: list[tuple[float, float, str, str, str]] = []  # x, y, what is said, its colour, the place tried first
    for library, label in dict.fromkeys((row["library"], row["label"]) for row in rows):
        of = [row for row in rows if (row["library"], row["label"]) == (library, label)]
        of.sort(key=lambda row: int(row.get("image_size", 0)))
        curve = [(across(row[cost]), up(row[accuracy])) for row in of]
        colour = COLOURS.get((library, label), OTHER)
        line = " ".join(f"{x},{y}" for x, y in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1"/>')
        for (x, y), row in zip(curve, of, strict=True):
            parts.append(_mark(x, y, library, colour))
            first = "above" if library == "gonogo" else "below"
            if label.startswith("recipe"):
                said = label.removeprefix("recipe ")
            elif "image_size" in row:
                said = str(row["image_size"]) if row in (of[0], of[-1]) else ""
            else:
                said = label if colour == OTHER and (row[cost], row[accuracy]) in steps else ""
                first = "corner"
            if said:
                labels.append((x, y, said, colour, first))
    taken = [(across(x) - 5, up(y) - 5, across(x) + 5, up(y) + 5) for x, y in points]
    for x, y, said, colour, first in labels:
        place = beside(x, y, said, taken, first=first)
        if place is None:
            continue
        taken.append(place)
        left, _, _, low = place
        parts.append(
            f'<text x="{left:.1f}" y="{low - 2:.1f}" font-size="10" fill="{colour}" stroke="#ffffff" '
            f'stroke-width="3" paint-order="stroke">{escape(said)}</text>'
        )
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between both; in a narrow range whole tenths of the power of ten below it."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [round(step * 10.0**power, 10) for power in decades for step in (1, 2, 5)]
    found = [tick for tick in ticks if low <= tick <= high]
    if len(found) < 2:
        tenth = 10.0 ** (math.floor(math.log10(low)) - 1)
        steps = range(math.ceil(low / tenth), math.floor(high / tenth) + 1)
        return [round(step * tenth, 10) for step in steps[:: max(1, len(steps) // 4)]]
    return found if len(found) <= 6 else [tick for tick in found if math.log10(tick).is_integer()]
