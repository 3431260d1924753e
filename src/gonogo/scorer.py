"""The gauge on the line: an image file becomes a verdict. Needs only onnxruntime, numpy and Pillow."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from gonogo.errors import IntegrityError
from gonogo.files import read_manifest
from gonogo.images import read_image, require_pixels
from gonogo.regions import Region, RegionRule, defect_mask, find_regions
from gonogo.threshold_record import ThresholdRecord

ONNX_FILE = "gauge.onnx"


@dataclass(frozen=True)
class Verdict:
    """What the gauge says of one image. `anomalous` is `score >= threshold`; the map is (h, w) float32.

    p_value: of a good part, the probability to score so high; a rejected one is rarer than all but so many good parts.
    uncertain: the score lies within the threshold's own confidence band, so that the verdict hangs on which good parts
        were drawn to calibrate.

    Regions are computed when first asked for. They say where, and nothing about whether: a reject may have none, where
    the part differs as a whole and no pixel stands out, and a pass may have some.
    """

    score: float
    threshold: float
    anomalous: bool
    p_value: float
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

    def __init__(self, bundle: Path, *, threads: int | None = None) -> None:
        """Load `bundle`; `threads` bounds onnxruntime's, None leaves the choice to it.

        Raises:
            IntegrityError: a file is missing or changed, the bundle's format is another one, or it has no threshold.
        """
        self.manifest = read_manifest(bundle)
        try:
            self.record = ThresholdRecord.from_dict(self.manifest["threshold"])
            self.category = str(self.manifest["category"])
            self.rule = RegionRule.from_dict(self.manifest["regions"])
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{bundle}: its manifest has no threshold, or none that makes sense ({error}); such a bundle is refused"
            ) from error
        if ONNX_FILE not in self.manifest["files"]:
            raise IntegrityError(f"{bundle}: its manifest does not list {ONNX_FILE}")
        self._session = open_session(bundle / ONNX_FILE, threads=threads)

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

    def score_pixels(self, pixels: np.ndarray) -> list[Verdict]:
        """Judge a batch (n, h, w, 3) of uint8 RGB pixels.

        Raises:
            ShapeError: another shape or dtype.
        """
        return self.judge(*self.run(pixels))

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n,) and maps (n, h, w) of pixels, as in `run_session`."""
        return run_session(self._session, pixels)

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
                self.record.uncertain(score),
                anomaly_map,
                self.rule,
            )
            for score, anomaly_map in zip(scores.tolist(), maps, strict=True)
        ]


def open_session(path: Path, *, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU."""
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
