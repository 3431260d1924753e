"""A checkpoint that anomalib wrote, scored by anomalib itself in an environment of its own. Nothing is trained here.

Source: Akcay et al. 2022, "Anomalib: A Deep Learning Library for Anomaly Detection" (ICIP), and the model's own paper.
Deviations: score and map are the network's raw ones, without the clamping and normalising of anomalib's
post-processing, whose limits come from its validation set; the image is resized by the `Inspector`, from pixels in
[0, 255]; a map that goes below 0 is shifted, see `fit`.
"""

import hashlib
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from gonogo.detectors.anomalib import anomalib_worker
from gonogo.detectors.anomalib.worker import Worker
from gonogo.detectors.anomaly_map import image_score
from gonogo.detectors.backbones.backbone import verified
from gonogo.detectors.contract import NETWORK_NODE, NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import AnomalibOptions
from gonogo.detectors.training.forecast import Forecast
from gonogo.errors import DataError, ExportError, IntegrityError, MissingExtraError, WeightsError, WorkerError


class Anomalib(Detector):
    """Score and map: those of anomalib's network, in its own unit."""

    checkpoint_: Tensor  # (m,) uint8, the file's bytes, so that a model needs no other file
    grid_: Tensor  # (2,), height and width of a map
    floor_: Tensor  # (), the value subtracted from a map, 0 or less

    def __init__(self, options: AnomalibOptions) -> None:
        """Nothing is read or started yet."""
        super().__init__()
        self.options: AnomalibOptions = options
        self.smoothing = options.smoothing
        self._worker: Worker | None = None
        self._anomalib_version = ""
        self._grid = (0, 0)
        for name in ("checkpoint_", "grid_", "floor_"):
            self.register_buffer(name, None)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which starts a worker of its own at the first score."""
        return self.__dict__ | {"_worker": None}

    def require_files(self) -> None:
        self._verified_checkpoint()

    def _verified_checkpoint(self) -> bytes:
        return verified(Path(self.options.checkpoint), self.options.checkpoint_sha256, option="fit.checkpoint")

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        """Take the checkpoint in, and score the fit images to see how far below 0 its maps go.

        A map is 0 or more by the contract. Most networks' maps are, and stay as they are; of one that is not
        (FastFlow's likelihoods) the lowest value over the fit images is subtracted, and what is lower still becomes 0.

        Raises:
            WeightsError: the checkpoint is missing, not the one meant, or not one that can be used.
            MissingExtraError: there is no environment of anomalib.
            DataError: there is no fit image.
        """
        data = self._verified_checkpoint()
        checkpoint = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self._worker, grid = self._start(checkpoint)
        floor, n_images = torch.zeros(()), 0
        for number, batch in enumerate(batches, start=1):
            floor = torch.minimum(floor, self._scored_by(self._worker, batch)[1].min())
            n_images += len(batch)
            context.progress("anomalib", number, len(batches), {})
        if not n_images:
            raise DataError("fit.detector anomalib needs at least one fit image, to see how low its maps go")
        self.set_learned(checkpoint_=checkpoint, grid_=grid, floor_=floor)
        self._take_grid()
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        how = "anomalib's own process, its memory and time, not counted"
        return replace(super().forecast(batches, context), how=how)

    def restore(self, state: dict[str, Tensor]) -> Self:
        super().restore(state)
        self._take_grid()
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        if torch.onnx.is_in_onnx_export():
            n = pixels.shape[0]
            score, grid = torch.onnx.ops.symbolic_multi_out(
                "::".join(NETWORK_NODE),
                (pixels,),
                dtypes=(torch.float32, torch.float32),
                shapes=((n,), (n, *self._grid)),
                version=1,
            )
        else:
            score, grid = (answer.to(pixels.device) for answer in self._scored_by(self._running(), pixels))
        grid = (grid - self.floor_).clamp(min=0)
        return score if self.options.top_share is None else image_score(grid, self.options.top_share), grid

    def onnx_of_one_image(self, opset: int) -> bytes:
        """An ONNX model from pixels (3, h, w) to raw score () and map (gh, gw), made in anomalib's environment.

        Raises:
            ExportError: torch cannot export this network.
        """
        self.require_fitted()
        try:
            answer = self._running().ask(ExportError, opset=np.array(opset))
        except ExportError as error:
            raise ExportError(
                f"anomalib's {self.options.model} cannot be written as ONNX, so that its results end with the evaluate "
                f"stage (dvc repro evaluate): {error}"
            ) from error
        return answer["onnx"].tobytes()

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        self._running()
        return {
            "model": self.options.model,
            "checkpoint_sha256": str(self.options.checkpoint_sha256),
            "anomalib": self._anomalib_version,
            "map_floor": float(self.floor_),
        }

    def _take_grid(self) -> None:
        height, width = self.grid_.tolist()
        self._grid = int(height), int(width)  # numbers, since a trace cannot take a shape from a tensor
        self.localises = self._grid != (1, 1)

    def _running(self) -> Worker:
        if self._worker is None:
            self._worker, _ = self._start(self.checkpoint_)
        return self._worker

    def _scored_by(self, worker: Worker, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores and maps, on the CPU, which the network runs on."""
        answer = worker.ask(WorkerError, pixels=pixels.cpu().numpy())
        return torch.from_numpy(answer["score"]), torch.from_numpy(answer["anomaly_map"])

    def _start(self, checkpoint: Tensor) -> tuple[Worker, Tensor]:
        """A worker that has loaded the checkpoint's bytes, and the height and width of its maps."""
        content = checkpoint.cpu().numpy()
        actual = hashlib.sha256(content.data).hexdigest()
        if actual != (self.options.checkpoint_sha256 or "").lower():
            raise IntegrityError(
                f"the checkpoint's SHA-256 is {actual}, fit.checkpoint_sha256 is {self.options.checkpoint_sha256}; fit "
                "again"
            )
        if shutil.which(self.options.python) is None:
            raise MissingExtraError(
                f"fit.python is {self.options.python!r}, which cannot be run from {Path.cwd()}; `make anomalib` makes "
                "the environment .venv-anomalib, or name the interpreter of one of yours that has anomalib 2.7 or newer"
            )
        worker = Worker(
            self.options.python,
            Path(anomalib_worker.__file__),
            [self.options.model, *map(str, self.image_size)],
            threads=torch.get_num_threads(),
            timeout=self.options.timeout,
        )
        answer = worker.ask(WeightsError, checkpoint=content)
        self._anomalib_version = str(answer["version"])
        return worker, torch.from_numpy(answer["grid"])
