"""Inspecting the images of a manifest, in its order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gonogo.inspector import Inspector
from gonogo.manifest import Manifest, Record


@dataclass(frozen=True)
class Inspection:
    """Scores (n,) float32 of n records and, where asked for, their maps (h, w) float32."""

    records: Sequence[Record]
    scores: np.ndarray
    anomaly_maps: list[np.ndarray]

    @property
    def labels(self) -> np.ndarray:
        """(n,) bool; True is anomalous."""
        return np.array([record.label == 1 for record in self.records])

    @property
    def groups(self) -> list[str]:
        """The group id of each record."""
        return [record.group_id for record in self.records]


def inspect_records(
    inspector: Inspector, manifest: Manifest, records: Sequence[Record], *, keep_maps: bool = False
) -> Inspection:
    """Read, score and, with `keep_maps`, map each record's image at its original size, one at a time."""
    scores = np.empty(len(records), dtype=np.float32)
    maps = []
    for number, record in enumerate(records):
        score, anomaly_map = inspector.inspect(manifest.pixels_of(record)[None])
        scores[number] = score[0]
        if keep_maps:
            maps.append(anomaly_map[0])
    return Inspection(records, scores, maps)
