"""The report: one HTML page that holds everything it shows, so that it can be mailed and opened offline."""

import base64
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from gonogo.files import write_text

WIDTH, HEIGHT, MARGIN, BINS = 460, 170, 28, 36


@dataclass(frozen=True)
class CategoryReport:
    """What the page says of one category: its metrics files, per-image rows, picture sheets and certificate.

    `fit_rows` and `fit_sheet` are those of the fit images that are unlike the others.
    """

    name: str
    prepare: Mapping[str, Any]
    evaluate: Mapping[str, Any]
    parity: Mapping[str, Any]
    bench: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]
    sheet: Path
    fit_rows: Sequence[Mapping[str, str]]
    fit_sheet: Path
    certificate: str

    @property
    def sheet_uri(self) -> str:
        """The picture sheet as a data URI."""
        return data_uri(self.sheet)

    @property
    def fit_sheet_uri(self) -> str:
        """The sheet of fit images as a data URI."""
        return data_uri(self.fit_sheet)

    @property
    def n_fit_rejected(self) -> int:
        """How many fit images the gauge would reject, had the fit not seen them."""
        return sum(row["rejected"] == "1" for row in self.fit_rows)

    @property
    def histogram(self) -> dict[str, Any]:
        """Bars, threshold and axis of the score histogram in SVG units."""
        return histogram(
            [float(row["score"]) for row in self.rows if row["label"] == "0"],
            [float(row["score"]) for row in self.rows if row["label"] == "1"],
            float(self.evaluate["threshold"]),
        )


def data_uri(png: Path) -> str:
    """A PNG as text that a page can hold."""
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()


def read_rows(path: Path) -> list[dict[str, str]]:
    """The per-image records that the evaluate stage wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def histogram(good: Sequence[float], defective: Sequence[float], threshold: float) -> dict[str, Any]:
    """Geometry of a stacked histogram: `bars` as (x, y, width, height, kind), the threshold's x, and axis ticks.

    The threshold is an edge between two bars, so that no bar mixes verdicts.
    """
    every = [*good, *defective, threshold]
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
            "height": HEIGHT, "margin": MARGIN}  # fmt: skip


def write_report(path: Path, summary: Mapping[str, Any], categories: Sequence[CategoryReport]) -> None:
    """Write the page."""
    environment = Environment(loader=PackageLoader("gonogo", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html.j2").render(summary=summary, categories=categories)
    write_text(path, page)
