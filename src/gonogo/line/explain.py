"""Why one image got its verdict: the highest cells of its map, and the good patches that are nearest to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from gonogo.inference.attribution import Attribution, attribute
from gonogo.inference.good_patches import Box, GoodPatches, box_around
from gonogo.inference.scorer import Scorer, Verdict
from gonogo.line.picture import Pair


@dataclass(frozen=True)
class Cell:
    """A square of the anomaly map.

    box: (x, y, width, height) in pixels of the image.
    peak: the highest value of the map inside.
    at: (x, y) of the pixel that has this value.
    """

    box: Box
    peak: float
    at: tuple[int, int]


@dataclass(frozen=True)
class Explanation:
    """A verdict and what led to it.

    cells: the highest cells of the map, the highest first; none if the detector does not localise.
    pairs: for each of the cells, its highest place beside the nearest good patch; none if the bundle has no good
        patches.
    places: as `pairs`, but of the highest places that do not overlap each other; of the image as a whole if the
        detector does not localise.
    attribution: what the score is made of; None where it does not follow from patch scores, or the bundle has none.
    """

    verdict: Verdict
    cells: Sequence[Cell]
    pairs: Sequence[Pair]
    places: Sequence[Pair]
    attribution: Attribution | None = None


def explain(scorer: Scorer, pixels: np.ndarray, *, n_cells: int, top: int) -> Explanation:
    """Explain the verdict on an image (h, w, 3) uint8.

    Args:
        n_cells: number of cells along the longer side of the map.
        top: number of cells and places in the explanation.

    Raises:
        IntegrityError: the bundle's network or its good patches are damaged.
    """
    nearest: np.ndarray | None = None
    patches: np.ndarray | None = None
    if scorer.box_classes is not None:
        (verdict,) = scorer.score_pixels(pixels[None])
    else:
        scores, maps, nearest, patches = scorer.run_explained(pixels[None])
        (verdict,) = scorer.add_boxes(pixels[None], scorer.judge(scores, maps))
    cells = top_cells(verdict.anomaly_map, n_cells=n_cells) if scorer.manifest["localises"] else []
    pairs: list[Pair] = []
    places: list[Pair] = []
    if scorer.good_patches is not None and nearest is not None:
        pair = partial(pair_of, pixels=pixels, nearest=nearest[0], good_patches=scorer.good_patches)
        pairs = [pair(cell) for cell in cells[:top]]
        height, width = pixels.shape[:2]
        whole = Cell((0, 0, width, height), verdict.score, (width // 2, height // 2))  # if there is no map
        reach = scorer.good_patches.share * max(height, width) / 2
        places = [pair(cell) for cell in cells_apart(cells or [whole], reach)[:top]]
    made_of = None if patches is None else attribution_of(scorer, verdict, patches[0])
    return Explanation(verdict, cells[:top], pairs, places, made_of)


def attribution_of(scorer: Scorer, verdict: Verdict, patches: np.ndarray) -> Attribution | None:
    """What the score of a verdict is made of, from the patch scores (t, gh, gw) of its image; None as in `attribute`.

    A usual good part is the median one of those that the threshold comes from.
    """
    if scorer.patch_rule is None:
        return None
    usual = float(np.median(scorer.record.good_scores))
    return attribute(patches, verdict.score, verdict.anomaly_map, verdict.defect_mask, scorer.patch_rule, usual=usual)


def why_whole(scorer: Scorer) -> Literal["boxes", "image", "bundle", "score"]:
    """Why the score of a bundle is not taken apart.

    It is that of the best box, the detector judges the image as a whole, the bundle is an old one without patch scores,
    or the score does not follow from these.
    """
    if scorer.box_classes is not None:
        return "boxes"
    if not scorer.manifest["localises"]:
        return "image"
    return "score" if "patches" in scorer.manifest else "bundle"


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


def cells_apart(cells: Sequence[Cell], reach: float) -> list[Cell]:
    """The cells whose highest place is at least `reach` pixels, across or down, from that of each earlier one kept."""
    kept: list[Cell] = []
    for cell in cells:
        if all(max(abs(cell.at[0] - other.at[0]), abs(cell.at[1] - other.at[1])) >= reach for other in kept):
            kept.append(cell)
    return kept


def pair_of(cell: Cell, pixels: np.ndarray, nearest: np.ndarray, good_patches: GoodPatches) -> Pair:
    """The place of an image (h, w, 3) where a cell of the map is highest, and the good patch nearest to it.

    Args:
        nearest: (gh, gw) numbers of good patches; this grid covers the image.

    Raises:
        IntegrityError: there is no good patch of that number.
    """
    height, width = pixels.shape[:2]
    row, column = (
        int((at + 0.5) * n / length)
        for at, n, length in zip(cell.at[::-1], nearest.shape, (height, width), strict=True)
    )
    wide, high = width / nearest.shape[1], height / nearest.shape[0]
    box = box_around(((column + 0.5) * wide, (row + 0.5) * high), (wide, high), (width, height))
    return Pair(box, cell.peak, good_patches.picture_of(pixels, box), good_patches[int(nearest[row, column])])
