"""Scores of the fit images, each as if it had not been fitted on: the record that the fit writes and the report reads.

A high score points to a fit image that is unlike the others: a defect that was taken for a good part, a part in another
pose, another part. Only the order of the scores says something. How a gauge would judge the image had it been fitted
without it is another question: the bank that is left has a hole where the image's own patches were, which a new fit
would fill with others, and scores come out too high. This module needs numpy and no torch; `gonogo.model.inspection`
computes the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.compute.arrays import UNREADABLE, load_arrays, save_arrays
from gonogo.errors import IntegrityError

COLUMNS = ("rank", "image", "score", "times_median")


@dataclass(frozen=True)
class LeftOutScores:
    """One score per fit image, and the anomaly maps of those with the highest scores.

    Attributes:
        images: the path of each fit image as in the dataset's records, in the order of the fit; none where
            `fit.left_out` is 0.
        scores: (n,) float32, higher is more anomalous.
        shown: positions among `images` of those to be shown, the most anomalous first.
        maps: (h, w) float32 of each shown image, at its own size and in the unit of the scores; empty where the
            detector does not localise.
    """

    images: Sequence[str]
    scores: np.ndarray
    shown: Sequence[int]
    maps: Sequence[np.ndarray]

    @property
    def median(self) -> float:
        """The median of the scores."""
        return float(np.median(self.scores))

    @property
    def sentence(self) -> str:
        """Which fit image to look at first."""
        if not self.shown:
            return "no fit image was scored without itself, since fit.left_out is 0"
        first = self.shown[0]
        times = f", {self.scores[first] / self.median:.2f} times as far as the median image" if self.median > 0 else ""
        return f"of {len(self.images)} fit images {self.images[first]} is least like the others{times}: look at it"

    def rows(self) -> list[dict[str, Any]]:
        """One row per fit image with `COLUMNS`, the most anomalous first, with unrounded scores."""
        return [
            {
                "rank": rank,
                "image": self.images[position],
                "score": float(self.scores[position]),
                "times_median": float(self.scores[position]) / self.median if self.median > 0 else "",
            }
            for rank, position in enumerate(most_anomalous_first(self.scores, range(len(self.images))), start=1)
        ]


def most_anomalous_first(scores: np.ndarray, positions: Any) -> list[int]:
    """The positions in falling order of their scores; of equal scores, the lower position first."""
    return sorted(positions, key=lambda position: (-float(scores[position]), position))


def save_left_out(path: Path, left_out: LeftOutScores) -> None:
    """Write the scores and maps as a compressed .npz file; the same scores give the same bytes."""
    arrays: dict[str, np.ndarray] = {
        "images": np.array(list(left_out.images), dtype=np.str_),
        "scores": np.asarray(left_out.scores, dtype=np.float32),
        "shown": np.array(list(left_out.shown), dtype=np.int64),
    }
    arrays |= {f"map_{number}": anomaly_map for number, anomaly_map in enumerate(left_out.maps)}
    save_arrays(path, arrays)


def load_left_out(path: Path) -> LeftOutScores:
    """Read what `save_left_out` wrote; nothing is unpickled.

    Raises:
        IntegrityError: the file is missing, damaged or holds something else.
    """
    try:
        arrays = load_arrays(path)
        n_maps = sum(name.startswith("map_") for name in arrays)
        return LeftOutScores(
            images=[str(name) for name in arrays["images"]],
            scores=arrays["scores"],
            shown=[int(position) for position in arrays["shown"]],
            maps=[arrays[f"map_{number}"] for number in range(n_maps)],
        )
    except UNREADABLE as error:
        raise IntegrityError(f"{path} cannot be read as the scores of the fit images ({error}); fit again") from error
