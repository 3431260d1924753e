"""Locally aware patch features, from which PatchCore and similar detectors learn."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gonogo.detectors.anomaly_map import resize
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.images.size import Size


class PatchFeatures(nn.Module):
    """Several layers of a frozen backbone, each averaged over a neighbourhood and brought to the first layer's grid.

    Source: Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection" (CVPR), section 3.1, without the
    authors' adaptive pooling to 1,024 dimensions.
    """

    def __init__(self, backbone: str, layers: Sequence[int], image_size: Size, *, neighbourhood: int = 3) -> None:
        """As in `Backbone`; `neighbourhood`, an odd number, is the side of the square averaged over."""
        super().__init__()
        self.neighbourhood = neighbourhood
        self.backbone = Backbone(backbone, layers, image_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, gh, gw, d) of pixels (n, 3, h, w) in [0, 255]."""
        maps = self.backbone(pixels)
        if self.neighbourhood > 1:
            side, reach = self.neighbourhood, self.neighbourhood // 2
            maps = [F.avg_pool2d(feature, side, stride=1, padding=reach) for feature in maps]
        height, width = maps[0].shape[-2:]
        same = [maps[0]] + [resize(feature, height, width) for feature in maps[1:]]
        return torch.cat(same, dim=1).permute(0, 2, 3, 1)
