"""Inspecting the images of a manifest, in its order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gonogo.images import read_image
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
    inspector: Inspector, manifest: Manifest, records: Sequence[Record], *, batch_size: int = 8, keep_maps: bool = False
) -> Inspection:
    """Read, score and, with `keep_maps`, map each record's image at its original size."""
    scores: list[np.ndarray] = []
    maps: list[np.ndarray] = []
    for _, images in image_batches(manifest, records, batch_size):
        score, anomaly_map = inspector.inspect(images)
        scores.append(score)
        if keep_maps:
            maps.extend(anomaly_map)
    return Inspection(records, np.concatenate(scores), maps)


def image_batches(
    manifest: Manifest, records: Sequence[Record], batch_size: int, *, size: tuple[int, int] | None = None
) -> Iterator[tuple[list[Record], np.ndarray]]:
    """Consecutive records whose images have one size, at most `batch_size`, with their pixels (b, h, w, 3) uint8.

    With `size` (height, width), images are resized to it first.
    """
    group: list[Record] = []
    images: list[np.ndarray] = []
    for record in records:
        pixels = read_image(manifest.path_of(record))
        if size is not None:
            pixels = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
        if images and (pixels.shape != images[0].shape or len(images) == batch_size):
            yield group, np.stack(images)
            group, images = [], []
        group.append(record)
        images.append(pixels)
    if images:
        yield group, np.stack(images)
