"""Fits of one category, each on other images: the gauge itself, and those that score its good parts crosswise."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from gonogo.calibration.regions import RegionParams
from gonogo.compute.progress import Progress
from gonogo.compute.versions import versions
from gonogo.detectors.contract import Detector
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.files import code_fingerprint
from gonogo.images.dataset import Dataset, Record
from gonogo.model.finetune import finetune_on_load
from gonogo.model.fit import FitParams, device_of
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from gonogo.params import Params


@dataclass(frozen=True)
class Fitting:
    """What every fit of a category shares.

    values: the keys of the section `fit` beside the detector's options.
    checkpoints: the folder for those of a training that is interrupted.
    """

    dataset: Dataset
    params: Params
    values: FitParams
    regions: RegionParams
    checkpoints: Path

    def prepared(self, detector: Detector, records: Sequence[Record]) -> tuple[Inspector, FitImages]:
        """The inspector of a detector that is not fitted, and the images to fit it on, both on the device asked for."""
        device = device_of("cpu" if self.dataset.cluster else self.values.device)
        inspector = Inspector(detector, self.regions.inside, tiling=self.values.tiling).to(device)
        images = FitImages(inspector, self.dataset, records, device=device, rotations=self.values.rotations)
        return inspector, images

    def fit(self, inspector: Inspector, images: FitImages, progress: Progress, *, fold: int | None = None) -> Inspector:
        """Fit the prepared inspector, whose scores then come from the CPU; `fold` tells its checkpoints from others."""
        folder = self.checkpoints if fold is None else self.checkpoints / f"fold_{fold}"
        origin = self._origin | {"images": self.dataset.fingerprint_of(images.records)}
        inspector.detector.checkpoints = Checkpoints(folder, origin)
        if self.values.finetune is not None:
            finetune_on_load(
                inspector.detector,
                images,
                self.values.finetune,
                seed=self.params.seed,
                checkpoints=Checkpoints(folder / "finetune", origin),
                progress=progress,
            )
        inspector.detector.fit(images, seed=self.params.seed, progress=progress)
        return inspector.cpu()

    def forget(self) -> None:
        """Remove all checkpoints: the fits are done."""
        Checkpoints(self.checkpoints, self._origin).remove()

    @cached_property
    def _origin(self) -> dict[str, Any]:
        """All that a training depends on, but for its images: a checkpoint of anything else is not taken up."""
        sections = {name: self.params.section(name) for name in ("fit", "regions")}
        return {
            "data": self.dataset.fingerprint,
            "params": {"seed": self.params.seed, **sections},
            "code": code_fingerprint(),
            "versions": versions("torch", "timm", "numpy") | {"threads": torch.get_num_threads()},
        }
