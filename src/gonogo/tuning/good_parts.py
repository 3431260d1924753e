"""The good parts that a search looks at, and what a gauge makes of those that it was not fitted on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gonogo.calibration.regions import RegionParams
from gonogo.detectors import detector_with
from gonogo.detectors.anomaly_map import upsample
from gonogo.detectors.options import PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.errors import DataError, UndefinedMetricError
from gonogo.evaluation.accuracy.metrics import average_precision
from gonogo.images.dataset import Dataset, Record, evenly_spaced
from gonogo.images.size import ImageSize
from gonogo.model.cross_fit import folds_of
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from gonogo.tuning.criterion import FoldScores
from gonogo.tuning.planted import KINDS, planted

FOLDS = 4
LEAST_PARTS = 2 * FOLDS
MOST_FITTED = 80  # images that one gauge of a search is fitted on, evenly spaced among those of the other folds
MOST_JUDGED = 16  # images of a fold that it judges, with a copy of each for every kind of defect


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

        The candidates share their features, which are computed once.
        """
        good: list[list[float]] = [[] for _ in candidates]
        bad: list[list[list[float]]] = [[] for _ in candidates]
        gauges = Gauges(self, self._fitted(number), candidates)
        for record in self.judged(number):
            pixels = self.dataset.pixels_of(record)
            copies = [pixels, *(None if made is None else made[0] for made in self._planted(record, pixels))]
            rows = [self._scores(gauges, copy, len(candidates)) for copy in copies]
            for place, (plain, *defective) in enumerate(zip(*rows, strict=True)):
                good[place].append(plain)
                bad[place].append(list(defective))
        groups = [record.group_id for record in self.judged(number)]
        return [FoldScores(groups, np.array(g), np.array(b)) for g, b in zip(good, bad, strict=True)]

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
            for made in self._planted(record, self.dataset.pixels_of(record)):
                if made is not None:
                    ((_, grid),) = gauges.results(made[0])
                    seen.append([_precision(grid, made[1], options) for options in candidates])
            for place, values in enumerate(zip(*seen, strict=True)):
                found[place].append(float(np.mean(values)))
        if not found[0]:
            raise UndefinedMetricError("no good image shows a planted defect, so that no map can be judged")
        return found

    def _fitted(self, number: int) -> list[Record]:
        """The images that the gauges are fitted on which judge fold `number`."""
        others = (record for fold in self.folds if fold is not self.folds[number] for record in fold)
        return evenly_spaced(list(others), MOST_FITTED)

    @staticmethod
    def _scores(gauges: "Gauges", pixels: np.ndarray | None, n_gauges: int) -> list[float]:
        """The score of an image by each gauge; NaN where there is no image."""
        if pixels is None:
            return [float("nan")] * n_gauges
        return [float(score) for score, _ in gauges.results(pixels)]

    def _planted(self, record: Record, pixels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
        """A copy with each kind of defect, and its mask."""
        records = self.dataset.records
        other = self.dataset.pixels_of(records[(records.index(record) + 1) % len(records)])
        inspected = self.regions.roi_mask(*pixels.shape[:2])
        for kind in KINDS:
            yield planted(kind, pixels, other, inspected, seed=self.seed, content=record.sha256)


class Gauges:
    """A gauge of each candidate, fitted on features that are computed once for all."""

    def __init__(self, parts: GoodParts, fitted: Sequence[Record], candidates: Sequence[PatchCoreOptions]) -> None:
        """Fit on `fitted`; the candidates agree in what `sight_of` tells."""
        detector = detector_with("patchcore", candidates[0])
        assert isinstance(detector, PatchCore)
        detector.load_weights()
        self._sight = detector.patch_features
        self._inspector = Inspector(detector, parts.regions.inside)
        images = FitImages(self._inspector, parts.dataset, fitted, rotations=parts.rotations)
        with torch.inference_mode():
            features = [self._sight(batch) for batch in images]
        self._detectors = [_of_features(options).fit(features, seed=parts.seed) for options in candidates]

    @torch.inference_mode()
    def results(self, pixels: np.ndarray) -> list[tuple[Tensor, Tensor]]:
        """The score (1,) and the grid (1, gh, gw) of the image (h, w, 3), by each gauge."""
        features = self._sight(self._inspector.resized(torch.from_numpy(pixels)[None]))
        return [detector(features) for detector in self._detectors]


def _of_features(options: PatchCoreOptions) -> PatchCore:
    """A detector that takes features (n, gh, gw, d) where others take pixels."""
    detector = detector_with("patchcore", options)
    assert isinstance(detector, PatchCore)
    detector.patch_features = nn.Identity()
    return detector


def _precision(grid: Tensor, mask: np.ndarray, options: PatchCoreOptions) -> float:
    """Average precision of the map against the mask (h, w), at the image size: that is how fine a map can be."""
    size = ImageSize.of(options.image_size)
    anomaly_map = upsample(grid, size, options.smoothing, *size)[0].numpy()
    seen = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size[::-1], Image.Resampling.BOX)) > 0
    return average_precision(anomaly_map.ravel(), seen.ravel())
