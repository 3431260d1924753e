"""Scores and maps of a dataset's images, in its order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from gonogo.calibration.pixel_threshold import GoodPixels
from gonogo.calibration.regions import Region, RegionParams, RegionRule, defect_mask, find_regions
from gonogo.compute.cluster import map_on
from gonogo.compute.progress import Progress
from gonogo.errors import DataError
from gonogo.images.dataset import Dataset, Record
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from gonogo.model.left_out import LeftOutScores, most_anomalous_first

ROUNDING = 1e-4
TOGETHER = 8  # images that a worker of a cluster takes at a time

# Called as (record, its map (h, w) float32, the pixels marked in it (h, w) bool).
ImageSeen = Callable[[Record, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Inspection:
    """Scores (n,) float32 of n records and, by a rule, the regions of each image, highest peak first."""

    records: Sequence[Record]
    scores: np.ndarray
    regions: list[list[Region]] = field(default_factory=list)

    @property
    def labels(self) -> np.ndarray:
        """(n,) bool; True is anomalous."""
        return np.array([record.label == 1 for record in self.records], dtype=bool)

    @property
    def groups(self) -> list[str]:
        """The group id of each record."""
        return [record.group_id for record in self.records]

    def score_rows(self) -> list[dict[str, str | float]]:
        """Each record's path, group and label with its score, as JSON values."""
        return [
            {"image": record.path, "group_id": record.group_id, "label": record.label, "score": float(score)}
            for record, score in zip(self.records, self.scores, strict=True)
        ]


def score_images(
    inspector: Inspector, dataset: Dataset, records: Sequence[Record]
) -> Iterator[tuple[float, np.ndarray]]:
    """Score, and map (h, w) float32 at the image's own size, of each record's image, which is read only then.

    Consecutive images of one size are inspected together, a few at once. On a cluster, its workers read and inspect the
    same groups; the order is the same.
    """
    groups = alike(records, inspector.at_once)
    inspect_group = partial(_inspect, inspector, dataset, groups)
    for one in map_on(dataset.cluster, inspect_group, range(len(groups)), together=1):
        yield from zip(one["scores"].tolist(), one["maps"], strict=True)


def alike(records: Sequence[Record], at_once: Callable[[int, int], int]) -> list[list[Record]]:
    """Consecutive records whose images have one size, at most `at_once(height, width)` in a group."""
    groups: list[list[Record]] = []
    for record in records:
        size = (record.height, record.width)
        last = groups[-1] if groups else []
        if last and (last[0].height, last[0].width) == size and len(last) < at_once(*size):
            last.append(record)
        else:
            groups.append([record])
    return groups


def _inspect(
    inspector: Inspector, dataset: Dataset, groups: Sequence[Sequence[Record]], number: int
) -> dict[str, np.ndarray]:
    scores, maps = inspector.inspect(np.stack([dataset.pixels_of(record) for record in groups[number]]))
    return {"scores": scores, "maps": maps}


def require_above_rounding(inspector: Inspector, dataset: Dataset, good: Inspection) -> None:
    """Do nothing, or refuse good scores that are no more than the rounding of floating-point numbers.

    No threshold above such scores holds in another runtime, whose rounding is another. Noise of one grey level, which
    no camera is without, tells how large a score of any meaning is.

    Raises:
        DataError: the largest good score is less than `ROUNDING` of what this noise adds to one.
    """
    pixels = dataset.pixels_of(good.records[0])
    noise = np.random.default_rng(0).integers(-1, 2, pixels.shape)
    noisy = np.clip(pixels.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    plain, with_noise = inspector.inspect(np.stack([pixels, noisy]))[0].tolist()
    added = abs(with_noise - plain)
    largest = float(np.abs(good.scores).max())
    if largest < ROUNDING * added:
        raise DataError(
            f"the good images' scores are all about 0 (at most {largest:.1e}, where noise of one grey level adds "
            f"{added:.2g}), so that a threshold above them would be one of rounding noise, and other in each runtime. "
            "The images are too few or too uniform for this detector: take real photographs, more of them, or set "
            "another fit.detector or less fit.explained_variance"
        )


def inspect_records(
    inspector: Inspector,
    dataset: Dataset,
    records: Sequence[Record],
    *,
    rule: RegionRule | None = None,
    look: ImageSeen | None = None,
) -> Inspection:
    """The scores of the records' images, and by a `rule` their regions.

    A map is not kept; `look` is called with it and the pixels that the rule marks in it.
    """
    scores, regions = [], []
    for record, (score, anomaly_map) in zip(records, score_images(inspector, dataset, records), strict=True):
        scores.append(score)
        if rule is None:
            continue
        marked = defect_mask(anomaly_map, rule)
        regions.append(find_regions(anomaly_map, marked, merge=rule.params.merge))
        if look is not None:
            look(record, anomaly_map, marked)
    return Inspection(records, np.array(scores, dtype=np.float32), regions)


def inspect_calibrate(inspector: Inspector, dataset: Dataset, params: RegionParams) -> tuple[Inspection, RegionRule]:
    """Scores of the calibrate images, and the rule for regions with the pixel threshold that their maps give.

    Maps are not kept. A detector that does not localise gets no pixel threshold.
    """
    records = dataset.with_role("calibrate")
    results = score_images(inspector, dataset, records)
    return inspect_good(records, results, params, localises=inspector.detector.localises)


def inspect_good(
    records: Sequence[Record], results: Iterable[tuple[float, np.ndarray]], params: RegionParams, *, localises: bool
) -> tuple[Inspection, RegionRule]:
    """The same for any good images that were not fitted on, from the score and the map (h, w) of each."""
    pixels = GoodPixels(params, [(record.height, record.width) for record in records])
    scores = []
    for score, anomaly_map in results:
        scores.append(score)
        pixels.add(anomaly_map)
    inspection = Inspection(records, np.array(scores, dtype=np.float32))
    return inspection, RegionRule(params, pixels.threshold() if localises else None)


def score_fit_images(inspector: Inspector, images: FitImages, *, n_shown: int, progress: Progress) -> LeftOutScores:
    """Score each of the images that the inspector's detector was just fitted on, as if it had not been among them.

    Args:
        images: those of the fit, in its order.
        n_shown: how many maps to keep, those of the highest scores; with 0 no image is scored.
        progress: called after each image.
    """
    records = list(images.records) if n_shown else []
    scores = np.zeros(len(records), dtype=np.float32)
    maps: dict[int, np.ndarray] = {}
    score_one = partial(_score_without, inspector, images)
    for number, one in enumerate(map_on(images.dataset.cluster, score_one, range(len(records)), together=TOGETHER)):
        scores[number] = float(one["score"])
        if inspector.detector.localises:
            maps[number] = one["anomaly_map"]
            if len(maps) > n_shown:
                del maps[most_anomalous_first(scores, maps)[-1]]
        progress("fit images", number + 1, len(records), {})
    shown = most_anomalous_first(scores, range(len(records)))[:n_shown]
    paths = [record.path for record in records]
    return LeftOutScores(paths, scores, shown, [maps[number] for number in shown if number in maps])


def _score_without(inspector: Inspector, images: FitImages, number: int) -> dict[str, np.ndarray]:
    """Score and map of one fit image, by the detector without that image."""
    views = len(images) // len(images.records)
    pixels = np.stack([images.dataset.pixels_of(images.records[number])])
    scores, maps = inspector.inspect_without(pixels, range(number * views, (number + 1) * views))
    return {"score": scores[0], "anomaly_map": maps[0]}
