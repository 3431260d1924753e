"""Two gauges on the same test images: differences of their metrics with intervals, and images with another verdict."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gonogo.errors import DataError, UndefinedMetricError
from gonogo.evaluation.accuracy.resampling import Resampled, bootstrap_intervals, resampled_metrics
from gonogo.evaluation.metric_table import METRICS

if TYPE_CHECKING:
    import pandas as pd

OF_IMAGES = ("ranks", "verdicts")  # kinds of metrics that the scores of images and the threshold decide
PAIRED = (*(name for name, metric in METRICS.items() if metric.has_interval and metric.kind in OF_IMAGES), "f1")
RECORDED = ["image", "role", "label", "defect_type", "group_id", "score", "threshold"]  # columns that are read


@dataclass(frozen=True)
class PairedImage:
    """One test image under both gauges.

    Attributes:
        image: its path in the dataset.
        label: 0 good, 1 anomalous.
        old_score, old_threshold, new_score, new_threshold: of the two gauges, each in its own unit.
    """

    image: str
    label: int
    defect_type: str
    group_id: str
    old_score: float
    old_threshold: float
    new_score: float
    new_threshold: float

    @property
    def was_rejected(self) -> bool:
        return self.old_score >= self.old_threshold

    @property
    def is_rejected(self) -> bool:
        return self.new_score >= self.new_threshold

    @property
    def old_relative(self) -> float:
        """The earlier score on a scale with its threshold at 1."""
        return _relative(self.old_score, self.old_threshold)

    @property
    def new_relative(self) -> float:
        """The later score on a scale with its threshold at 1."""
        return _relative(self.new_score, self.new_threshold)

    @property
    def newly_wrong(self) -> bool:
        """Whether the later gauge errs where the earlier one was right."""
        return self.was_rejected != self.is_rejected and self.is_rejected != bool(self.label)

    @property
    def newly_right(self) -> bool:
        """Whether the later gauge is right where the earlier one erred."""
        return self.was_rejected != self.is_rejected and self.is_rejected == bool(self.label)


def paired(old: Sequence[Mapping[str, str]], new: Sequence[Mapping[str, str]]) -> list[PairedImage]:
    """The test images that both sides' per-image records have, with the same label, in the order of the later ones.

    Raises:
        DataError: a side has a test image twice.
    """
    before, after = _tested(old, "old"), _tested(new, "new")
    both = after.merge(before[["image", "label", "old_score", "old_threshold"]], on=["image", "label"])
    return [PairedImage(**row) for row in both.to_dict("records")]


def _tested(rows: Sequence[Mapping[str, str]], side: str) -> "pd.DataFrame":
    """The records of the test images, with the score and the threshold of a side called as in `PairedImage`."""
    import pandas as pd  # where it is used: the workbench starts without it

    table = pd.DataFrame(rows, columns=None if rows else RECORDED, dtype=object)[RECORDED]
    tested = table[table.role == "test"].drop(columns="role")
    twice = tested.image[tested.image.duplicated()].unique()
    if len(twice):
        raise DataError(f"the {side} per-image records have {', '.join(twice)} more than once, and so no single score")
    numbers = tested.astype({"label": int, "score": float, "threshold": float})
    return numbers.rename(columns={name: f"{side}_{name}" for name in ("score", "threshold")})


def changed_verdicts(images: Sequence[PairedImage]) -> list[PairedImage]:
    """The images whose verdict changed: first those that are wrong now, then those that are right now."""
    changed = [image for image in images if image.newly_wrong or image.newly_right]
    return sorted(changed, key=lambda image: image.newly_right)


def difference_intervals(
    images: Sequence[PairedImage], *, n_resamples: int, confidence: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Paired bootstrap intervals of later minus earlier, by metric; each gauge at its own threshold.

    A part that is drawn counts for both gauges, so that the difficulty of the parts drawn affects both alike and
    cancels in the difference. A metric that has no value on these images is absent; all are absent where no score
    changed.

    Source: Efron and Tibshirani 1993, chapter 16; resampling of groups as in `bootstrap_intervals`.
    """
    if all((image.old_score, image.old_threshold) == (image.new_score, image.new_threshold) for image in images):
        return {}
    labels = np.array([image.label for image in images], dtype=bool)
    old, new = (
        resampled_metrics(np.array([getattr(image, side) for image in images]), labels, threshold)
        for side, threshold in (("old_score", images[0].old_threshold), ("new_score", images[0].new_threshold))
    )
    intervals: dict[str, tuple[float, float]] = {}
    for name in PAIRED:
        with suppress(UndefinedMetricError):
            intervals |= bootstrap_intervals(
                {name: _difference(old[name], new[name])},
                [image.group_id for image in images],
                n_resamples=n_resamples,
                confidence=confidence,
                seed=seed,
            )
    return intervals


def _relative(score: float, threshold: float) -> float:
    """The score over the threshold or, where that is no scale, as far above 1 as the score is above the threshold."""
    return score / threshold if threshold > 0 else 1 + score - threshold


def _difference(old: Resampled, new: Resampled) -> Resampled:
    """The later metric minus the earlier one, on the same resamples."""
    return lambda counts: new(counts) - old(counts)
