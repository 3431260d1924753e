"""Inspecting the images of a dataset, in its order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from gonogo.calibration.pixel_threshold import GoodPixels
from gonogo.calibration.regions import Region, RegionParams, RegionRule, defect_mask, find_regions
from gonogo.compute.cluster import map_on
from gonogo.images.dataset import Dataset, Record
from gonogo.model.inspector import Inspector

TOGETHER = 8  # images that a worker of a cluster takes at a time

# Called as (record, its map (h, w) float32, the pixels marked in it (h, w) bool).
ImageSeen = Callable[[Record, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Inspection:
    """Scores (n,) float32 of n records and, by a rule, the regions of each image, highest peak first."""

    records: Sequence[Record]
    scores: np.ndarray
    regions: list[list[Region]] = field(default_factory=list)

    @property
    def labels(self) -> np.ndarray:
        """(n,) bool; True is anomalous."""
        return np.array([record.label == 1 for record in self.records], dtype=bool)

    @property
    def groups(self) -> list[str]:
        """The group id of each record."""
        return [record.group_id for record in self.records]

    def score_rows(self) -> list[dict[str, str | float]]:
        """Each record's path, group and label with its score, as JSON values."""
        return [
            {"image": record.path, "group_id": record.group_id, "label": record.label, "score": float(score)}
            for record, score in zip(self.records, self.scores, strict=True)
        ]


def score_images(
    inspector: Inspector, dataset: Dataset, records: Sequence[Record]
) -> Iterator[tuple[float, np.ndarray]]:
    """Score, and map (h, w) float32 at the image's own size, of each record's image, read when its turn comes.

    On a cluster, its workers read and inspect; the order is the same.
    """
    look = partial(_inspect, inspector, dataset, records)
    for one in map_on(dataset.cluster, look, range(len(records)), together=TOGETHER):
        yield float(one["score"]), one["anomaly_map"]


def _inspect(inspector: Inspector, dataset: Dataset, records: Sequence[Record], number: int) -> dict[str, np.ndarray]:
    scores, anomaly_maps = inspector.inspect(dataset.pixels_of(records[number])[None])
    return {"score": scores[0], "anomaly_map": anomaly_maps[0]}


def inspect_records(
    inspector: Inspector,
    dataset: Dataset,
    records: Sequence[Record],
    *,
    rule: RegionRule | None = None,
    look: ImageSeen | None = None,
) -> Inspection:
    """The scores of the records' images, and by a `rule` their regions.

    A map passes by and is not kept; `look` sees it, with the pixels that the rule marks in it.
    """
    scores, regions = [], []
    for record, (score, anomaly_map) in zip(records, score_images(inspector, dataset, records), strict=True):
        scores.append(score)
        if rule is None:
            continue
        marked = defect_mask(anomaly_map, rule)
        regions.append(find_regions(anomaly_map, marked))
        if look is not None:
            look(record, anomaly_map, marked)
    return Inspection(records, np.array(scores, dtype=np.float32), regions)


def inspect_calibrate(inspector: Inspector, dataset: Dataset, params: RegionParams) -> tuple[Inspection, RegionRule]:
    """Scores of the calibrate images, and the rule for regions with the pixel threshold that their maps give.

    A map passes by and is not kept. A detector that does not localise gets no pixel threshold.
    """
    records = dataset.with_role("calibrate")
    results = score_images(inspector, dataset, records)
    return inspect_good(records, results, params, localises=inspector.detector.localises)


def inspect_good(
    records: Sequence[Record], results: Iterable[tuple[float, np.ndarray]], params: RegionParams, *, localises: bool
) -> tuple[Inspection, RegionRule]:
    """The same of any good images that no fit saw, from the score and the map (h, w) of each."""
    pixels = GoodPixels(params, [(record.height, record.width) for record in records])
    scores = []
    for score, anomaly_map in results:
        scores.append(score)
        pixels.add(anomaly_map)
    inspection = Inspection(records, np.array(scores, dtype=np.float32))
    return inspection, RegionRule(params, pixels.threshold() if localises else None)
