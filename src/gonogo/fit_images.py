"""The images that a detector learns from, read when asked for."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from gonogo.inspector import Inspector
from gonogo.manifest import Manifest, Record

CPU = torch.device("cpu")


class FitImages(Sequence[Tensor]):
    """Resized pixels (1, 3, s, s) of a manifest's images, on `device`, so that memory stays bounded.

    One image is one batch: on a CPU, larger ones fall out of the cache and take longer per image.
    """

    def __init__(
        self,
        inspector: Inspector,
        manifest: Manifest,
        records: Sequence[Record],
        *,
        device: torch.device = CPU,
        rotations: int = 1,
    ) -> None:
        """The inspector must be on `device` too. Of each image come `rotations` views, one after the other."""
        self.inspector = inspector
        self.manifest = manifest
        self.records = records
        self.device = device
        self.rotations = rotations
        self._upright = lru_cache(maxsize=1)(self._read)  # one reading for all views of an image

    def __len__(self) -> int:
        return len(self.records) * self.rotations

    @torch.inference_mode()
    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # only an int: nobody slices it
        number, step = divmod(range(len(self))[index], self.rotations)
        record = self.records[number]
        return rotated(self._upright(number), step, self.rotations, aspect=record.width / record.height)

    def _read(self, number: int) -> Tensor:
        pixels = torch.from_numpy(self.manifest.pixels_of(self.records[number]))[None]
        return self.inspector.resized(pixels.to(self.device))


def rotated(pixels: Tensor, step: int, steps: int, *, aspect: float) -> Tensor:
    """(n, c, s, s) turned about the centre by `step` of `steps` equal parts of a full turn, against the clock.

    `aspect` is width by height of the image before it was resized to a square: a part keeps its form as it turns.
    Quarters of a square image are exact; everything else is interpolated, and what the image did not show is its
    reflection at the border.
    """
    if step == 0:
        return pixels
    if aspect == 1 and 4 * step % steps == 0:
        return pixels.rot90(4 * step // steps, dims=(2, 3))
    angle = 2 * math.pi * step / steps
    cos, sin = math.cos(angle), math.sin(angle)
    place = torch.tensor([[cos, -sin / aspect, 0], [sin * aspect, cos, 0]], device=pixels.device)
    grid = F.affine_grid(place.expand(len(pixels), 2, 3), list(pixels.shape), align_corners=True)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=True)
