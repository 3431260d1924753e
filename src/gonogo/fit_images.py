"""The images, or their tiles, that a detector learns from, read when asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gonogo.inspector import Inspector
from gonogo.manifest import Manifest, Record

CPU = torch.device("cpu")


class FitImages(Sequence[Tensor]):
    """Resized pixels (1, 3, s, s) of a manifest's images or, with a tiling, of their tiles, on `device`.

    One of them is one batch: on a CPU, larger ones fall out of the cache and take longer per image. Memory stays
    bounded: the image that was asked for last is kept, so that its tiles are cut from one reading of the file.
    """

    def __init__(
        self, inspector: Inspector, manifest: Manifest, records: Sequence[Record], *, device: torch.device = CPU
    ) -> None:
        """The inspector must be on `device` too."""
        self.inspector = inspector
        self.manifest = manifest
        self.records = records
        self.device = device
        self._kept: tuple[int, Tensor] | None = None  # the last image's number, and its resized pixels

    def __len__(self) -> int:
        return len(self.records) * (1 if self.inspector.tiles is None else len(self.inspector.tiles))

    @torch.inference_mode()
    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # only an int: nobody slices it
        tiles = self.inspector.tiles
        if tiles is None:
            return self._resized(index)
        number, tile = divmod(index, len(tiles))
        if self._kept is None or self._kept[0] != number:
            self._kept = number, self._resized(number)
        return tiles.of(self._kept[1], tile)

    def _resized(self, number: int) -> Tensor:
        pixels = torch.from_numpy(self.manifest.pixels_of(self.records[number]))[None]
        return self.inspector.resized(pixels.to(self.device))
