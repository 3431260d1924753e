"""The router's record of each category in the manifest of a set, and how distances decide. Needs numpy alone."""

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
    limit: an image is of the category only where its distance to the nearest good image is below the limit.
    threshold: certified threshold of that distance for good parts; it is not above the limit.
    box_model: the category whose bundle, in the folder of its name, finds boxes in the same parts; None: there is none.
    box_bundle: SHA-256 of that bundle's manifest.
    """

    name: str
    bundle: str
    limit: float
    threshold: ThresholdRecord
    box_model: str | None = None
    box_bundle: str | None = None

    @property
    def sentence(self) -> str:
        """The certificate of the category."""
        rate = self.threshold.certified_false_alarm_rate
        assert rate is not None  # by the method holdout, always
        return (
            f"at most {rate:.1%} of the good parts of {self.name} are called unknown, with "
            f"{self.threshold.confidence:.0%} confidence"
        )

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, which `from_dict` reads."""
        return asdict(self) | {"threshold": self.threshold.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CategoryRecord":
        """The record that `to_dict` wrote; KeyError, TypeError or ValueError where it did not."""
        threshold = ThresholdRecord.from_dict(values["threshold"])
        beside = {key: None if values.get(key) is None else str(values[key]) for key in ("box_model", "box_bundle")}
        return cls(str(values["name"]), str(values["bundle"]), float(values["limit"]), threshold, **beside)


@dataclass(frozen=True)
class LeftOut:
    """A category that is not in the set, since the router sends too many of its test images astray.

    n_astray: of the `n_defective` test images, those that it sends to another category.
    n_good_astray: of the `n_good` test images, those that it sends to another category.
    mostly_to: where most of them go.
    """

    name: str
    n_defective: int
    n_astray: int
    mostly_to: str
    n_good: int = 0
    n_good_astray: int = 0

    @property
    def share(self) -> float:
        """The share of its defective test images that go astray, or of its good ones where that is larger."""
        return max(self.n_astray / max(self.n_defective, 1), self.n_good_astray / max(self.n_good, 1))

    @property
    def sentence(self) -> str:
        """What a user of the set must know."""
        return (
            f"{self.name} is left out of the set: the router's features do not tell it from the others, and send "
            f"{self.n_astray} of its {self.n_defective} defective and {self.n_good_astray} of its {self.n_good} good "
            f"test images to another category, most of them to {self.mostly_to}. Score its parts with its own bundle, "
            f"and keep them off a line that uses the set: there they are judged as {self.mostly_to}, or called unknown"
        )


def nearest(distances: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the number of the category nearest to each image, and (n,) its distance divided by that category's limit.

    The nearest category is the one with the smallest quotient of distance (n, k) and limit (k,), since images of a
    category that varies more lie farther apart.
    """
    relative = distances / limits
    number = relative.argmin(axis=1)
    return number, relative[np.arange(len(relative)), number]


def routed(distances: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(n,) the number of the category that each image is assigned to, by `nearest`; -1 for unknown."""
    number, relative = nearest(distances, limits)
    return np.where(relative < 1, number, -1)
