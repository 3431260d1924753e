"""SuperSimpleNet: two small heads learn to see noise that was added to the features of good images.

Source: Rolih, Fučka and Skočaj 2024, "SuperSimpleNet: Unifying Unsupervised and Supervised Learning for Fast and
Reliable Surface Defect Detection" (ICPR), the unsupervised setting; the authors' code is blaz-r/SuperSimpleNet.
Deviations, most of them so that two CPU cores train it in minutes: the backbone is any of timm's, by default a small
one, not WideResNet-50; features keep the finest layer's grid unless `upscale` says otherwise, and are upscaled by
half-pixel centres, as everywhere here, not by corners; fewer and smaller steps than 300 epochs in batches of 32.
Each channel is brought to mean 0 and standard deviation 1 over the training images, so that `noise_std` means the same
for any backbone; the authors add 0.015 to what WideResNet-50 gives. Perlin noise is sampled on the features' grid, not
resized from a power of 2. A share of the fit images is held out, and the epoch with the lowest loss on them is kept;
the authors keep the last. Score and map are the heads' logits made positive, before the map is smoothed. An image's
score is by default its most anomalous patch's, as in SimpleNet (Liu et al. 2023, CVPR), from which this method comes:
with few fit images the classification head is the weaker of the two (docs/detectors.md); it is trained all the same.
"""

import math
import time
from collections.abc import Collection
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gonogo.detectors.anomaly_map import image_score, positive, resize
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.backbones.weights import weights_fact
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import SuperSimpleNetOptions
from gonogo.detectors.training.forecast import MB, Forecast, probe_images
from gonogo.detectors.training.training import Schedule, Training, hold_out
from gonogo.errors import ConfigError

TRUNCATION = 0.5  # logits beyond it on the right side cost no L1
FOCAL_GAMMA = 4
HIDDEN = 1024  # channels of the segmentation head
MAX_SCALE = 5  # Perlin noise has at most 2^5 cells along a side


class SuperSimpleNet(Detector):
    """Score: the largest logit l of a patch, as 1 + l where l > 0 and 1 / (1 - l) elsewhere; map: of each patch.

    With `image_score: head`, the classification head's logit takes the place of the largest one.

    So 1 is the heads' own boundary between good and anomalous. The order of the logits is kept at both ends, where a
    probability in single precision would be 1 for all of them.
    """

    scale_: Tensor
    mean_: Tensor
    best_epoch_: Tensor

    def __init__(self, options: SuperSimpleNetOptions) -> None:
        """Build the architecture; `fit` loads the backbone's weights and trains the rest, a saved model brings both."""
        super().__init__()
        self.options: SuperSimpleNetOptions = options
        self.smoothing = options.smoothing
        self.learning_rates = {"adaptor": options.adaptor_lr, "head": options.head_lr}
        self.schedule = Schedule(options.epochs, options.patience, options.checkpoint_every)
        self.backbone = Backbone(options.backbone, options.layers, self.image_size)
        with torch.inference_mode():
            black = torch.zeros(1, 3, *self.image_size)
            self.n_channels = sum(layer.shape[1] for layer in self.backbone(black))
        self.heads = _make_heads(self.n_channels, seed=0)
        self._clear_learned()

    def _clear_learned(self) -> None:
        for name in ("mean_", "scale_", "best_epoch_"):
            self.register_buffer(name, None)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        self._clear_learned()  # a fit that is interrupted leaves a detector that is not fitted, not the earlier fit
        self.load_weights()
        cache = self._features_of(batches, context)
        chosen, held_out = hold_out(len(cache[0]) if cache else 0, self.options.held_out_share, seed=seed)
        mean, scale = _moments(cache, chosen)

        def features(positions: Tensor) -> Tensor:
            return self._upscaled([layer[positions].float() for layer in cache], mean, scale)

        self.heads = _make_heads(self.n_channels, seed=seed).to(mean.device).requires_grad_(True)
        optimizer = torch.optim.AdamW(
            [
                {"params": list(self.heads.adaptor.parameters()), "weight_decay": 1e-2},
                {"params": list(self.heads.segmentation.parameters()), "weight_decay": 1e-5},
                {"params": list(self.heads.classification.parameters()), "weight_decay": 1e-5},
            ]
        )
        training = Training(self.heads, optimizer, torch.Generator().manual_seed(seed))

        def epoch(number: int) -> dict[str, float]:
            self.heads.train()
            share_done = number / self.schedule.epochs
            rate = 0.4 ** ((share_done >= 0.8) + (share_done >= 0.9))
            for group, name in zip(optimizer.param_groups, ("adaptor", "head", "head"), strict=True):
                group["lr"] = rate * self.learning_rates[name]
            drawn = chosen[torch.randperm(len(chosen), generator=training.generator)[: self.options.epoch_size]]
            total = 0.0
            for positions in torch.split(drawn, self.options.batch_size):
                loss = self._loss(features(positions), training.generator)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.item() * len(positions)
            return {"loss": total / len(drawn)}

        @torch.inference_mode()
        def held_out_loss() -> float:
            self.heads.eval()
            same_every_time = torch.Generator().manual_seed(seed)
            total = 0.0
            for positions in torch.split(held_out, self.options.batch_size):
                total += self._loss(features(positions), same_every_time).item() * len(positions)
            return total / len(held_out)

        training.run(epoch, held_out_loss, self.schedule, checkpoints=context.checkpoints, progress=context.progress)
        self.heads.eval().requires_grad_(False)
        self.set_learned(mean_=mean, scale_=scale, best_epoch_=torch.tensor(training.best_epoch))
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        probe = probe_images(
            batches, lambda batch: torch.cat([layer.flatten(1) for layer in self.backbone(batch)], dim=1)
        )
        n_images, device = probe.n_batches * probe.shape[0], next(self.heads.parameters()).device
        with torch.inference_mode():
            grid = self.backbone(torch.zeros(1, 3, *self.image_size, device=device))[0].shape[-2:]
            height, width = (self.options.upscale * length for length in grid)
            features = torch.zeros(2 * self.options.batch_size, self.n_channels, height, width, device=device)
            start = time.perf_counter()
            self.heads.logits(self.heads.adaptor(features))
            step = 3 * (time.perf_counter() - start)  # forward and backward
        n_steps = (
            min(n_images, self.options.epoch_size) + self.options.held_out_share * n_images
        ) / self.options.batch_size
        seconds = probe.all_seconds + self.schedule.epochs * n_steps * step
        training = 2 * self.options.batch_size * height * width * 4 * (6 * HIDDEN + 8 * self.n_channels)
        cache = 2 * n_images * probe.shape[1]
        how = f"the features of {n_images:,} images in half precision, at most {self.schedule.epochs} epochs"
        return Forecast(cache + training + 24 * n_images * height * width, seconds, how)

    @torch.inference_mode()
    def _features_of(self, batches: Collection[Tensor], context: FitContext) -> list[Tensor]:
        """The features of every fit image, for each layer (n, c, gh, gw) float16; training uses nothing else of them.

        Raises:
            ConfigError: they need more memory than the context leaves.
        """
        kept: list[Tensor] = []
        n_images = 0
        for number, batch in enumerate(batches, start=1):
            layers = self.backbone(batch)
            if number == 1:
                need = len(batches) * sum(layer.numel() for layer in layers) * 2
                if context.room is not None and need > context.room:
                    raise ConfigError(
                        f"fit.memory_budget_mb leaves {context.room / MB:,.1f} MB; the features of {len(batches)} fit "
                        f"images need {need / MB:,.1f} MB. Give it more, or take fewer images, a smaller "
                        "fit.image_size or a smaller backbone"
                    )
                kept = [layer.new_empty(len(batches) * len(layer), *layer.shape[1:]).half() for layer in layers]
            for cache, layer in zip(kept, layers, strict=True):
                cache[n_images : n_images + len(batch)] = layer
            n_images += len(batch)
            context.progress("features", number, len(batches), {})
        return [cache[:n_images] for cache in kept]

    def _upscaled(self, layers: list[Tensor], mean: Tensor, scale: Tensor) -> Tensor:
        """(n, d, gh, gw) of the layers' (n, c, h, w): standardised, on one finer grid, each averaged over 3 x 3."""
        height, width = (self.options.upscale * length for length in layers[0].shape[-2:])
        fine, start = [], 0
        for layer in layers:
            channels = slice(start, start + layer.shape[1])
            start += layer.shape[1]
            standard = (layer - mean[channels, None, None]) / scale[channels, None, None]
            fine.append(resize(standard, height, width))
        return F.avg_pool2d(torch.cat(fine, dim=1), 3, stride=1, padding=1)

    def _loss(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Truncated L1 and focal loss of the map, focal loss of the score, on good features with noise planted."""
        adapted = self.heads.adaptor(features)
        adapted = torch.cat([adapted, adapted])
        masks = anomaly_masks(len(adapted), adapted.shape[-2:], self.options.perlin_threshold, generator).to(
            adapted.device
        )
        noise = self.options.noise_std * torch.randn(adapted.shape, generator=generator).to(adapted.device)
        score, grid = self.heads.logits(adapted + noise * masks[:, None])
        return truncated_l1(grid, masks) + focal_loss(grid, masks) + focal_loss(score, masks.flatten(1).amax(dim=1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        features = self._upscaled(self.backbone(pixels), self.mean_, self.scale_)
        score, grid = self.heads.logits(self.heads.adaptor(features))
        if self.options.image_score == "head" and self.options.top_share is None:
            return positive(score), positive(grid)
        grid = positive(grid)
        return image_score(grid, self.options.top_share), grid

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return {
            "weights": weights_fact(self.options.weights),
            "best_epoch": int(self.best_epoch_),
        }


class _Heads(nn.Module):
    """The trained part: the adaptor, the segmentation head and the classification head of figure 2."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.adaptor = nn.Conv2d(n_channels, n_channels, 1)
        self.segmentation = nn.Sequential(
            nn.Conv2d(n_channels, HIDDEN, 1),
            nn.BatchNorm2d(HIDDEN),
            nn.LeakyReLU(0.2),
            nn.Conv2d(HIDDEN, 1, 1, bias=False),
        )
        self.classification = nn.ModuleDict(
            {
                "patches": nn.Sequential(nn.Conv2d(n_channels + 1, 128, 5, padding=2), nn.BatchNorm2d(128), nn.ReLU()),
                "image": nn.Linear(2 * 128 + 2, 1),
            }
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_normal_(module.weight)

    def logits(self, adapted: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the image (n,) and of its patches (n, gh, gw), from adapted features (n, d, gh, gw)."""
        grid = self.segmentation(adapted)  # (n, 1, gh, gw)
        seen = grid.detach()  # the classification head does not train the segmentation head
        patches = self.classification["patches"](torch.cat([adapted, seen], dim=1))  # (n, 128, gh, gw)
        pooled = [patches.amax(dim=(2, 3)), patches.mean(dim=(2, 3)), seen.amax(dim=(2, 3)), seen.mean(dim=(2, 3))]
        score: Tensor = self.classification["image"](torch.cat(pooled, dim=1))
        return score[:, 0], grid[:, 0]


def _make_heads(n_channels: int, *, seed: int) -> _Heads:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Heads(n_channels).eval().requires_grad_(False)


def _moments(layers: list[Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, (d,) float32, of chosen ones of layers' (n, c, h, w); never 0."""
    means, stds = [], []
    for layer in layers:
        for channel in layer.unbind(dim=1):  # one at a time: more would be another copy of the cache
            values = channel[chosen].flatten().double()
            means.append(values.mean())
            stds.append(values.std(correction=0))
    scale = torch.stack(stds).float()
    return torch.stack(means).float(), torch.where(scale > 0, scale, 1.0)


def truncated_l1(logits: Tensor, targets: Tensor) -> Tensor:
    """The sum of two means: how far good patches are above -0.5, and how far anomalous ones are below 0.5."""
    good = targets == 0
    total = torch.zeros(())
    for wrong in ((logits + TRUNCATION)[good], (TRUNCATION - logits)[~good]):
        if len(wrong):
            total = total + wrong.clamp(min=0).mean()
    return total


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of (1 - p)^4 times the cross entropy, p the probability of the true class.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection" (ICCV), without the class weight.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return ((1 - (-entropy).exp()) ** FOCAL_GAMMA * entropy).mean()


def anomaly_masks(n_masks: int, size: torch.Size, threshold: float, generator: torch.Generator) -> Tensor:
    """(n, gh, gw) float32, 1 where an anomaly is planted: thresholded Perlin noise; about half of them are empty."""
    masks = torch.zeros(n_masks, *size)
    for mask in masks:
        rows, columns = (_cells(length, generator) for length in size)
        noise = perlin_noise((size[0], size[1]), rows, columns, generator)
        if torch.rand((), generator=generator) <= 0.5:
            mask[:] = noise > threshold
    return masks


def _cells(length: int, generator: torch.Generator) -> int:
    """A power of two, as likely as any other; at most half the length, since the noise is 0 at a cell's corners."""
    largest = max(0, min(MAX_SCALE, int(math.log2(length)) - 1))
    return int(2 ** torch.randint(largest + 1, (), generator=generator))


def perlin_noise(size: tuple[int, int], rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """(height, width) of smooth noise, in about [-1, 1], with `rows` x `columns` cells.

    Source: Perlin 2002, "Improving Noise"; the fifth-degree fade.
    """
    angle = 2 * math.pi * torch.rand(rows + 1, columns + 1, generator=generator)
    down, right = angle.cos(), angle.sin()  # the gradient at each corner
    y, x = (torch.arange(length) * cells / length for length, cells in zip(size, (rows, columns), strict=True))
    row, column = y.long(), x.long()
    y, x = y - row, x - column  # (height,), (width,): position in the cell, in [0, 1)

    def corner(below: int, beside: int) -> Tensor:
        at = (row[:, None] + below, column + beside)
        return down[at] * (y[:, None] - below) + right[at] * (x - beside)

    fade_y, fade_x = (6 * t**5 - 15 * t**4 + 10 * t**3 for t in (y[:, None], x))
    top, bottom = (torch.lerp(corner(i, 0), corner(i, 1), fade_x) for i in (0, 1))
    return math.sqrt(2) * torch.lerp(top, bottom, fade_y)
