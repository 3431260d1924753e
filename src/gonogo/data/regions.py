"""What annotations of other tools mark on an image: boxes, polygons and runs, and the masks that they make."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from gonogo.data.names import GOOD, says
from gonogo.data.sample import Sample
from gonogo.data.tree import alternatives
from gonogo.errors import ConfigError, DataError
from gonogo.images.roles import ROLES

Box = tuple[float, float, float, float]


def counts_as_defect(label: str, classes: Sequence[str] | None) -> bool:
    """Whether an object so labelled is a defect: one of `classes`; where they are None, any that is not called good.

    A box called "ok" around a part says that the part is good, and marks nothing.
    """
    return label in classes if classes is not None else not says(label, GOOD)


def require_classes(classes: Sequence[str] | None, there: Collection[str]) -> None:
    """Do nothing, or refuse `prepare.classes`, of which an annotation may have those that are `there`.

    Raises:
        ConfigError: it names one that is not there, or none, or one whose name says that the part is good.
    """
    for name in classes or []:
        if name not in there:
            raise ConfigError(f"prepare.classes: no category {name!r}{alternatives(name, sorted(there))}")
        if says(name, GOOD):
            raise ConfigError(f"prepare.classes names {name!r} as a defect, though its name says good; remove it")
    if classes == []:
        raise ConfigError(f"prepare.classes is empty, so that nothing is a defect{alternatives('', sorted(there))}")


def all_of(problems: Sequence[DataError]) -> DataError:
    """One error for what is wrong at several places: the first, and how many more there are."""
    if len(problems) == 1:
        return problems[0]
    return DataError(f"{problems[0]}; and {len(problems) - 1} more, the last {str(problems[-1]).partition(': ')[0]}")


def are_numbers(values: Any) -> TypeGuard[list[float]]:
    """Whether it is a list of finite numbers."""
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )


def clipped_box(box: Box, size: tuple[int, int], where: str) -> Box:
    """The box (x0, y0, x1, y1) within the image of `size`, (width, height).

    Raises:
        DataError: nothing of it is left.
    """
    x0, y0, x1, y1 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(size[0])), min(box[3], float(size[1]))
    if x0 >= x1 or y0 >= y1:
        shown = ", ".join(f"{value:.6g}" for value in box)
        raise DataError(
            f"{where}: the box from x, y to x, y ({shown}) has no area in the image of {size[0]} x {size[1]}; "
            "correct or remove it"
        )
    return x0, y0, x1, y1


@dataclass(frozen=True, kw_only=True)
class Region:
    """What one annotation covers: polygons, runs, a bitmap, or its box where it has none of them.

    Attributes:
        box: (x0, y0, x1, y1) clipped to the image, with an area.
        polygons: each (n, 2) of x and y. Coordinates run along the edges of pixels: the first pixel is [0, 1) x [0, 1).
        runs: lengths of alternating runs of background and defect, down the columns.
        bitmap: (h, w) bool, of the box, whose corners are then whole numbers.
    """

    label: str
    box: Box
    polygons: tuple[np.ndarray, ...] = ()
    runs: tuple[int, ...] = ()
    bitmap: np.ndarray | None = None
    crowd: bool = False

    @property
    def area(self) -> float:
        """Of the box, in pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    def draw(self, mask: np.ndarray) -> None:
        """Set what the region covers in `mask`, (h, w) bool; at least a pixel, however small the region."""
        height, width = mask.shape
        drawn = np.zeros_like(mask)
        if self.runs:
            drawn |= np.repeat(np.arange(len(self.runs)) % 2 == 1, self.runs).reshape(width, height).T
        for polygon in self.polygons:
            fill_polygon(drawn, polygon)
        x0, y0, x1, y1 = self.box
        if self.bitmap is not None:
            drawn[int(y0) : int(y1), int(x0) : int(x1)] |= self.bitmap
        if not drawn.any():
            drawn[math.floor(y0) : math.ceil(y1), math.floor(x0) : math.ceil(x1)] = True
        mask |= drawn


@dataclass(frozen=True, kw_only=True)
class RegionMask:
    """The union of an image's regions, drawn when it is asked for."""

    where: str
    size: tuple[int, int] | None
    regions: tuple[Region, ...]

    def __call__(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool.

        Raises:
            DataError: the image was annotated at another size.
        """
        if self.size is not None and (width, height) != self.size:
            raise DataError(
                f"{self.where}: annotated at {self.size[0]} x {self.size[1]} pixels, its file has {width} x {height}; "
                "export images and annotations together"
            )
        mask = np.zeros((height, width), dtype=bool)
        for region in self.regions:
            region.draw(mask)
        return mask


def fill_polygon(mask: np.ndarray, polygon: np.ndarray) -> None:
    """Set the pixels of `mask`, (h, w) bool, whose centre lies in `polygon`, (n, 2) of x and y, by the even-odd rule.

    A polygon along a box thus covers the pixels of the box. ImageDraw.polygon would round to pixels and paint the
    outline too, which makes a 3 x 3 defect 4 x 4.
    """
    height, width = mask.shape
    left, top = np.clip(np.floor(polygon.min(axis=0)).astype(int), 0, (width, height))
    right, bottom = np.clip(np.ceil(polygon.max(axis=0)).astype(int), 0, (width, height))
    x, y = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
    inside = np.zeros((len(y), len(x)), dtype=bool)
    for (xa, ya), (xb, yb) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if ya != yb:
            crossed = (ya <= y) != (yb <= y)
            inside ^= crossed[:, None] & (x >= (xa + (y - ya) * (xb - xa) / (yb - ya))[:, None])
    mask[top:bottom, left:right] |= inside


def annotated_sample(
    name: str,
    image: Path,
    regions: Sequence[Region],
    size: tuple[int, int] | None,
    where: str,
    *,
    without_area: Sequence[str] = (),
) -> Sample:
    """An image with its objects: good without any; the label whose boxes have the largest area names the defect type.

    A crowd is part of the mask, but no object, thus not among the boxes.

    Args:
        regions: what is marked.
        size: (width, height) of the image as it was annotated, where that is known.
        where: the annotation, for messages.
        without_area: labels of further objects, such as points, of which nobody knows the pixels. The image then has no
            mask.
    """
    areas: dict[str, float] = dict.fromkeys(without_area, 0.0)
    for region in regions:
        areas[region.label] = areas.get(region.label, 0.0) + region.area
    has_mask = bool(regions) and not without_area
    return Sample(
        name=name,
        image=image,
        label=int(bool(areas)),
        defect_type=max(sorted(areas), key=lambda label: areas[label], default="good"),
        roles=ROLES,
        mask=RegionMask(where=where, size=size, regions=tuple(regions)) if has_mask else None,
        boxes=[
            {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "label": region.label}
            for region in regions
            if not region.crowd
            for x0, y0, x1, y1 in [region.box]
        ],
        size=size,
    )
