"""Micro-finetuning: the last layers of a backbone learn to tell good images from the same with a piece moved.

Source: Li et al. 2021, "CutPaste: Self-Supervised Learning for Anomaly Detection and Localization" (CVPR), the 3-way
task: good, pasted patch, pasted scar; Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR), for
`method: low_rank`. Deviations: most of the backbone stays as it was, batch-norm's statistics included, where the
authors train all of it for 256 epochs; the head is one linear layer on the mean and the maximum of each channel of the
detector's own layers, standardised, where they have several on the mean of the last; Adam, not SGD with momentum; the
epoch with the lowest loss on good images held out is kept, where they keep the last; low-rank adapters go on
convolutions too, whose kernels are laid out flat, and are not scaled. The images'
deviations stand in `gonogo.detectors.training.cut_paste`.
"""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.backbones.backbone import Backbone, Facts
from gonogo.detectors.contract import Detector
from gonogo.detectors.options import DETECTOR_OPTIONS, BackboneOptions
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.cut_paste import paste_patch, paste_scar
from gonogo.detectors.training.training import HELD_OUT, Schedule, Training, hold_out
from gonogo.errors import ConfigError
from gonogo.model.fit_params import Finetune

KINDS = 3  # good, patch, scar
DEFAULT_RANK = 4
DEFAULT_LR = {"last_layers": 1e-3, "low_rank": 5e-3}
HELD_OUT_DRAWS = 16  # at least about so many patches, and scars, are pasted into the images held out


def finetune_backbone(
    detector: Detector,
    images: Sequence[Tensor],
    options: Finetune,
    *,
    seed: int,
    checkpoints: Checkpoints | None = None,
    progress: Progress = no_progress,
) -> None:
    """Load the weights of the detector's backbone and finetune it, before `Detector.fit` learns from its features.

    The backbone keeps the figures of the training as its `facts`. Args as those of `finetune`.

    Raises:
        ConfigError: the detector has no backbone.
    """
    if not detector.backbones():
        able = [name for name, kind in DETECTOR_OPTIONS.items() if issubclass(kind, BackboneOptions)]
        raise ConfigError(
            f"fit.finetune: expected a detector with a backbone, got {type(detector).__name__} without one; set it to "
            f"null for this category, or choose one of {', '.join(able)}, with fit.features: backbone where there is a "
            "choice"
        )
    detector.load_weights()
    (backbone,) = detector.backbones()
    backbone.facts = finetune(backbone, images, options, seed=seed, checkpoints=checkpoints, progress=progress)


@torch.enable_grad()
def finetune(
    backbone: Backbone,
    images: Sequence[Tensor],
    options: Finetune,
    *,
    seed: int,
    checkpoints: Checkpoints | None = None,
    progress: Progress = no_progress,
) -> Facts:
    """Train the last layers of `backbone` in place, from the weights that it has; its architecture stays the same.

    Args:
        images: batches (b, 3, h, w) of good images in [0, 255], on the backbone's device; each is read when it is
            needed, so that memory does not grow with them.
        seed: of everything that is drawn.
        checkpoints: where an interrupted training resumes from; no other training may use them.
        progress: called after each epoch, with names that start with finetune_.

    Returns:
        Facts for the report: the method, how many numbers were trained, epochs, the best of them, and on the images
        held out its loss and the share of views that it classifies correctly, 1/3 by chance.

    Raises:
        ConfigError: low_rank, and none of the layers can take an adapter.
        DataError: there is no image to hold out.
    """
    chosen, held_out = hold_out(len(images), options.held_out_share, seed=seed)
    held_out = held_out[: options.epoch_size]
    draws = max(1, HELD_OUT_DRAWS // len(held_out))
    tuned = _Tuned(backbone, options, seed)
    tuned.standardise((images[int(position)] for position in chosen[: options.epoch_size]), seed)
    optimizer = torch.optim.Adam([{"params": tuned.weights.parameters()}, {"params": tuned.head.parameters()}])
    rates = (options.lr or DEFAULT_LR[options.method], options.head_lr)
    training = Training(tuned, optimizer, torch.Generator().manual_seed(seed))

    def epoch(number: int) -> dict[str, float]:
        falling = (1 + math.cos(math.pi * number / options.epochs)) / 2
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = falling * rate
        drawn = chosen[torch.randperm(len(chosen), generator=training.generator)[: options.epoch_size]]
        total = 0.0
        for positions in torch.split(drawn, options.batch_size):
            optimizer.zero_grad()
            for position in positions:  # one at a time: the gradients add up, and a CPU is faster so
                loss, _ = tuned.loss_of(images[int(position)], training.generator)
                (loss / len(positions)).backward()  # type: ignore[no-untyped-call]
                total += loss.item()
            optimizer.step()
        return {"loss": total / len(drawn)}

    @torch.no_grad()
    def held_out_figures() -> tuple[float, float]:
        """Loss and accuracy, on the same views every time."""
        same_every_time = torch.Generator().manual_seed(seed)
        figures = [
            tuned.loss_of(image, same_every_time)
            for image in (images[int(position)] for position in held_out)
            for _ in range(draws)
        ]
        losses, hits = zip(*figures, strict=True)
        return float(torch.stack(losses).mean()), float(torch.cat(hits).float().mean())

    def report(_: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
        progress("finetune", n_done, n_total, {f"finetune_{name}": value for name, value in values.items()})

    schedule = Schedule(options.epochs, options.patience, options.checkpoint_every)
    training.run(epoch, lambda: held_out_figures()[0], schedule, checkpoints=checkpoints, progress=report)
    _, accuracy = held_out_figures()
    with torch.no_grad():
        for name, weight in tuned.weights().items():
            backbone.get_parameter(name).copy_(weight)
    return {
        "finetune": options.method,
        "finetune_parameters": sum(parameter.numel() for parameter in tuned.weights.parameters()),
        "finetune_epochs": len(training.history),
        "finetune_best_epoch": training.best_epoch,
        f"finetune_{HELD_OUT}": training.history[training.best_epoch - 1][HELD_OUT],
        "finetune_held_out_accuracy": accuracy,
    }


class _Tuned(nn.Module):
    """The trained part: weights in place of some of the backbone's, and a head; the backbone itself does not change."""

    def __init__(self, backbone: Backbone, options: Finetune, seed: int) -> None:
        super().__init__()
        self._backbone = [backbone]  # in a list, so that it is no part of the state
        layers, n_channels = _last_layers(backbone, options.n_layers)
        self.weights: _Copies | _LowRank
        if options.method == "last_layers":
            self.weights = _Copies(backbone, layers)
        else:
            self.weights = _LowRank(backbone, layers, options.rank or DEFAULT_RANK, seed)
        self.head = nn.Linear(2 * n_channels, KINDS)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.mean, self.scale = torch.zeros(2 * n_channels), torch.ones(2 * n_channels)
        self.to(backbone.mean.device)

    @torch.no_grad()
    def standardise(self, batches: Iterable[Tensor], seed: int) -> None:
        """Bring each input of the head to mean 0 and standard deviation 1 over views of the images."""
        generator = torch.Generator().manual_seed(seed)
        rows = torch.cat([self._pooled(_views(batch, generator)) for batch in batches]).double()
        spread = rows.std(dim=0, correction=0).float()
        self.mean, self.scale = rows.mean(dim=0).float(), torch.where(spread > 0, spread, 1.0)

    def loss_of(self, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mean cross entropy over the views of a batch of good images, and which views are classified correctly."""
        logits = self.head((self._pooled(_views(batch, generator)) - self.mean) / self.scale)
        kinds = torch.arange(KINDS, device=logits.device).repeat(len(batch))
        return F.cross_entropy(logits, kinds), logits.argmax(dim=1) == kinds

    def _pooled(self, pixels: Tensor) -> Tensor:
        """(n, 2 * channels): the mean and the maximum of each channel of each layer."""
        maps = functional_call(self._backbone[0], self.weights(), (pixels,))
        means = [feature.mean(dim=(2, 3)) for feature in maps]
        return torch.cat(means + [feature.amax(dim=(2, 3)) for feature in maps], dim=1)


class _Copies(nn.Module):
    """Trained copies of all parameters of the layers, by their names in the backbone."""

    def __init__(self, backbone: Backbone, layers: Sequence[str]) -> None:
        super().__init__()
        self.names = [f"{layer}.{leaf}" for layer in layers for leaf, _ in _own_parameters(backbone, layer)]
        self.trained = nn.ParameterList([backbone.get_parameter(name).detach().clone() for name in self.names])

    def forward(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.trained, strict=True))


class _LowRank(nn.Module):
    """Weights of convolutions and linear layers with up @ down added, by their names; at first, nothing is added."""

    def __init__(self, backbone: Backbone, layers: Sequence[str], rank: int, seed: int) -> None:
        super().__init__()
        self.names = [f"{layer}.weight" for layer in layers if _takes_adapter(backbone.get_submodule(layer))]
        if not self.names:
            raise ConfigError(
                f"fit.finetune: none of the last layers of {backbone.name} is a linear layer or a convolution across "
                "channels, which low_rank needs; raise n_layers, or take method: last_layers"
            )
        self.frozen = [backbone.get_parameter(name) for name in self.names]
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        generator = torch.Generator().manual_seed(seed)
        for weight in self.frozen:
            n_out, n_in = weight.flatten(1).shape
            ranks = min(rank, n_out, n_in)
            self.down.append(torch.randn(ranks, n_in, generator=generator) / math.sqrt(n_in))
            self.up.append(torch.zeros(n_out, ranks))

    def forward(self) -> dict[str, Tensor]:
        parts = zip(self.names, self.frozen, self.up, self.down, strict=True)
        return {name: weight + (up @ down).view_as(weight) for name, weight, up, down in parts}


def _takes_adapter(layer: nn.Module) -> bool:
    """Whether a low rank saves anything: the kernels of a depthwise convolution are thin already."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def _views(batch: Tensor, generator: torch.Generator) -> Tensor:
    """(3 * b, 3, h, w): each image good, with a patch and with a scar, in turn."""
    views = [(image, paste_patch(image, generator), paste_scar(image, generator)) for image in batch]
    return torch.stack([view for three in views for view in three])


@torch.no_grad()
def _last_layers(backbone: Backbone, n_layers: int) -> tuple[list[str], int]:
    """Names of the last `n_layers` convolutions and linear layers and of what has parameters between and after them.

    In the order in which an image passes them. Beside it: how many channels all maps together have.
    """
    order: dict[str, None] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _module, _input, name=name: order.setdefault(name))
        for name, module in backbone.named_modules()
        if _own_parameters(backbone, name)
    ]
    maps = backbone(torch.zeros(1, 3, *backbone.image_size, device=backbone.mean.device))
    for hook in hooks:
        hook.remove()
    passed = list(order)
    weighty = [i for i, name in enumerate(passed) if isinstance(backbone.get_submodule(name), nn.Conv2d | nn.Linear)]
    return passed[weighty[-n_layers:][0] :], sum(feature.shape[1] for feature in maps)


def _own_parameters(backbone: Backbone, layer: str) -> list[tuple[str, nn.Parameter]]:
    return list(backbone.get_submodule(layer).named_parameters(recurse=False))
