"""The height and width that images are resized to: one type, and one reading of what a parameter says."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, TypeAlias

from gonogo.errors import ConfigError

Size: TypeAlias = int | Sequence[int]  # as a parameter: the side of a square, or [height, width]

LARGEST_ASPECT = 8.0  # of a size that follows an image's; beyond it too few rows of features would be left


class ImageSize(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int

    @classmethod
    def of(cls, size: Size) -> Self:
        """The size that a parameter, or a manifest, tells.

        Raises:
            ConfigError: it is neither a number of pixels of at least 1 nor two of them.
        """
        sides: list[Any] = list(size) if isinstance(size, list | tuple) else [size, size]
        if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
            raise ConfigError(
                f"expected a number of pixels above 0, for a square, or two of them, [height, width]; got {size!r}"
            )
        return cls(*sides)

    @classmethod
    def of_area(cls, side: int, aspect: float, *, multiple: int = 1) -> Self:
        """About as many pixels as a square of `side` has, in the shape of an image.

        Args:
            aspect: width by height of the image; beyond LARGEST_ASPECT, either way, the size is less oblong than it.
            multiple: each side is a multiple of so many pixels, at least one.
        """
        root = math.sqrt(min(max(aspect, 1 / LARGEST_ASPECT), LARGEST_ASPECT))
        height, width = (max(1, round(length / multiple)) * multiple for length in (side / root, side * root))
        return cls(height, width)

    def has_area_of(self, side: int, *, multiple: int) -> bool:
        """Whether `of_area` gives this size to an image of some shape, so that it would not come closer."""
        rounding = multiple / 2
        least = max((self.width - rounding) / side, side / (self.height + rounding))  # of the root of the aspect
        most = min((self.width + rounding) / side, side / (self.height - rounding))
        return self == type(self)(*(length // multiple * multiple for length in self)) and least <= most

    @property
    def aspect(self) -> float:
        """Width by height."""
        return self.width / self.height

    @property
    def written(self) -> int | list[int]:
        """The size as a parameter or a manifest has it: one number for a square."""
        return self.height if self.is_square else [self.height, self.width]

    @property
    def is_square(self) -> bool:
        """Whether both sides have the same length."""
        return self.height == self.width

    @property
    def area(self) -> int:
        """Its number of pixels."""
        return self.height * self.width

    def __str__(self) -> str:
        """For messages, as in "256 pixels" and "160 x 416 pixels"."""
        return str(self.height) if self.is_square else f"{self.height} x {self.width}"
