"""The good parts that a search looks at, and what a gauge makes of those that it was not fitted on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gonogo.calibration.regions import RegionParams
from gonogo.compute.memory import machine_bytes
from gonogo.detectors import detector_with
from gonogo.detectors.anomaly_map import upsample
from gonogo.detectors.options import PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.errors import DataError, UndefinedMetricError
from gonogo.evaluation.accuracy.pixel_metrics import PixelTally
from gonogo.images.dataset import Dataset, Record, evenly_spaced
from gonogo.images.size import ImageSize
from gonogo.model.cross_fit import folds_of
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from gonogo.tuning.criterion import FoldScores
from gonogo.tuning.kept_features import KeptFeatures
from gonogo.tuning.planted import KINDS, planted
from gonogo.tuning.space import sight_of

FOLDS = 4
LEAST_PARTS = 2 * FOLDS
MOST_FITTED = 80  # images that one gauge of a search is fitted on, evenly spaced among those of the other folds
MOST_JUDGED = 16  # images of a fold that it judges, with a copy of each for every kind of defect
MOST_KEPT = 2**30  # bytes of features that a search keeps, or an eighth of the machine's memory where that is less
FIRST_VIEW = 0  # of the views that a fit has, the image as it is


@dataclass(frozen=True)
class GoodParts:
    """The good images with the role fit, dealt by parts into FOLDS: a gauge is fitted on three and judges the fourth.

    Calibrate and test images are not among them, and no method can reach one: `of` takes them out of the dataset. So
    what a search chooses is a function of fit images, seeds and measured times. Given that choice, the scores of the
    calibrate parts and of a later good part are as exchangeable as they are for options that somebody chose in
    advance, and a threshold certified on the calibrate parts is exact (Vovk, Gammerman and Shafer 2005, "Algorithmic
    Learning in a Random World", proposition 4.1: the nonconformity measure may depend on the proper training set in any
    way). Had calibrate images taken part in the choice, it would not be.
    """

    dataset: Dataset
    regions: RegionParams
    rotations: int
    seed: int

    @classmethod
    def of(cls, dataset: Dataset, regions: RegionParams, *, rotations: int, seed: int) -> "GoodParts":
        """The fit images of a dataset that are labelled good.

        Raises:
            DataError: they show fewer than LEAST_PARTS parts.
        """
        good = [record for record in dataset.with_role("fit") if record.label == 0]
        n_parts = len({record.group_id for record in good})
        if n_parts < LEAST_PARTS:
            raise DataError(
                f"{dataset.folder}: {n_parts} good parts have the role fit; to choose options by good parts set aside, "
                f"at least {LEAST_PARTS} are needed. Take more good images, or less prepare.calibrate_share"
            )
        return cls(replace(dataset, records=tuple(good), cluster=None), regions, rotations, seed)

    @cached_property
    def folds(self) -> list[list[Record]]:
        """The images by fold; the images of one part are in one of them."""
        return folds_of(self.dataset.records, FOLDS, seed=self.seed)

    @property
    def views(self) -> int:
        """Views that a fit on all images has: of each so many rotations."""
        return len(self.dataset.records) * self.rotations

    @property
    def aspect(self) -> float:
        """Width by height of the images, in the median."""
        return float(np.median([record.width / record.height for record in self.dataset.records]))

    def judged(self, number: int) -> list[Record]:
        """The images of a fold that gauges judge."""
        return evenly_spaced(self.folds[number], MOST_JUDGED)

    def scores(self, number: int, candidates: Sequence[PatchCoreOptions]) -> list[FoldScores]:
        """What the gauge of each candidate gives the images of fold `number`, fitted on images of the others.

        The candidates share their features.
        """
        gauges = Gauges(self, self._fitted(number), candidates)
        judged = self.judged(number)
        scores = np.full((len(candidates), len(judged), 1 + len(KINDS)), np.nan)
        for row, record in enumerate(judged):
            for column, kind in enumerate((None, *KINDS)):
                features = gauges.features(record, kind)
                if features is not None:
                    scores[:, row, column] = [float(score) for score, _ in gauges.results(features)]
        groups = [record.group_id for record in judged]
        return [FoldScores(groups, own[:, 0], own[:, 1:]) for own in scores]

    def localisation(self, number: int, candidates: Sequence[PatchCoreOptions]) -> list[list[float]]:
        """By each candidate's smoothing and for each image, the mean average precision of its planted defects' maps.

        The candidates differ in their smoothing alone. An image that shows no defect has no entry.

        Raises:
            UndefinedMetricError: no defect could be planted.
        """
        gauges = Gauges(self, self._fitted(number), candidates[:1])
        found: list[list[float]] = [[] for _ in candidates]
        for record in self.judged(number):
            seen = []
            for kind in KINDS:
                features, made = gauges.features(record, kind), self.planted(record, kind)
                if features is not None and made is not None:
                    ((_, grid),) = gauges.results(features)
                    seen.append([_precision(grid, made[1], options) for options in candidates])
            for place, values in enumerate(zip(*seen, strict=True)):
                found[place].append(float(np.mean(values)))
        if not found[0]:
            raise UndefinedMetricError("no good image shows a planted defect, so that no map can be judged")
        return found

    def planted(self, record: Record, kind: str) -> tuple[np.ndarray, np.ndarray] | None:
        """A copy of an image with that kind of defect, and its mask; None where none can be planted."""
        records = self.dataset.records
        pixels, other = map(self.pixels_of, (record, records[(records.index(record) + 1) % len(records)]))
        inspected = self.regions.roi_mask(*pixels.shape[:2])
        return planted(kind, pixels, other, inspected, seed=self.seed, content=record.sha256)

    def pixels_of(self, record: Record) -> np.ndarray:
        """The pixels (h, w, 3) uint8 of an image. Those of the last two are kept: one, and the next, for `planted`."""
        return self._pixels_at(record.path)

    @cached_property
    def _pixels_at(self) -> Callable[[str], np.ndarray]:
        by_path = {record.path: record for record in self.dataset.records}
        return lru_cache(maxsize=2)(lambda path: self.dataset.pixels_of(by_path[path]))

    @cached_property
    def features(self) -> KeptFeatures:
        """Of the images that gauges looked at last."""
        return KeptFeatures(min(machine_bytes() // 8 or MOST_KEPT, MOST_KEPT))

    def _fitted(self, number: int) -> list[Record]:
        """The images that the gauges are fitted on which judge fold `number`."""
        others = (record for fold in self.folds if fold is not self.folds[number] for record in fold)
        return evenly_spaced(list(others), MOST_FITTED)


class Gauges:
    """A gauge of each candidate, fitted on features that are computed once for all."""

    def __init__(self, parts: GoodParts, fitted: Sequence[Record], candidates: Sequence[PatchCoreOptions]) -> None:
        """Fit on `fitted`; the candidates agree in what `sight_of` tells."""
        self._parts, self._options, self._sight = parts, candidates[0], sight_of(candidates[0])
        features = self._of_fit_images(fitted)
        self._detectors = [_of_features(options).fit(features, seed=parts.seed) for options in candidates]

    def features(self, record: Record, kind: str | None = None) -> Tensor | None:
        """Of an image, or of its copy with a planted defect of that kind; None where none can be planted."""
        kept, name = self._parts.features, (self._sight, record.sha256, FIRST_VIEW if kind is None else kind)
        if name in kept:
            return kept[name]
        found: Tensor | None
        if kind is None:
            found = self.features_of(self._parts.pixels_of(record))
        else:
            made = self._parts.planted(record, kind)
            found = None if made is None else self.features_of(made[0])
        kept[name] = found
        return found

    @torch.inference_mode()
    def features_of(self, pixels: np.ndarray) -> Tensor:
        """Of any image (h, w, 3)."""
        found: Tensor = self._network(self._inspector.resized(torch.from_numpy(pixels)[None]))
        return found

    @torch.inference_mode()
    def results(self, features: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The score (1,) and the grid (1, gh, gw) of an image, by each gauge."""
        return [detector(features) for detector in self._detectors]

    @torch.inference_mode()
    def _of_fit_images(self, records: Sequence[Record]) -> list[Tensor]:
        """Of `rotations` views of each image."""
        kept, views = self._parts.features, range(self._parts.rotations)

        def names(some: Sequence[Record]) -> list[tuple[str, str, int]]:
            return [(self._sight, record.sha256, view) for record in some for view in views]

        known = {name: kept[name] for name in names(records) if name in kept}
        found = {name: features for name, features in known.items() if features is not None}
        missing = [record for record in records if any(name not in found for name in names([record]))]
        if missing:
            images = FitImages(self._inspector, self._parts.dataset, missing, rotations=len(views))
            for name, pixels in zip(names(missing), images, strict=True):
                kept[name] = found[name] = self._network(pixels)
        return [found[name] for name in names(records)]

    @cached_property
    def _inspector(self) -> Inspector:
        detector = detector_with("patchcore", self._options)
        detector.load_weights()
        return Inspector(detector, self._parts.regions.inside)

    @property
    def _network(self) -> nn.Module:
        assert isinstance(self._inspector.detector, PatchCore)
        return self._inspector.detector.patch_features


def _of_features(options: PatchCoreOptions) -> PatchCore:
    """A detector that takes features (n, gh, gw, d) where others take pixels."""
    with torch.device("meta"):  # where a network takes no memory, since it is not used
        detector = detector_with("patchcore", options)
    assert isinstance(detector, PatchCore)
    detector.patch_features = nn.Identity()
    return detector


def _precision(grid: Tensor, mask: np.ndarray, options: PatchCoreOptions) -> float:
    """Average precision of the map against the mask (h, w), at the image size: that is how fine a map can be."""
    size = ImageSize.of(options.image_size)
    anomaly_map = upsample(grid, size, options.smoothing, *size)[0].numpy()
    seen = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size[::-1], Image.Resampling.BOX)) > 0
    tally = PixelTally()
    tally.add(anomaly_map, seen)
    return tally.areas([])[1]
