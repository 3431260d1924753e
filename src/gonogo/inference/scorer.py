"""The gauge on the line: from an image file to a verdict. Needs only onnxruntime, numpy and Pillow."""

import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from gonogo.calibration.boxes import BOXES, Boxes, FoundBox, box_classes_in, boxes_of
from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.probability import probability_in
from gonogo.calibration.regions import Region, RegionRule, defect_mask, find_regions
from gonogo.compute.memory import machine_bytes
from gonogo.compute.read_ahead import read_ahead
from gonogo.errors import ConfigError, DataError, ImageError, IntegrityError
from gonogo.files import regular_bytes
from gonogo.images.arrays import rgb_of_pixels
from gonogo.images.reading import read_image, require_pixels
from gonogo.inference.attribution import PatchRule
from gonogo.inference.bundle import ONNX_FILE as ONNX_FILE
from gonogo.inference.bundle import read_bundle
from gonogo.inference.good_patches import MOSAIC, TABLE, GoodPatches
from gonogo.inference.self_contained import require_self_contained
from gonogo.inference.vectors import Vectors, vectors_of
from gonogo.inference.working_memory import GraphSize

MEMORY_SHARE = 0.8  # of the machine's memory, which one image may need at most
KEPT_OF_PIXEL = 8  # bytes at most of a pixel of the image that a verdict keeps: its map, and what finds its regions
BATCH_BYTES = 1_000_000_000  # that all images of a batch need, by `working_bytes`; an image that needs more goes alone
# Facts that the manifest and the network's metadata both have, and that must be equal.
AGREED = ("category", "data_fingerprint", "localises", "probability", "regions", "threshold")
AGREED_LATER = ("features",)  # as AGREED, where the manifest has them: bundles of an older gonogo do not
FINDS_BOXES = "boxes"  # as AGREED, of a gauge that has it: the classes of the boxes that it finds

# What onnxruntime raises for a file that is not a network, or for a network that it cannot run.
NO_NETWORK = (runtime.Fail, runtime.InvalidProtobuf, runtime.InvalidGraph, runtime.InvalidArgument, runtime.NoModel,
              runtime.NotImplemented, runtime.RuntimeException, runtime.EPFail, RuntimeError, ValueError)  # fmt: skip
FAILURES = (*NO_NETWORK, MemoryError, OSError, ArithmeticError, LookupError)  # of scoring one image

PASS: Literal["pass"] = "pass"  # noqa: S105 - a verdict
REJECT: Literal["reject"] = "reject"
UNCERTAIN = "uncertain"  # in place of either, where uncertain verdicts are sorted apart
UNKNOWN = "unknown"  # the label of an image that belongs to no category of a set of bundles; it has no score
ERROR = "error"  # counts an image that cannot be read; its row has the key `error` and no `verdict`

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class _once(Generic[Owner, Value]):
    """As `functools.cached_property`, without the lock that this has in Python 3.11 for all instances together.

    With it, a verdict on a small image waits until the regions of a large one, in another thread, are found.
    """

    def __init__(self, compute: Callable[[Owner], Value]) -> None:
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, owner: Owner, _: type[Owner]) -> Value:
        value = owner.__dict__[self._name] = self._compute(owner)
        return value


@dataclass(frozen=True)
class BoxModel:
    """The bundle that found the boxes beside the verdict of another one, the gauge.

    category: of the bundle that finds boxes.
    bundle: its fingerprint.
    threshold: of the boxes' scores, in a unit of its own; it is certified by good parts as that of the gauge is.
    """

    category: str
    bundle: str
    threshold: float


@dataclass(frozen=True)
class Verdict:
    """The gauge's decision on one image.

    Attributes:
        score: higher is more anomalous, in the detector's own unit.
        threshold: of the score, in the same unit.
        anomalous: whether `score >= threshold`.
        p_value: the probability that a good part scores at least as high.
        probability: that the part is defective, if the gauge was calibrated on labelled defects too; otherwise None.
        uncertain: whether the score lies within the confidence band of the threshold, so that another draw of good
            parts to calibrate on could have turned the verdict.
        anomaly_map: (h, w) float32 of the image's size; higher is more anomalous.
        rule: turns the map into regions.
        boxes: of a gauge that finds boxes, those at or above the threshold, best first, so that a part is rejected
            where there is one; with `box_model`, those that it found beside the gauge, which decide nothing; None where
            neither finds any.
        box_model: which model found the boxes beside the gauge; None where the gauge itself did.
        features: (d, ch, cw) float32 of cells that cover the image, where they were asked for and the bundle has them.

    Regions are computed at their first use. They show where a part differs and do not decide the verdict: a rejected
    part has no region if it differs as a whole and no pixel stands out, and a part that passes may have regions.
    """

    score: float
    threshold: float
    anomalous: bool
    p_value: float
    probability: float | None
    uncertain: bool
    anomaly_map: np.ndarray
    rule: RegionRule
    features: np.ndarray | None = None
    boxes: Sequence[FoundBox] | None = None
    box_model: BoxModel | None = None

    @property
    def boxes_decide(self) -> bool:
        """Whether the verdict is that of the boxes, which then stand in place of the map."""
        return self.boxes is not None and self.box_model is None

    @property
    def label(self) -> Literal["pass", "reject"]:
        """The verdict in one word, as rows, folders and counters have it."""
        return REJECT if self.anomalous else PASS

    def row(self) -> dict[str, Any]:
        """The verdict as JSON values: what every row, report and answer says of it."""
        row = {
            "verdict": self.label,
            "score": self.score,
            "threshold": self.threshold,
            "p_value": self.p_value,
            "probability": self.probability,
            "uncertain": self.uncertain,
            "regions": [asdict(region) for region in self.regions],
        }
        if self.boxes is not None:
            row["boxes"] = [asdict(box) for box in self.boxes]
        return row if self.box_model is None else row | {"box_model": asdict(self.box_model)}

    @_once
    def defect_mask(self) -> np.ndarray:
        """(h, w) bool: the pixels of all regions."""
        return defect_mask(self.anomaly_map, self.rule)

    @_once
    def regions(self) -> list[Region]:
        """The regions in which the part differs, highest peak first; empty if the gauge does not localise."""
        return find_regions(self.anomaly_map, self.defect_mask, merge=self.rule.params.merge)

    @_once
    def region(self) -> Region | None:
        """The place of the defect: the best box where there is one, otherwise the region with the highest peak."""
        if self.boxes:
            return _region_of(self.boxes[0], *self.anomaly_map.shape)
        return self.regions[0] if self.regions else None

    @_once
    def vectors(self) -> Vectors | None:
        """The vectors by which the image, and `region`, are compared with others; None without features."""
        if self.features is None:
            return None
        threshold = 0.0 if self.rule.threshold is None else self.rule.threshold.threshold  # without one, no regions
        mask = self.defect_mask
        if self.boxes and self.region is not None:
            x, y, width, height = self.region.box
            mask = np.zeros_like(mask)
            mask[y : y + height, x : x + width] = True
        regions = [] if self.region is None else [self.region]
        return vectors_of(self.features, regions, mask, self.anomaly_map, threshold)


class Scorer:
    """A bundle whose hashes were checked, loaded into onnxruntime: it scores images and judges them."""

    def __init__(self, bundle: Path, *, threads: int | None = None, trust: Path | None = None) -> None:
        """Load `bundle`, a folder or a `.gonogo` file.

        Args:
            threads: number of onnxruntime's threads; None: onnxruntime chooses.
            trust: file of a public key; a bundle that is not signed with its private half is refused. None: signatures
                are not checked.

        Raises:
            IntegrityError: a file is missing or was changed, the bundle's format is another one, it has no threshold,
                its network cannot be loaded, or the network's metadata contradict the manifest.
        """
        read = read_bundle(bundle, trust=trust)
        self._path = bundle
        self.box_model: Scorer | None = None
        self._pictures = {name: read.files[name] for name in (TABLE, MOSAIC) if name in read.files}
        self.manifest, self.fingerprint, self.signer = read.manifest, read.fingerprint, read.signer
        try:
            self.record = ThresholdRecord.from_dict(self.manifest["threshold"])
            self.probability = probability_in(self.manifest)
            self.box_classes = box_classes_in(self.manifest)
            self.category = str(self.manifest["category"])
            self.rule = RegionRule.from_dict(self.manifest["regions"])
            rule = self.manifest.get("patches")
            self.patch_rule = None if rule is None else PatchRule.from_dict(rule)
            self._graph_size = GraphSize.from_dict(self.manifest)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{bundle}: the manifest has no valid category, threshold, regions or preprocessing ({error!r}); "
                "export again"
            ) from error
        require_self_contained(read.gauge, str(bundle))
        try:
            self._session = open_session(read.gauge, threads=threads)
        except NO_NETWORK as error:
            raise IntegrityError(f"{bundle}: onnxruntime cannot load {ONNX_FILE}: {error}") from error
        _require_agreement(self.manifest, self._session, bundle)
        features = self.manifest.get("features")
        if features is not None and not _gives(self._session, "features"):
            raise IntegrityError(f"{bundle}: the manifest tells of features, but the network gives none; export again")
        self.space: str | None = None if features is None else features["space"]
        self.good_distances: Mapping[str, float] = self.manifest.get("good_distances") or {}
        self._one_at_a_time = threading.Lock()

    @property
    def threshold(self) -> float:
        """A score at or above it is anomalous."""
        return self.record.threshold

    def with_box_model(self, box_model: "Scorer") -> Self:
        """This gauge, whose verdicts also have the boxes that another bundle finds in the same parts.

        Raises:
            ConfigError: that bundle finds no boxes, or this one finds boxes itself.
        """
        if box_model.box_classes is None:
            raise ConfigError(
                f"the bundle of {box_model.category} finds no boxes, so that it cannot stand beside the gauge of "
                f"{self.category}; name one that was fitted with task: boxes"
            )
        if self.box_classes is not None:
            raise ConfigError(
                f"the bundle of {self.category} finds boxes itself, so that none can stand beside it; name that of a "
                "gauge without boxes"
            )
        self.box_model = box_model
        return self

    @property
    def bundles(self) -> tuple["Scorer", ...]:
        """This bundle, and the one that finds boxes beside it where there is one."""
        return (self,) if self.box_model is None else (self, self.box_model)

    def require_space(self) -> str:
        """Identifies what the bundle's features are: those of another space cannot be compared with them.

        Raises:
            DataError: the bundle gives none.
        """
        if self.space is not None:
            return self.space
        reason = "its detector reads no features of a pretrained network"
        if "features" not in self.manifest:
            reason = "an older gonogo wrote it: run the pipeline again"
        raise DataError(f"the bundle of {self.category} gives no features to compare images by; {reason}")

    def working_bytes(self, height: int, width: int) -> int:
        """Upper estimate of the memory, in bytes, that one image takes at most from its file to its regions.

        A box model runs once the gauge has run, and what this gave of the image is kept meanwhile.
        """
        own = self._graph_size.working_bytes(height, width)
        if self.box_model is None:
            return own
        return max(own, self.box_model.working_bytes(height, width) + KEPT_OF_PIXEL * height * width)

    def score_image(self, path: Path) -> Verdict:
        """Read an image file and judge it.

        Raises:
            ImageError: the file cannot be read as an image, or not be scored.
        """
        return self.score_one(read_image(path), path)

    def score_one(self, pixels: np.ndarray, where: Path | str, *, features: bool = False) -> Verdict:
        """Judge an image (h, w, 3) of uint8 RGB pixels, with its regions; `where` is what a message calls it.

        With `features`, the verdict has them, if the bundle has any.

        Whatever goes wrong is this image's error, so that no image can end the work on others. Images that need more
        memory than a batch are judged one at a time.

        Raises:
            ImageError: the image needs more memory than MEMORY_SHARE of the machine's, the network fails on it or
                gives no number, or memory is short.
        """
        height, width = pixels.shape[:2]
        needed, room = self.working_bytes(height, width), int(MEMORY_SHARE * machine_bytes())
        if 0 < room < needed:
            raise ImageError(
                f"{where} cannot be scored: {width} x {height} pixels need up to {needed / 1e6:,.0f} MB of memory, and "
                f"at most {room / 1e6:,.0f} MB are taken on this machine"
            )
        try:
            with self._one_at_a_time if needed > BATCH_BYTES else nullcontext():
                (verdict,) = self.score_pixels(pixels[None], features=features)
                assert verdict.regions is not None  # computed now, and cached
        except FAILURES as error:
            reason = str(error) or type(error).__name__
            raise ImageError(f"{where} cannot be scored, {width} x {height} pixels: {reason}") from error
        return verdict

    def score_array(self, pixels: np.ndarray, pixel_format: str, where: Path | str = "the array") -> Verdict:
        """Judge an image in an array whose format is named, as "bgr8"; see `images.arrays.rgb_of_pixels`.

        Raises:
            ConfigError, ShapeError: the format has no such name, or the array is not of it.
            ImageError: a number is beyond its range, or as `score_one`.
        """
        return self.score_one(rgb_of_pixels(pixels, pixel_format), where)

    def score_files(
        self, paths: Iterable[Path], *, batch_size: int = 1, workers: int = 2
    ) -> Iterator[Verdict | ImageError]:
        """Judge image files in their order: for each its verdict, or the error that says why there is none.

        While one worker's images go through the network, another worker decodes its own. At most `workers + 1` batches
        with their maps are in memory, for any number of files.

        Args:
            paths: consumed as they are needed, so that a generator will do.
            batch_size: files that a worker takes at once. Consecutive images of one size go through the network
                together, as many as need BATCH_BYTES of memory.
            workers: threads that decode and score, each with as many threads of onnxruntime as `threads` says.

        Raises:
            ConfigError: `batch_size` or `workers` is below 1.
        """
        if min(batch_size, workers) < 1:
            raise ConfigError(f"batch_size is {batch_size} and workers is {workers}; both must be at least 1")
        remaining = iter(paths)
        batches = iter(lambda: list(islice(remaining, batch_size)), [])
        for outcomes in read_ahead(self._score_some, batches, threads=workers, ahead=workers + 1):
            yield from outcomes

    def _score_some(self, paths: Sequence[Path]) -> list[Verdict | ImageError]:
        outcomes: list[Verdict | ImageError] = []
        alike: list[tuple[Path, np.ndarray]] = []

        def judge_alike() -> None:
            outcomes.extend(self._score_alike(alike))
            alike.clear()

        for path in paths:
            try:
                pixels = read_image(path)
            except ImageError as error:
                judge_alike()
                outcomes.append(error)
                continue
            needed = (len(alike) + 1) * self.working_bytes(*pixels.shape[:2])
            if alike and (alike[0][1].shape != pixels.shape or needed > BATCH_BYTES):
                judge_alike()
            alike.append((path, pixels))
        judge_alike()
        return outcomes

    def _score_alike(self, images: Sequence[tuple[Path, np.ndarray]]) -> list[Verdict | ImageError]:
        """The outcomes of images of one size, together or, where that fails, one by one."""
        if len(images) > 1:
            with suppress(*FAILURES):
                return [*self.score_pixels(np.stack([pixels for _, pixels in images]))]
        return [self._outcome(path, pixels) for path, pixels in images]

    def _outcome(self, path: Path, pixels: np.ndarray) -> Verdict | ImageError:
        try:
            return self.score_one(pixels, path)
        except ImageError as error:
            return error

    def score_pixels(self, pixels: np.ndarray, *, features: bool = False) -> list[Verdict]:
        """Judge a batch (n, h, w, 3) of uint8 RGB pixels; with `features` as in `score_one`.

        Raises:
            ShapeError: another shape or dtype.
        """
        if not features or self.space is None:
            return self.add_boxes(pixels, self.judge(*self.outputs(pixels)))
        names = () if self.box_classes is None else BOXES
        scores, maps, *found, given = run_named(self._session, pixels, *names, "features")
        verdicts = self.judge(scores, maps, boxes_of(*found) if found else None)
        verdicts = [replace(verdict, features=own) for verdict, own in zip(verdicts, given, strict=True)]
        return self.add_boxes(pixels, verdicts)

    def add_boxes(self, pixels: np.ndarray, verdicts: list[Verdict]) -> list[Verdict]:
        """The verdicts on images (n, h, w, 3), with the boxes of the box model beside the gauge, if there is one."""
        beside = self.box_model
        if beside is None:
            return verdicts
        said = BoxModel(beside.category, beside.fingerprint, beside.threshold)
        found = beside.score_pixels(pixels)
        return [replace(one, boxes=own.boxes, box_model=said) for one, own in zip(verdicts, found, strict=True)]

    def outputs(self, pixels: np.ndarray) -> tuple[Any, ...]:
        """What `judge` takes of a batch of pixels: all that the network computes for a verdict, thus boxes too."""
        if self.box_classes is None:
            return self.run(pixels)
        scores, maps, *found = run_named(self._session, pixels, *BOXES)
        return scores, maps, boxes_of(*found)

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n,) and maps (n, h, w) of a batch of pixels; see `run_session`."""
        return run_session(self._session, pixels)

    def run_matched(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """As `run`, and for each cell of the image the number of the nearest good patch, (n, ch, cw) int64.

        The cells are a grid over the whole image; the numbers are those of `good_patches`. The third value is None if
        the detector has no memory bank.
        """
        return run_matched(self._session, pixels)

    def run_explained(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
        """As `run_matched`, and the patch scores (n, t, gh, gw) of the images' tiles; None where the graph lacks them.

        `patch_rule` says how they decide the score, and where they lie.
        """
        names = [name for name in ("nearest", "patch_scores") if _gives(self._session, name)]
        scores, maps, *given = run_named(self._session, pixels, *names)
        found = dict(zip(names, given, strict=True))
        return scores, maps, found.get("nearest"), found.get("patch_scores")

    @cached_property
    def good_patches(self) -> GoodPatches | None:
        """The good patches of the memory bank; None if the detector has no bank, or the bundle no pictures of it.

        Raises:
            IntegrityError: the bundle's files of them are incomplete or contradict each other.
        """
        if not self._pictures:
            return None
        if len(self._pictures) == 1:
            raise IntegrityError(f"{self._path}: expected both {TABLE} and {MOSAIC}, got {min(self._pictures)} alone")
        if not _gives(self._session, "nearest"):
            raise IntegrityError(f"{self._path}: it has {TABLE}, but its network gives no nearest good patches")
        return GoodPatches(self._pictures[TABLE], self._pictures[MOSAIC], self._path)

    def judge(self, scores: np.ndarray, maps: np.ndarray, found: Sequence[Boxes] | None = None) -> list[Verdict]:
        """Verdicts of scores (n,), each with its map and, of a gauge that finds boxes, with those that it `found`.

        Raises:
            IntegrityError: a score is not a finite number; compared with the threshold it would pass.
        """
        if not np.isfinite(scores).all():
            raise IntegrityError(f"{self.category}: the bundle gave the score {scores[~np.isfinite(scores)][0]}")
        boxes: Sequence[Boxes | None] = [None] * len(maps) if found is None else found
        return [
            Verdict(
                score,
                self.threshold,
                score >= self.threshold,
                self.record.p_value(score),
                None if self.probability is None else self.probability.of(score),
                self.record.uncertain(score),
                anomaly_map,
                self.rule,
                boxes=None if self.box_classes is None or own is None else self.box_classes.above(self.threshold, own),
            )
            for score, anomaly_map, own in zip(scores.tolist(), maps, boxes, strict=True)
        ]


def _region_of(box: FoundBox, height: int, width: int) -> Region:
    """The pixels of an image of this height and width that a box touches; its peak and mean are the score."""
    left, top = (min(max(0, math.floor(at)), side - 1) for at, side in ((box.x, width), (box.y, height)))
    right, bottom = min(math.ceil(box.x + box.width), width), min(math.ceil(box.y + box.height), height)
    across, down = max(1, right - left), max(1, bottom - top)
    centroid = (left + (across - 1) / 2, top + (down - 1) / 2)
    long, short = max(across, down), min(across, down)
    return Region((left, top, across, down), across * down, centroid, box.score, box.score, 1.0, long / short)


def _require_agreement(manifest: dict[str, Any], session: onnxruntime.InferenceSession, bundle: Path) -> None:
    """Refuse a manifest that contradicts the metadata inside the ONNX file, which is the one that parity compared."""
    metadata = session.get_modelmeta().custom_metadata_map
    has_boxes = FINDS_BOXES in manifest or f"gonogo.{FINDS_BOXES}" in metadata or _gives(session, FINDS_BOXES)
    boxes = [FINDS_BOXES] if has_boxes else []
    for key in (*AGREED, *(key for key in AGREED_LATER if key in manifest), *boxes):
        try:
            own = json.loads(metadata[f"gonogo.{key}"])
        except (KeyError, ValueError) as error:
            raise IntegrityError(f"{bundle}: the metadata of {ONNX_FILE} lack {key}; export again") from error
        if key not in manifest or own != manifest[key]:
            raise IntegrityError(
                f"{bundle}: manifest and {ONNX_FILE} disagree on {key}; one of them was changed or is of another bundle"
            )


def open_session(network: Path | bytes, *, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU, of an ONNX file or of its bytes.

    It gives memory back after each run, where onnxruntime would keep the most that an image ever took; that costs no
    time that could be measured. Its threads sleep while they wait, see `benchmarks/spinning.py`.

    Raises:
        IntegrityError: a tensor of the network lies in another file.
        OSError: the file cannot be read.
        One of NO_NETWORK: onnxruntime cannot load it.
    """
    network = regular_bytes(network) if isinstance(network, Path) else network
    require_self_contained(network, "the ONNX file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def run_session(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) and maps (n, h, w) float32 of uint8 RGB pixels (n, h, w, 3).

    Raises:
        ShapeError: another shape or dtype.
    """
    scores, maps = run_named(session, pixels)
    return scores, maps


def run_named(session: onnxruntime.InferenceSession, pixels: np.ndarray, *names: str) -> list[np.ndarray]:
    """As `run_session`, and the further outputs of the graph that are named, in their order."""
    require_pixels(pixels)
    given: list[np.ndarray] = session.run(["score", "anomaly_map", *names], {"pixels": np.ascontiguousarray(pixels)})
    return given


def run_matched(
    session: onnxruntime.InferenceSession, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """As `run_session`, and the numbers (n, ch, cw) int64 of the bank's nearest entries where the graph gives them."""
    if not _gives(session, "nearest"):
        return *run_session(session, pixels), None
    scores, maps, nearest = run_named(session, pixels, "nearest")
    return scores, maps, nearest


def _gives(session: onnxruntime.InferenceSession, name: str) -> bool:
    return any(output.name == name for output in session.get_outputs())
