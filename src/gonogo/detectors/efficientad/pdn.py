"""Patch description networks: four or six convolutions that describe every 33 x 33 pixel patch of an image.

Source: Batzner, Heckler and König 2024, "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies"
(WACV), figure 2 and the appendix's tables of layers; the networks of its teachers and students. "tiny" is ours: PDN-S
with a quarter of its hidden channels, for machines without a GPU; it takes a fifth of the time.
"""

import io
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from gonogo.detectors.backbones.backbone import verified
from gonogo.detectors.options import PDNSize
from gonogo.errors import WeightsError

N_CHANNELS = 384  # of a teacher; a student has as many again for the autoencoder's output
MARGIN = 4  # cells that the grid lacks at each side, compared with one cell per 4 pixels, without padding


class ImageNetScale(nn.Module):
    """Pixels in [0, 255] to mean 0 and standard deviation 1 of each channel of ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            scale = torch.tensor([255 * value for value in values]).view(3, 1, 1)
            self.register_buffer(name, scale, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std


class PDN(nn.Module):
    """PDN-S or PDN-M: (n, 3, h, w) pixels in [0, 255] to (n, d, h/4 - 8, w/4 - 8), or (n, d, h/4, w/4) with padding."""

    def __init__(self, size: PDNSize, n_channels: int, *, seed: int, padding: bool = False) -> None:
        """Make one with random weights.

        Args:
            size: "small" is the paper's PDN-S, "medium" its PDN-M, "tiny" a narrower PDN-S.
            n_channels: of the output.
            seed: of the weights; the same seed, the same weights.
            padding: zeros around each layer's input, as for distillation; EfficientAD itself goes without.
        """
        super().__init__()
        self.size = size
        self.scale = ImageNetScale()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(*_layers(size, n_channels, int(padding)))

    def forward(self, pixels: Tensor) -> Tensor:
        described: Tensor = self.net(self.scale(pixels))
        return described

    def load(self, path: Path, sha256: str | None, *, option: str) -> None:
        """Take over the weights in a file.

        Args:
            path: a state dict, .safetensors or one that `torch.load` reads with `weights_only`, under the names of
                nelson1425/EfficientAD ("0.weight"), which are ours too, or of anomalib ("conv1.weight").
            sha256: of the file; required.
            option: what the user sets to name such a file, for the message; `option`_sha256 names its hash.

        Raises:
            WeightsError: the file is missing, not the one of that hash, or holds other weights.
        """
        data = verified(path, sha256, option=option, expected="'random' or the path of a file")
        convolutions = [name for name, module in self.net.named_children() if isinstance(module, nn.Conv2d)]
        ours = {f"conv{number}": name for number, name in enumerate(convolutions, start=1)}
        state = {}
        for key, tensor in _state_dict(data, path).items():
            module, _, leaf = key.rpartition(".")
            state[f"{ours.get(module, module)}.{leaf}"] = tensor
        try:
            self.net.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise WeightsError(
                f"{path} does not hold the weights of a {self.size} patch description network; is it one of another "
                f"fit.size? ({error})"
            ) from error


@torch.no_grad()
def channel_moments(features: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over (n, d, h, w) features, (d, 1, 1) float32; 1 for a constant one.

    Summed in double precision as the features come, so that they need not be kept.
    """
    sums: list[Tensor] = []
    for each in features:
        each = each.double()
        count = torch.tensor(each[:, 0].numel(), device=each.device)
        now = [count, each.sum(dim=(0, 2, 3)), each.square().sum(dim=(0, 2, 3))]
        sums = [one + other for one, other in zip(sums, now, strict=True)] if sums else now
    count, total, squares = sums
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().float()
    return mean.float()[:, None, None], torch.where(std > 0, std, 1.0)[:, None, None]


def _layers(size: PDNSize, n_channels: int, pad: int) -> list[nn.Module]:
    def pooled(n_in: int, n_out: int) -> list[nn.Module]:
        return [nn.Conv2d(n_in, n_out, 4, padding=3 * pad), nn.ReLU(), nn.AvgPool2d(2, 2, padding=pad)]

    if size != "medium":
        first, second = (128, 256) if size == "small" else (32, 64)
        return [
            *pooled(3, first),
            *pooled(first, second),
            *(nn.Conv2d(second, second, 3, padding=pad), nn.ReLU()),
            nn.Conv2d(second, n_channels, 4),
        ]
    return [
        *pooled(3, 256),
        *pooled(256, 512),
        *(nn.Conv2d(512, 512, 1), nn.ReLU()),
        *(nn.Conv2d(512, 512, 3, padding=pad), nn.ReLU()),
        *(nn.Conv2d(512, n_channels, 4), nn.ReLU()),
        nn.Conv2d(n_channels, n_channels, 1),
    ]


def _state_dict(data: bytes, path: Path) -> Mapping[str, Tensor]:
    try:
        state: Any = (
            load(data)
            if path.suffix == ".safetensors"
            else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(f"{path} cannot be read as a state dict: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsError(f"{path}: expected a state dict, names with tensors, got {type(state).__name__}")
    return state
