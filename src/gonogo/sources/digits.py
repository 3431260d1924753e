"""Handwritten digits, 8 x 8 pixels: one class is the good part, the other nine are defects without masks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from gonogo.errors import ConfigError, MissingExtraError
from gonogo.sample import Sample, deal, draw

GREY_STEP = 15  # scikit-learn's pixels count 0 to 16 inked dots


@dataclass(frozen=True, kw_only=True)
class Digits:
    """scikit-learn's digits; a good part is any image of `normal_class`.

    Each class has 174 to 183 images, no two alike; the default shares leave at least 61 for calibrate (59 certify
    5 % at 95 % confidence) and 26 good ones for test.

    Attributes:
        normal_class: the digit that is a good part.
        fit_share: share of the good images that fit gets.
        calibrate_share: share of the good images that calibrate gets; test gets the rest.
        defects_per_class: images of each other digit, all in test.
    """

    normal_class: Annotated[int, Field(ge=0, le=9)] = 0
    fit_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    calibrate_share: Annotated[float, Field(gt=0, lt=1)] = 0.35
    defects_per_class: Annotated[int, Field(ge=1, le=174)] = 20

    def __post_init__(self) -> None:
        if self.normal_class not in range(10):
            raise ConfigError(f"digits: normal_class is {self.normal_class!r}; choose one of 0 to 9")

    def samples(self, seed: int) -> Iterator[Sample]:
        """Good images in all three roles and defects in test, digit by digit.

        Raises:
            ConfigError: a role gets no image.
            MissingExtraError: scikit-learn is not installed.
        """
        images, digits = read_digits()
        for digit in range(10):
            order = sorted(np.flatnonzero(digits == digit).tolist(), key=lambda i: draw(seed, "digits", i))
            if digit == self.normal_class:
                for index, role in zip(order, deal(len(order), self.fit_share, self.calibrate_share), strict=True):
                    yield Sample(f"{role}_{index:04d}_good", role, 0, "good", f"{index:04d}", images[index], None)
            else:
                for index in order[: self.defects_per_class]:
                    kind = f"digit_{digit}"
                    yield Sample(f"test_{index:04d}_{kind}", "test", 1, kind, f"{index:04d}", images[index], None)


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
