"""Boxes that a gauge finds, and those that are labelled: overlap, matches one to one, classes. Needs numpy alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

BOXES = ("boxes", "box_scores", "box_classes")  # what a graph that finds boxes gives, as `boxes_of` takes it
HIT = 0.5  # overlap from which on a found box is one of a labelled defect
LARGEST_ODDS = 700.0  # as a logarithm; exp of more overflows


@dataclass(frozen=True)
class FoundBox:
    """A defect that a gauge found.

    Attributes:
        label: the name of its class.
        x, y: of its upper left corner, in pixels of the image; with `width` and `height` it lies within the image.
        score: in the unit of the image's score, which is that of its best box.
        confidence: in (0, 1), as the network gives it.
    """

    label: str
    x: float
    y: float
    width: float
    height: float
    score: float
    confidence: float


@dataclass(frozen=True)
class BoxClasses:
    """The classes of boxes that a gauge finds.

    Attributes:
        names: by the number of the class.
        units: for each class the confidence, in (0, 1), that has the score 1. A score s stands for log odds of s - 1
            beyond those of that confidence, or below 1 for 1 - 1 / s: one threshold of scores is another confidence for
            each class, and no score saturates.
    """

    names: Sequence[str]
    units: Sequence[float]

    def confidence(self, number: int, score: float) -> float:
        """The confidence that a score above 0 of class `number` stands for."""
        unit = self.units[number]
        odds = math.log(unit / (1 - unit)) + (score - 1 if score > 1 else 1 - 1 / score)
        return 1 / (1 + math.exp(-odds)) if odds > -LARGEST_ODDS else 0.0

    def confidences(self, threshold: float) -> dict[str, float]:
        """The confidence of each class, by name, from which on a box is at or above the threshold of scores."""
        return {name: self.confidence(number, threshold) for number, name in enumerate(self.names)}

    def above(self, threshold: float, boxes: "Boxes") -> list[FoundBox]:
        """Those of an image's boxes whose score is at or above the threshold."""
        return [
            FoundBox(self.names[number], x0, y0, x1 - x0, y1 - y0, score, self.confidence(number, score))
            for (x0, y0, x1, y1), number, score in zip(
                boxes.corners.tolist(), boxes.classes.tolist(), boxes.scores.tolist(), strict=True
            )
            if score >= threshold
        ]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {"names": list(self.names), "units": list(self.units)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The record that `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no such record.
        """
        names, units = [str(name) for name in content["names"]], [float(unit) for unit in content["units"]]
        if len(names) != len(units) or not names or not all(0 < unit < 1 for unit in units):
            raise ValueError("its classes do not have one confidence between 0 and 1 each")
        return cls(names, units)


def box_classes_in(manifest: Mapping[str, Any]) -> BoxClasses | None:
    """The classes that a manifest has under `boxes`; None where the gauge finds no boxes."""
    return BoxClasses.from_dict(manifest["boxes"]) if manifest.get("boxes") is not None else None


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image.

    Attributes:
        corners: (k, 4) of x0, y0, x1, y1 in pixels.
        classes: (k,) int64.
        scores: (k,), descending; of labelled boxes all 1.
    """

    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def of_class(self, number: int) -> "Boxes":
        """Those of one class."""
        return self.where(self.classes == number)

    def where(self, chosen: np.ndarray) -> "Boxes":
        """Those that `chosen`, (k,) bool, says."""
        return Boxes(self.corners[chosen], self.classes[chosen], self.scores[chosen])


def overlaps(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4); 0 where both have no area."""
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (ones, others)]
    union = areas[0][:, None] + areas[1][None] - inside
    return np.asarray(np.divide(inside, union, out=np.zeros_like(inside), where=union > 0))


def matched(found: Boxes, labelled: Boxes, iou: float) -> np.ndarray:
    """(k,) int64: the labelled box that each found one gets, -1 for none.

    By descending score, each takes the free labelled box that it overlaps most, if by `iou` or more, as in COCO.
    """
    result = np.full(len(found), -1)
    shared = overlaps(found.corners, labelled.corners)
    for number in range(len(found) if len(labelled) else 0):
        best = int(shared[number].argmax())
        if shared[number, best] >= iou:
            result[number] = best
            shared[:, best] = -1.0
    return result


def boxes_of(corners: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> list[Boxes]:
    """The boxes of each image from what a graph gives: (n, k, 4), (n, k) and (n, k).

    A place with the score 0 has no box.

    Scores and corners are those of the graph, bit for bit.
    """
    return [
        Boxes(own[above], numbers[above], known[above])
        for own, known, numbers in zip(corners, scores, classes, strict=True)
        for above in [known > 0]
    ]
