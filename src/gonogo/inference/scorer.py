"""The gauge on the line: an image file becomes a verdict. Needs only onnxruntime, numpy and Pillow."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.probability import probability_in
from gonogo.calibration.regions import Region, RegionRule, defect_mask, find_regions
from gonogo.compute.read_ahead import read_ahead
from gonogo.errors import ConfigError, ImageError, IntegrityError
from gonogo.images.reading import read_image, require_pixels
from gonogo.inference.bundle import ONNX_FILE as ONNX_FILE
from gonogo.inference.bundle import read_bundle
from gonogo.inference.good_patches import MOSAIC, TABLE, GoodPatches

BATCH_PIXELS = 4_000_000  # of all images that go through the network together; a larger image goes alone
AGREED = ("category", "data_fingerprint", "localises", "probability", "regions", "threshold")  # in manifest and graph

# What onnxruntime raises on a file that is no network, or one that it cannot run.
NO_NETWORK = (runtime.Fail, runtime.InvalidProtobuf, runtime.InvalidGraph, runtime.InvalidArgument, runtime.NoModel,
              runtime.NotImplemented, runtime.RuntimeException, runtime.EPFail, RuntimeError, ValueError)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What the gauge says of one image. `anomalous` is `score >= threshold`; the map is (h, w) float32.

    p_value: of a good part, the probability to score so high; a rejected one is rarer than all but so many good parts.
    probability: of being defective, where the gauge was calibrated on labelled defects too; otherwise None.
    uncertain: the score lies within the threshold's own confidence band, so that the verdict hangs on which good parts
        were drawn to calibrate.

    Regions are computed when first asked for. They say where, and nothing about whether: a reject may have none, where
    the part differs as a whole and no pixel stands out, and a pass may have some.
    """

    score: float
    threshold: float
    anomalous: bool
    p_value: float
    probability: float | None
    uncertain: bool
    anomaly_map: np.ndarray
    rule: RegionRule

    @cached_property
    def defect_mask(self) -> np.ndarray:
        """(h, w) bool: the pixels of all regions."""
        return defect_mask(self.anomaly_map, self.rule)

    @cached_property
    def regions(self) -> list[Region]:
        """Where the part differs, highest peak first; none where the gauge does not localise."""
        return find_regions(self.anomaly_map, self.defect_mask)


class Scorer:
    """A bundle that `gonogo` proved, loaded after its hashes were checked."""

    def __init__(self, bundle: Path, *, threads: int | None = None, trust: Path | None = None) -> None:
        """Load `bundle`, a folder or a `.gonogo` file.

        Args:
            threads: of onnxruntime; None leaves the choice to it.
            trust: file of a public key with whose private half the bundle must have been signed; None: whoever made it.

        Raises:
            IntegrityError: a file is missing or changed, the bundle's format is another one, it has no threshold, its
                network cannot be loaded, or the network's own record says something else than the manifest.
        """
        self._read = read = read_bundle(bundle, trust=trust)
        self._place = bundle
        self.manifest, self.fingerprint, self.signer = read.manifest, read.fingerprint, read.signer
        try:
            self.record = ThresholdRecord.from_dict(self.manifest["threshold"])
            self.probability = probability_in(self.manifest)
            self.category = str(self.manifest["category"])
            self.rule = RegionRule.from_dict(self.manifest["regions"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{bundle}: its manifest has no threshold, or none that makes sense ({error}); such a bundle is refused"
            ) from error
        try:
            self._session = open_session(read.gauge, threads=threads)
        except NO_NETWORK as error:
            raise IntegrityError(f"{bundle}: {ONNX_FILE} is no network that onnxruntime can load: {error}") from error
        _require_agreement(self.manifest, self._session, bundle)

    @property
    def threshold(self) -> float:
        """A score at or above it is anomalous."""
        return self.record.threshold

    def score_image(self, path: Path) -> Verdict:
        """Read an image file and judge it.

        Raises:
            ImageError: the file cannot be read as an image.
        """
        return self.score_pixels(read_image(path)[None])[0]

    def score_files(
        self, paths: Iterable[Path], *, batch_size: int = 1, workers: int = 2
    ) -> Iterator[Verdict | ImageError]:
        """Judge image files, each in its place: its verdict, or the error that says why it cannot be read.

        While one worker's images go through the network another decodes its own. At most `workers + 1` batches are
        waiting with their maps, however many files there are.

        Args:
            paths: read as they are needed, so that they may come from a generator.
            batch_size: files that a worker takes; those of them that follow each other with one size go through the
                network together, as long as they have no more than BATCH_PIXELS pixels.
            workers: threads that decode and score, each with as many of onnxruntime's own as `threads` allows.

        Raises:
            ConfigError: `batch_size` or `workers` is below 1.
            IntegrityError: a score is not a number.
        """
        if min(batch_size, workers) < 1:
            raise ConfigError(f"batch_size is {batch_size} and workers is {workers}; both must be at least 1")
        remaining = iter(paths)
        batches = iter(lambda: list(islice(remaining, batch_size)), [])
        for outcomes in read_ahead(self._score_some, batches, threads=workers, ahead=workers + 1):
            yield from outcomes

    def _score_some(self, paths: Sequence[Path]) -> list[Verdict | ImageError]:
        outcomes: list[Verdict | ImageError] = []
        alike: list[np.ndarray] = []

        def judge_alike() -> None:
            if alike:
                outcomes.extend(self.score_pixels(np.stack(alike)))
                alike.clear()

        for path in paths:
            try:
                pixels = read_image(path)
            except ImageError as error:
                judge_alike()
                outcomes.append(error)
                continue
            if alike and (alike[0].shape != pixels.shape or (len(alike) + 1) * pixels[..., 0].size > BATCH_PIXELS):
                judge_alike()
            alike.append(pixels)
        judge_alike()
        return outcomes

    def score_pixels(self, pixels: np.ndarray) -> list[Verdict]:
        """Judge a batch (n, h, w, 3) of uint8 RGB pixels.

        Raises:
            ShapeError: another shape or dtype.
        """
        return self.judge(*self.run(pixels))

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n,) and maps (n, h, w) of pixels, as in `run_session`."""
        return run_session(self._session, pixels)

    def run_matched(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """What `run` gives, and the number of the good patch that is nearest to each cell, (n, ch, cw) int64.

        The cells cover the image; `good_patches` has what the numbers mean. None where the gauge remembers no patches.
        """
        return run_matched(self._session, pixels)

    @cached_property
    def good_patches(self) -> GoodPatches | None:
        """The good patches that scores are distances to; None where the gauge remembers none, or the bundle has none.

        Raises:
            IntegrityError: what the bundle has of them makes no sense.
        """
        found = {TABLE, MOSAIC} & set(self._read.files)
        if not found:
            return None
        if len(found) == 1:
            raise IntegrityError(f"{self._place}: {TABLE} and {MOSAIC} go together, it has {found.pop()} alone")
        if not _remembers(self._session):
            raise IntegrityError(f"{self._place}: it has {TABLE}, and a network that names no good patch")
        return GoodPatches(self._read.bytes_of(TABLE), self._read.bytes_of(MOSAIC), self._place)

    def judge(self, scores: np.ndarray, maps: np.ndarray) -> list[Verdict]:
        """Verdicts of scores (n,), each with its map.

        Raises:
            IntegrityError: a score is not a number; it would compare with no threshold and pass.
        """
        if not np.isfinite(scores).all():
            raise IntegrityError(f"{self.category}: the bundle gave the score {scores[~np.isfinite(scores)][0]}")
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
            )
            for score, anomaly_map in zip(scores.tolist(), maps, strict=True)
        ]


def _require_agreement(manifest: dict[str, Any], session: onnxruntime.InferenceSession, bundle: Path) -> None:
    """Refuse a manifest that says of the gauge what the ONNX file, which parity has proven, does not say of itself."""
    told = session.get_modelmeta().custom_metadata_map
    for key in AGREED:
        try:
            own = json.loads(told[f"gonogo.{key}"])
        except (KeyError, ValueError) as error:
            raise IntegrityError(f"{bundle}: {ONNX_FILE} does not say its {key}; export again") from error
        if key not in manifest or own != manifest[key]:
            raise IntegrityError(
                f"{bundle}: manifest and {ONNX_FILE} disagree on {key}; one of them was changed or is of another bundle"
            )


def open_session(path: Path | bytes, *, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU, of an ONNX file or of its bytes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_session(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) and maps (n, h, w) float32 of uint8 RGB pixels (n, h, w, 3).

    Raises:
        ShapeError: another shape or dtype.
    """
    require_pixels(pixels)
    scores, maps = session.run(["score", "anomaly_map"], {"pixels": np.ascontiguousarray(pixels)})
    return scores, maps


def run_matched(
    session: onnxruntime.InferenceSession, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """As `run_session`, and the numbers (n, ch, cw) int64 of the bank's nearest entries where the graph gives them."""
    if not _remembers(session):
        return *run_session(session, pixels), None
    require_pixels(pixels)
    scores, maps, nearest = session.run(["score", "anomaly_map", "nearest"], {"pixels": np.ascontiguousarray(pixels)})
    return scores, maps, nearest


def _remembers(session: onnxruntime.InferenceSession) -> bool:
    return any(output.name == "nearest" for output in session.get_outputs())
