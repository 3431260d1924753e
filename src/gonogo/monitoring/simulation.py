"""Simulated drift on real images, to see what a watch would notice; its outcome is labelled wherever it is told.

It needs scipy and Pillow, beside the numpy of the rest of this room.
"""

from dataclasses import dataclass

import numpy as np

from gonogo.errors import ConfigError
from gonogo.evaluation.robustness.corruptions import SEVERITIES, corrupted

KINDS = {  # names of corruptions, applied one after the other
    "brightness": ("brightness",),
    "noise": ("noise",),
    "blur": ("blur",),
    "jpeg": ("JPEG",),
    "colour": ("white balance",),
    "mixed": ("brightness", "white balance", "blur", "noise", "JPEG"),
}
LABEL = "SIMULATION: these are no inspections; images were changed on purpose"


@dataclass(frozen=True)
class Simulation:
    """How images change from a moment on.

    kind: one of KINDS.
    severity: 1 to 5, as in `evaluation.robustness.corruptions`.
    share: of the parts after the change whose image is changed.
    begin: share of all parts that come before the change.
    seed: decides the order of the parts, which of them change, and whether it becomes brighter or darker.
    """

    kind: str
    severity: int = 3
    share: float = 1.0
    begin: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: one is out of its range.
        """
        requirements = {
            "kind": (self.kind in KINDS, f"one of {', '.join(KINDS)}"),
            "severity": (self.severity in SEVERITIES, "a whole number from 1 to 5"),
            "share": (0 < self.share <= 1, "a share in (0, 1]"),
            "begin": (0 <= self.begin < 1, "a share in [0, 1)"),
        }
        for key, (holds, expected) in requirements.items():
            if not holds:
                raise ConfigError(f"simulation: {key} is {getattr(self, key)!r}; expected {expected}")

    def order(self, n: int) -> np.ndarray:
        """(n,): the order in which n images come, each once."""
        return np.random.default_rng([self.seed, 0]).permutation(n)

    def changes(self, number: int, n: int) -> bool:
        """Whether the image of the part with this number, of n, is changed."""
        drawn = float(np.random.default_rng([self.seed, 1, number]).random())
        return number >= self.begin * n and drawn < self.share

    def image(self, pixels: np.ndarray, number: int) -> np.ndarray:
        """The image (h, w, 3) uint8 of a part with this number, changed; all parts change in the same direction."""
        way = _way([self.seed, 2])
        for step, name in enumerate(KINDS[self.kind]):
            pixels = corrupted(pixels, name, self.severity, seed=self._seed(way, number, step))
        return pixels

    def _seed(self, way: int, number: int, step: int) -> list[int]:
        """A seed of the part's own by which a corruption with two directions takes this one.

        Such a corruption draws the direction first, so of the seeds tried one after the other half take it.
        """
        tried = 0
        while _way([self.seed, 3, number, step, tried]) != way:
            tried += 1
        return [self.seed, 3, number, step, tried]


def _way(seed: list[int]) -> int:
    """The direction that a corruption with this seed takes, where it has two."""
    return int(np.random.default_rng(seed).choice((-1, 1)))
