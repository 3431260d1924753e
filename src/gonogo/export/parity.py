"""The parity check: a bundle is written only where onnxruntime and the reference agree and no verdict flips."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from gonogo.calibration.boxes import BOXES, boxes_of
from gonogo.detectors.contract import FEATURES, NEAREST, HasMemoryBank
from gonogo.errors import ConfigError, ParityError
from gonogo.export.box_parity import BoxComparison, box_metrics, compared_boxes
from gonogo.images.dataset import Dataset, Record, evenly_spaced
from gonogo.inference.scorer import open_session, run_named
from gonogo.model.inspector import Inspector
from gonogo.model.saved import Model

Size = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]


@dataclass(frozen=True)
class ParityParams:
    """The `parity` section.

    Attributes:
        tolerance: largest difference of scores and of maps, relative to the largest score.
        batch_sizes: with which every calibrate and test image is inspected at its own size.
        other_sizes: [height, width] to which some of these images are resized and inspected once more.
        other_size_images: how many of them, evenly spaced; all where there are fewer.
        int8_auroc_change, int8_flips: how much a gauge in eight bits may lose; as in params.yaml.
    """

    tolerance: Annotated[float, Field(gt=0)]
    batch_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    other_sizes: Annotated[list[Size], Field(min_length=2)]
    other_size_images: Annotated[int, Field(ge=1)]
    int8_auroc_change: Annotated[float, Field(ge=0, le=1)]
    int8_flips: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class ParityResult:
    """One image at one size and batch size, through both runtimes. Map differences are absolute.

    nearest_difference: where the two give different good patches as the nearest one, the largest difference of the
        distances to them, both computed by the reference. Rounding may decide only among patches that are equally
        near, within the tolerance. None where the detector has no memory bank, or inspects tiles, since it is not known
        afterwards which tile a cell's nearest patch belongs to.
    features_difference: the largest difference of the features, relative to the image's largest one by the reference;
        None where the detector has none.
    boxes: of a gauge that finds boxes; otherwise None.
    """

    image: str
    size: str
    batch_size: int
    reference_score: float
    onnx_score: float
    map_difference: float
    nearest_difference: float | None = None
    features_difference: float | None = None
    boxes: BoxComparison | None = None


@dataclass(frozen=True)
class Parity:
    """The result of a parity check: every comparison, and whether parity holds."""

    comparisons: list[ParityResult]
    threshold: float
    tolerance: float

    @cached_property
    def differences(self) -> np.ndarray:
        """(n, 4): of score, map, distance to the nearest good patch, and features.

        The first three are relative to the image's own reference score or to the median one if larger.

        Infinite where onnxruntime gave something that is not a number.
        """
        reference = np.array([abs(c.reference_score) for c in self.comparisons])
        unit = np.maximum(reference, np.median(reference))[:, None]
        absolute = np.array(
            [
                [abs(c.onnx_score - c.reference_score), c.map_difference, c.nearest_difference or 0.0]
                for c in self.comparisons
            ]
        )
        of_features = np.array([[c.features_difference or 0.0] for c in self.comparisons])
        relative = np.hstack([absolute / np.where(unit > 0, unit, 1.0), of_features])
        return np.where(np.isfinite(relative), relative, np.inf)

    @property
    def flips(self) -> np.ndarray:
        """(n,) bool: the two runtimes give different verdicts."""
        return np.array(
            [
                (c.reference_score >= self.threshold) != (c.onnx_score >= self.threshold)
                or (c.boxes is not None and c.boxes.n_flips > 0)
                for c in self.comparisons
            ]
        )

    @property
    def beyond(self) -> np.ndarray:
        """(n,) bool: score, map, distance to the nearest, features or a box differ by more than the tolerance."""
        of_boxes = [c.boxes is not None and not c.boxes.holds(self.tolerance) for c in self.comparisons]
        return np.asarray(np.logical_or((self.differences > self.tolerance).any(axis=1), of_boxes))

    def metrics(self) -> dict[str, float | int | str | bool]:
        """The metrics of the stage. Differences are relative, in millionths; an infinite one becomes a large number."""
        reference = np.array([c.reference_score for c in self.comparisons])
        onnx = np.array([c.onnx_score for c in self.comparisons])
        constant = np.ptp(reference) == 0 or np.ptp(onnx) == 0 or not np.isfinite(onnx).all()
        largest = np.minimum(self.differences.max(axis=0) * 1e6, np.finfo(np.float32).max)
        further: dict[str, float | int | str | bool] = {}
        if any(c.nearest_difference is not None for c in self.comparisons):
            further["nearest_max_diff_e6"] = float(largest[2])
        if any(c.features_difference is not None for c in self.comparisons):
            further["features_max_diff_e6"] = float(largest[3])
        if found := [c.boxes for c in self.comparisons if c.boxes is not None]:
            further |= box_metrics(found)
        return further | {
            "passed": not (self.flips | self.beyond).any(),
            "n_comparisons": len(self.comparisons),
            "n_images": len({c.image for c in self.comparisons}),
            "n_flips": int(self.flips.sum()),
            "n_beyond_tolerance": int(self.beyond.sum()),
            "score_max_diff_e6": float(largest[0]),
            "map_max_diff_e6": float(largest[1]),
            "rank_agreement": 0.0 if constant else rank_agreement(reference, onnx),
            "worst_image": self.comparisons[int(self.differences[:, 0].argmax())].image,
        }

    def report(self) -> bytes:
        """The JSON report: the metrics, and a row for each comparison; all values must be finite."""
        columns = [field.name for field in fields(ParityResult) if field.name != "boxes"]
        boxes = [field.name for field in fields(BoxComparison)] if any(c.boxes for c in self.comparisons) else []
        lines = [
            [getattr(one, name) for name in columns] + [getattr(one.boxes, name) for name in boxes]
            for one in self.comparisons
        ]
        columns += boxes
        rows = ",\n".join(json.dumps(line, allow_nan=False) for line in lines)
        head = {"threshold": self.threshold, "tolerance": self.tolerance, "summary": self.metrics(), "columns": columns}
        return f'{json.dumps(head, indent=1, allow_nan=False)[:-2]},\n "comparisons": [\n{rows}\n]}}\n'.encode()

    def require_agreement(self) -> None:
        """Do nothing, or refuse.

        Raises:
            ParityError: a verdict flips or a difference is beyond the tolerance; the message names the image.
        """
        for failing, what in ((self.flips, "the verdict flips"), (self.beyond, "the difference is too large")):
            if failing.any():
                of_boxes = np.array([0.0 if c.boxes is None else c.boxes.corner_difference for c in self.comparisons])
                number = int(np.where(failing, self.differences.max(axis=1) + of_boxes, -1).argmax())
                first, (score, anomaly_map, nearest, features) = self.comparisons[number], self.differences[number]
                raise ParityError(
                    f"{what} on {first.image} at {first.size}, batch {first.batch_size}: reference score "
                    f"{first.reference_score:.9g}, onnxruntime {first.onnx_score:.9g}, threshold {self.threshold:.9g}; "
                    f"relative difference of the score {score:.3g}, of the map {anomaly_map:.3g}, of the "
                    f"distances to the nearest good patches that they name {nearest:.3g}, of the features "
                    f"{features:.3g}, tolerance "
                    f"{self.tolerance:.3g}{'' if first.boxes is None else first.boxes.sentence}; "
                    f"{failing.sum()} of {len(failing)} comparisons fail so; no bundle was written"
                )


def rank_agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Spearman's rank correlation of two lists of scores, in [-1, 1]."""
    from scipy import stats  # here, since it takes a second to import

    return float(stats.spearmanr(ours, theirs).statistic)


def check_parity(model: Model, onnx_path: Path, dataset: Dataset, params: ParityParams) -> Parity:
    """Run the reference and the ONNX file over every calibrate and test image.

    The reference inspects a few images of one size at a time, as it does in every stage. onnxruntime inspects each
    image at its own size in batches of every size, and some of them at each of the other sizes in batches of the
    largest one.

    Raises:
        ConfigError: the tolerance is not below the threshold's margin, so that a difference within it could flip a
            good part's verdict.
    """
    if params.tolerance >= model.threshold.margin:
        raise ConfigError(
            f"parity.tolerance is {params.tolerance:g}; it must be below calibrate.margin, {model.threshold.margin:g}"
        )
    session = open_session(onnx_path)
    inspector = model.inspector
    names = inspector.detector.output_names()
    records = dataset.with_role("calibrate", "test")
    comparisons: list[ParityResult] = []
    largest = max(params.batch_sizes)
    for size in [None, *((height, width) for height, width in params.other_sizes)]:
        chosen = records if size is None else evenly_spaced(records, params.other_size_images)
        for group, images in _batches(dataset, chosen, largest, size):
            at_once = inspector.at_once(*images.shape[1:3])
            parts = [inspector.inspect_all(images[start : start + at_once]) for start in range(0, len(images), at_once)]
            expected = {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
            for batch_size in params.batch_sizes if size is None else [largest]:
                for start in range(0, len(images), batch_size):
                    part = slice(start, start + batch_size)
                    scores, maps, *others = run_named(session, images[part], *names)
                    further = dict(zip(names, others, strict=True))
                    differences = _map_differences(maps, expected["anomaly_map"][part])
                    farther: Sequence[float | None] = [None] * len(maps)
                    if _compares_nearest(inspector):
                        farther = _nearest_differences(
                            inspector, images[part], expected[NEAREST][part], further[NEAREST]
                        )
                    apart: Sequence[float | None] = [None] * len(maps)
                    if FEATURES in names:
                        apart = _features_differences(further[FEATURES], expected[FEATURES][part])
                    boxes: Sequence[BoxComparison | None] = [None] * len(maps)
                    if set(BOXES) <= set(names):
                        reference_boxes = boxes_of(*(expected[name][part] for name in BOXES))
                        found = boxes_of(*(further[name] for name in BOXES))
                        boxes = [
                            compared_boxes(ours, theirs, model.threshold.threshold)
                            for ours, theirs in zip(reference_boxes, found, strict=True)
                        ]
                    comparisons += [
                        ParityResult(
                            image=record.path,
                            size=f"{images.shape[1]} x {images.shape[2]}",
                            batch_size=batch_size,
                            reference_score=float(reference),
                            onnx_score=float(score),
                            map_difference=float(difference),
                            nearest_difference=to_nearest,
                            features_difference=of_features,
                            boxes=of_boxes,
                        )
                        for record, reference, score, difference, to_nearest, of_features, of_boxes in zip(
                            group[part],
                            expected["score"][part],
                            scores,
                            differences,
                            farther,
                            apart,
                            boxes,
                            strict=True,
                        )
                    ]
    return Parity(comparisons, model.threshold.threshold, params.tolerance)


def _batches(
    dataset: Dataset, records: Sequence[Record], batch_size: int, size: tuple[int, int] | None
) -> Iterator[tuple[list[Record], np.ndarray]]:
    """Consecutive records whose images have one size, at most `batch_size`, with their pixels (b, h, w, 3) uint8.

    With `size` (height, width), images are resized to it first.
    """
    group: list[Record] = []
    images: list[np.ndarray] = []
    for record, pixels in zip(records, dataset.images_of(records), strict=True):
        if size is not None:
            pixels = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
        if images and (pixels.shape != images[0].shape or len(images) == batch_size):
            yield group, np.stack(images)
            group, images = [], []
        group.append(record)
        images.append(pixels)
    if images:
        yield group, np.stack(images)


def _map_differences(maps: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(b,) largest absolute difference of each map; infinite where the shapes differ."""
    if maps.shape != expected.shape:
        return np.full(len(expected), np.inf)
    return np.asarray(np.abs(maps - expected).reshape(len(expected), -1).max(axis=1))


def _features_differences(features: np.ndarray, expected: np.ndarray) -> list[float]:
    """(b,) largest difference of features (b, d, ch, cw), relative to the largest; infinite where shapes differ."""
    if features.shape != expected.shape:
        return [np.inf] * len(expected)
    largest = np.abs(expected).reshape(len(expected), -1).max(axis=1)
    apart = _map_differences(features, expected) / np.where(largest > 0, largest, 1.0)
    return [float(difference) for difference in apart]


def _compares_nearest(inspector: Inspector) -> bool:
    return isinstance(inspector.detector, HasMemoryBank) and inspector.tiles is None


@torch.inference_mode()
def _nearest_differences(
    inspector: Inspector, images: np.ndarray, expected: np.ndarray, named: np.ndarray
) -> list[float]:
    """(b,) largest difference of the distances to the patches `named` and to those `expected`, both (b, gh, gw).

    Infinite where a number in `named` is that of no patch.
    """
    detector = inspector.detector
    assert isinstance(detector, HasMemoryBank)
    if named.shape != expected.shape:
        return [np.inf] * len(expected)
    differences = []
    for pixels, ours, theirs in zip(images, expected, named, strict=True):
        if np.array_equal(ours, theirs):
            differences.append(0.0)
        elif theirs.min() < 0 or theirs.max() >= len(detector.bank_places()):
            differences.append(np.inf)
        else:
            resized = inspector.resized(torch.from_numpy(pixels[None]))
            to_ours, to_theirs = (detector.distance_to(resized, torch.from_numpy(of[None])) for of in (ours, theirs))
            differences.append(float((to_ours - to_theirs).abs().max()))
    return differences
