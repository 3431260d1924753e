"""A training loop with live figures, early stopping by good images alone, and exact resumption from a checkpoint."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.errors import DataError, TrainingError

if TYPE_CHECKING:
    from gonogo.compute.progress import Progress

HELD_OUT = "held_out_loss"


@dataclass(frozen=True)
class Schedule:
    """How long to train: `epochs`, or fewer after `patience` epochs without a better held-out loss (0: never fewer).

    `keep_last` counts each epoch as the best so far, for a method whose paper keeps the last; it excludes patience.
    """

    epochs: int
    patience: int
    checkpoint_every: int
    keep_last: bool = False


@dataclass
class Training:
    """The state of a training: from the same state, the remaining epochs give the same bits.

    `generator` must be the only source of randomness while the training runs. The optimizer's parameter groups are not
    saved: the caller makes them, and sets their learning rates from the number of the epoch alone.
    """

    trained: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    history: list[dict[str, float]] = field(default_factory=list)  # the values of each finished epoch
    best_epoch: int = 0  # counted from 1
    best: dict[str, Tensor] = field(default_factory=dict)  # the state of `trained` at the best epoch

    def run(
        self,
        epoch: Callable[[int], dict[str, float]],
        held_out_loss: Callable[[], float],
        schedule: Schedule,
        *,
        checkpoints: Checkpoints | None,
        progress: "Progress",
    ) -> None:
        """Train, and leave `trained` in the state of its best epoch.

        On a GPU, deterministic convolutions are required; on a CPU they are deterministic anyway.

        Args:
            epoch: trains through epoch i, counted from 0, and returns the means of its losses.
            held_out_loss: of good images that `epoch` never sees; it must not draw from `generator`.
            schedule: when to stop, and after how many epochs to save a checkpoint.
            checkpoints: None saves none. The last state stays until the caller removes it.
            progress: called with the values of every epoch, also of those before a resumption.

        Raises:
            TrainingError: a loss is not finite.
        """
        if checkpoints is not None and (kept := checkpoints.load()) is not None:
            self._resume(*kept)
        for number in range(1, len(self.history)):
            progress("epochs", number, schedule.epochs, self.history[number - 1])
        if self.history:
            self._report(schedule, progress)
        tf32 = torch.backends.cudnn.allow_tf32
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
            while not self._finished(schedule):
                self._step(epoch, held_out_loss, schedule, checkpoints)
                self._report(schedule, progress)
        self.trained.load_state_dict(self.best)

    def _step(
        self,
        epoch: Callable[[int], dict[str, float]],
        held_out_loss: Callable[[], float],
        schedule: Schedule,
        checkpoints: Checkpoints | None,
    ) -> None:
        values = epoch(len(self.history)) | {HELD_OUT: held_out_loss()}
        number = len(self.history) + 1
        if not all(math.isfinite(value) for value in values.values()):
            raise TrainingError(
                f"epoch {number}: {values}; expected finite losses. Lower the learning rates, or look for fit "
                "images whose features are not finite"
            )
        self.history.append(values)
        first = not self.best_epoch
        if first or schedule.keep_last or values[HELD_OUT] < self.history[self.best_epoch - 1][HELD_OUT]:
            self.best_epoch = number
            self.best = {name: tensor.clone() for name, tensor in self.trained.state_dict().items()}
        if checkpoints is not None and (number % schedule.checkpoint_every == 0 or self._finished(schedule)):
            checkpoints.save(*self._state())

    def _finished(self, schedule: Schedule) -> bool:
        done = len(self.history)
        out_of_patience = schedule.patience > 0 and done - self.best_epoch >= schedule.patience
        return done >= schedule.epochs or (done > 0 and out_of_patience)

    def _report(self, schedule: Schedule, progress: "Progress") -> None:
        done = len(self.history)
        progress("epochs", done, done if self._finished(schedule) else schedule.epochs, self.history[-1])

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"trained.{name}": tensor for name, tensor in self.trained.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
        tensors["generator"] = self.generator.get_state()
        return tensors, {"history": self.history, "best_epoch": self.best_epoch}

    def _resume(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        self.history, self.best_epoch = facts["history"], facts["best_epoch"]
        self.trained.load_state_dict(_below("trained", tensors))
        self.best = _below("best", tensors)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer", tensors).items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.generator.set_state(tensors["generator"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def shuffled_passes(n_items: int, n_draws: int, generator: torch.Generator) -> Tensor:
    """(n_draws,) int64 positions among `n_items`: each once in an order of its own, then each again in another."""
    passes = [torch.randperm(n_items, generator=generator) for _ in range(math.ceil(n_draws / n_items))]
    return torch.cat(passes)[:n_draws]


def hold_out(n_images: int, share: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Positions of the good images to train on and of those held out, (k,) and (m,) int64, each in order.

    Raises:
        DataError: there is no image for one of the two.
    """
    n_held_out = max(1, round(share * n_images))
    if n_images <= n_held_out:
        raise DataError(
            f"training needs at least 2 fit images, one of them held out to know when to stop; got {n_images}"
        )
    shuffled = torch.randperm(n_images, generator=torch.Generator().manual_seed(seed))
    return shuffled[n_held_out:].sort().values, shuffled[:n_held_out].sort().values
