"""Labelled images as a detector of boxes learns from them, and what such a detector gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from gonogo.calibration.boxes import BoxClasses


@dataclass(frozen=True)
class LabelledImages:
    """Images with the boxes of their defects; good images have none.

    Attributes:
        pixels: of each image (1, 3, h, w) in [0, 255], at the detector's image size.
        boxes: of each image (k, 4) float32: x0, y0, x1, y1 in pixels at that size.
        labels: of each image the k labels.
    """

    pixels: Sequence[Tensor]
    boxes: Sequence[Tensor]
    labels: Sequence[Sequence[str]]

    @property
    def classes(self) -> list[str]:
        """The labels that occur, in the order of the alphabet."""
        return sorted({label for labels in self.labels for label in labels})


@dataclass(frozen=True)
class Labelled:
    """What a fit of boxes learns from: images to fit on, and others that choose the best epoch."""

    fit: LabelledImages
    validate: LabelledImages


@runtime_checkable
class FindsBoxes(Protocol):
    """A detector that finds each defect with a box, a class and a score; its score of an image is that of the best box.

    Scores of boxes and images have one unit, in which one threshold holds for every class.
    """

    def box_classes(self) -> BoxClasses:
        """The names of the classes, and for each the confidence that has the score 1.

        Raises:
            NotFittedError: before `fit`.
        """

    def score_with_boxes(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The two results of `forward`, and of each image k boxes by descending score.

        Boxes are (n, k, 4) float32 of x0, y0, x1, y1 in pixels at image_size, scores (n, k) float32, 0 where a place
        has no box, and classes (n, k) int64.
        """
