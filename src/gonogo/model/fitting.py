"""The fit of one category: images drawn, memory and time forecast, the detector fitted, its threshold certified."""

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.fit_probability import fit_probability
from gonogo.calibration.highest_parts import HighestParts, highest_parts
from gonogo.calibration.probability import ProbabilityRecord
from gonogo.calibration.regions import RegionParams, RegionRule
from gonogo.calibration.threshold import CalibrateParams, threshold_of
from gonogo.compute.memory import peak_bytes, resident_bytes
from gonogo.compute.progress import Progress, no_progress
from gonogo.compute.versions import versions
from gonogo.detectors import detector_with
from gonogo.detectors.boxes.labelled import FindsBoxes, Labelled
from gonogo.detectors.contract import Detector, FitContext, GrowingBank
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.forecast import MB, Forecast
from gonogo.errors import ConfigError, DataError
from gonogo.files import code_fingerprint, today
from gonogo.images.dataset import Dataset, Record
from gonogo.images.roles import Role
from gonogo.model.cross_fit import cross_inspect, folds_of
from gonogo.model.finetune import finetune_backbone
from gonogo.model.fit_images import FitImages, labelled_images
from gonogo.model.fit_params import FitParams
from gonogo.model.inspection import Inspection, inspect_calibrate, inspect_records, require_above_rounding
from gonogo.model.inspector import Inspector
from gonogo.model.leave_one_out import by_part, inspect_leave_one_out
from gonogo.model.saved import save_model
from gonogo.params import Variant

PROCESS_BYTES = 600_000_000  # set aside for Python, torch, timm and a small backbone with its work space


@dataclass(frozen=True)
class Calibration:
    """The decision rule of a fitted inspector, and the images that it comes from.

    good: the good images of which no score comes from a fit that had seen them.
    validated: the images with the role validate, none where `prepare.validate_share` is 0.
    probability: None where `calibrate.probability` is null.
    """

    threshold: ThresholdRecord
    rule: RegionRule
    good: Inspection
    validated: Inspection
    probability: ProbabilityRecord | None

    @property
    def highest(self) -> HighestParts:
        """The highest of the good parts that the threshold comes from."""
        images = [record.path for record in self.good.records]
        return highest_parts(images, self.good.groups, self.good.scores, self.threshold)


@dataclass(frozen=True)
class Fitting:
    """All fits of one category: that of the gauge and, with `calibrate.method: cross`, one more for each fold.

    Raises:
        ConfigError: the detector cannot do what the section `calibrate` asks of its memory bank.

    chosen: the section `fit`, with the detector's options as `made`.
    checkpoints: the folder for the state of a training that is interrupted.
    """

    dataset: Dataset
    chosen: Variant[Any, FitParams]
    calibrate: CalibrateParams
    regions: RegionParams
    seed: int
    checkpoints: Path

    @cached_property
    def records(self) -> list[Record]:
        """The images to fit on. Crosswise, good images are fitted on and calibrated on, though never by one fit.

        To leave parts out, the images of each stand together.
        """
        roles: list[Role] = ["fit", "calibrate"] if self.calibrate.crosswise else ["fit"]
        records = draw_shots(self.dataset.with_role(*roles), self.chosen.values.shots, seed=self.seed)
        return by_part(records) if self.calibrate.method == "leave_one_out" else records

    def start(self, records: Sequence[Record]) -> tuple[Inspector, FitImages]:
        """An inspector that is not fitted yet, and the images to fit it on, both on the device of `fit.device`."""
        values = self.chosen.values
        device = device_of("cpu" if self.dataset.cluster else values.device)
        detector = detector_with(self.chosen.name, self.chosen.made)
        if isinstance(detector, FindsBoxes):
            self._require_plain_fit()
        self._require_growing(detector)
        inspector = Inspector(detector, self.regions.inside, tiling=values.tiling, preprocess=values.preprocess)
        if inspector.preprocessing is not None:
            inspector.preprocessing.load(aspect=_aspect(records))
        inspector.to(device)
        return inspector, FitImages(inspector, self.dataset, records, device=device, rotations=values.rotations)

    def forecast(self, inspector: Inspector, images: FitImages) -> Forecast:
        """The memory and time of the fit, without a cluster; as in `forecast_fit`."""
        budget_mb = self.chosen.values.memory_budget_mb
        labelled = self._labelled(inspector, images)
        return forecast_fit(inspector.detector, images.without_cluster(), budget_mb=budget_mb, labelled=labelled)

    def fit(self, inspector: Inspector, images: FitImages, progress: Progress, *, fold: int | None = None) -> Inspector:
        """Fit the inspector on the images, its backbone finetuned first where `fit.finetune` is set.

        Returns it on the CPU, which all scores are computed on. `fold` gives the fit a folder of checkpoints of its
        own.
        """
        folder = self.checkpoints if fold is None else self.checkpoints / f"fold_{fold}"
        origin = self._origin | {"images": self.dataset.fingerprint_of(images.records)}
        if self.chosen.values.finetune is not None:
            finetune_backbone(
                inspector.detector,
                images,
                self.chosen.values.finetune,
                seed=self.seed,
                checkpoints=Checkpoints(folder / "finetune", origin),
                progress=progress,
            )
        room = room_in(self.chosen.values.memory_budget_mb)
        labelled = self._labelled(inspector, images)
        context = FitContext(room=room, checkpoints=Checkpoints(folder, origin), progress=progress, labelled=labelled)
        inspector.detector.fit(images, seed=self.seed, context=context)
        return inspector.cpu()

    def _labelled(self, inspector: Inspector, images: FitImages) -> Labelled | None:
        """The labelled images that a detector that `FindsBoxes` learns from; None for any other."""
        if not isinstance(inspector.detector, FindsBoxes):
            return None
        records = self.dataset.with_role("validate")
        validate = FitImages(inspector, self.dataset, records, device=images.device)
        return Labelled(labelled_images(images), labelled_images(validate))

    def _require_plain_fit(self) -> None:
        """Do nothing, or refuse what a fit of boxes cannot do.

        Raises:
            ConfigError: the parameters ask for it.
        """
        values, method = self.chosen.values, self.calibrate.method
        asked = {
            "fit.tiling": values.tiling is not None,
            "fit.finetune": values.finetune is not None,
            "fit.rotations": values.rotations != 1,
            "calibrate.method: cross": method == "cross",
            "calibrate.probability": self.calibrate.probability is not None,
        }
        refused = [name for name, given in asked.items() if given]
        if refused:
            raise ConfigError(
                f"{', '.join(refused)}: fit.detector {self.chosen.name} finds boxes and has none of this; leave it as "
                "params.yaml has it for every category (the network is trained whole or taken as it is, and its "
                "validate images have labelled defects)"
            )

    def certify(self, inspector: Inspector, progress: Progress) -> Calibration:
        """The threshold of the fitted inspector from good images that were not fitted on, with all that goes with it.

        With `calibrate.grow_bank` the calibrate images then join the inspector's memory bank; see `GrowingBank`.

        `progress` is called before the fit of each fold, where there are folds.
        """
        exactly = False
        if self.calibrate.method == "cross":
            good, rule = self._inspect_crosswise(inspector, progress)
        elif self.calibrate.method == "leave_one_out":
            good, rule = inspect_leave_one_out(inspector, self._images(inspector, self.records), self.regions)
            assert isinstance(inspector.detector, GrowingBank)
            exactly = inspector.detector.leaves_out_exactly() and self.chosen.values.finetune is None
        else:
            good, rule = inspect_calibrate(inspector, self.dataset, self.regions)
        require_above_rounding(inspector, self.dataset, good)
        threshold = replace(
            threshold_of(good.scores, good.groups, self.calibrate, seed=self.seed, exactly=exactly),
            calibrate_fingerprint=self.dataset.fingerprint_of(good.records),
            date=today(),
            grown=self.calibrate.grow_bank,
        )
        if self.calibrate.grow_bank:
            assert isinstance(inspector.detector, GrowingBank)
            first = len(self._images(inspector, self.records))
            inspector.detector.grow(self._images(inspector, good.records), first, progress=progress)
        labelled = [record for record in self.dataset.records if record.role == "validate"]
        validated = inspect_records(inspector, self.dataset, labelled)
        return Calibration(threshold, rule, good, validated, self._probability(good, validated))

    def _images(self, inspector: Inspector, records: Sequence[Record]) -> FitImages:
        """Images of a fitted inspector, in as many views as those of the fit."""
        return FitImages(inspector, self.dataset, records, rotations=self.chosen.values.rotations)

    def _require_growing(self, detector: Detector) -> None:
        """Do nothing, or refuse a detector or options for which a larger bank can raise a score.

        Raises:
            ConfigError: with the reason.
        """
        wanted = [
            name
            for name, is_wanted in (
                ("calibrate.grow_bank: true", self.calibrate.grow_bank),
                ("calibrate.method: leave_one_out", self.calibrate.method == "leave_one_out"),
            )
            if is_wanted
        ]
        if not wanted:
            return
        if not isinstance(detector, GrowingBank):
            raise ConfigError(
                f"fit.detector is {self.chosen.name!r} and {wanted[0]} needs a memory bank of which no further entry "
                "raises a score, as patchcore and knn have; for this detector nothing is proven: choose one of the "
                "two, or another calibrate section"
            )
        if self.calibrate.grow_bank:
            detector.require_growing()
            if self.chosen.values.memory_budget_mb is not None:
                raise ConfigError(
                    "calibrate.grow_bank is true and fit.memory_budget_mb is "
                    f"{self.chosen.values.memory_budget_mb:,g}, which covers no bank that grows: set one to false or "
                    "the other to null"
                )

    def _inspect_crosswise(self, inspector: Inspector, progress: Progress) -> tuple[Inspection, RegionRule]:
        """Scores of the good images of the fit, each by an inspector that was fitted on the other folds."""
        n_folds = self.calibrate.folds

        def fit_without_fold(others: list[Record], number: int) -> Inspector:
            progress("folds", number, n_folds, {})
            return self.fit(*self.start(others), no_progress, fold=number)

        good = [record for record in self.records if record.label == 0]
        folds = folds_of(good, n_folds, seed=self.seed)
        localises = inspector.detector.localises
        return cross_inspect(fit_without_fold, self.dataset, folds, self.regions, localises=localises)

    def _probability(self, good: Inspection, validated: Inspection) -> ProbabilityRecord | None:
        if self.calibrate.probability is None:
            return None
        return fit_probability(
            np.concatenate([good.scores, validated.scores[~validated.labels]]),
            validated.scores[validated.labels],
            method=self.calibrate.probability,
            defect_rate=self.calibrate.defect_rate,
        )

    def save(self, folder: Path, inspector: Inspector, calibration: Calibration, *, category: str) -> None:
        """Write the fitted model of `category` into `folder`, as in `save_model`."""
        save_model(
            folder,
            inspector,
            calibration.threshold,
            calibration.rule,
            category=category,
            detector_name=self.chosen.name,
            options=self.chosen.options,
            data_fingerprint=self.dataset.fingerprint,
            fitted_on=[record.path for record in self.records],
            grown_by=[record.path for record in calibration.good.records] if calibration.threshold.grown else [],
            rotations=self.chosen.values.rotations,
            calibrated_on=calibration.good.score_rows(),
            validated_on=calibration.validated.score_rows(),
            probability=calibration.probability,
        )

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints, once the fitted model is saved."""
        Checkpoints(self.checkpoints, self._origin).remove()

    @cached_property
    def _origin(self) -> dict[str, Any]:
        """All that a training depends on, except for its images: a checkpoint with another origin is not resumed."""
        return {
            "data": self.dataset.fingerprint,
            "params": {
                "seed": self.seed,
                "detector": {self.chosen.name: self.chosen.options},
                "fit": asdict(self.chosen.values),
                "regions": asdict(self.regions),
            },
            "code": code_fingerprint(),
            "versions": versions("torch", "timm", "numpy") | {"threads": torch.get_num_threads()},
        }


def draw_shots(records: Sequence[Record], shots: int | None, *, seed: int) -> list[Record]:
    """`shots` of the fit images, in the dataset's order; all of them where `shots` is None.

    They are the first of one order shuffled by `seed`, so that 4 shots are those of 2 and two more.

    Raises:
        DataError: there are fewer images.
    """
    if shots is None:
        return list(records)
    if shots > len(records):
        raise DataError(
            f"fit.shots is {shots}, but there are {len(records)} fit images; choose at most {len(records)}, or set it "
            "to null to take them all"
        )
    shuffled = torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))
    return [records[index] for index in sorted(shuffled[:shots].tolist())]


def device_of(name: str, *, option: str = "fit.device") -> torch.device:
    """The device that `option` names; auto is CUDA where there is a GPU. On it, no product is rounded to TF32.

    Raises:
        ConfigError: there is no CUDA here.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError(f"{option} is 'cuda', but torch finds no GPU here; set it to auto or cpu")
    torch.backends.cudnn.allow_tf32 = False  # as torch has it for plain products
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def room_in(budget_mb: float | None) -> int | None:
    """The bytes that a budget for the whole process leaves to the fit; None: no limit.

    The plan of a fit follows from this room and from the number and size of the images alone, so that it gives the same
    bits on a machine where the process happens to be larger.

    Raises:
        ConfigError: the budget leaves nothing.
    """
    if budget_mb is None:
        return None
    room = int(budget_mb * MB) - PROCESS_BYTES
    if room <= 0:
        raise ConfigError(
            f"fit.memory_budget_mb is {budget_mb:,g}; {PROCESS_BYTES / MB:,.0f} MB are set aside for Python, torch and "
            "a backbone, before an image is kept. It bounds the whole process: give it more, or null for no limit"
        )
    return room


def _aspect(records: Sequence[Record]) -> float | None:
    """Width by height of most images; None of none."""
    return median(record.width / record.height for record in records) if records else None


def forecast_fit(
    detector: Detector, batches: Collection[Tensor], *, budget_mb: float | None, labelled: Labelled | None = None
) -> Forecast:
    """The memory and time that `fit` of these batches takes within a budget for the whole process.

    Raises:
        ConfigError: the plan and the process as it is now exceed the budget; the message says what is needed.
        DataError: there is no fit image.
    """
    before = peak_bytes()
    expected = detector.forecast(batches, FitContext(room=room_in(budget_mb), labelled=labelled))
    if peak_bytes() > before:  # by looking at images, as the fit will again
        expected = replace(expected, passing=peak_bytes() - resident_bytes())
    peak = resident_bytes() + expected.passing + expected.memory
    if budget_mb is not None and peak > budget_mb * MB:
        raise ConfigError(
            f"fit.memory_budget_mb is {budget_mb:,g}; this fit needs {peak / MB:,.0f} MB ({expected.how}; the process "
            f"holds {(peak - expected.memory) / MB:,.0f} MB already). Raise the budget, or take fewer fit images, a "
            "smaller fit.image_size or fewer features"
        )
    return expected


def fit_costs(start: float) -> dict[str, float]:
    """Seconds of a fit since `start`, of `perf_counter`, and the process's peak in MB."""
    return {"fit_s": time.perf_counter() - start, "peak_memory_mb": peak_bytes() / MB}
