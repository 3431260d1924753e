"""Fit images that do not look like the others: defects that were taken for good parts, wrong poses, wrong parts.

Each fit image is scored as by a model that had not seen it; what that means, each detector says in `left_out`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gonogo.compute.cluster import map_on
from gonogo.images.dataset import Record
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import TOGETHER
from gonogo.model.inspector import Inspector

COLUMNS = ("rank", "image", "score", "times_median", "rejected")


@dataclass(frozen=True)
class FitScores:
    """Scores (n,) float32 of n fit images left out one at a time, and the maps (h, w) of those with the highest.

    `shown` are positions among `records`, the most anomalous image first; `anomaly_maps` are theirs, none where the
    detector does not localise.
    """

    records: list[Record]
    scores: np.ndarray
    shown: list[int]
    anomaly_maps: list[np.ndarray]

    @property
    def median(self) -> float:
        """Of the scores."""
        return float(np.median(self.scores))

    def sentence(self, threshold: float) -> str:
        """How many a gauge with this threshold would reject, and which image is the first to look at."""
        if not self.shown:
            return "no fit image was looked at, as fit.left_out is 0"
        first, n_rejected = self.shown[0], int((self.scores >= threshold).sum())
        return (
            f"{n_rejected} of {len(self.records)} fit images would be rejected had the fit not seen them; "
            f"look first at {self.records[first].path}, {float(self.scores[first]):.4g}"
        )


@torch.inference_mode()
def score_fit_images(
    inspector: Inspector,
    images: FitImages,
    *,
    n_shown: int,
    progress: Callable[[str, int, int, dict[str, float]], None],
) -> FitScores:
    """Score each of the images that the inspector's detector was just fitted on, as if it had not been among them.

    Args:
        inspector: on the images' device.
        images: those of the fit, in its order.
        n_shown: how many maps to keep, those of the highest scores; 0 looks at no image at all.
        progress: as in `Detector.fit`.
    """
    records = list(images.records) if n_shown else []
    scores = np.zeros(len(records), dtype=np.float32)
    maps: dict[int, np.ndarray] = {}
    look = partial(_left_out, inspector, images)
    for number, one in enumerate(map_on(images.dataset.cluster, look, range(len(records)), together=TOGETHER)):
        scores[number] = float(one["score"])
        if inspector.detector.localises:
            maps[number] = one["anomaly_map"]
            if len(maps) > n_shown:
                del maps[_worst_first(scores, maps)[-1]]
        progress("fit images", number + 1, len(records), {})
    shown = _worst_first(scores, range(len(records)))[:n_shown]
    return FitScores(records, scores, shown, [maps[number] for number in shown if number in maps])


@torch.inference_mode()
def _left_out(inspector: Inspector, images: FitImages, number: int) -> dict[str, np.ndarray]:
    record, views = images.records[number], len(images) // len(images.records)
    n_tiles = 1 if inspector.tiles is None else len(inspector.tiles)  # of one view; the first view is the image itself
    own = range(number * views, (number + 1) * views)
    seen = [inspector.detector.left_out(images[index], own) for index in own[:n_tiles]]
    parts, grids = (torch.stack(each) if inspector.tiles else each[0] for each in zip(*seen, strict=True))
    score, anomaly_map = inspector.judged(parts, grids, torch.empty(1, record.height, record.width, 3))
    return {"score": score[0].numpy(), "anomaly_map": anomaly_map[0].numpy()}


def _worst_first(scores: np.ndarray, positions: Any) -> list[int]:
    return sorted(positions, key=lambda position: (-float(scores[position]), position))


def fit_score_rows(looked: FitScores, threshold: float) -> list[dict[str, Any]]:
    """One row per fit image with `COLUMNS`, the most anomalous first, with unrounded scores."""
    return [
        {
            "rank": rank,
            "image": looked.records[position].path,
            "score": float(looked.scores[position]),
            "times_median": float(looked.scores[position]) / looked.median if looked.median > 0 else "",
            "rejected": int(looked.scores[position] >= threshold),
        }
        for rank, position in enumerate(_worst_first(looked.scores, range(len(looked.records))), start=1)
    ]
