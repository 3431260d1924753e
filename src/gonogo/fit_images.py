"""The images that a detector learns from, read when asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gonogo.inspector import Inspector
from gonogo.manifest import Manifest, Record

CPU = torch.device("cpu")


class FitImages(Sequence[Tensor]):
    """Resized pixels (1, 3, s, s) of a manifest's images, on `device`, so that memory stays bounded.

    One image is one batch: on a CPU, larger ones fall out of the cache and take longer per image.
    """

    def __init__(
        self, inspector: Inspector, manifest: Manifest, records: Sequence[Record], *, device: torch.device = CPU
    ) -> None:
        """The inspector must be on `device` too."""
        self.inspector = inspector
        self.manifest = manifest
        self.records = records
        self.device = device

    def __len__(self) -> int:
        return len(self.records)

    @torch.inference_mode()
    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # only an int: nobody slices it
        pixels = torch.from_numpy(self.manifest.pixels_of(self.records[index]))[None]
        return self.inspector.resized(pixels.to(self.device))
