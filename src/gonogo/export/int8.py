"""The gate of a gauge in eight bits: it has its own certificate, and a bundle only where its verdicts hardly differ.

The scores of a gauge whose convolutions were quantised differ, mostly a little higher, so that the certificate of the
float gauge does not hold for it. Its threshold and pixel threshold are calibrated on the same images in the same way.
It is then compared with the float gauge on the test images; that comparison decides only whether a bundle is written.

Both networks run as a `Scorer` runs its own, by `run_session`. A `Scorer` itself needs a sealed bundle with a
threshold, and both of these come out of this gate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.regions import RegionRule
from gonogo.calibration.threshold import certify_like
from gonogo.errors import ConfigError, ParityError
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.export.parity import ParityParams
from gonogo.images.dataset import Dataset, Record
from gonogo.inference.scorer import open_session, run_session
from gonogo.model.inspection import inspect_good
from gonogo.model.saved import Model


@dataclass(frozen=True)
class Int8:
    """A gauge in eight bits beside the float gauge on the test images; scores and labels are (n,)."""

    threshold: ThresholdRecord
    rule: RegionRule
    images: list[str]
    labels: np.ndarray
    float_scores: np.ndarray
    int8_scores: np.ndarray
    float_threshold: float
    params: ParityParams

    @property
    def flips(self) -> np.ndarray:
        """(n,) bool: the two gauges, each by its own threshold, give different verdicts."""
        return np.asarray((self.float_scores >= self.float_threshold) != (self.int8_scores >= self.threshold.threshold))

    @property
    def auroc_change(self) -> float | None:
        """Image AUROC in eight bits minus that in floats; None where the test images are all good or all defective."""
        if len(set(self.labels.tolist())) < 2:
            return None
        return auroc(self.int8_scores, self.labels) - auroc(self.float_scores, self.labels)

    def metrics(self) -> dict[str, float | int]:
        """The metrics that the parity stage writes of it."""
        change = {} if self.auroc_change is None else {"int8_auroc_change": self.auroc_change}
        return change | {
            "int8_flips": int(self.flips.sum()),
            "int8_flip_share": float(self.flips.mean()),
            "int8_threshold": self.threshold.threshold,
            "int8_score_change": float(np.median(self.int8_scores / self.float_scores)) - 1,
        }

    def require_agreement(self) -> None:
        """Do nothing, or refuse.

        Raises:
            ParityError: more verdicts flip, or the image AUROC falls further, than the section `parity` allows.
        """
        advice = "set export.int8 to false, or allow more if you know what it costs; no bundle was written"
        if self.flips.mean() > self.params.int8_flips:
            first = int(np.flatnonzero(self.flips)[0])
            raise ParityError(
                f"in eight bits the verdict flips on {self.flips.sum()} of {len(self.flips)} test images, "
                f"{self.flips.mean():.3g} of them, parity.int8_flips allows {self.params.int8_flips:g}; the first is "
                f"{self.images[first]}: {self.float_scores[first]:.6g} of {self.float_threshold:.6g} in floats, "
                f"{self.int8_scores[first]:.6g} of {self.threshold.threshold:.6g} in eight bits; {advice}"
            )
        if self.auroc_change is not None and self.auroc_change < -self.params.int8_auroc_change:
            raise ParityError(
                f"in eight bits the image AUROC changes by {self.auroc_change:+.4f}, parity.int8_auroc_change allows a "
                f"fall of {self.params.int8_auroc_change:g}; {advice}"
            )


def judge_int8(model: Model, float_path: Path, int8_path: Path, dataset: Dataset, params: ParityParams) -> Int8:
    """Certify the ONNX file in eight bits on the calibrate images and score the test images with both files.

    Raises:
        ConfigError: the model was not calibrated on images held out from its fit.
    """
    if model.threshold.method != "holdout":
        raise ConfigError(
            f"export.int8 is true, but calibrate.method is {model.threshold.method!r}; a gauge in eight bits is "
            "certified by images held out from its fit: set one to false or the other to holdout"
        )
    if model.threshold.grown:
        raise ConfigError(
            "export.int8 is true, but with calibrate.grow_bank the calibrate images are in the memory bank, and a "
            "gauge in eight bits is certified by images that it does not know: set one of the two to false"
        )
    session = open_session(int8_path)
    calibrate, test = dataset.with_role("calibrate"), dataset.with_role("test")
    localises = model.rule.threshold is not None
    good, rule = inspect_good(
        calibrate, _scores_and_maps(session, dataset, calibrate), model.rule.params, localises=localises
    )
    certificate = model.threshold
    own = certify_like(certificate, good.scores, good.groups)
    return Int8(
        threshold=replace(own, calibrate_fingerprint=certificate.calibrate_fingerprint, date=certificate.date),
        rule=rule,
        images=[record.path for record in test],
        labels=np.array([record.label == 1 for record in test]),
        float_scores=np.array([score for score, _ in _scores_and_maps(open_session(float_path), dataset, test)]),
        int8_scores=np.array([score for score, _ in _scores_and_maps(session, dataset, test)]),
        float_threshold=certificate.threshold,
        params=params,
    )


def _scores_and_maps(
    session: onnxruntime.InferenceSession, dataset: Dataset, records: Sequence[Record]
) -> Iterator[tuple[float, np.ndarray]]:
    for record in records:
        scores, maps = run_session(session, dataset.pixels_of(record)[None])
        yield float(scores[0]), maps[0]
