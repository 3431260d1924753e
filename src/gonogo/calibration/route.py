"""What a router says of each category, in the manifest of the set. Needs nothing of the pipeline."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gonogo.calibration.certificate import ThresholdRecord

ROUTER = "router"
ROUTER_FILE = "router.onnx"


@dataclass(frozen=True)
class CategoryRecord:
    """A category of a set.

    name: of the category, and of its bundle's folder.
    bundle: SHA-256 of the bundle's manifest.
    limit: an image whose nearest good image of the category is as far away, or farther, is not of it.
    threshold: how rarely good parts are as far away as its own threshold, which is not above the limit.
    """

    name: str
    bundle: str
    limit: float
    threshold: ThresholdRecord

    @property
    def sentence(self) -> str:
        """What is certified of it."""
        rate = self.threshold.certified_false_alarm_rate
        assert rate is not None  # by the method holdout, always
        return (
            f"at most {rate:.1%} of the good parts of {self.name} are called unknown, with "
            f"{self.threshold.confidence:.0%} confidence"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values, read again by `from_dict`."""
        return asdict(self) | {"threshold": self.threshold.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CategoryRecord":
        """The record that `to_dict` wrote; KeyError, TypeError or ValueError where it did not."""
        threshold = ThresholdRecord.from_dict(values["threshold"])
        return cls(str(values["name"]), str(values["bundle"]), float(values["limit"]), threshold)


def nearest(distances: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the number of the category nearest to each image, and (n,) its distance as a part of that one's limit.

    The nearest category counts by distances (n, k) as parts of the limits (k,): what varies more may lie farther away.
    """
    relative = distances / limits
    number = relative.argmin(axis=1)
    return number, relative[np.arange(len(relative)), number]


def routed(distances: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(n,) the number of the category that each image is of, by `nearest`; -1 for unknown."""
    number, relative = nearest(distances, limits)
    return np.where(relative < 1, number, -1)
