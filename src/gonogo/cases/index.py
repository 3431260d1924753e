"""The cases of a store in memory, kept up to date, and the ones that are most like an image."""

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gonogo.cases.neighbours import Entry, Neighbour, Neighbours, Wanted
from gonogo.store.cases import Cases
from gonogo.store.schema import Row

Compared = Literal["region", "image"]
KINDS: tuple[Compared, ...] = ("region", "image")  # the first one that the query and a case have is compared


@dataclass(frozen=True)
class Similar:
    """The cases that are most like an image.

    Attributes:
        compared: what of the images was compared: the region with the highest peak where there are cases with one, or
            the whole image.
        cases: rows of `Cases.with_ids`, each with its `distance`, the nearest first.
        good_distance: how far good parts are from each other; None where the bundle does not tell.
    """

    compared: Compared
    cases: list[Row]
    good_distance: float | None

    @property
    def nothing_like_it(self) -> bool:
        """Whether the nearest case is farther from the image than good parts are from each other, or there is none."""
        if not self.cases:
            return True
        return self.good_distance is not None and self.cases[0]["distance"] > self.good_distance


class CaseIndex:
    """The vectors of the cases, by category and space, read when they are first asked for."""

    def __init__(self, cases: Cases) -> None:
        self._cases = cases
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, str], int] = defaultdict(int)
        self._found: dict[tuple[str, str, str], Neighbours] = defaultdict(Neighbours)

    def similar(
        self,
        vectors: Mapping[str, np.ndarray | None],
        *,
        category: str,
        space: str,
        k: int,
        wanted: Wanted,
        good_distances: Mapping[str, float],
    ) -> Similar:
        """The k cases of the category that are nearest to an image, or all where there are fewer.

        Args:
            vectors: of the image, by kind.
            category: of the cases.
            space: of the vectors; cases without a vector in it are not found.
            k: 1 or more.
            wanted: which cases.
            good_distances: as the bundle tells them, by kind.
        """
        found: list[Neighbour] = []
        with self._lock:
            self._refresh(category, space)
            for kind in KINDS:
                vector, neighbours = vectors.get(kind), self._found[category, space, kind]
                if vector is not None and (len(neighbours) or kind == KINDS[-1]):
                    found = neighbours.nearest(vector, k, wanted)
                    break
        rows = {row["id"]: row for row in self._cases.with_ids([one.identifier for one in found])}
        cases = [rows[one.identifier] | {"distance": one.distance} for one in found if one.identifier in rows]
        return Similar(kind, cases, good_distances.get(kind))

    def _refresh(self, category: str, space: str) -> None:
        key = category, space
        newest = self._cases.version()
        if newest == self._versions[key]:
            return
        newest_seen = self._versions[key]
        for version, case in self._cases.changed(self._versions[key], space, category):
            neighbours = self._found[category, space, case.kind]
            if version > newest_seen:  # the first vector of the case: it may have lost others
                newest_seen = version
                for kind in KINDS:
                    self._found[category, space, kind].remove(case.case_id)
            if case.vector is not None:
                entry = Entry(case.case_id, case.image, case.part, case.defect_type, case.severity)
                neighbours.put(entry, np.frombuffer(case.vector, dtype="<f4"))
            newest = max(newest, version)
        self._versions[key] = newest
