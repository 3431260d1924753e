"""Synthetic images, each made from its number when its turn comes: neither disk nor memory holds more than one."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gonogo.model.inspector import Inspector

SEED = 17


class Textures(Sequence[Tensor]):
    """Pixels (1, 3, s, s) of images with numbers from `first` on: a texture, moved, lit and blurred by chance."""

    def __init__(self, inspector: Inspector, n: int, *, side: int, first: int = 0) -> None:
        self.inspector, self.n, self.side, self.first = inspector, n, side, first
        rng = np.random.default_rng(SEED)
        rows, columns = np.mgrid[: 2 * side, : 2 * side]
        waves = np.sin(rows / 7) * np.cos(columns / 11) + 0.5 * np.sin((rows + columns) / 3)
        self.texture = 120 + 25 * waves[..., None] + rng.normal(0, 12, (2 * side, 2 * side, 3))

    def __len__(self) -> int:
        return self.n

    @torch.inference_mode()
    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # only an int: nobody slices it
        return self.inspector.resized(torch.from_numpy(self.image(index))[None])

    def image(self, index: int) -> np.ndarray:
        """The image (side, side, 3) uint8 as a camera would give it, before the resize."""
        if not 0 <= index < self.n:
            raise IndexError(index)
        rng = np.random.default_rng([SEED, self.first + index])
        top, left = rng.integers(0, self.side, 2)
        window = self.texture[top : top + self.side, left : left + self.side]
        pixels = window * rng.normal(1, 0.05) + rng.normal(0, 6, window.shape)
        return np.asarray(pixels.clip(0, 255).astype(np.uint8))
