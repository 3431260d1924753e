"""Handwritten digits, 8 x 8 pixels: one class is the good part, the other nine are defects without masks."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from gonogo.data.sample import Places, Sample, Shares, draw
from gonogo.errors import ConfigError, MissingExtraError
from gonogo.images.roles import ROLES, TEST

GREY_STEP = 15  # scikit-learn's pixels count 0 to 16 inked dots


@dataclass(frozen=True, kw_only=True)
class Digits:
    """scikit-learn's digits; a good part is any image of `normal_class`.

    Each class has 174 to 183 images, no two alike.

    Attributes:
        normal_class: the digit that is a good part.
        defects_per_class: images of each other digit, all in test.
    """

    normal_class: Annotated[int, Field(ge=0, le=9)] = 0
    defects_per_class: Annotated[int, Field(ge=1, le=174)] = 20

    def __post_init__(self) -> None:
        if self.normal_class not in range(10):
            raise ConfigError(f"digits: normal_class is {self.normal_class!r}; choose one of 0 to 9")

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Good images for all three roles and defects for test, digit by digit.

        Raises:
            MissingExtraError: scikit-learn is not installed.
        """
        images, digits = read_digits()
        for digit in range(10):
            order = np.flatnonzero(digits == digit).tolist()
            kind, chosen = "good", order
            if digit != self.normal_class:
                kind = f"digit_{digit}"
                chosen = sorted(order, key=lambda i: draw(shares.seed, "digits", i))[: self.defects_per_class]
            for index in chosen:
                yield Sample(
                    name=f"{index:04d}_{kind}",
                    image=images[index],
                    label=int(kind != "good"),
                    defect_type=kind,
                    roles=ROLES if kind == "good" else TEST,
                    group_id=f"{index:04d}",
                )

    def places(self, category: str, raw: Path) -> Places:
        """None: the images are those of a package."""
        return Places()


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """(n, 8, 8, 3) uint8 RGB images and their (n,) digits, from scikit-learn's own files.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # where it is used: other sources need none of it
    except ImportError as error:
        raise MissingExtraError(
            "source digits needs scikit-learn, which is missing; install gonogo[pipeline]"
        ) from error
    data = load_digits()
    grey = (data.images * GREY_STEP).astype(np.uint8)  # (n, 8, 8), whole numbers before and after
    return np.repeat(grey[..., None], 3, axis=3), data.target
