"""The router: it assigns an image to the category whose good images are nearest, or to none where all are far away.

An image is described by one row of numbers, the means of a backbone's features over a few parts of it: the mean over
all of it would not say where they are, by which categories of one material differ. A category is described by a few of
its good images, chosen so that every other one is near to one of them. The limit of a category is a slack times a
certified distance, which good images of the category rarely exceed. An image beyond the limits of all categories is
unknown.

The router stands beside `Inspector`, whose graph has one score and one map of an image: here are as many distances as
categories, and no map, region of interest or tile. Its images are read, resized and, on the line, run as a gauge's are.

A defective part that is sent to another category meets a gauge that may pass it, and a good one is rejected or recorded
as something else. A category whose good or defective test images go astray more often than `max_astray_rate` allows is
therefore left out of the set: the features of the router do not tell it from the others. A defective image that is a
good one of another category, byte for byte, is left to that one.

Source: nearest neighbours with a reject option, as in Scheirer et al. 2013, "Toward Open Set Recognition" (PAMI).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
from onnxruntime import InferenceSession
from pydantic import Field
from torch import Tensor, nn

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.route import ROUTER, ROUTER_FILE, CategoryRecord, LeftOut, routed
from gonogo.calibration.threshold import CalibrateParams, certify
from gonogo.detectors.anomaly_map import resize
from gonogo.detectors.backbones.pooled_features import PooledFeatures
from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.detectors.memory_bank.distance import l2
from gonogo.detectors.options import BackboneImageSize, RowOptions
from gonogo.errors import ConfigError, ParityError
from gonogo.export.graph import IMAGES, PIXELS, describe, traced
from gonogo.files import SCHEMA, seal, sha256_of
from gonogo.images.dataset import Dataset, Record
from gonogo.images.size import ImageSize
from gonogo.inference.bundle import MANIFEST
from gonogo.inference.bundle_set import DISTANCES, run_router
from gonogo.inference.scorer import Scorer, open_session

AT_ONCE = 8  # images of a batch, which takes 0.6 of the time of eight single images
RATES = ("accuracy", "defective_accuracy", "astray_rate", "wrong_rate", "stranger_rate")
AMONG = 8  # good images to choose from, at least, for each one that is kept, where there are so many


@dataclass(frozen=True)
class RouterParams:
    """The `router` section; the backbone's options are those of `fit`.

    cells: along each side of the image; features are averaged over each of cells x cells parts of it.
    images: good images of each category that an image is compared with.
    slack: the limit of a category, as a multiple of the certified distance of its good images.
    max_astray_rate: largest share of a category's defective test images, and of its good ones, that may be sent to
        another category.
    box_models: by the category of a gauge, the category whose bundle finds boxes in the same parts. The router knows
        the former alone.
    """

    backbone: str
    weights: str
    layers: Annotated[list[int], Field(min_length=1)]
    image_size: BackboneImageSize
    images: Annotated[int, Field(ge=1)]
    slack: Annotated[float, Field(ge=1)]
    max_astray_rate: Annotated[float, Field(ge=0, le=1)]
    weights_sha256: str | None = None
    cells: Annotated[int, Field(ge=1, le=8)] = 2
    box_models: dict[str, str] = field(default_factory=dict)

    def routed(self, categories: Sequence[str]) -> list[str]:
        """Those of the run's categories that the router tells apart.

        Raises:
            ConfigError: `box_models` names no category, one of them twice, or one as both.
        """
        named = [*self.box_models, *self.box_models.values()]
        if unknown := [name for name in named if name not in categories]:
            raise ConfigError(
                f"router.box_models: {', '.join(unknown)} is no category; expected names of {', '.join(categories)}, "
                "as {castings: castings_boxes}, the gauge before the boxes"
            )
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ConfigError(
                f"router.box_models names {', '.join(twice)} twice; a gauge has one box model at most, and a box model "
                "stands beside one gauge"
            )
        return [name for name in categories if name not in self.box_models.values()]


@dataclass(frozen=True)
class WrittenSet:
    """The categories of a set, those that were left out of it, and `routing_metrics` of the test images."""

    categories: list[CategoryRecord]
    left_out: list[LeftOut]
    metrics: dict[str, float]


class Router(nn.Module):
    """Distances of images to the good ones of each category, in the order of `categories`."""

    def __init__(self, params: RouterParams) -> None:
        super().__init__()
        self.params = params
        self.features = PooledFeatures(
            RowOptions(
                backbone=params.backbone,
                layers=params.layers,
                weights=params.weights,
                weights_sha256=params.weights_sha256,
                image_size=params.image_size,
            ),
            cells=params.cells,
        )
        self.categories: list[str] = []
        self.eval()

    def fit(self, datasets: Mapping[str, Dataset]) -> "Router":
        """Keep good images of each category, `params.images` at most: those that cover the others best.

        Of very many images every second, third and so on is a candidate.
        """
        assert self.features.backbone is not None
        self.features.backbone.load(self.params.weights, self.params.weights_sha256)
        self.categories = list(datasets)
        for number, dataset in enumerate(datasets.values()):
            records = [record for record in dataset.with_role("fit") if record.label == 0]
            step = max(1, len(records) // (AMONG * self.params.images))
            rows = self.rows(dataset, records[::step])
            chosen = greedy_coreset(rows, min(self.params.images, len(rows))).indices
            self.register_buffer(f"good_{number}", rows[chosen])
        return self

    def keep(self, names: Sequence[str]) -> None:
        """Forget all categories but these."""
        good = [self.get_buffer(f"good_{self.categories.index(name)}") for name in names]
        for number in range(len(self.categories)):
            delattr(self, f"good_{number}")
        for number, rows in enumerate(good):
            self.register_buffer(f"good_{number}", rows)
        self.categories = list(names)

    @torch.inference_mode()
    def rows(self, dataset: Dataset, records: Sequence[Record]) -> Tensor:
        """(n, d) mean features of the records' images."""
        batches = []
        for start in range(0, len(records), AT_ONCE):
            pixels = (torch.from_numpy(dataset.pixels_of(one)[None]) for one in records[start : start + AT_ONCE])
            batches.append(self.features(torch.cat([self._resized(image) for image in pixels])))
        return torch.cat(batches).clone()

    def distances_of(self, dataset: Dataset, records: Sequence[Record]) -> Tensor:
        """(n, k) distances of the records' images."""
        return self.distances(self.rows(dataset, records))

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, k) distances of uint8 RGB pixels (n, h, w, 3) to the nearest good image of each of k categories."""
        return self.distances(self.features(self._resized(pixels)))

    def distances(self, rows: Tensor) -> Tensor:
        """(n, k) distances of rows (n, d)."""
        good = [self.get_buffer(f"good_{number}") for number in range(len(self.categories))]
        return torch.stack([l2(rows, own).amin(dim=1) for own in good], dim=1)

    def _resized(self, pixels: Tensor) -> Tensor:
        return resize(pixels.permute(0, 3, 1, 2).float(), *ImageSize.of(self.params.image_size))


def export_router(router: Router, path: Path, *, metadata: Mapping[str, Any], opset: int) -> None:
    """Write the router as ONNX, from `pixels` (n, h, w, 3) uint8 to `distances` (n, k) float32, with its metadata."""
    proto = traced(router, {PIXELS: IMAGES}, [DISTANCES], opset)
    describe(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)


def require_same(expected: np.ndarray, got: np.ndarray, limits: np.ndarray, *, tolerance: float) -> float:
    """The largest difference of distances (n, k), relative to the largest of them.

    Raises:
        ParityError: it is beyond the tolerance, or an image is assigned to another category by `got`.
    """
    difference = float(np.abs(expected - got).max() / expected.max())
    flips = int((routed(expected, limits) != routed(got, limits)).sum())
    if flips or not difference <= tolerance:
        raise ParityError(
            f"the router's ONNX file disagrees with its model: {flips} of {len(got)} images are assigned to "
            f"another category, distances differ by {difference:.3g}, tolerance {tolerance:g}; no router was written"
        )
    return difference


def routing_metrics(
    distances: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], limits: np.ndarray
) -> dict[str, float]:
    """Shares of the test images that are assigned correctly, by category and as the mean over the categories.

    `accuracy` is the share of good images assigned to their own category, `defective_accuracy` that of defective ones;
    `astray_rate` the share of defective ones and `wrong_rate` that of all assigned to another category. For
    `stranger_rate` each category in turn is left out of the router: it is the share of that category's images that the
    router then calls unknown.

    Args:
        distances: of the test images of each category, (n, k), categories in the order of the keys.
        labels: of the same, 0 good, 1 defective.
        limits: of each category.
    """
    names = list(distances)
    rates: dict[str, float] = {}
    shares: dict[str, list[float]] = {name: [] for name in RATES}
    for number, name in enumerate(names):
        assigned = routed(distances[name], limits)
        good, astray = labels[name] == 0, (assigned != number) & (assigned != -1)
        own = {
            "accuracy": assigned[good] == number,
            "defective_accuracy": assigned[~good] == number,
            "astray_rate": astray[~good],
            "wrong_rate": astray,
        }
        others = [other for other in range(len(names)) if other != number]
        if others:
            own["stranger_rate"] = routed(distances[name][:, others], limits[others]) == -1
        for key, hits in own.items():
            if len(hits):
                rates[f"{key}.{name}"] = float(hits.mean())
                shares[key].append(rates[f"{key}.{name}"])
    return {key: float(np.mean(values)) for key, values in shares.items() if values} | rates


def own_test_images(datasets: Mapping[str, Dataset]) -> dict[str, list[Record]]:
    """The test images of each category without those defective ones that are good ones of another, byte for byte.

    Where each of several categories counts the good parts of the others among its defects, as each digit does, such an
    image belongs to the other category, which has it among its own test images or has learned from it.
    """
    good = {name: {one.sha256 for one in dataset.records if one.label == 0} for name, dataset in datasets.items()}
    own = {}
    for name, dataset in datasets.items():
        of_others = set().union(*(of for other, of in good.items() if other != name))
        own[name] = [one for one in dataset.with_role("test") if one.label == 0 or one.sha256 not in of_others]
    return own


def categories_astray(
    distances: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    limits: np.ndarray,
    *,
    max_astray_rate: float,
) -> list[LeftOut]:
    """The categories to leave out, so that no other sends more than `max_astray_rate` of its images astray.

    The share is that of good or of defective test images, the larger of the two. The category with the largest share is
    left out first; then the shares of the others are computed without it.

    Args:
        distances, labels, limits: as in `routing_metrics`.
    """
    names, kept = list(distances), list(range(len(distances)))
    left_out: list[LeftOut] = []
    while True:
        found = [
            _astray(names, kept, number, distances[name], labels[name], limits)
            for number, name in enumerate(names)
            if number in kept
        ]
        worst = max(found, key=lambda one: one.share)
        if worst.share <= max_astray_rate:
            return left_out
        left_out.append(worst)
        kept.remove(names.index(worst.name))


def _astray(
    names: list[str],
    kept: list[int],
    number: int,
    distances: np.ndarray,
    labels: np.ndarray,
    limits: np.ndarray,
) -> LeftOut:
    """Where the test images of the category `number` go, with distances (n, k) to all, among those kept."""
    assigned = routed(distances[:, kept], limits[kept])
    astray, defective = (assigned != -1) & (assigned != kept.index(number)), labels == 1
    mostly_to = kept[np.bincount(assigned[astray]).argmax()] if astray.any() else number
    return LeftOut(
        names[number],
        n_defective=int(defective.sum()),
        n_astray=int((astray & defective).sum()),
        mostly_to=names[mostly_to],
        n_good=int((~defective).sum()),
        n_good_astray=int((astray & ~defective).sum()),
    )


def write_set(
    folder: Path,
    router: Router,
    datasets: Mapping[str, Dataset],
    bundles: Mapping[str, Path],
    calibrate: CalibrateParams,
    *,
    tolerance: float,
    opset: int,
) -> WrittenSet:
    """Write the set: a copy of each bundle, and the router with limits certified on the calibrate images.

    The folder is emptied first. A category whose parts go astray is left out, see `categories_astray`; the router then
    forgets it.

    Args:
        datasets: by category, of those that the router tells apart.
        bundles: by category, also of the box models that stand beside these.
        tolerance: of distances, relative to the largest, between the router and its ONNX file.

    Raises:
        ConfigError: a category has the name of the router's folder in the set, or a box model finds no boxes or stands
            beside a bundle that finds boxes itself.
        ParityError: router and ONNX file disagree; there is no router in the folder then.
    """
    if ROUTER in bundles:
        raise ConfigError(f"params.yaml: a category is called {ROUTER!r}, as the router in the set is; rename it")
    if folder.exists():
        shutil.rmtree(folder)
    thresholds = _thresholds(router, datasets, calibrate)
    limits = np.array([router.params.slack * one.threshold for one in thresholds.values()])
    tests = own_test_images(datasets)
    labels = {name: np.array([one.label for one in images]) for name, images in tests.items()}
    distances = {name: router.distances_of(datasets[name], images).numpy() for name, images in tests.items()}
    left_out = categories_astray(distances, labels, limits, max_astray_rate=router.params.max_astray_rate)

    kept = [name for name in datasets if name not in {one.name for one in left_out}]
    columns = [router.categories.index(name) for name in kept]
    limits, expected = limits[columns], {name: distances[name][:, columns] for name in kept}
    router.keep(kept)
    records = []
    for name, limit in zip(kept, limits.tolist(), strict=True):
        shutil.copytree(bundles[name], folder / name)
        record = CategoryRecord(name, sha256_of(folder / name / MANIFEST), limit, thresholds[name])
        if (beside := router.params.box_models.get(name)) is not None:
            shutil.copytree(bundles[beside], folder / beside)
            Scorer(folder / name, threads=1).with_box_model(Scorer(folder / beside, threads=1))  # they go together
            record = replace(record, box_model=beside, box_bundle=sha256_of(folder / beside / MANIFEST))
        records.append(record)
    content = {
        "kind": ROUTER,
        "schema": SCHEMA,
        "categories": [one.to_dict() for one in records],
        "left_out": [asdict(one) for one in left_out],
    }
    exported = folder / ROUTER / ROUTER_FILE
    export_router(router, exported, metadata=content, opset=opset)
    session = open_session(exported)
    got = {name: _answers(session, datasets[name], tests[name]) for name in kept}
    difference = require_same(
        np.concatenate(list(expected.values())), np.concatenate(list(got.values())), limits, tolerance=tolerance
    )
    seal(folder / ROUTER, content, [ROUTER_FILE])
    metrics = routing_metrics(expected, {name: labels[name] for name in kept}, limits)
    metrics |= {"n_categories_left_out": len(left_out), "distance_max_diff_e6": difference * 1e6}
    return WrittenSet(records, left_out, metrics)


def _thresholds(
    router: Router, datasets: Mapping[str, Dataset], calibrate: CalibrateParams
) -> dict[str, ThresholdRecord]:
    """The certified threshold of each category's distance, from its calibrate images."""
    thresholds = {}
    for number, (name, dataset) in enumerate(datasets.items()):
        good = dataset.with_role("calibrate")
        thresholds[name] = certify(
            router.distances_of(dataset, good)[:, number].numpy(),
            [one.group_id for one in good],
            false_alarm_rate=calibrate.false_alarm_rate,
            confidence=calibrate.confidence,
            margin=calibrate.margin,
        )
    return thresholds


def _answers(session: InferenceSession, dataset: Dataset, records: Sequence[Record]) -> np.ndarray:
    """The exported router's distances (n, k) of the records' images."""
    return np.concatenate([run_router(session, dataset.pixels_of(one)[None]) for one in records])
