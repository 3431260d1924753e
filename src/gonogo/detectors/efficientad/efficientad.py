"""EfficientAD: a student that fails to imitate its teacher, and an autoencoder that the student fails to imitate.

Source: Batzner, Heckler and König 2024, "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies"
(WACV), with the appendix's architectures and algorithms. The authors publish no code; details that are not in
the paper are those of nelson1425/EfficientAD, which reaches the paper's figures.
Deviations: without a folder of penalty images there is no penalty term, and the student may learn to imitate the
teacher on anything; nothing is downloaded. At least one image is held out for the quantiles, however few there are. At
another `image_size` than the paper's 256, the kernel of the encoder's last convolution and the decoder's sizes follow
it, so that the code stays one vector. The score is the largest value of the combined map where it was computed,
without the zeros that pad it; score and map are then made positive, which keeps their order. `patience` is ours.
"""

import itertools
import math
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gonogo.compute.read_ahead import read_ahead
from gonogo.detectors.anomaly_map import image_score, positive, resize
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.efficientad.autoencoder import Autoencoder
from gonogo.detectors.efficientad.pdn import MARGIN, N_CHANNELS, PDN, channel_moments
from gonogo.detectors.options import EfficientADOptions
from gonogo.detectors.training.forecast import MB, Forecast, probe_images
from gonogo.detectors.training.image_folder import ImageFolder, in_grey, luminance
from gonogo.detectors.training.training import Schedule, Training, hold_out, shuffled_passes
from gonogo.errors import ConfigError, DataError, WeightsError

P_HARD = 0.999  # the share of a difference's elements that are not mined
Q_A, Q_B = 0.9, 0.995  # quantiles of good maps that become 0 and 0.1
WEIGHT_DECAY = 1e-5
WORK_BYTES = 60_000_000  # work space of convolutions on a CPU, for the forecast


class EfficientAD(Detector):
    """Map: half of each of two squared differences, scaled so that good images' 90 % is 0 and their 99.5 % is 0.1.

    One is between teacher and student, the other between autoencoder and student. Score: the map's maximum. Both are
    given as 1 + v where v > 0, and 1 / (1 - v) elsewhere. The map's outermost 16 pixels have the value of 0.
    """

    channel_mean_: Tensor
    channel_std_: Tensor
    quantiles_: Tensor
    best_epoch_: Tensor
    n_penalty_images_: Tensor

    def __init__(self, options: EfficientADOptions) -> None:
        """Build the architecture; `fit` loads the teacher and trains the rest, a saved model brings them all."""
        super().__init__()
        self.options: EfficientADOptions = options
        self.smoothing = options.smoothing
        epochs = -(-options.steps // options.epoch_steps)
        self.schedule = Schedule(epochs, options.patience, options.checkpoint_every, keep_last=options.patience == 0)
        self.teacher = PDN(options.size, N_CHANNELS, seed=0)
        self._make_learners(seed=0)
        self.eval().requires_grad_(False)
        self._clear_learned()

    def _clear_learned(self) -> None:
        for name in ("channel_mean_", "channel_std_", "quantiles_", "best_epoch_", "n_penalty_images_"):
            self.register_buffer(name, None)

    def _make_learners(self, seed: int) -> None:
        device = self.teacher.scale.mean.device
        self.student = PDN(self.options.size, 2 * N_CHANNELS, seed=seed).to(device)
        self.autoencoder = Autoencoder(N_CHANNELS, self.image_size, seed=seed).to(device)

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        self._clear_learned()  # a fit that is interrupted leaves a detector that is not fitted, not the earlier fit
        penalty = self._penalty_images()
        self._load_teacher()
        images = self._images_of(batches, context)
        chosen, held_out = hold_out(len(images), self.options.held_out_share, seed=seed)
        self._make_learners(seed)
        mean, std = channel_moments(self.teacher(self._on_device(images, position)) for position in chosen.tolist())
        best_epoch = self._train(images, chosen, held_out, penalty, (mean, std), seed, context)
        self.eval().requires_grad_(False)
        self.set_learned(
            channel_mean_=mean,
            channel_std_=std,
            quantiles_=self._quantiles_of(images, held_out, (mean, std)),
            best_epoch_=torch.tensor(best_epoch),
            n_penalty_images_=torch.tensor(0 if penalty is None else len(penalty)),
        )
        return self

    def require_files(self) -> None:
        self._load_teacher()
        self._penalty_images()

    def _penalty_images(self) -> ImageFolder | None:
        if self.options.penalty_folder is None:
            return None
        return ImageFolder(Path(self.options.penalty_folder), option="fit.penalty_folder")

    def _load_teacher(self) -> None:
        if self.options.teacher is None:
            raise WeightsError(
                "fit.teacher is not set, and EfficientAD learns from a teacher. Set fit.teacher to the published "
                "pretrained_teacher_small.pth or _medium.pth (anomalib, release efficientad_pretrained_weights; or "
                "models/ of nelson1425/EfficientAD) and fit.teacher_sha256 to its SHA-256; or distil one from images "
                f"of yours with `gonogo distill FOLDER --size {self.options.size}`, which prints both; or set "
                "fit.teacher: random on purpose"
            )
        if self.options.teacher == "random":
            self.teacher = PDN(self.options.size, N_CHANNELS, seed=0).to(self.teacher.scale.mean.device)
        else:
            self.teacher.load(Path(self.options.teacher), self.options.teacher_sha256, option="fit.teacher")

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        probe = probe_images(batches, lambda batch: batch)
        n_images, n_shown = probe.n_batches * probe.shape[0], 2 if self.options.penalty_folder is None else 3
        with torch.inference_mode():
            image = torch.zeros(1, 3, *self.image_size, device=self.teacher.scale.mean.device)
            seconds = [_seconds(self.teacher, image), _seconds(self.student, image), _seconds(self.autoencoder, image)]
            held, x = 0, self.student.scale(image)
            for layer in self.student.net:
                x = layer(x)
                held += x.nbytes
        weights = 4 * sum(each.numel() for part in (self.student, self.autoencoder) for each in part.parameters())
        step = 2 * seconds[0] + 3 * (n_shown * seconds[1] + seconds[2])  # forward and backward
        held_out = self.schedule.epochs * self.options.held_out_share * n_images * (2 * sum(seconds[:2]) + seconds[2])
        return Forecast(
            4 * n_images * math.prod(probe.shape[1:]) + 5 * weights + 2 * n_shown * held + WORK_BYTES,
            probe.all_seconds + n_images * seconds[0] + self.options.steps * step + held_out,
            f"the pixels of {n_images:,} images, {self.options.steps:,} steps",
        )

    def _images_of(self, batches: Collection[Tensor], context: FitContext) -> Tensor:
        """(n, 3, h, w) on the CPU: all fit images.

        Raises:
            ConfigError: they need more than the memory that the budget leaves.
        """
        images = torch.empty(0, 3, *self.image_size)
        n_images = 0
        for number, batch in enumerate(batches, start=1):
            if number == 1:
                need = len(batches) * batch.nbytes
                if context.room is not None and need > context.room:
                    raise ConfigError(
                        f"fit.memory_budget_mb leaves {context.room / MB:,.1f} MB; the pixels of {len(batches)} fit "
                        f"images need {need / MB:,.1f} MB. Give it more, or take fewer images, a smaller "
                        "fit.image_size"
                    )
                images = torch.empty(len(batches) * len(batch), *batch.shape[1:])
            images[n_images : n_images + len(batch)] = batch
            n_images += len(batch)
            context.progress("images", number, len(batches), {})
        return images[:n_images]

    def _on_device(self, images: Tensor, position: int) -> Tensor:
        """(1, 3, h, w): one of the images, on the device of the networks."""
        return images[position : position + 1].to(self.teacher.scale.mean.device)

    def _train(
        self,
        images: Tensor,
        chosen: Tensor,
        held_out: Tensor,
        penalty: ImageFolder | None,
        moments: tuple[Tensor, Tensor],
        seed: int,
        context: FitContext,
    ) -> int:
        """Train student and autoencoder; returns the number of the epoch that is kept."""
        learners = nn.ModuleDict({"student": self.student, "autoencoder": self.autoencoder}).requires_grad_(True)
        optimizer = torch.optim.Adam(learners.parameters(), lr=self.options.lr, weight_decay=WEIGHT_DECAY)
        training = Training(learners, optimizer, torch.Generator().manual_seed(seed))

        def epoch(number: int) -> dict[str, float]:
            first = number * self.options.epoch_steps
            n_steps = min(self.options.epoch_steps, self.options.steps - first)
            drawn = chosen[shuffled_passes(len(chosen), n_steps, training.generator)]
            others = self._penalties(penalty, n_steps, training.generator)
            totals: dict[str, Tensor] = {}
            for step, (position, other) in enumerate(zip(drawn.tolist(), others, strict=True), start=first):
                for group in optimizer.param_groups:
                    group["lr"] = self.options.lr if step < int(0.95 * self.options.steps) else 0.1 * self.options.lr
                losses = self._losses(self._on_device(images, position), other, moments, training.generator)
                optimizer.zero_grad()
                torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                totals = {name: totals.get(name, 0) + loss.detach() for name, loss in losses.items()}
            return {name: total.item() / n_steps for name, total in totals.items()}

        @torch.inference_mode()
        def held_out_loss() -> float:
            each = (
                self._losses(self._on_device(images, position), None, moments, None) for position in held_out.tolist()
            )
            return sum(sum(loss.item() for loss in losses.values()) for losses in each) / len(held_out)

        checkpoints = context.checkpoints
        if checkpoints is not None and penalty is not None:
            checkpoints = checkpoints.with_origin(penalty_images=penalty.fingerprint())
        training.run(epoch, held_out_loss, self.schedule, checkpoints=checkpoints, progress=context.progress)
        return training.best_epoch

    def _penalties(
        self, folder: ImageFolder | None, n_steps: int, generator: torch.Generator
    ) -> Iterator[Tensor | None]:
        """One penalty image (1, 3, h, w) per step: the centre of twice its size, three in ten of them grey."""
        if folder is None:
            return itertools.repeat(None, n_steps)
        positions = shuffled_passes(len(folder), n_steps, generator).tolist()
        grey = (torch.rand(n_steps, generator=generator) < 0.3).tolist()
        height, width = self.image_size
        rows, columns = (slice(length // 2, length // 2 + length) for length in self.image_size)

        def read(wanted: tuple[int, bool]) -> Tensor:
            position, is_grey = wanted
            pixels = resize(folder.read(position), 2 * height, 2 * width)[..., rows, columns]
            return in_grey(pixels) if is_grey else pixels

        return read_ahead(read, zip(positions, grey, strict=True))

    def _losses(
        self, image: Tensor, other: Tensor | None, moments: tuple[Tensor, Tensor], generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """The terms of the paper's total loss on an image (1, 3, h, w).

        Args:
            image: a good one.
            other: a penalty image, if there are any.
            moments: mean and standard deviation of the teacher's channels.
            generator: draws the change of the autoencoder's input and its dropout; None: neither, for held-out images.
        """
        mean, std = moments
        changed = image if generator is None else jittered(image, generator)
        with torch.no_grad():
            target, changed_target = ((self.teacher(torch.cat([image, changed])) - mean) / std).chunk(2)
        silent = [] if other is None else [other.to(image.device)]
        imitated = self.student(torch.cat([image, changed, *silent]))
        rebuilt = self.autoencoder(changed, generator)
        losses = {"loss_hard": hard_feature_loss((target - imitated[:1, :N_CHANNELS]).square())}
        if silent:
            losses["loss_penalty"] = imitated[2:, :N_CHANNELS].square().mean()
        losses["loss_ae"] = (changed_target - rebuilt).square().mean()
        losses["loss_stae"] = (rebuilt - imitated[1:2, N_CHANNELS:]).square().mean()
        return losses

    @torch.inference_mode()
    def _quantiles_of(self, images: Tensor, held_out: Tensor, moments: tuple[Tensor, Tensor]) -> Tensor:
        """(2, 2): q_a and q_b of the student-teacher map, then of the autoencoder's.

        Raises:
            DataError: they do not differ.
        """
        pairs = [self._maps(self._on_device(images, position), *moments) for position in held_out.tolist()]
        maps = [torch.cat(each).cpu().numpy() for each in zip(*pairs, strict=True)]
        quantiles = np.array([np.quantile(each, [Q_A, Q_B]) for each in maps], dtype=np.float32)
        if not (quantiles[:, 1] > quantiles[:, 0]).all():
            raise DataError(
                f"on the held-out fit images, quantiles {Q_A} and {Q_B} of a map are the same ({quantiles.tolist()}), "
                "so that it has no scale; are these images uniform?"
            )
        return torch.from_numpy(quantiles).to(self.teacher.scale.mean.device)

    def _maps(self, pixels: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """The student-teacher map and the autoencoder's, (n, h/4 - 8, w/4 - 8) each, before their normalisation."""
        imitated = self.student(pixels)
        to_teacher = ((self.teacher(pixels) - mean) / std - imitated[:, :N_CHANNELS]).square().mean(dim=1)
        to_autoencoder = (self.autoencoder(pixels) - imitated[:, N_CHANNELS:]).square().mean(dim=1)
        return to_teacher, to_autoencoder

    def normalised_maps(self, pixels: Tensor) -> list[Tensor]:
        """The student-teacher map and the autoencoder's, as in `_maps`, with q_a brought to 0 and q_b to 0.1.

        Raises:
            NotFittedError: before `fit`.
        """
        self.require_fitted()
        maps = self._maps(pixels, self.channel_mean_, self.channel_std_)
        return [0.1 * (each - q_a) / (q_b - q_a) for each, (q_a, q_b) in zip(maps, self.quantiles_, strict=True)]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        to_teacher, to_autoencoder = self.normalised_maps(pixels)
        combined = 0.5 * to_teacher + 0.5 * to_autoencoder
        return image_score(positive(combined), self.options.top_share), positive(F.pad(combined, [MARGIN] * 4))

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return {
            "teacher": "random" if self.options.teacher == "random" else "file",
            "best_epoch": int(self.best_epoch_),
            "penalty_images": int(self.n_penalty_images_),
        }


def _seconds(network: nn.Module, image: Tensor) -> float:
    """That one pass takes, once warm."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        float(network(image).sum())  # reading the value waits for a GPU
        times.append(time.perf_counter() - start)
    return times[-1]


def hard_feature_loss(differences: Tensor) -> Tensor:
    """Mean of the squared differences at or above their own quantile p_hard: the loss of the hardest elements alone.

    Quantile by rank instead of `torch.quantile`, which refuses more than 2^24 elements; a mean that needs no list of
    them, so that a GPU need not wait for its length.
    """
    rank = math.ceil(P_HARD * (differences.numel() - 1))
    hardest = differences.detach().flatten().topk(differences.numel() - rank).values[-1]
    mined = differences >= hardest
    return (differences * mined).sum() / mined.sum()


def jittered(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(n, 3, h, w) in [0, 255] with brightness, contrast or saturation scaled by one factor between 0.8 and 1.2."""
    kind = int(torch.randint(3, (), generator=generator))
    factor = 0.8 + 0.4 * float(torch.rand((), generator=generator))
    if kind == 0:
        without = torch.zeros_like(pixels)
    elif kind == 1:
        without = luminance(pixels).mean(dim=(1, 2, 3), keepdim=True)
    else:
        without = luminance(pixels)
    return (without + factor * (pixels - without)).clamp(0, 255)
