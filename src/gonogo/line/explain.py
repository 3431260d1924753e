"""gonogo explain: all that a bundle knows about one image."""

from argparse import Namespace
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gonogo.commands import Answer
from gonogo.images import read_image, write_png
from gonogo.line.outputs import overlay
from gonogo.scorer import Scorer, Verdict


@dataclass(frozen=True)
class Cell:
    """A part of the map: `box` (x, y, width, height) in pixels of the image, and its highest value."""

    box: tuple[int, int, int, int]
    peak: float


def run(asked: Namespace) -> Answer:
    """Explain the verdict of one image.

    Raises:
        ImageError: it cannot be read.
        IntegrityError: the bundle cannot be trusted.
    """
    scorer = Scorer(asked.bundle, trust=asked.trust)
    pixels = read_image(asked.image)
    (verdict,) = scorer.score_pixels(pixels[None])
    cells = top_cells(verdict.anomaly_map, n_cells=asked.cells, n_top=asked.top) if scorer.manifest["localises"] else []
    if asked.picture is not None:
        write_png(asked.picture, overlay(pixels, verdict))
    report: dict[str, Any] = {
        "ok": True,
        "file": str(asked.image),
        "category": scorer.category,
        "detector": scorer.manifest["detector"]["name"],
        "verdict": "reject" if verdict.anomalous else "pass",
        "score": verdict.score,
        "threshold": verdict.threshold,
        "p_value": verdict.p_value,
        "probability": verdict.probability,
        "uncertain": verdict.uncertain,
        "regions": [asdict(region) for region in verdict.regions],
        "cells": [asdict(cell) for cell in cells],
        "threshold_record": scorer.record.sentence,
    }
    return Answer(report, "\n".join(_said(asked, scorer, verdict, cells)))


def top_cells(anomaly_map: np.ndarray, *, n_cells: int, n_top: int) -> list[Cell]:
    """The `n_top` highest cells of a map (h, w) that is cut into squares, `n_cells` along its longer side."""
    height, width = anomaly_map.shape
    side = -(-max(height, width) // n_cells)
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    peaks = np.maximum.reduceat(np.maximum.reduceat(anomaly_map, rows, axis=0), columns, axis=1)
    order = np.argsort(-peaks, axis=None, kind="stable")[:n_top]
    cells = []
    for row, column in zip(*np.unravel_index(order, peaks.shape), strict=True):
        x, y = int(columns[column]), int(rows[row])
        cells.append(Cell((x, y, min(side, width - x), min(side, height - y)), float(peaks[row, column])))
    return cells


def _said(asked: Namespace, scorer: Scorer, verdict: Verdict, cells: list[Cell]) -> list[str]:
    sign, word = (">=", "reject") if verdict.anomalous else ("<", "pass")
    lines = [
        f"{asked.image}: {word}, score {verdict.score:.6g} {sign} threshold {verdict.threshold:.6g}",
        f"p-value {verdict.p_value:.3g}: of good parts, so many or fewer score so high",
    ]
    if verdict.uncertain:
        lines.append("uncertain: with other good parts to calibrate on, the verdict could have been the other one")
    if verdict.probability is not None:
        lines.append(f"defective with {verdict.probability:.1%}, at the line's rate of defects")
    lines += [
        f"region {number}: {region.box[2]} x {region.box[3]} at ({region.box[0]}, {region.box[1]}), "
        f"{region.area} pixels, peak {region.peak:.6g}, mean {region.mean:.6g}"
        for number, region in enumerate(verdict.regions, start=1)
    ]
    if not verdict.regions:
        lines.append("no region")
    for cell in cells:
        x, y, width, height = cell.box
        lines.append(f"cell {width} x {height} at ({x}, {y}): {cell.peak:.6g}")
    lines.append(f"threshold: {scorer.record.sentence}")
    return lines
