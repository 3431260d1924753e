"""Two gauges on the same test images: how far apart they are, with intervals, and where their verdicts differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gonogo.errors import UndefinedMetricError
from gonogo.evaluation.accuracy.metrics import Statistic, bootstrap_intervals, image_statistics

PAIRED = ("image_auroc", "image_ap", "false_alarm_rate", "recall", "f1")


@dataclass(frozen=True)
class Judged:
    """One test image under both gauges.

    Attributes:
        image: its path in the manifest.
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


def paired(old: Sequence[Mapping[str, str]], new: Sequence[Mapping[str, str]]) -> list[Judged]:
    """The test images that both sides' per-image records have, with the same label, in the order of the later ones."""
    before = {(row["image"], row["label"]): row for row in old if row["role"] == "test"}
    return [
        Judged(
            image=row["image"],
            label=int(row["label"]),
            defect_type=row["defect_type"],
            group_id=row["group_id"],
            old_score=float(then["score"]),
            old_threshold=float(then["threshold"]),
            new_score=float(row["score"]),
            new_threshold=float(row["threshold"]),
        )
        for row in new
        if row["role"] == "test" and (then := before.get((row["image"], row["label"]))) is not None
    ]


def changed_verdicts(judged: Sequence[Judged]) -> list[Judged]:
    """Those whose verdict changed: first what got wrong, then what got right."""
    return sorted((one for one in judged if one.newly_wrong or one.newly_right), key=lambda one: one.newly_right)


def difference_intervals(
    judged: Sequence[Judged], *, n_resamples: int, confidence: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Paired bootstrap intervals of later minus earlier, by metric; each gauge at its own threshold.

    Parts are drawn, and each brings its shots' scores under both gauges: what both find hard moves both, and cancels.
    A metric that has no value on these images is absent; all are where no score moved.

    Source: Efron and Tibshirani 1993, chapter 16; resampling of groups as in `bootstrap_intervals`.
    """
    if all((one.old_score, one.old_threshold) == (one.new_score, one.new_threshold) for one in judged):
        return {}
    old = np.array([one.old_score for one in judged])
    new = np.array([one.new_score for one in judged])
    before, after = image_statistics(judged[0].old_threshold), image_statistics(judged[0].new_threshold)
    intervals: dict[str, tuple[float, float]] = {}
    for name in PAIRED:
        try:
            intervals |= bootstrap_intervals(
                {name: _difference(before[name], after[name], old, new)},
                np.arange(len(judged)),
                np.array([one.label for one in judged], dtype=bool),
                groups=[one.group_id for one in judged],
                n_resamples=n_resamples,
                confidence=confidence,
                seed=seed,
            )
        except UndefinedMetricError:
            continue
    return intervals


def _relative(score: float, threshold: float) -> float:
    """The score over the threshold or, where that is no scale, as far above 1 as the score is above the threshold."""
    return score / threshold if threshold > 0 else 1 + score - threshold


def _difference(before: Statistic, after: Statistic, old: np.ndarray, new: np.ndarray) -> Statistic:
    """The later metric minus the earlier one, of the images at some positions."""

    def of(positions: np.ndarray, labels: np.ndarray) -> float:
        return after(new[positions], labels) - before(old[positions], labels)

    return of
