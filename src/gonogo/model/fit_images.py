"""The images, or their tiles, that a detector learns from, read when they are needed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.boxes.labelled import LabelledImages
from gonogo.detectors.parts import MapPart, PartState
from gonogo.images.dataset import Dataset, Record
from gonogo.model.inspector import Inspector

CPU = torch.device("cpu")
CACHES = ("_decoded", "_upright", "_view")  # of a process, which another one makes for itself
TOGETHER = 4  # images that a worker of a cluster reads at a time
LEAST_PART, MOST_PART, MOST_PARTS = 32, 256, 64  # images of a part; parts, where their size allows


class FitImages(Sequence[Tensor]):
    """Resized pixels (1, 3, h, w) of a dataset's images or, with a tiling, of their tiles, on `device`.

    One of them is one batch: on a CPU, larger ones fall out of the cache and take longer per image. Memory stays
    bounded: only the last image is kept, so that its tiles are cut from one reading of the file. Who iterates has the
    next images decoded meanwhile.
    """

    def __init__(
        self,
        inspector: Inspector,
        dataset: Dataset,
        records: Sequence[Record],
        *,
        device: torch.device = CPU,
        rotations: int = 1,
    ) -> None:
        """The inspector must be on `device` too. Of each image come `rotations` views, one after the other."""
        self.inspector = inspector
        self.dataset = dataset
        self.records = records
        self.device = device
        self.rotations = rotations
        self._make_caches()

    def without_cluster(self) -> "FitImages":
        """The same images, all read by this process even where there is a cluster."""
        here = replace(self.dataset, cluster=None)
        return FitImages(self.inspector, here, self.records, device=self.device, rotations=self.rotations)

    def _make_caches(self) -> None:
        self._decoded: tuple[int, np.ndarray] | None = None  # of the image that is iterated over: number and pixels
        self._upright = lru_cache(maxsize=1)(self._read)  # one reading for all views of an image,
        self._view = lru_cache(maxsize=1)(self._rotated)  # one rotation for all tiles of a view

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in CACHES}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._make_caches()

    def __len__(self) -> int:
        return len(self.records) * self.rotations * self._n_tiles

    @property
    def _n_tiles(self) -> int:
        return 1 if self.inspector.tiles is None else len(self.inspector.tiles)

    @torch.inference_mode()
    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # only an int: slices are not supported
        view, tile = divmod(range(len(self))[index], self._n_tiles)
        rotated_image = self._view(*divmod(view, self.rotations))
        return rotated_image if self.inspector.tiles is None else self.inspector.tiles.tile(rotated_image, tile)

    def __iter__(self) -> Iterator[Tensor]:
        """All of them; on a cluster, its workers read, resize and rotate them."""
        numbers, each = range(len(self.records)), self.rotations * self._n_tiles
        if self.dataset.cluster is None:
            for number, pixels in zip(numbers, self.dataset.images_of(self.records), strict=True):
                self._decoded = number, pixels
                yield from (self[number * each + step] for step in range(each))
            self._decoded = None
            return
        for found in self.dataset.cluster.map(self._of_record, numbers, together=TOGETHER):
            yield from (torch.from_numpy(batch)[None] for batch in found["batches"])

    def _of_record(self, number: int) -> dict[str, Tensor]:
        each = self.rotations * self._n_tiles
        return {"batches": torch.cat([self[number * each + step] for step in range(each)])}

    @property
    def n_parts(self) -> int:
        """1 without a cluster. On one it depends on the number of images alone, and so does the fit."""
        return len(self._parts())

    def _parts(self) -> list[range]:
        """The images of each part."""
        n = len(self.records)
        if self.dataset.cluster is None or n == 0:
            return [range(n)]
        size = min(MOST_PART, max(LEAST_PART, math.ceil(n / MOST_PARTS)))
        return [range(start, min(start + size, n)) for start in range(0, n, size)]

    def map_parts(self, function: MapPart, progress: Progress) -> Iterator[PartState]:
        """The results of `function` for each part, in their order; on a cluster its workers compute them."""
        if self.dataset.cluster is None:
            yield function(self, 0, progress)
            return
        parts = self._parts()
        on_part = partial(_on_part, self, parts, function)
        for number, found in enumerate(self.dataset.cluster.map(on_part, range(len(parts)), together=1), start=1):
            progress("parts", number, len(parts), {})
            yield {name: torch.from_numpy(value) for name, value in found.items()}

    def _rotated(self, number: int, step: int) -> Tensor:
        record = self.records[number]
        return rotated(self._upright(number), step, self.rotations, aspect=record.width / record.height)

    def _read(self, number: int) -> Tensor:
        known, pixels = self._decoded or (None, None)
        if pixels is None or known != number:
            pixels = self.dataset.pixels_of(self.records[number])
        return self.inspector.resized(torch.from_numpy(pixels)[None].to(self.device))


def labelled_images(images: FitImages) -> LabelledImages:
    """The images with the boxes of their records, in pixels as the detector sees them; neither tiles nor rotations."""
    height, width = images.inspector.input_size
    boxes, labels = [], []
    for record in images.records:
        top, left, framed_height, framed_width = images.inspector.framed(record.height, record.width)
        across, down = width / framed_width, height / framed_height
        corners = [
            [
                (box["x"] + left) * across,
                (box["y"] + top) * down,
                (box["x"] + left + box["width"]) * across,
                (box["y"] + top + box["height"]) * down,
            ]
            for box in record.boxes
        ]
        boxes.append(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4))
        labels.append([str(box["label"]) for box in record.boxes])
    return LabelledImages(images, boxes, labels)


def _on_part(images: FitImages, parts: Sequence[range], function: MapPart, number: int) -> PartState:
    """The result of `function` for one part, in the process of a worker."""
    part = parts[number]
    records, here = images.records[part.start : part.stop], replace(images.dataset, cluster=None)
    some = FitImages(images.inspector, here, records, rotations=images.rotations)
    return function(some, part.start * (len(images) // len(images.records)), no_progress)


def rotated(pixels: Tensor, step: int, steps: int, *, aspect: float) -> Tensor:
    """(n, c, h, w) rotated about the centre by `step` of `steps` equal parts of a full turn, counterclockwise.

    `aspect` is width by height of the image before it was resized: a part keeps its form. Quarter turns of a square
    image on a square are exact; all others are interpolated, and pixels from outside the image are its reflection at
    the border.
    """
    if step == 0:
        return pixels
    if aspect == 1 and pixels.shape[2] == pixels.shape[3] and 4 * step % steps == 0:
        return pixels.rot90(4 * step // steps, dims=(2, 3))
    angle = 2 * math.pi * step / steps
    cos, sin = math.cos(angle), math.sin(angle)
    place = torch.tensor([[cos, -sin / aspect, 0], [sin * aspect, cos, 0]], device=pixels.device)
    grid = F.affine_grid(place.expand(len(pixels), 2, 3), list(pixels.shape), align_corners=True)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=True)
