"""The bundle in use, and the bundles that may replace it. Requests name bundles by fingerprint, never by path."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gonogo.errors import GonogoError, IntegrityError
from gonogo.inference.bundle import MANIFEST, SUFFIX, read_bundle
from gonogo.inference.scorer import Scorer
from gonogo.service.problems import Problem
from gonogo.service.settings import Settings

TRIAL_SIZE = (64, 64)  # height and width in pixels of the black image that a bundle must score before it is used


@dataclass(frozen=True)
class AvailableBundle:
    """A bundle that may be activated, or one that is refused, with the `error` that says why."""

    name: str
    path: Path
    fingerprint: str | None
    category: str | None
    signer: str | None
    error: str | None


class Gauge:
    """Holds the scorer in use, with the box model of the settings beside each gauge of the category of the start.

    Code that scores reads `scorer` once and keeps that object, so that a change of the bundle affects no image which is
    being scored.
    """

    def __init__(self, settings: Settings) -> None:
        """Load `settings.bundle`, and the box model that stands beside it.

        Raises:
            IntegrityError: one of them cannot be trusted, or does not score.
            ConfigError: the box model finds no boxes, or the bundle finds boxes itself.
        """
        self._settings = settings
        self._exchange_lock = threading.Lock()
        self._box_model = None if settings.box_model is None else self._load(settings.box_model)
        self.scorer = self._load(settings.bundle)
        self.started_with, self._category = self.scorer.fingerprint, self.scorer.category
        self._pair(self.scorer)

    def available(self) -> list[AvailableBundle]:
        """The bundle of the start and those in the folder of bundles, sorted by name, each verified now."""
        folder = self._settings.bundles
        paths = [] if folder is None else sorted(folder.iterdir())
        bundles = [path for path in paths if path.suffix == SUFFIX or (path / MANIFEST).is_file()]
        start = self._settings.bundle
        if not any(path.resolve() == start.resolve() for path in bundles):
            bundles.insert(0, start)
        return [self._verify(path) for path in bundles]

    def exchange(self, fingerprint: str, category: str | None) -> Scorer:
        """Use the bundle with this fingerprint from now on, once it is verified and has scored an image.

        Args:
            fingerprint: of the bundle.
            category: of the bundle; None: it must be the one in use.

        Raises:
            Problem: there is no such bundle, it is refused, or it has another category; the one in use stays.
        """
        with self._exchange_lock:
            if fingerprint == self.scorer.fingerprint and category in (None, self.scorer.category):
                return self.scorer
            bundle = self._find(fingerprint)
            self._require_category(bundle, category)
            return self._use(bundle)

    def resume(self, fingerprint: str, category: str | None) -> None:
        """Use a bundle that was in use before; `category` is what it then had, or None where that is not known.

        Raises:
            Problem: there is no such bundle, or it is refused; the one in use stays.
        """
        with self._exchange_lock:
            if fingerprint != self.scorer.fingerprint:
                bundle = self._find(fingerprint)
                self._require_category(bundle, bundle.category if category is None else category)
                self._use(bundle)

    def _find(self, fingerprint: str) -> AvailableBundle:
        bundles = self.available()
        for bundle in bundles:
            if bundle.fingerprint == fingerprint:
                return bundle
        if any(bundle.error for bundle in bundles):  # it may be a refused one, whose fingerprint is not known
            raise Problem("bundle-refused", "no bundle that can be trusted has this fingerprint; the one in use stays")
        raise Problem("not-found", "no bundle here has this fingerprint; the one in use stays")

    def _use(self, bundle: AvailableBundle) -> Scorer:
        try:
            scorer = self._load(bundle.path)
        except (GonogoError, OSError) as error:
            raise Problem("bundle-refused", f"{bundle.name} is refused; the one in use stays") from error
        if scorer.fingerprint != bundle.fingerprint:
            raise Problem("bundle-refused", f"{bundle.name} changed meanwhile; the one in use stays")
        if scorer.box_classes is None:
            self._pair(scorer)
        self.scorer = scorer
        return scorer

    def _pair(self, scorer: Scorer) -> None:
        """Let the box model of the settings stand beside a gauge of the category that the service was started with."""
        if self._box_model is not None and scorer.category == self._category:
            scorer.with_box_model(self._box_model)

    def _require_category(self, bundle: AvailableBundle, category: str | None) -> None:
        """Refuse a bundle of another category than asked for, by which every part would meet the wrong gauge."""
        expected = self.scorer.category if category is None else category
        if bundle.category == expected:
            return
        if category is None:
            advice = f"to change to it, send the category too: {json.dumps({'category': bundle.category})}"
        else:
            advice = f"the request names {category!r}"
        raise Problem(
            "other-category",
            f"{bundle.name} is for {bundle.category!r}, and {self.scorer.category!r} is in use, which stays; {advice}",
            category=bundle.category,
        )

    def _load(self, path: Path) -> Scorer:
        scorer = Scorer(path, threads=self._settings.threads, trust=self._settings.trust)
        try:
            scorer.score_pixels(np.zeros((1, *TRIAL_SIZE, 3), dtype=np.uint8))
        except Exception as error:  # whatever onnxruntime raises: a bundle that cannot score is never used
            raise IntegrityError(
                f"{path} does not score an image of {TRIAL_SIZE[1]} x {TRIAL_SIZE[0]} pixels: {error}"
            ) from error
        return scorer

    def _verify(self, path: Path) -> AvailableBundle:
        try:
            read = read_bundle(path, trust=self._settings.trust)
        except (GonogoError, OSError):
            error = "refused: damaged, unsigned or of another format"
            return AvailableBundle(path.name, path, None, None, None, error)
        return AvailableBundle(path.name, path, read.fingerprint, str(read.manifest.get("category")), read.signer, None)
