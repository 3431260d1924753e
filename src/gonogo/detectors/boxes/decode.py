"""From heat and boxes of every cell to the boxes of an image: peaks, the best of them, and none twice."""

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 12  # of the suppression; a chain of so many boxes that hide each other in turn has not been seen


def decoded(heat: Tensor, boxes: Tensor, *, most: int, iou: float) -> tuple[Tensor, Tensor, Tensor]:
    """The `most` best peaks of each image, the best first: boxes (n, k, 4), scores (n, k), classes (n, k) int64.

    A box that overlaps a better one of its class by more than `iou` keeps its place with the score 0. The number of
    boxes is the same for every image, so that a graph of fixed shapes does it, for any batch.

    Args:
        heat: (n, c, gh, gw), above 0.
        boxes: (n, 4, gh, gw) in pixels.
        most: k, or the number of all cells where it is smaller.
        iou: as above.
    """
    n_classes, cells = heat.shape[1], heat.shape[2] * heat.shape[3]
    peaks = torch.where(heat == F.max_pool2d(heat, 3, stride=1, padding=1), heat, 0.0)
    scores, places = peaks.flatten(1).topk(min(most, n_classes * cells), dim=1)
    classes, places = places // cells, places % cells
    corners = boxes.flatten(2).transpose(1, 2)  # (n, cells, 4)
    corners = corners.gather(1, places[..., None].expand(-1, -1, 4))
    return corners, torch.where(kept(corners, scores, classes, iou), scores, 0.0), classes


def kept(corners: Tensor, scores: Tensor, classes: Tensor, iou: float) -> Tensor:
    """(n, k) bool: not hidden by a better box that is kept. The fixed point of this rule is what greedy search gives.

    Boxes are (n, k, 4), scores (n, k) and descending, classes (n, k).

    Each round settles at least the next box of every chain, so that all but very long chains come out as by greedy
    search, without a loop that depends on the values.
    """
    low = torch.maximum(corners[:, :, None, :2], corners[:, None, :, :2])
    high = torch.minimum(corners[:, :, None, 2:], corners[:, None, :, 2:])
    inside = (high - low).clamp(min=0).prod(dim=3)  # (n, k, k)
    areas = (corners[..., 2:] - corners[..., :2]).prod(dim=2)
    union = areas[:, :, None] + areas[:, None] - inside
    number = torch.arange(scores.shape[1], device=scores.device)
    better = number[None, :] < number[:, None]  # (k, k): column before row
    hides = (inside > iou * union) & (classes[:, :, None] == classes[:, None]) & better
    hiding = hides.float()
    stays = torch.ones_like(scores)
    for _ in range(ROUNDS):
        stays = ((hiding * stays[:, None, :]).sum(dim=2) == 0).float()
    return (stays > 0) & (scores > 0)
