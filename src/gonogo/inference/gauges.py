"""What judges on the line: one gauge, or a set of them with a router that says which of them an image is for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gonogo.inference.bundle_set import BundleSet, is_set
from gonogo.inference.scorer import Scorer


@dataclass(frozen=True)
class Picked:
    """The gauge for an image, None where it is for none of them, and what its row says of that."""

    scorer: Scorer | None
    about: Mapping[str, Any]


class Gauges(Protocol):
    """One gauge or several.

    fingerprint: SHA-256 that names all of them together.
    is_one: whether every image is for the same one.
    """

    fingerprint: str
    is_one: bool

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """All of them, by category."""

    @property
    def unread(self) -> Mapping[str, Any]:
        """What the row of an image that cannot be read says in place of `Picked.about`."""

    def pick(self, pixels: np.ndarray) -> Picked:
        """The gauge for an image (h, w, 3) uint8."""


class OneGauge:
    """A bundle: every image is for it."""

    is_one = True

    def __init__(self, scorer: Scorer) -> None:
        self.fingerprint = scorer.fingerprint
        self.scorers = {scorer.category: scorer}
        self.unread = {"category": scorer.category, "threshold": scorer.threshold}
        self._picked = Picked(scorer, self.unread)

    def pick(self, pixels: np.ndarray) -> Picked:
        """It."""
        return self._picked


class RoutedGauges:
    """A set of bundles: its router picks."""

    is_one = False

    def __init__(self, bundle_set: BundleSet) -> None:
        self.bundle_set = bundle_set
        self.fingerprint, self.scorers = bundle_set.fingerprint, bundle_set.scorers
        self.unread = {"category": None, "threshold": None}

    def pick(self, pixels: np.ndarray) -> Picked:
        """The gauge whose good images are nearest, or none where all are beyond their limits."""
        route = self.bundle_set.route(pixels)
        scorer = None if route.category is None else self.scorers[route.category]
        return Picked(
            scorer,
            {
                "category": route.category,
                "threshold": None if scorer is None else scorer.threshold,
                "nearest_category": route.nearest,
                "relative_distance": route.relative,
            },
        )


def open_gauges(place: Path, *, threads: int | None = None, trust: Path | None = None) -> Gauges:
    """The gauge of a bundle, or all gauges of a set; the arguments are those of `Scorer`.

    Raises:
        IntegrityError: they cannot be trusted.
    """
    if is_set(place):
        return RoutedGauges(BundleSet(place, threads=threads, trust=trust))
    return OneGauge(Scorer(place, threads=threads, trust=trust))
