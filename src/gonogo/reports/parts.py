"""Images of the records as the report shows them: how each was judged, and its pixels, mask and map to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gonogo.images.dataset import Dataset
from gonogo.inference.scorer import Verdict


@dataclass(frozen=True)
class Part:
    """One image of the per-image records. `threshold` is that of the gauge that the records were measured with."""

    image: str
    defective: bool
    defect_type: str
    score: float
    threshold: float

    @property
    def rejected(self) -> bool:
        """Whether the gauge rejected it."""
        return self.score >= self.threshold

    @property
    def missed(self) -> bool:
        """Whether it is a defect that passed."""
        return self.defective and not self.rejected

    @property
    def false_alarm(self) -> bool:
        """Whether it is a good part that was rejected."""
        return self.rejected and not self.defective


def parts_with_role(role: str, rows: Sequence[Mapping[str, str]]) -> list[Part]:
    """The images of a role, test or calibrate, of the per-image records that the evaluate stage wrote."""
    return [
        Part(row["image"], row["label"] == "1", row["defect_type"], float(row["score"]), float(row["threshold"]))
        for row in rows
        if row["role"] == role
    ]


class Gauge(Protocol):
    """The part of a `Scorer` that drawing needs."""

    @property
    def threshold(self) -> float: ...

    def score_pixels(self, pixels: np.ndarray) -> list[Verdict]: ...


class PartImages:
    """The images of a dataset with the maps that a proven bundle makes of them, computed each time that one is drawn.

    A bundle in eight bits has its own threshold. Its maps are therefore drawn on the scale of the bundle's threshold,
    and the verdict beside them is that of the records, which all figures of the report come from.
    """

    def __init__(self, dataset: Dataset, gauge: Gauge) -> None:
        self.dataset, self.gauge = dataset, gauge
        self._records = {record.path: record for record in dataset.records}

    def size_of(self, part: Part) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        record = self._records[part.image]
        return record.width, record.height

    def pixels_of(self, part: Part) -> np.ndarray:
        """(h, w, 3) uint8."""
        return self.dataset.pixels_of(self._records[part.image])

    def mask_of(self, part: Part) -> np.ndarray | None:
        """(h, w) bool; None for a defect whose mask is unknown."""
        return self.dataset.mask_of(self._records[part.image])

    def boxes_of(self, part: Part) -> Sequence[Mapping[str, Any]]:
        """The labelled boxes of the image, as a record has them."""
        return self._records[part.image].boxes

    def verdict_of(self, part: Part) -> Verdict:
        """What the bundle says of the image, with its anomaly map; not kept, since maps of large images are large."""
        return self.gauge.score_pixels(self.pixels_of(part)[None])[0]
