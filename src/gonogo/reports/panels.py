"""Small charts side by side in one SVG, for pages that load nothing. Standard library only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 230, 130  # pixels of a panel's axes
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 30, 42  # around them
POINT, LINE, BEST, BAR = "#0072b2", "#56b4e9", "#d55e00", "#9aa1a9"


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: above it.
        below: the title of its x axis.
        points: (x, y) of each; x on any scale that `ticks` labels, such as a logarithm or a place in a list.
        ticks: x and label.
        bars: x, lowest and highest y of vertical lines behind the points, such as intervals.
        line: (x, y) of a line behind the points.
        best: number of the point that stands out; None: none does.
        failed: x of what has no y, a cross each.
    """

    title: str
    below: str
    points: Sequence[tuple[float, float]]
    ticks: Sequence[tuple[float, str]]
    bars: Sequence[tuple[float, float, float]] = ()
    line: Sequence[tuple[float, float]] = ()
    best: int | None = None
    failed: Sequence[float] = field(default=())


def draw(panels: Sequence[Panel], *, columns: int) -> str:
    """The SVG of the panels, row by row."""
    wide, high = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    rows = math.ceil(len(panels) / columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {min(columns, len(panels)) * wide} {rows * high}" '
        'font-family="sans-serif" font-size="11" fill="#222222">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        place = f"translate({LEFT + column * wide} {TOP + row * high})"
        parts += [f'<g transform="{place}">', *_drawn(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(panel: Panel) -> list[str]:
    parts = [
        f'<text x="0" y="-10" font-weight="bold">{escape(panel.title)}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 34}" text-anchor="middle">{escape(panel.below)}</text>',
    ]
    ys = [y for _, y in [*panel.points, *panel.line]] + [y for _, *ends in panel.bars for y in ends]
    xs = [x for x, _ in [*panel.points, *panel.ticks, *panel.line]] + list(panel.failed)
    values = scale_of(min(ys), max(ys)) if ys else []
    left, right = (min(xs), max(xs)) if xs else (0.0, 1.0)
    margin = 0.06 * (right - left) or 1.0

    def across(x: float) -> float:
        return round((x - left + margin) / (right - left + 2 * margin) * WIDTH, 1)

    def up(y: float) -> float:
        return round((values[-1] - y) / (values[-1] - values[0]) * HEIGHT, 1)

    for value in values:
        parts.append(f'<line x1="0" x2="{WIDTH}" y1="{up(value)}" y2="{up(value)}" stroke="#dddddd"/>')
        parts.append(f'<text x="-6" y="{up(value) + 4}" text-anchor="end">{value:g}</text>')
    for x, label in panel.ticks:
        parts.append(f'<line x1="{across(x)}" x2="{across(x)}" y1="{HEIGHT}" y2="{HEIGHT + 4}" stroke="#888888"/>')
        parts.append(f'<text x="{across(x)}" y="{HEIGHT + 17}" text-anchor="middle">{escape(label)}</text>')
    if panel.line:
        places = " ".join(f"{across(x)},{up(y)}" for x, y in panel.line)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{LINE}" stroke-width="2"/>')
    for x, low, high in panel.bars:
        parts.append(f'<line x1="{across(x)}" x2="{across(x)}" y1="{up(low)}" y2="{up(high)}" stroke="{BAR}"/>')
    for number, (x, y) in enumerate(panel.points):
        colour, radius = (BEST, 5) if number == panel.best else (POINT, 3)
        parts.append(f'<circle cx="{across(x)}" cy="{up(y)}" r="{radius}" fill="{colour}"/>')
    parts += [
        f'<text x="{across(x)}" y="{HEIGHT - 3}" text-anchor="middle" fill="{BEST}">×</text>' for x in panel.failed
    ]
    return parts


def scale_of(low: float, high: float) -> list[float]:
    """Round numbers, evenly spaced, three to six of them, of which the first and the last enclose low and high."""
    span = high - low or abs(high) or 1.0
    exponent = math.floor(math.log10(span))
    for step in (s * 10.0**e for e in range(exponent - 1, exponent + 2) for s in (1, 2, 5)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= 5:
            first, last = (first, last) if last > first else (first - 1, last + 1)
            return [round(number * step, 12) for number in range(first, last + 1)]
    raise AssertionError(f"no scale encloses {low} and {high}")
