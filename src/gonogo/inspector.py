"""One inference path: raw pixels in, score and anomaly map out. Evaluation, export and parity all go through it."""

import numpy as np
import torch
from torch import Tensor, nn

from gonogo.anomaly_map import resize, upsample
from gonogo.detectors.contract import Detector
from gonogo.images import require_pixels
from gonogo.regions import cell_of

GREY = 127.5  # what the detector sees where nothing is inspected


class Inspector(nn.Module):
    """A detector between the resize of the pixels and the upsampling of its map.

    Where it does not look, the pixels are painted grey before the resize and the map is 0: neither score nor map can
    depend on what is there.
    """

    inside: Tensor | None

    def __init__(self, detector: Detector, inside: np.ndarray | None = None) -> None:
        """`inside` is that of `RegionParams`: a mask of cells, True where the gauge looks; None: everywhere."""
        super().__init__()
        self.detector = detector
        self.register_buffer("inside", None if inside is None else torch.from_numpy(inside), persistent=False)
        self.eval()

    def inspected(self, height: int, width: int) -> Tensor | None:
        """(height, width) bool, as `RegionParams.inspected`; None where the gauge looks everywhere."""
        if self.inside is None:
            return None
        rows, columns = (cell_of(torch.arange(length, device=self.inside.device), length) for length in (height, width))
        return self.inside[rows][:, columns]

    def resized(self, pixels: Tensor) -> Tensor:
        """Float pixels (n, 3, s, s) in [0, 255] of uint8 pixels (n, h, w, 3)."""
        size = self.detector.image_size
        planes = pixels.permute(0, 3, 1, 2).float()
        inspected = self.inspected(pixels.shape[1], pixels.shape[2])
        return resize(planes if inspected is None else torch.where(inspected, planes, GREY), size, size)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and anomaly map (n, h, w), higher more anomalous, of uint8 RGB pixels (n, h, w, 3).

        Raises:
            NotFittedError: the detector was not fitted.
        """
        score, grid = self.detector(self.resized(pixels))
        height, width = pixels.shape[1], pixels.shape[2]
        anomaly_map = upsample(grid, self.detector.image_size, self.detector.smoothing, height, width)
        inspected = self.inspected(height, width)
        return score, anomaly_map if inspected is None else torch.where(inspected, anomaly_map, 0.0)

    @torch.inference_mode()
    def inspect(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`forward` on arrays: scores (n,) float32 and maps (n, h, w) float32.

        Raises:
            ShapeError: `pixels` is not (n, h, w, 3) uint8.
        """
        require_pixels(pixels)
        score, anomaly_map = self(torch.from_numpy(pixels))
        return score.numpy(), anomaly_map.numpy()
