"""The gauge on the line: an image file becomes a verdict. Needs only onnxruntime, numpy and Pillow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from gonogo.errors import IntegrityError, ShapeError
from gonogo.files import SCHEMA, read_manifest
from gonogo.images import read_image

ONNX_FILE = "gauge.onnx"


@dataclass(frozen=True)
class Verdict:
    """What the gauge says of one image. `anomalous` is `score >= threshold`; the map is (h, w) float32."""

    score: float
    threshold: float
    anomalous: bool
    anomaly_map: np.ndarray


class Scorer:
    """A bundle that `gonogo` proved, loaded after its hashes were checked."""

    def __init__(self, bundle: Path, *, threads: int | None = None) -> None:
        """Load `bundle`; `threads` bounds onnxruntime's, None leaves the choice to it.

        Raises:
            IntegrityError: a file is missing or changed, or the bundle has no threshold.
        """
        self.manifest = read_manifest(bundle)
        if self.manifest.get("schema") != SCHEMA:
            found = self.manifest.get("schema")
            raise IntegrityError(f"{bundle}: bundle format {found!r}, this gonogo reads {SCHEMA}; export it again")
        try:
            self.threshold = float(self.manifest["threshold"]["threshold"])
            self.category = str(self.manifest["category"])
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{bundle}: its manifest has no threshold; a bundle without one is refused") from error
        if ONNX_FILE not in self.manifest["files"]:
            raise IntegrityError(f"{bundle}: its manifest does not list {ONNX_FILE}")
        self._session = open_session(bundle / ONNX_FILE, threads=threads)

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
            Verdict(float(score), self.threshold, float(score) >= self.threshold, anomaly_map)
            for score, anomaly_map in zip(scores, maps, strict=True)
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
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ShapeError(f"pixels: expected (n, h, w, 3) uint8, got {pixels.shape} {pixels.dtype}")
    scores, maps = session.run(["score", "anomaly_map"], {"pixels": np.ascontiguousarray(pixels)})
    return scores, maps
