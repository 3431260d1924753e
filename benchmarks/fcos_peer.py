"""torchvision's FCOS behind a backbone of gonogo's: the network that `benchmarks/boxes.py` compares ours with.

Source: Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object Detection" (ICCV), as torchvision has it. The way
from coarse to fine and the head have 64 channels and not 256, so that two cores train it; the head's normalisation
needs a multiple of 32. Its sizes by level are those of the strides 4, 8 and 16.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gonogo.calibration.boxes import Boxes, overlaps
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.backbones.torchvision_schema import import_torchvision
from gonogo.detectors.boxes.labelled import as_boxes

CHANNELS = 64
MOST, LEAST_SCORE = 300, 0.01  # boxes of an image, and the confidence of each


class Levels(nn.Module):
    """A backbone's levels, brought to one width from coarse to fine."""

    out_channels = CHANNELS

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork

        self.backbone = backbone
        widths = [int(backbone.model.feature_info[layer]["num_chs"]) for layer in backbone.layers]
        self.pyramid = FeaturePyramidNetwork(widths, CHANNELS)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """The levels by their names, of pixels in [0, 255]."""
        levels: dict[str, Tensor] = self.pyramid({str(n): level for n, level in enumerate(self.backbone(pixels))})
        return levels


def fcos(backbone: Backbone, n_classes: int, *, seed: int) -> Any:
    """The network, which takes a list of pixels (3, h, w) in [0, 255] of any size and resizes none."""
    import_torchvision()
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    class Unresized(GeneralizedRCNNTransform):  # type: ignore[misc]
        """torchvision's, without its resize: `_skip_resize` skips it in training alone, and not in evaluation."""

        def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
            return image, target

    require_nms()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        strides = [int(backbone.model.feature_info[layer]["reduction"]) for layer in backbone.layers]
        anchors = AnchorGenerator(tuple((stride,) for stride in strides), ((1.0,),) * len(strides))
        network = FCOS(
            Levels(backbone),
            n_classes,
            anchor_generator=anchors,
            score_thresh=LEAST_SCORE,
            nms_thresh=0.5,
            detections_per_img=MOST,
        )
    network.transform = Unresized(1, 1, image_mean=[0.0] * 3, image_std=[1.0] * 3, size_divisible=max(strides))
    return network


def targets_of(boxes: Tensor, classes: Tensor, rows: int, columns: int) -> dict[str, Tensor]:
    """A crop's boxes (k, 4) and classes (k,) as FCOS takes them: those whose centre it shows, cut at its border."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres >= 0) & (centres < torch.tensor([columns, rows]))).all(dim=1)
    limits = torch.tensor([columns, rows, columns, rows])
    return {"boxes": boxes[inside].clamp(min=0).minimum(limits), "labels": classes[inside].long()}


@torch.inference_mode()
def found_by(network: Any, images: Sequence[Tensor]) -> list[Boxes]:
    """The boxes of each image (1, 3, h, w), the best first."""
    network.eval()
    given = [network([pixels[0]])[0] for pixels in images]
    return [as_boxes(one["boxes"], one["labels"], one["scores"]) for one in given]


def greedy(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """torchvision's `nms`: the numbers of the boxes (k, 4) that no better kept one overlaps by more than `iou`.

    It ends at the best `MOST`, since an image gives no more, so that it takes little beside the network.
    """
    order = scores.argsort(descending=True, stable=True)
    corners = boxes[order].double().numpy()
    left, kept = np.arange(len(corners)), list[int]()
    while len(left) and len(kept) < MOST:
        kept.append(int(left[0]))
        left = left[1:][overlaps(corners[left[:1]], corners[left[1:]])[0] <= iou]
    return order[torch.tensor(kept, dtype=torch.int64)]


def require_nms() -> None:
    """Let `greedy` stand in for torchvision's suppression where its compiled operators cannot load."""
    from torchvision import extension

    try:
        torch.ops.torchvision.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5)
    except NotImplementedError:
        torch.library.impl("torchvision::nms", "cpu", greedy)
        extension._has_ops = lambda: True  # which its Python asks before each call
