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
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.anomalib import anomalib_worker
from gonogo.detectors.anomalib.worker import Worker
from gonogo.detectors.backbones.backbone import verified
from gonogo.detectors.contract import Detector
from gonogo.detectors.training.forecast import Forecast
from gonogo.errors import DataError, ExportError, IntegrityError, MissingExtraError, WeightsError, WorkerError

ONNX_NODE = ("gonogo", "Anomalib")  # domain and name of what stands for anomalib's network in a traced graph


class Anomalib(Detector):
    """Score and map: those of anomalib's network, in its own unit."""

    checkpoint_: Tensor  # (m,) uint8, the file's bytes: a model is whole without the file
    grid_: Tensor  # (2,), height and width of a map
    floor_: Tensor  # (), what is subtracted from a map; 0 or less

    def __init__(
        self,
        *,
        model: str,
        checkpoint: str,
        checkpoint_sha256: str | None = None,
        python: str = ".venv-anomalib/bin/python",
        image_size: Annotated[int, Field(ge=4)] = 256,
        smoothing: Annotated[float, Field(ge=0)] = 0.0,
        timeout: Annotated[float, Field(gt=0)] = 600.0,
    ) -> None:
        """Nothing is read or started yet.

        Args:
            model: anomalib's name of the model, e.g. Padim or efficient_ad; its checkpoints do not say it.
            checkpoint: path of the Lightning checkpoint (.ckpt) that anomalib 2.7 or newer wrote.
            checkpoint_sha256: of that file; required.
            python: interpreter of the environment that has anomalib; `make anomalib` makes the default one.
            image_size: side of the square that the checkpoint's pre-processing resizes to.
            smoothing: Gaussian sigma for the map, in pixels at image_size; most networks smooth theirs already.
            timeout: seconds that loading, scoring a batch or exporting may take.
        """
        super().__init__()
        self.model = model
        self.checkpoint = checkpoint
        self.checkpoint_sha256 = checkpoint_sha256
        self.python = python
        self.image_size = image_size
        self.smoothing = smoothing
        self.timeout = timeout
        self._worker: Worker | None = None
        self._anomalib_version = ""
        self._grid = (0, 0)
        for name in ("checkpoint_", "grid_", "floor_"):
            self.register_buffer(name, None)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which starts a network of its own when it is asked."""
        return self.__dict__ | {"_worker": None}

    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        """Take the checkpoint in, and score the fit images to see how far below 0 its maps go.

        A map is 0 or more by the contract. Most networks' maps are, and stay as they are; of one that is not
        (FastFlow's likelihoods) the lowest value over the fit images is subtracted, and what is lower still becomes 0.

        Raises:
            WeightsError: the checkpoint is missing, not the one meant, or not one that can be used.
            MissingExtraError: there is no environment of anomalib.
            DataError: there is no fit image.
        """
        path = verified(Path(self.checkpoint), self.checkpoint_sha256, option="fit.checkpoint")
        checkpoint = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
        self._worker, grid = self._started(checkpoint)
        floor, n_images = torch.zeros(()), 0
        for number, batch in enumerate(batches, start=1):
            floor = torch.minimum(floor, self._asked(self._worker, batch)[1].min())
            n_images += len(batch)
            progress("anomalib", number, len(batches), {})
        if not n_images:
            raise DataError("fit.detector anomalib needs at least one fit image, to see how low its maps go")
        self.learn(checkpoint_=checkpoint, grid_=grid, floor_=floor)
        self._take_grid()
        return self

    def forecast(self, batches: Collection[Tensor]) -> Forecast:
        how = "anomalib's own process, its memory and time, not counted"
        return replace(super().forecast(batches), how=how)

    def restore(self, state: dict[str, Tensor]) -> Self:
        super().restore(state)
        self._take_grid()
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        if torch.onnx.is_in_onnx_export():
            n = pixels.shape[0]
            score, grid = torch.onnx.ops.symbolic_multi_out(
                "::".join(ONNX_NODE),
                (pixels,),
                dtypes=(torch.float32, torch.float32),
                shapes=((n,), (n, *self._grid)),
                version=1,
            )
        else:
            score, grid = (answer.to(pixels.device) for answer in self._asked(self._running(), pixels))
        return score, (grid - self.floor_).clamp(min=0)

    def onnx_of_one_image(self, opset: int) -> bytes:
        """An ONNX model from pixels (3, s, s) to raw score () and map (gh, gw), made in anomalib's environment.

        Raises:
            ExportError: torch cannot export this network.
        """
        self.require_fitted()
        try:
            answer = self._running().ask(ExportError, opset=np.array(opset))
        except ExportError as error:
            raise ExportError(
                f"anomalib's {self.model} cannot be written as ONNX, so that its results end with the evaluate stage "
                f"(dvc repro evaluate): {error}"
            ) from error
        return answer["onnx"].tobytes()

    def facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        self._running()
        return {
            "model": self.model,
            "checkpoint_sha256": str(self.checkpoint_sha256),
            "anomalib": self._anomalib_version,
            "map_floor": float(self.floor_),
        }

    def _take_grid(self) -> None:
        height, width = self.grid_.tolist()
        self._grid = int(height), int(width)  # numbers, since a trace cannot take a shape from a tensor
        self.localises = self._grid != (1, 1)

    def _running(self) -> Worker:
        if self._worker is None:
            self._worker, _ = self._started(self.checkpoint_)
        return self._worker

    def _asked(self, worker: Worker, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores and maps, on the CPU, which the network runs on."""
        answer = worker.ask(WorkerError, pixels=pixels.cpu().numpy())
        return torch.from_numpy(answer["score"]), torch.from_numpy(answer["anomaly_map"])

    def _started(self, checkpoint: Tensor) -> tuple[Worker, Tensor]:
        """A worker that has loaded the checkpoint's bytes, and the height and width of its maps."""
        content = checkpoint.cpu().numpy()
        actual = hashlib.sha256(content.data).hexdigest()
        if actual != self.checkpoint_sha256:
            raise IntegrityError(
                f"the checkpoint's SHA-256 is {actual}, fit.checkpoint_sha256 says {self.checkpoint_sha256}; fit again"
            )
        if shutil.which(self.python) is None:
            raise MissingExtraError(
                f"fit.python is {self.python!r}, which cannot be run from {Path.cwd()}; `make anomalib` makes "
                "the environment .venv-anomalib, or name the interpreter of one of yours that has anomalib 2.7 or newer"
            )
        worker = Worker(
            self.python,
            Path(anomalib_worker.__file__),
            [self.model, str(self.image_size)],
            threads=torch.get_num_threads(),
            timeout=self.timeout,
        )
        answer = worker.ask(WeightsError, checkpoint=content)
        self._anomalib_version = str(answer["version"])
        return worker, torch.from_numpy(answer["grid"])
