"""The gauges of the line: one bundle, or a set of bundles whose router selects one of them for each image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gonogo.inference.bundle_set import BundleSet, is_set
from gonogo.inference.scorer import Scorer


@dataclass(frozen=True)
class Selection:
    """The gauge that judges an image.

    scorer: the gauge; None if the image belongs to no category of the set.
    row: what the image's row says of the selection: `category` and `threshold`, and for a set of bundles
        `nearest_category` and `relative_distance`.
    """

    scorer: Scorer | None
    row: Mapping[str, Any]


class Gauges(Protocol):
    """One gauge or several.

    fingerprint: SHA-256 that identifies all of them together.
    is_one: whether it is a single bundle, which judges every image.
    """

    fingerprint: str
    is_one: bool

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """All gauges, by category."""

    @property
    def unreadable_row(self) -> Mapping[str, Any]:
        """What the row of an image that cannot be read has in place of `Selection.row`."""

    def select(self, pixels: np.ndarray) -> Selection:
        """The gauge for an image (h, w, 3) uint8."""


class OneGauge:
    """One bundle, which judges every image."""

    is_one = True

    def __init__(self, scorer: Scorer) -> None:
        self.fingerprint = scorer.fingerprint
        self.scorers = {scorer.category: scorer}
        self.unreadable_row = {"category": scorer.category, "threshold": scorer.threshold}
        self._selection = Selection(scorer, self.unreadable_row)

    def select(self, pixels: np.ndarray) -> Selection:
        """The one gauge."""
        return self._selection


class RoutedGauges:
    """A set of bundles; its router selects the gauge for each image."""

    is_one = False

    def __init__(self, bundle_set: BundleSet) -> None:
        self.bundle_set = bundle_set
        self.fingerprint, self.scorers = bundle_set.fingerprint, bundle_set.scorers
        self.unreadable_row = {"category": None, "threshold": None}

    def select(self, pixels: np.ndarray) -> Selection:
        """The gauge of the category whose good images are nearest; none if the image is beyond every limit."""
        route = self.bundle_set.route(pixels)
        scorer = None if route.category is None else self.scorers[route.category]
        return Selection(
            scorer,
            {
                "category": route.category,
                "threshold": None if scorer is None else scorer.threshold,
                "nearest_category": route.nearest,
                "relative_distance": route.relative,
            },
        )


def open_gauges(path: Path, *, threads: int | None = None, trust: Path | None = None) -> Gauges:
    """The gauge of a bundle, or all gauges of a set of bundles. The arguments are those of `Scorer`.

    Raises:
        IntegrityError: the bundle, or a bundle of the set, is damaged or not signed as `trust` demands.
    """
    if is_set(path):
        return RoutedGauges(BundleSet(path, threads=threads, trust=trust))
    return OneGauge(Scorer(path, threads=threads, trust=trust))
