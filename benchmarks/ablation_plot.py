"""The rows of benchmarks/ablation.py as one SVG: a line of panels for each factor, a column for each figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gonogo.files import write_text
from gonogo.reports.panels import Panel, draw

FIGURES = {
    "image_auroc": "image AUROC",
    "aupro_30": "AUPRO@0.30",
    "covering_radius": "covering radius",
    "p50_ms": "file to verdict, p50, ms",
    "bundle_mb": "bundle, MB",
}

Row = Mapping[str, Any]


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """Draw the rows of one part; the point that changes nothing stands out in every panel."""
    factors = dict.fromkeys(factor for row in rows for factor in row["factors"])
    panels = [_panel(factor, figure, rows) for factor in factors for figure in FIGURES]
    write_text(path, draw(panels, columns=len(FIGURES)))


def _panel(factor: str, figure: str, rows: Sequence[Row]) -> Panel:
    of = [(float(row["factors"][factor]["place"]), row) for row in rows if factor in row["factors"]]
    shown = sorted(((x, row) for x, row in of if figure in row), key=lambda pair: pair[0])
    return Panel(
        FIGURES[figure],
        factor,
        points=[(x, row[figure]) for x, row in shown],
        ticks=[(x, row["factors"][factor]["label"]) for x, row in of],
        bars=[(x, row[f"{figure}_low"], row[f"{figure}_high"]) for x, row in shown if f"{figure}_low" in row],
        line=[(x, row[figure]) for x, row in shown],
        best=next((number for number, (_, row) in enumerate(shown) if not row["settings"]), None),
    )
