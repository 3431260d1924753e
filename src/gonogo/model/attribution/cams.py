"""Maps of where a score reacts, from the activations and gradients of one layer of the backbone.

- Grad-CAM: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization"
  (ICCV): channels weighted by the mean of their gradient.
- Grad-CAM++: Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep
  Convolutional Networks" (WACV), equations 11 and 19: places weighted within each channel, gradients below 0 left out.
- HiResCAM: Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
  networks": gradient times activation at each place, no mean.

They were made for class scores of networks with a pooled head. Of a distance to a memory bank only the last one is
faithful; docs/attribution.md has what each finds of masked defects.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gonogo.detectors.anomaly_map import resize
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.errors import ConfigError
from gonogo.images.reading import require_pixels
from gonogo.model.inspector import Inspector

Method = Literal["hirescam", "gradcam", "gradcam++"]
DEFAULT: Method = "hirescam"


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """(gh, gw) of activations and gradients (c, gh, gw)."""
    weights = gradients.mean(dim=(1, 2), keepdim=True)
    return F.relu((weights * activations).sum(dim=0))


def gradcam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """(gh, gw) of activations and gradients (c, gh, gw), higher derivatives as powers, as of exp(score)."""
    squares, cubes = gradients.square(), gradients.pow(3)
    below = 2 * squares + activations.sum(dim=(1, 2), keepdim=True) * cubes
    shares = torch.where(below != 0, squares / torch.where(below != 0, below, 1.0), 0.0)
    weights = (shares * F.relu(gradients)).sum(dim=(1, 2), keepdim=True)
    return F.relu((weights * activations).sum(dim=0))


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    """(gh, gw) of activations and gradients (c, gh, gw)."""
    return F.relu((gradients * activations).sum(dim=0))


METHODS: dict[Method, Callable[[Tensor, Tensor], Tensor]] = {
    "hirescam": hirescam,
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
}


def cam(inspector: Inspector, pixels: np.ndarray, method: Method = DEFAULT) -> np.ndarray:
    """(h, w) float32, 0 or more: where the score of an image reacts; of tiles, within the one that decides.

    Args:
        pixels: (h, w, 3) uint8 RGB.

    Raises:
        ShapeError: another shape or dtype.
        ConfigError: the detector has no backbone of convolutions to look into.
        NotFittedError: before `fit`.
    """
    activations, gradients, place = layer_of(inspector, pixels)
    small = METHODS[method](activations, gradients)
    return _on_image(inspector, small, place, pixels.shape[0], pixels.shape[1])


def layer_of(inspector: Inspector, pixels: np.ndarray) -> tuple[Tensor, Tensor, int]:
    """Activations and gradients (c, gh, gw) of the finest layer that the detector reads, and the number of the tile.

    Raises the errors of `cam`.
    """
    require_pixels(pixels[None])
    detector, tiles = inspector.detector, inspector.tiles
    backbones = detector.backbones()
    if not backbones:
        raise ConfigError(
            "this detector has no backbone, so that there are no activations to look into; "
            "`gonogo explain` without --method tells what its score is made of"
        )
    seen, place = inspector.resized(torch.from_numpy(pixels)[None]), 0
    if tiles is not None:
        with torch.no_grad():
            place = max(range(len(tiles)), key=lambda number: float(detector(tiles.tile(seen, number))[0]))
        seen = tiles.tile(seen, place)
    kept: list[Tensor] = []

    def keep(_: Any, __: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()  # in place of the layer's own output, since what follows may change it in place

    handle = _finest(backbones[0]).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            score, _ = detector(seen)
            (gradients,) = torch.autograd.grad(score.sum(), kept[0])
    finally:
        handle.remove()
    if kept[0].ndim != 4:
        raise ConfigError(f"{backbones[0].name} gives tokens, not maps; these methods need a network of convolutions")
    return kept[0][0].detach(), torch.nan_to_num(gradients[0]), place


def _finest(backbone: Backbone) -> torch.nn.Module:
    """The module that gives the first of the layers that the detector reads."""
    name = backbone.model.feature_info[min(backbone.layers)].get("module")
    if not name:
        raise ConfigError(f"timm does not say which module of {backbone.name} gives its layers")
    found: torch.nn.Module = backbone.model.get_submodule(name)
    return found


def _on_image(inspector: Inspector, small: Tensor, place: int, height: int, width: int) -> np.ndarray:
    tiles = inspector.tiles
    if tiles is None:
        return resize(small[None, None], height, width)[0, 0].numpy()
    rows, columns = divmod(place, len(tiles.columns))
    canvas = torch.zeros(1, 1, *inspector.input_size)
    of_tile = resize(small[None, None], *tiles.image_size)
    top, left = tiles.row_starts[rows], tiles.column_starts[columns]
    inside = canvas[:, :, top : top + tiles.image_size.height, left : left + tiles.image_size.width]
    inside.copy_(of_tile[:, :, : inside.shape[2], : inside.shape[3]])  # the last tiles reach beyond the canvas
    return resize(canvas, height, width)[0, 0].numpy()


def mass_over_chance(found: np.ndarray, mask: np.ndarray) -> float:
    """How many times as much of a map (h, w) lies in a mask (h, w) bool as if it were spread evenly; 0 of an empty map.

    Source: Wang et al. 2020, "Score-CAM" (CVPR workshops), the energy-based pointing game, over the mask's own share.
    """
    total = float(found.sum(dtype=np.float64))
    return float(found[mask].sum(dtype=np.float64)) / total / float(mask.mean()) if total > 0 else 0.0


def points_at(found: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the highest value of a map (h, w) lies in a mask (h, w) bool; an empty map points nowhere.

    Source: Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop" (ECCV), the pointing game.
    """
    return bool(found.max() > 0 and mask.flat[int(found.argmax())])
