"""The gauge in use, and those that it may be exchanged for. A bundle is found by its fingerprint, never by a path."""

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gonogo.errors import GonogoError, IntegrityError
from gonogo.inference.bundle import MANIFEST, SUFFIX, read_bundle
from gonogo.inference.scorer import Scorer
from gonogo.service.problems import Problem
from gonogo.service.settings import Settings

TRIED = (64, 64)  # pixels of the image that a gauge must score before it is used


@dataclass(frozen=True)
class Offered:
    """A bundle that may be activated, or why it may not."""

    name: str
    path: Path
    fingerprint: str | None
    category: str | None
    signer: str | None
    error: str | None


class Gauge:
    """The scorer in use. Whoever takes `scorer` keeps it, so that an exchange loses no image that is being judged."""

    def __init__(self, settings: Settings) -> None:
        """Load `settings.bundle`.

        Raises:
            IntegrityError: it cannot be trusted, or does not score.
        """
        self._settings = settings
        self._exchanging = threading.Lock()
        self.scorer = self._loaded(settings.bundle)
        self.started_with = self.scorer.fingerprint

    def offered(self) -> list[Offered]:
        """The bundle of the start and those in the folder of bundles, by name, each held against its manifest."""
        folder = self._settings.bundles
        found = [] if folder is None else sorted(folder.iterdir())
        places = [place for place in found if place.suffix == SUFFIX or (place / MANIFEST).is_file()]
        start = self._settings.bundle
        if not any(place.resolve() == start.resolve() for place in places):
            places.insert(0, start)
        return [self._offered(place) for place in places]

    def exchange(self, fingerprint: str) -> Scorer:
        """Use the bundle with this fingerprint from now on, once it is verified and has scored an image.

        Raises:
            Problem: there is none, or it is refused; the one in use stays.
        """
        with self._exchanging:
            if fingerprint == self.scorer.fingerprint:
                return self.scorer
            found = self.offered()
            for offered in found:
                if offered.fingerprint == fingerprint:
                    try:
                        scorer = self._loaded(offered.path)
                    except (GonogoError, OSError) as error:
                        raise Problem("bundle-refused", f"{offered.name} is refused; the one in use stays") from error
                    if scorer.fingerprint != fingerprint:
                        raise Problem("bundle-refused", f"{offered.name} changed meanwhile; the one in use stays")
                    self.scorer = scorer
                    return scorer
            if any(one.error for one in found):  # it may be one of those
                raise Problem(
                    "bundle-refused", "no bundle that can be trusted has this fingerprint; the one in use stays"
                )
            raise Problem("not-found", "no bundle here has this fingerprint; the one in use stays")

    def _loaded(self, place: Path) -> Scorer:
        scorer = Scorer(place, threads=self._settings.threads, trust=self._settings.trust)
        try:
            scorer.score_pixels(np.zeros((1, *TRIED, 3), dtype=np.uint8))
        except Exception as error:  # whatever onnxruntime raises: a gauge that cannot score is never in use
            raise IntegrityError(f"{place} does not score {TRIED[1]} x {TRIED[0]} pixels: {error}") from error
        return scorer

    def _offered(self, place: Path) -> Offered:
        try:
            read = read_bundle(place, trust=self._settings.trust)
        except (GonogoError, OSError):
            return Offered(place.name, place, None, None, None, "refused: damaged, unsigned or of another format")
        return Offered(place.name, place, read.fingerprint, str(read.manifest.get("category")), read.signer, None)
