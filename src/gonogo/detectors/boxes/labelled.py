"""Labelled images as a detector of boxes learns from them, and what such a detector gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from gonogo.calibration.boxes import BoxClasses, Boxes
from gonogo.errors import DataError


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


def require_labelled(labelled: Labelled | None, detector: str) -> Labelled:
    """The labelled images, for the detector of this name.

    Raises:
        DataError: there are none, or none of one role has a box.
    """
    what = f"{detector} learns from labelled defects"
    if labelled is None:
        raise DataError(f"{what}, and this fit has none; set prepare.task to boxes")
    for images, role in ((labelled.fit, "fit"), (labelled.validate, "validate")):
        if not images.classes:
            raise DataError(f"{what}, and no image with the role {role} has a box; see prepare.validate_share")
    return labelled


def numbered(images: LabelledImages, names: Sequence[str]) -> list[Boxes]:
    """The labelled boxes of each image, their classes by their place in `names`; -1 for one that is not there."""
    numbers = {name: number for number, name in enumerate(names)}
    found = []
    for corners, labels in zip(images.boxes, images.labels, strict=True):
        classes = np.array([numbers.get(label, -1) for label in labels], dtype=np.int64)
        found.append(Boxes(corners.numpy().reshape(-1, 4), classes, np.ones(len(classes), dtype=np.float32)))
    return found


def as_boxes(corners: Tensor, classes: Tensor, scores: Tensor) -> Boxes:
    """The boxes of one image, (k, 4), (k,) and (k,), as arrays."""
    return Boxes(corners.numpy().reshape(-1, 4), classes.numpy().astype("int64"), scores.numpy())


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
