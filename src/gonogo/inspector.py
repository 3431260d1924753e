"""One inference path: raw pixels in, score and anomaly map out. Evaluation, export and parity all go through it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gonogo.anomaly_map import resize, upsample
from gonogo.detectors.contract import Detector
from gonogo.errors import ShapeError
from gonogo.images import read_image


class Inspector(nn.Module):
    """A detector between the resize of the pixels and the upsampling of its map."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.eval()

    def resized(self, pixels: Tensor) -> Tensor:
        """Float pixels (n, 3, s, s) in [0, 255] of uint8 pixels (n, h, w, 3)."""
        size = self.detector.image_size
        return resize(pixels.permute(0, 3, 1, 2).float(), size, size)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and anomaly map (n, h, w), higher more anomalous, of uint8 RGB pixels (n, h, w, 3).

        Raises:
            NotFittedError: the detector was not fitted.
        """
        score, grid = self.detector(self.resized(pixels))
        height, width = pixels.shape[1], pixels.shape[2]
        return score, upsample(grid, self.detector.image_size, self.detector.smoothing, height, width)

    @torch.inference_mode()
    def inspect(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`forward` on arrays: scores (n,) float32 and maps (n, h, w) float32.

        Raises:
            ShapeError: `pixels` is not (n, h, w, 3) uint8.
        """
        if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise ShapeError(f"pixels: expected (n, h, w, 3) uint8, got {pixels.shape} {pixels.dtype}")
        score, anomaly_map = self(torch.from_numpy(pixels))
        return score.numpy(), anomaly_map.numpy()


class FitBatches(Sequence[Tensor]):
    """Resized pixels of image files, read batch by batch when asked for, so that memory stays bounded."""

    def __init__(self, inspector: Inspector, paths: Sequence[Path], batch_size: int = 8) -> None:
        self.inspector = inspector
        self.paths = paths
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch_size)

    @torch.inference_mode()
    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if not 0 <= index < len(self):
            raise IndexError(index)
        paths = self.paths[index * self.batch_size : (index + 1) * self.batch_size]
        return torch.cat([self.inspector.resized(torch.from_numpy(read_image(path))[None]) for path in paths])
