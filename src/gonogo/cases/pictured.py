"""A search of the pictures of past cases by words, with two networks of the user's that have one space."""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from gonogo.cases.embedder import Embedder
from gonogo.cases.meaning import Found
from gonogo.cases.neighbours import Entry, Neighbours, Wanted
from gonogo.cases.words import ALL, Filters
from gonogo.errors import ImageError
from gonogo.images.reading import decode
from gonogo.store.cases import Cases
from gonogo.text import printable

AT_ONCE = 16  # pictures that one search embeds first, where there are new ones
log = logging.getLogger("gonogo.service")


class PictureIndex:
    """The vectors of the pictures of all cases of a store, by category, read when they are first asked for."""

    def __init__(self, cases: Cases, embedder: Embedder) -> None:
        self._cases, self._embedder = cases, embedder
        self._lock = threading.Lock()
        self._version = 0
        self._of_category: dict[str, Neighbours] = defaultdict(Neighbours)
        self._failed: set[str] = set()  # cases whose picture has no vector, which are not tried again

    def search(self, text: str, filters: Filters = ALL, *, limit: int) -> Found:
        """Up to `limit` cases whose pictures are nearest to a text, of those that are near enough to tell something.

        Some of the pictures that are new are embedded before; `waiting` of what was found says how many are left.

        Raises:
            ImageError: the network fails on the text.
        """
        own = self._embedder.words(text)
        with self._lock:
            _, waiting = self._embed_some(AT_ONCE)
            self._refresh()
            wanted = Wanted(defect_type=filters.defect_type, min_severity=filters.min_severity)
            found = [
                near
                for category, neighbours in self._of_category.items()
                if filters.category in (None, category)
                for near in neighbours.nearest(own, limit, wanted)
            ]
        near = {one.identifier: round(1 - one.distance**2 / 2, 6) for one in sorted(found)}  # of vectors of length 1
        least = self._embedder.least
        ids = [identifier for identifier, similarity in near.items() if similarity > least][:limit]
        cases = [row | {"all_words": None, "similarity": near[row["id"]]} for row in self._cases.with_ids(ids)]
        model = f"embedder {self._embedder.space[:12]}"
        return Found(cases, max(near.values(), default=None), model, least=least, waiting=waiting)

    def embed_all(self) -> Iterator[tuple[str, str | None]]:
        """Embed every new picture: the id of each case, and why its picture has no vector; None where it has."""
        while True:
            with self._lock:
                tried, _ = self._embed_some(AT_ONCE)
            if not tried:
                return
            yield from tried.items()

    def _embed_some(self, count: int) -> tuple[dict[str, str | None], int]:
        """Embed up to so many new pictures: why each of them failed, None where it did not, and how many are left."""
        space = self._embedder.space
        ids, in_all = self._cases.without_crop_vector(space, limit=count, but=self._failed)
        tried: dict[str, str | None] = {}
        for identifier in ids:
            crop = self._cases.crop(identifier)
            if crop is None:  # taken back at this moment
                continue
            try:
                pixels = decode(crop[0], f"the picture of the case {identifier}")[0]
                vector = self._embedder.picture(pixels, f"the picture of the case {identifier}")
                self._cases.put_crop_vector(identifier, space, crop[0], vector.astype("<f4").tobytes())
                tried[identifier] = None
            except ImageError as error:
                self._failed.add(identifier)
                tried[identifier] = str(error)
                log.warning("%s", printable(str(error)))
        return tried, in_all - len(ids)

    def _refresh(self) -> None:
        newest = self._cases.version()
        if newest == self._version:
            return
        for version, case in self._cases.changed(self._version, self._embedder.space, None):
            neighbours = self._of_category[case.category]
            neighbours.remove(case.case_id)
            if case.vector is not None:
                entry = Entry(case.case_id, case.image, case.part, case.defect_type, case.severity)
                neighbours.put(entry, np.frombuffer(case.vector, dtype="<f4"))
            newest = max(newest, version)
        self._version = newest
