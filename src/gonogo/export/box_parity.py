"""Boxes of the reference against those of onnxruntime: each has its partner within a fraction of a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gonogo.calibration.boxes import Boxes

PIXELS = 0.05  # by which a corner may differ
LARGEST = 1e6  # written for a difference without a partner, since JSON has no infinity


@dataclass(frozen=True)
class BoxComparison:
    """The boxes of one image through both runtimes.

    n_boxes: those of the reference that were compared.
    n_unmatched: boxes of either runtime without a partner of the same class in the other.
    n_flips: pairs of which one is at or above the threshold and the other below.
    corner_difference: the largest difference of a coordinate of two partners, in pixels of the image.
    box_score_difference: the largest relative difference of their scores.
    """

    n_boxes: int
    n_unmatched: int
    n_flips: int
    corner_difference: float
    box_score_difference: float

    def holds(self, tolerance: float) -> bool:
        """Whether every box has its partner, near enough in place and score."""
        near = self.corner_difference <= PIXELS and self.box_score_difference <= tolerance
        return near and self.n_unmatched == 0

    @property
    def sentence(self) -> str:
        """The comparison in words, to end a message with."""
        return (
            f"; of {self.n_boxes} boxes {self.n_unmatched} have no partner of their class within {PIXELS:g} pixels, "
            f"{self.n_flips} flip, corners differ by {self.corner_difference:.3g} pixels"
        )


def compared_boxes(reference: Boxes, onnx: Boxes, threshold: float) -> BoxComparison:
    """Pair the boxes of an image one to one, those of one class that are nearest to each other first.

    A box of one runtime that is at or above the threshold must have a partner among all of the other's; those below are
    shown to nobody, and rounding may decide which of two faint cells is the peak.
    """
    watched = [boxes.scores >= threshold for boxes in (reference, onnx)]
    apart = np.abs(reference.corners[:, None] - onnx.corners[None]).max(axis=2)  # (n, m)
    apart = np.where(reference.classes[:, None] == onnx.classes[None], apart, np.inf)
    partner = np.full(len(reference), -1)
    for place in np.argsort(apart, axis=None, kind="stable"):
        ours, theirs = divmod(int(place), apart.shape[1])
        if not apart[ours, theirs] <= PIXELS:
            break
        if partner[ours] < 0 and theirs not in partner:
            partner[ours] = theirs
    lonely = int((partner[watched[0]] < 0).sum()) + int((~np.isin(np.flatnonzero(watched[1]), partner)).sum())
    pairs = [(ours, theirs) for ours, theirs in enumerate(partner.tolist()) if theirs >= 0]
    seen = [(ours, theirs) for ours, theirs in pairs if watched[0][ours] or watched[1][theirs]]
    ours, theirs = (np.array([pair[side] for pair in seen], dtype=np.int64) for side in (0, 1))
    scores, others = reference.scores[ours], onnx.scores[theirs]
    relative = np.abs(scores - others) / np.maximum(scores, threshold)
    return BoxComparison(
        n_boxes=int(watched[0].sum()),
        n_unmatched=lonely,
        n_flips=int(((scores >= threshold) != (others >= threshold)).sum()),
        corner_difference=float(apart[ours, theirs].max(initial=0.0)),
        box_score_difference=min(float(relative.max(initial=0.0)), LARGEST),
    )


def box_metrics(comparisons: Sequence[BoxComparison]) -> dict[str, float | int | str | bool]:
    """The metrics of the stage that a gauge with boxes has more than others."""
    return {
        "n_boxes": sum(one.n_boxes for one in comparisons),
        "n_boxes_unmatched": sum(one.n_unmatched for one in comparisons),
        "box_max_diff_px": max(one.corner_difference for one in comparisons),
        "box_score_max_diff_e6": 1e6 * max(one.box_score_difference for one in comparisons),
    }
