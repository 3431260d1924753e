"""What `CentreBoxes` has behind its backbone: a way from coarse to fine, a head at the finest level, and its losses."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gonogo.detectors.backbones.backbone import Backbone
from gonogo.errors import ConfigError

LARGEST_LOG_SIZE = 8.0  # of a box, in strides: exp(8) of them are wider than any image
GREY = 127.0  # of the pixels beside a crop or an image
RARE = -4.0  # the heat map's logit before it has learned: a centre is in 2 of 100 cells


class BoxHead(nn.Module):
    """From a backbone's levels to the logits of a heat map of centres for each class, and a box for each cell."""

    def __init__(self, backbone: Backbone, n_classes: int, width: int, *, seed: int) -> None:
        """Make the layers behind a backbone.

        Args:
            backbone: its first layer is the finest and sets the grid.
            n_classes: of the heat map.
            width: channels of every level on the way from coarse to fine.
            seed: of the layers' first weights.

        Raises:
            ConfigError: the layers are not ordered from fine to coarse, each half as fine as the one before.
        """
        super().__init__()
        levels = [backbone.model.feature_info[layer] for layer in backbone.layers]
        strides = [int(level["reduction"]) for level in levels]
        if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
            raise ConfigError(
                f"fit.layers is {backbone.layers}, with the strides {strides} of {backbone.name}; boxes need levels "
                "from fine to coarse, each half as fine as the one before, such as strides 4, 8 and 16"
            )
        self.stride, self.coarsest = strides[0], strides[-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.lateral = nn.ModuleList(nn.Conv2d(int(level["num_chs"]), width, 1) for level in levels)
            self.smooth = nn.Sequential(_block(width), _block(width))
            self.heat = nn.Sequential(_block(width), nn.Conv2d(width, n_classes, 1))
            self.size = nn.Sequential(_block(width), nn.Conv2d(width, 4, 1))
        with torch.no_grad():
            for last, bias in ((self.heat[-1], RARE), (self.size[-1], 0.0)):
                assert isinstance(last, nn.Conv2d)
                assert last.bias is not None
                last.weight.mul_(0.1)
                last.bias.fill_(bias)

    def start_from_size(self, width: float, height: float) -> None:
        """Let every cell begin with a box of this size, in pixels."""
        last = self.size[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        with torch.no_grad():
            last.bias[2:] = torch.log(torch.tensor([width, height]) / self.stride)

    def padded(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) whose sides are filled up with grey to multiples of the coarsest stride."""
        height, width = pixels.shape[-2:]
        return F.pad(pixels, (0, -width % self.coarsest, 0, -height % self.coarsest), value=GREY)

    def forward(self, levels: Sequence[Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
        """Heat logits (n, c, gh, gw), and boxes (n, 4, gh, gw) in pixels.

        Args:
            levels: the backbone's features of `padded` pixels.
            height: of the pixels before that; the grid ends with them.
            width: likewise.
        """
        merged = self.lateral[-1](levels[-1])
        for lateral, level in zip(list(self.lateral)[-2::-1], levels[-2::-1], strict=True):
            merged = lateral(level) + F.interpolate(merged, scale_factor=2.0, mode="nearest")
        merged = self.smooth(merged)
        rows, columns = math.ceil(height / self.stride), math.ceil(width / self.stride)
        heat, raw = self.heat(merged)[..., :rows, :columns], self.size(merged)[..., :rows, :columns]
        return heat, self._boxes(raw)

    def _boxes(self, raw: Tensor) -> Tensor:
        """Boxes (n, 4, gh, gw) of offsets of the centre and logarithms of the size, both in strides."""
        rows = torch.arange(raw.shape[2], device=raw.device)[:, None]
        columns = torch.arange(raw.shape[3], device=raw.device)[None]
        x, y = (columns + 0.5 + raw[:, 0]) * self.stride, (rows + 0.5 + raw[:, 1]) * self.stride
        half_width, half_height = (raw[:, 2:].clamp(max=LARGEST_LOG_SIZE).exp() * (self.stride / 2)).unbind(dim=1)
        return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], dim=1)


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def trainable(backbone: Backbone) -> list[nn.Parameter]:
    """The weights of a backbone without its normalisations, now set to train."""
    frozen = {
        id(parameter)
        for part in backbone.modules()
        if isinstance(part, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm)
        for parameter in part.parameters()
    }
    weights = [parameter for parameter in backbone.parameters() if id(parameter) not in frozen]
    for parameter in weights:
        parameter.requires_grad_(True)
    return weights


def loss_of(heat: Tensor, boxes: Tensor, targets: Sequence["Targets"]) -> tuple[Tensor, Tensor]:
    """The focal loss of the heat map and the loss of the boxes, both per labelled box.

    Args:
        heat: logits (n, c, gh, gw).
        boxes: (n, 4, gh, gw) in pixels.
        targets: of each image.

    Source: Law and Deng 2018, "CornerNet" (ECCV), equation 1, for the heat map; Rezatofighi et al. 2019, "Generalized
        Intersection over Union" (CVPR), for boxes.
    """
    wanted, watched = (torch.stack([getattr(one, name) for one in targets]) for name in ("heat", "watched"))
    n_boxes = max(1, sum(one.n_boxes for one in targets))
    chance, log_chance, log_none = heat.sigmoid(), F.logsigmoid(heat), F.logsigmoid(-heat)
    centre = (wanted == 1).float()
    positive = (1 - chance) ** 2 * log_chance * centre
    negative = (1 - wanted) ** 4 * chance**2 * log_none * (1 - centre) * watched[:, None]
    focal = -(positive + negative).sum() / n_boxes
    total = boxes.sum() * 0.0
    weights = 0.0
    for found, one in zip(boxes, targets, strict=True):
        if len(one.cells):
            chosen = found.flatten(1)[:, one.cells].T  # (m, 4)
            total = total + ((1 - giou(chosen, one.boxes)) * one.weights).sum()
            weights += float(one.weights.sum())
    return focal, total / max(weights, 1.0)


def giou(ones: Tensor, others: Tensor) -> Tensor:
    """(m,) generalised intersection over union of m pairs of boxes (m, 4), from -1 to 1."""
    low, high = torch.maximum(ones[:, :2], others[:, :2]), torch.minimum(ones[:, 2:], others[:, 2:])
    inside = (high - low).clamp(min=0).prod(dim=1)
    union = (ones[:, 2:] - ones[:, :2]).prod(dim=1) + (others[:, 2:] - others[:, :2]).prod(dim=1) - inside
    around = (torch.maximum(ones[:, 2:], others[:, 2:]) - torch.minimum(ones[:, :2], others[:, :2])).prod(dim=1)
    return inside / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)


class Targets:
    """What the network should give for one crop."""

    def __init__(self, boxes: Tensor, classes: Tensor, n_classes: int, rows: int, columns: int, stride: int) -> None:
        """Heat of 1 in the cell of each box's centre, falling off around it; the box is wanted near the centre.

        Args:
            boxes: (k, 4) in pixels of the crop. Those whose centre lies outside are not wanted, and their cells not
                watched: what is seen of them is neither a defect nor none.
            classes: (k,) int64.
            n_classes: of the heat map.
            rows: of the grid.
            columns: of the grid.
            stride: pixels of a cell.
        """
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        limits = torch.tensor([columns * stride, rows * stride])
        inside = ((centres >= 0) & (centres < limits)).all(dim=1)
        self.watched = torch.ones(rows, columns)
        for x0, y0, x1, y1 in (boxes[~inside] / stride).tolist():
            self.watched[max(0, math.floor(y0)) : math.ceil(y1), max(0, math.floor(x0)) : math.ceil(x1)] = 0.0
        boxes, classes, centres = boxes[inside], classes[inside], centres[inside]
        self.n_boxes = len(boxes)
        self.heat = torch.zeros(n_classes, rows, columns)
        self.cells = torch.zeros(0, dtype=torch.int64)
        self.boxes, self.weights = torch.zeros(0, 4), torch.zeros(0)
        if not len(boxes):
            return
        cell = (centres / stride).floor()
        spread = ((boxes[:, 2:] - boxes[:, :2]) / (6 * stride)).clamp(min=0.4)
        x = torch.arange(columns) - cell[:, :1]  # (k, columns)
        y = torch.arange(rows) - cell[:, 1:]  # (k, rows)
        along_x = torch.exp(-0.5 * (x / spread[:, :1]) ** 2)
        along_y = torch.exp(-0.5 * (y / spread[:, 1:]) ** 2)
        near = along_y[:, :, None] * along_x[:, None, :]  # (k, rows, columns)
        for number in range(n_classes):
            if (classes == number).any():
                self.heat[number] = near[classes == number].amax(dim=0)
        closeness, owner = near.flatten(1).max(dim=0)
        self.cells = torch.nonzero(closeness > 0.6)[:, 0]
        self.boxes, self.weights = boxes[owner[self.cells]], closeness[self.cells]
