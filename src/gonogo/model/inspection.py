"""Scores and maps of a dataset's images, in its order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, tee

import numpy as np

from gonogo.calibration.pixel_threshold import GoodPixels
from gonogo.calibration.regions import Region, RegionParams, RegionRule, defect_mask, find_regions
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
    inspector: Inspector, dataset: Dataset, records: Sequence[Record], images: Iterator[np.ndarray] | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Score, and map (h, w) float32 at the image's own size, of each record's image, which is read shortly before.

    Consecutive images of one size are inspected together, a few at once. On a cluster, its workers read and inspect the
    same groups; the order is the same.

    Args:
        inspector: the gauge.
        dataset: it has the images.
        records: of the images.
        images: their pixels, where the caller reads them; a cluster has no use for them.
    """
    groups = alike(records, inspector.at_once)
    if dataset.cluster is not None:
        for one in dataset.cluster.map(partial(_inspect, inspector, dataset, groups), range(len(groups)), together=1):
            yield from zip(one["scores"].tolist(), one["maps"], strict=True)
        return
    images = dataset.images_of(records) if images is None else images
    for group in groups:
        scores, maps = inspector.inspect(np.stack(list(islice(images, len(group)))))
        yield from zip(scores.tolist(), maps, strict=True)


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
    # One after the other: two large images together would take more memory than all else of a calibration.
    plain, with_noise = (float(inspector.inspect(one[None])[0][0]) for one in (pixels, noisy))
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
    return inspect_side_by_side([Gauge(inspector, rule, look)], dataset, records)[0]


@dataclass(frozen=True)
class Gauge:
    """An inspector, and what is done with its maps, as in `inspect_records`."""

    inspector: Inspector
    rule: RegionRule | None = None
    look: ImageSeen | None = None


def inspect_side_by_side(gauges: Sequence[Gauge], dataset: Dataset, records: Sequence[Record]) -> list[Inspection]:
    """What `inspect_records` gives for each gauge; an image is read once for all of them."""
    scores: list[list[float]] = [[] for _ in gauges]
    regions: list[list[list[Region]]] = [[] for _ in gauges]
    images = tee(dataset.images_of(records), len(gauges)) if dataset.cluster is None else [None] * len(gauges)
    results = [
        score_images(gauge.inspector, dataset, records, read) for gauge, read in zip(gauges, images, strict=True)
    ]
    for record, *of_gauges in zip(records, *results, strict=True):
        for number, (score, anomaly_map) in enumerate(of_gauges):
            scores[number].append(score)
            rule, look = gauges[number].rule, gauges[number].look
            if rule is None:
                continue
            marked = defect_mask(anomaly_map, rule)
            regions[number].append(find_regions(anomaly_map, marked, merge=rule.params.merge))
            if look is not None:
                look(record, anomaly_map, marked)
    return [
        Inspection(records, np.array(own, dtype=np.float32), found) for own, found in zip(scores, regions, strict=True)
    ]


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
    look = partial(_score_without, inspector, len(images) // max(1, len(images.records)))
    for number, one in enumerate(images.dataset.map_images(look, records, together=TOGETHER)):
        scores[number] = float(one["score"])
        if inspector.detector.localises:
            maps[number] = one["anomaly_map"]
            if len(maps) > n_shown:
                del maps[most_anomalous_first(scores, maps)[-1]]
        progress("fit images", number + 1, len(records), {})
    shown = most_anomalous_first(scores, range(len(records)))[:n_shown]
    paths = [record.path for record in records]
    return LeftOutScores(paths, scores, shown, [maps[number] for number in shown if number in maps])


def _score_without(inspector: Inspector, views: int, number: int, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Score and map of one fit image, which has so many views in the fit, by the detector without that image."""
    images = np.stack([pixels])  # as in `score_images`; `pixels[None]` has other strides, and another last bit
    scores, maps = inspector.inspect_without(images, range(number * views, (number + 1) * views))
    return {"score": scores[0], "anomaly_map": maps[0]}
