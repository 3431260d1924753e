"""What every data source yields: samples with a role."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from gonogo.errors import ConfigError

Role = Literal["fit", "calibrate", "test"]


@dataclass(frozen=True)
class Sample:
    """One image and what is known of it.

    Attributes:
        name: unique within the category and safe as a file's stem.
        role: only test may hold anomalous samples.
        label: 0 good, 1 anomalous.
        defect_type: "good" for good parts.
        group_id: shared by the samples that show the same piece of the world.
        pixels: (h, w, 3) uint8 RGB.
        mask: (h, w) bool, True where anomalous; None where no mask exists. Good parts need none.
    """

    name: str
    role: Role
    label: int
    defect_type: str
    group_id: str
    pixels: np.ndarray
    mask: np.ndarray | None


class Source(Protocol):
    """Where the images of a category come from."""

    def samples(self, seed: int) -> Iterator[Sample]:
        """Every sample of the category; the same seed gives the same bytes on every machine."""
        ...


def deal(n: int, fit_share: float, calibrate_share: float) -> list[Role]:
    """Roles for `n` shuffled good parts: the shares, rounded, and the rest for test.

    Raises:
        ConfigError: a role gets none.
    """
    n_fit, n_calibrate = round(n * fit_share), round(n * calibrate_share)
    counts: dict[Role, int] = {"fit": n_fit, "calibrate": n_calibrate, "test": n - n_fit - n_calibrate}
    if min(counts.values()) < 1:
        shares = ", ".join(f"{count} to {role}" for role, count in counts.items())
        raise ConfigError(
            f"fit_share {fit_share} and calibrate_share {calibrate_share} deal {n} good parts as {shares}; "
            "each role needs one: change the shares or have more parts"
        )
    return [role for role, count in counts.items() for _ in range(count)]


def draw(seed: int, *names: str | int) -> int:
    """A number in [0, 2**64) that depends on its arguments alone, thus on no other sample.

    To sort by it is to shuffle; unlike a shuffle it keeps the order of the rest when an element comes or goes.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
