"""Distil a teacher for EfficientAD: a small network learns to give the features of a large one.

Source: Batzner, Heckler and König 2024, "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies"
(WACV), the appendix's algorithm of distillation; nelson1425/EfficientAD for details that are not in the paper.
Deviations: the features are those of any backbone of timm, not of WideResNet-101 alone, and the images those of any
folder, not of ImageNet alone. Each layer is averaged over 3 x 3 patches before its channels are pooled, not together
with them. Of more layers or another stride than the paper's, the features are brought to the network's grid. Up to 64
images, at most a tenth of all, are held out to measure how well the features of unseen images are reproduced.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from gonogo.compute.progress import Progress, no_progress
from gonogo.compute.read_ahead import read_ahead
from gonogo.compute.versions import versions
from gonogo.detectors.anomaly_map import resize
from gonogo.detectors.backbones.patch_features import PatchFeatures
from gonogo.detectors.backbones.weights import LITE0
from gonogo.detectors.efficientad.pdn import N_CHANNELS, PDN, channel_moments
from gonogo.detectors.options import PDNSize
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.image_folder import ImageFolder, in_grey
from gonogo.detectors.training.training import Schedule, Training, hold_out, shuffled_passes
from gonogo.errors import DataError
from gonogo.files import code_fingerprint, sha256_of
from gonogo.images.size import ImageSize, Size

PER_LAYER = 1024  # channels that each layer is pooled to, before all are pooled to the teacher's
GREY_SHARE = 0.1  # of the images are shown without colour
MOMENT_IMAGES = 10_000  # the features' mean and standard deviation are taken over at most so many
MAX_HELD_OUT = 64
LR, WEIGHT_DECAY = 1e-4, 1e-5


@dataclass(frozen=True)
class Distillation:
    """All that a distilled teacher depends on, beside the images."""

    backbone: str = LITE0  # `layers`, `weights` and `weights_sha256` as in `Backbone`
    layers: tuple[int, ...] = (2, 3)
    weights: str = "pretrained"
    weights_sha256: str | None = None
    size: PDNSize = "small"
    image_size: Size = 256  # pixels that the small network sees
    backbone_size: Size = 512  # pixels that the backbone sees, of the same image
    steps: int = 60_000
    batch_size: int = 16
    epoch_steps: int = 200  # between two checkpoints
    seed: int = 17


class BackboneFeatures(nn.Module):
    """The target of the distillation: a backbone's patch features as 384 channels.

    Each layer's channels are brought to 1,024 by adaptive average pooling and those of all layers to 384, as
    PatchCore's authors do: each layer has the same share, and channels are mixed with their neighbours alone.
    """

    def __init__(self, wanted: Distillation) -> None:
        """Load the backbone's weights.

        Raises:
            ConfigError: timm has no such backbone or layers. WeightsError: the weights cannot be had.
        """
        super().__init__()
        self.patch_features = PatchFeatures(wanted.backbone, wanted.layers, wanted.backbone_size)
        self.patch_features.backbone.load(wanted.weights, wanted.weights_sha256)
        with torch.inference_mode():
            layers = self.patch_features.backbone(torch.zeros(1, 3, *ImageSize.of(wanted.backbone_size)))
        self.widths = [layer.shape[1] for layer in layers]

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 384, gh, gw) of pixels (n, 3, h, w) in [0, 255]."""
        features: Tensor = self.patch_features(pixels)  # (n, gh, gw, d)
        n, height, width, _ = features.shape
        rows = torch.split(features.flatten(1, 2), self.widths, dim=2)
        same = torch.cat([F.adaptive_avg_pool1d(layer, PER_LAYER) for layer in rows], dim=2)
        return F.adaptive_avg_pool1d(same, N_CHANNELS).transpose(1, 2).reshape(n, N_CHANNELS, height, width)


class _Distilled(nn.Module):
    """The content of a checkpoint: the network, and the scale of the features that it learns."""

    mean: Tensor
    std: Tensor

    def __init__(self, wanted: Distillation) -> None:
        super().__init__()
        self.pdn = PDN(wanted.size, N_CHANNELS, seed=wanted.seed, padding=True)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.ones(N_CHANNELS, 1, 1))


def distil(
    images: ImageFolder,
    wanted: Distillation,
    *,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
    progress: Progress = no_progress,
) -> PDN:
    """A network on `device` that gives the backbone's features, each channel with mean 0 and standard deviation 1.

    Interrupted and called again with the same `checkpoints`, it resumes and gives the same network.

    Raises:
        ConfigError: timm has no such backbone or layers.
        WeightsError: the backbone's weights cannot be had.
        DataError: there are fewer than two images, or one cannot be read.
    """
    if len(images) < 2:
        raise DataError(f"{images.folder} has {len(images)} image; distilling needs two, one of them held out")
    target_of = BackboneFeatures(wanted).to(device)
    distilled = _Distilled(wanted).to(device)
    pairs = _Pairs(images, wanted, device)
    chosen, held_out = hold_out(len(images), min(0.1, MAX_HELD_OUT / len(images)), seed=wanted.seed)
    optimizer = torch.optim.Adam(distilled.pdn.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    training = Training(distilled, optimizer, torch.Generator().manual_seed(wanted.seed))

    def loss_of(large: Tensor, small: Tensor) -> Tensor:
        given = distilled.pdn(small)
        with torch.no_grad():
            target = target_of(large)
            if target.shape[-2:] != given.shape[-2:]:
                target = resize(target, given.shape[-2], given.shape[-1])
            target = (target - distilled.mean) / distilled.std
        loss: Tensor = (target - given).square().mean()
        return loss

    def epoch(number: int) -> dict[str, float]:
        n_steps = min(wanted.epoch_steps, wanted.steps - number * wanted.epoch_steps)
        drawn = chosen[shuffled_passes(len(chosen), n_steps * wanted.batch_size, training.generator)]
        grey = torch.rand(len(drawn), generator=training.generator) < GREY_SHARE
        total = torch.zeros((), device=device)
        for large, small in pairs.batches(drawn, grey, wanted.batch_size):
            loss = loss_of(large, small)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
        return {"loss": total.item() / n_steps}

    @torch.inference_mode()
    def held_out_loss() -> float:
        batches = pairs.batches(held_out, torch.zeros(len(held_out)) > 0, wanted.batch_size)
        return sum(loss_of(large, small).item() * len(small) for large, small in batches) / len(held_out)

    if checkpoints is None or checkpoints.load() is None:  # else they are in the checkpoint
        shuffled = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(wanted.seed))]
        features = _features_of(shuffled[:MOMENT_IMAGES], pairs, target_of, progress)
        distilled.mean, distilled.std = channel_moments(features)
    schedule = Schedule(-(-wanted.steps // wanted.epoch_steps), patience=0, checkpoint_every=1, keep_last=True)
    training.run(epoch, held_out_loss, schedule, checkpoints=checkpoints, progress=progress)
    return distilled.pdn.eval().requires_grad_(False)


@dataclass(frozen=True)
class _Pairs:
    """Images at both of their sizes, the backbone's and the small network's."""

    images: ImageFolder
    wanted: Distillation
    device: torch.device

    def read(self, item: tuple[int, bool]) -> list[Tensor]:
        """Both (1, 3, h, w) in [0, 255] of the image at a position, without colour or with it."""
        position, is_grey = item
        pixels = self.images.read(position)
        pixels = in_grey(pixels) if is_grey else pixels
        return [resize(pixels, *ImageSize.of(size)) for size in (self.wanted.backbone_size, self.wanted.image_size)]

    def batches(self, positions: Tensor, grey: Tensor, n_batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Both (b, 3, h, w) of the images at `positions`, `n_batch` at a time; `grey` (n,) bool."""
        items = zip(positions.tolist(), grey.tolist(), strict=True)
        for several in _batches(read_ahead(self.read, items), n_batch):
            large, small = (torch.cat(each).to(self.device) for each in zip(*several, strict=True))
            yield large, small


def _features_of(positions: Tensor, pairs: _Pairs, target_of: BackboneFeatures, progress: Progress) -> Iterator[Tensor]:
    batches = pairs.batches(positions, torch.zeros(len(positions)) > 0, 1)
    for number, (large, _) in enumerate(batches, start=1):
        yield target_of(large)
        progress("features", number, len(positions), {})


def _batches(items: Iterable[list[Tensor]], n_batch: int) -> Iterator[list[list[Tensor]]]:
    batch: list[list[Tensor]] = []
    for item in items:
        batch.append(item)
        if len(batch) == n_batch:
            yield batch
            batch = []
    if batch:
        yield batch


def origin_of(images: ImageFolder, wanted: Distillation, device: torch.device) -> dict[str, Any]:
    """All that a distillation depends on: a checkpoint with another origin is not resumed."""
    return {
        "images": images.fingerprint(),
        "distillation": asdict(wanted),
        "device": str(device),
        "code": code_fingerprint(),
        "versions": versions("torch", "timm", "numpy", "pillow") | {"threads": torch.get_num_threads()},
    }


def save_teacher(pdn: PDN, path: Path, wanted: Distillation, n_images: int) -> str:
    """Write the network as a state dict that `PDN.load` reads, whole or not at all; returns the file's SHA-256.

    The options and the number of images stand in the file's metadata.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    state = {name: tensor.cpu().contiguous() for name, tensor in pdn.net.state_dict().items()}
    described = json.dumps(asdict(wanted) | {"n_images": n_images}, sort_keys=True)
    save_file(state, partial, metadata={"gonogo.model.distill": described})
    partial.replace(path)
    return sha256_of(path)
