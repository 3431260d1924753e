"""The curves of benchmarks/growth.py as one SVG: a panel for each figure and direction, both axes logarithmic."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from gonogo.files import write_text

FIGURES = {"fit_s": "fit, s", "fit_mb": "fit's memory, MB", "verdict_ms": "verdict, ms", "onnx_mb": "ONNX file, MB"}
DIRECTIONS = {"n_images": "fit images, of 256 × 256 pixels", "side": "side of 100 fit images, pixels"}
COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7")  # Okabe and Ito, told apart with any eyes
WIDTH, HEIGHT = 380, 170  # pixels of a panel's axes
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 30, 45  # around them
HEAD = 30  # above all panels, for the legend

Row = Mapping[str, Any]


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """Draw the rows that were measured."""
    rows = [row for row in rows if "fit_s" in row]
    names = list(dict.fromkeys(str(row["detector"]) for row in rows))
    colours = dict(zip(names, COLOURS * len(names), strict=False))
    wide, high = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * wide} {HEAD + len(FIGURES) * high}" '
        'font-family="sans-serif" font-size="12" fill="#222222">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    x = float(LEFT)
    for name, colour in colours.items():
        parts.append(f'<circle cx="{x}" cy="{HEAD - 12}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 9}" y="{HEAD - 8}">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    for column, (along, below) in enumerate(DIRECTIONS.items()):
        shown = [row for row in rows if along in row["curves"]]
        for line, (figure, title) in enumerate(FIGURES.items()):
            place = f"translate({LEFT + column * wide} {HEAD + TOP + line * high})"
            label = below if line == len(FIGURES) - 1 else ""
            parts += [f'<g transform="{place}">', *_panel(shown, along, figure, title, label, colours), "</g>"]
    write_text(path, "\n".join([*parts, "</svg>"]) + "\n")


def _panel(
    rows: Sequence[Row], along: str, figure: str, title: str, below: str, colours: Mapping[str, str]
) -> list[str]:
    rows = sorted((row for row in rows if row[figure] > 0), key=lambda row: float(row[along]))
    parts = [f'<text x="0" y="-10" font-weight="bold">{escape(title)}</text>']
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT + 36}" text-anchor="middle">{escape(below)}</text>')
    if not rows:
        return parts
    xs = sorted({float(row[along]) for row in rows})
    low_x, high_x = math.log10(xs[0]) - 0.05, math.log10(xs[-1]) + 0.05
    ys = [math.log10(row[figure]) for row in rows]
    low_y, high_y = math.floor(min(ys)), max(math.ceil(max(ys)), math.floor(min(ys)) + 1)

    def across(value: float) -> float:
        return round((math.log10(value) - low_x) / (high_x - low_x) * WIDTH, 1)

    def up(value: float) -> float:
        return round((high_y - math.log10(value)) / (high_y - low_y) * HEIGHT, 1)

    for tick in range(low_y, high_y + 1):
        y = up(10.0**tick)
        parts.append(f'<line x1="0" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="-6" y="{y + 4}" text-anchor="end">{_number(10.0**tick)}</text>')
    for value in xs:
        x = across(value)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{HEIGHT}" y2="{HEIGHT + 5}" stroke="#888888"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT + 19}" text-anchor="middle">{_number(value)}</text>')
    for name, colour in colours.items():
        curve = [(across(row[along]), up(row[figure])) for row in rows if row["detector"] == name]
        places = " ".join(f"{x},{y}" for x, y in curve)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in curve]
    return parts


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
