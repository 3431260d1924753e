"""gonogo explain: all that a bundle knows about one image, and the good patches nearest to what it looks at."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np

from gonogo.cli.answer import Answer
from gonogo.errors import DataError
from gonogo.images.reading import read_image
from gonogo.inference.gauges import Picked, open_gauges
from gonogo.inference.good_patches import Box, GoodPatch, GoodPatches, box_around
from gonogo.inference.scorer import Scorer, Verdict
from gonogo.line.picture import Pair, write_picture


@dataclass(frozen=True)
class Cell:
    """A part of the map: `box` (x, y, width, height) in pixels of the image, its highest value, and where (x, y)."""

    box: Box
    peak: float
    at: tuple[int, int]


def run(arguments: Namespace) -> Answer:
    """Explain the verdict of one image.

    Raises:
        ImageError: it cannot be read.
        IntegrityError: the bundle cannot be trusted.
    """
    gauges = open_gauges(arguments.bundle, trust=arguments.trust)
    pixels = read_image(arguments.image)
    picked = gauges.pick(pixels)
    if picked.scorer is None:
        return _unknown(arguments, picked)
    scorer = picked.scorer
    scores, maps, nearest = scorer.run_matched(pixels[None])
    (verdict,) = scorer.judge(scores, maps)
    cells = top_cells(verdict.anomaly_map, n_cells=arguments.cells) if scorer.manifest["localises"] else []
    pairs: list[Pair] = []
    places: list[Pair] = []
    if scorer.good_patches is not None and nearest is not None:
        compare = partial(pair_of, pixels=pixels, nearest=nearest[0], good_patches=scorer.good_patches)
        pairs = [compare(cell) for cell in cells[: arguments.top]]
        height, width = pixels.shape[:2]
        whole = Cell((0, 0, width, height), verdict.score, (width // 2, height // 2))  # where it does not say where
        reach = scorer.good_patches.share * max(height, width) / 2
        places = [compare(cell) for cell in apart(cells or [whole], reach)[: arguments.top]]
    cells = cells[: arguments.top]
    if arguments.picture is not None:
        write_picture(arguments.picture, arguments.image.name, pixels, verdict, places)
    report: dict[str, Any] = {
        "ok": True,
        "file": str(arguments.image),
        **picked.about,
        "detector": scorer.manifest["detector"]["name"],
        "verdict": "reject" if verdict.anomalous else "pass",
        "score": verdict.score,
        "p_value": verdict.p_value,
        "probability": verdict.probability,
        "uncertain": verdict.uncertain,
        "regions": [asdict(region) for region in verdict.regions],
        "cells": [
            {"box": cell.box, "peak": cell.peak, "nearest": None if pair is None else _told(pair.good)}
            for cell, pair in zip_longest(cells, pairs)
        ],
        "places": [{"box": pair.box, "peak": pair.peak, "nearest": _told(pair.good)} for pair in places],
        "threshold_record": scorer.record.sentence,
    }
    lines = _said(arguments, scorer, verdict, cells, pairs or places)
    if not gauges.is_one:
        share = picked.about["relative_distance"]
        lines.insert(0, f"{scorer.category}: {share:.3g} times as far from its good parts as they may be")
    return Answer(report, "\n".join(lines))


def _unknown(arguments: Namespace, picked: Picked) -> Answer:
    """What there is to say of an image that is of no category of a set."""
    about = picked.about
    if arguments.picture is not None:
        raise DataError(f"{arguments.image} is of no category of the set; there is no verdict to draw")
    return Answer(
        {"ok": True, "file": str(arguments.image), "verdict": "unknown", **about},
        f"{arguments.image}: unknown, of no category of the set; nearest is {about['nearest_category']}, "
        f"{about['relative_distance']:.3g} times as far from its good parts as they may be",
    )


def top_cells(anomaly_map: np.ndarray, *, n_cells: int) -> list[Cell]:
    """The cells of a map (h, w) that is cut into squares, `n_cells` along its longer side, the highest first."""
    height, width = anomaly_map.shape
    side = -(-max(height, width) // n_cells)
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    peaks = np.maximum.reduceat(np.maximum.reduceat(anomaly_map, rows, axis=0), columns, axis=1)
    order = np.argsort(-peaks, axis=None, kind="stable")
    cells = []
    for row, column in zip(*np.unravel_index(order, peaks.shape), strict=True):
        x, y = int(columns[column]), int(rows[row])
        box = (x, y, min(side, width - x), min(side, height - y))
        inside = anomaly_map[y : y + box[3], x : x + box[2]]
        down, across = np.unravel_index(inside.argmax(), inside.shape)
        cells.append(Cell(box, float(peaks[row, column]), (x + int(across), y + int(down))))
    return cells


def apart(cells: Sequence[Cell], reach: float) -> list[Cell]:
    """Those cells that lie `reach` pixels or more, along or across, from each that comes before them and is kept."""
    kept: list[Cell] = []
    for cell in cells:
        if all(max(abs(cell.at[0] - other.at[0]), abs(cell.at[1] - other.at[1])) >= reach for other in kept):
            kept.append(cell)
    return kept


def pair_of(cell: Cell, pixels: np.ndarray, nearest: np.ndarray, good_patches: GoodPatches) -> Pair:
    """The place of an image (h, w, 3) where a cell of the map is highest, and the good patch nearest to it.

    Args:
        nearest: numbers (ch, cw) of good patches; its cells cover the image.

    Raises:
        IntegrityError: the number is that of no good patch.
    """
    height, width = pixels.shape[:2]
    row, column = (
        int((at + 0.5) * n / length)
        for at, n, length in zip(cell.at[::-1], nearest.shape, (height, width), strict=True)
    )
    wide, high = width / nearest.shape[1], height / nearest.shape[0]
    box = box_around(((column + 0.5) * wide, (row + 0.5) * high), (wide, high), (width, height))
    return Pair(box, cell.peak, good_patches.picture_of(pixels, box), good_patches[int(nearest[row, column])])


def _told(good: GoodPatch) -> dict[str, Any]:
    return {"entry": good.entry, "image": good.image, "box": good.box, "turned": good.turned}


def _said(
    arguments: Namespace, scorer: Scorer, verdict: Verdict, cells: Sequence[Cell], pairs: Sequence[Pair]
) -> list[str]:
    sign, word = (">=", "reject") if verdict.anomalous else ("<", "pass")
    lines = [
        f"{arguments.image}: {word}, score {verdict.score:.6g} {sign} threshold {verdict.threshold:.6g}",
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
    for number, cell in enumerate(cells):
        lines.append(f"cell {_at(cell.box)}: {cell.peak:.6g}{_beside(pairs[number]) if pairs else ''}")
    if pairs and not cells:
        lines.append(f"the image as a whole: {pairs[0].peak:.6g}{_beside(pairs[0])}")
    if not pairs:
        lines.append("no good patches to compare with: the gauge remembers none, or its bundle is of before")
    lines.append(f"threshold: {scorer.record.sentence}")
    return lines


def _at(box: Box) -> str:
    x, y, width, height = box
    return f"{width} x {height} at ({x}, {y})"


def _beside(pair: Pair) -> str:
    turned = f", turned by {pair.good.turned:g} degrees" if pair.good.turned else ""
    return f"; nearest good patch: {_at(pair.good.box)} of {pair.good.image}{turned}"
