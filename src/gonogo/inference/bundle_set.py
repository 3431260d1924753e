"""A set of bundles with a router, which says to which category an image belongs, or that it belongs to none."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from gonogo.calibration.route import ROUTER, ROUTER_FILE, CategoryRecord, nearest, routed
from gonogo.errors import ConfigError, ImageError, IntegrityError
from gonogo.files import PLAIN_NAME, open_sealed, write_text
from gonogo.images.reading import require_pixels
from gonogo.inference.bundle import MANIFEST, sign
from gonogo.inference.scorer import FAILURES, NO_NETWORK, Scorer, open_session
from gonogo.inference.self_contained import require_self_contained
from gonogo.inference.signature import SIGNATURE, require_signed, signature_in, signature_of

DISTANCES = "distances"  # what the router's network gives


@dataclass(frozen=True)
class Route:
    """The category of an image.

    category: None if the image is beyond the limit of every category.
    nearest: the category with the smallest distance from its good images relative to its limit.
    relative: that relative distance; up to 1 the image belongs to the category.
    """

    category: str | None
    nearest: str
    relative: float


def is_set(path: Path) -> bool:
    """Whether a path is the folder of a set of bundles, not a bundle."""
    return (path / ROUTER / MANIFEST).is_file()


class BundleSet:
    """The folder that the stage `router` writes: a bundle for each category, and the router.

    A category may have a second bundle beside its gauge, which finds boxes; see `Scorer.with_box_model`.

    fingerprint: SHA-256 of the router's manifest, which lists every bundle by its own SHA-256.
    scorers: the gauges, by category.
    """

    def __init__(self, folder: Path, *, threads: int | None = None, trust: Path | None = None) -> None:
        """Load the router and all bundles. `threads` and `trust` are as in `Scorer`; `trust` covers the router too.

        Raises:
            IntegrityError: a file of the router was changed, a bundle cannot be trusted, or a bundle is not the one
                with which the set was made.
        """
        router = open_sealed(folder / ROUTER)
        manifest, written = router.content, router.manifest
        if trust is not None:
            require_signed(written, signature_in(folder / ROUTER), trust, folder / ROUTER)
        self.folder, self.fingerprint = folder, hashlib.sha256(written).hexdigest()
        try:
            self.categories = [CategoryRecord.from_dict(one) for one in manifest["categories"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{folder}: the router's manifest lists no valid categories ({error!r})") from error
        if not self.categories or ROUTER_FILE not in manifest["files"]:
            raise IntegrityError(f"{folder}: the router's manifest lists no category, or no file {ROUTER_FILE}")
        self._session = _session(
            router.files[ROUTER_FILE], folder / ROUTER / ROUTER_FILE, manifest["categories"], threads
        )
        self._limits = np.array([one.limit for one in self.categories])
        self.scorers = {one.name: self._scorer(one, threads, trust) for one in self.categories}

    def route(self, pixels: np.ndarray) -> Route:
        """The category of an image (h, w, 3) uint8.

        Raises:
            ImageError: the router fails on this image, or gives a distance that is no number.
            IntegrityError: the router does not give one distance for each category.
        """
        try:
            distances = run_router(self._session, pixels[None])
        except FAILURES as error:
            height, width = pixels.shape[:2]
            raise ImageError(f"{self.folder}: the router fails on {width} x {height} pixels: {error}") from error
        if distances.shape != (1, len(self.categories)):
            raise IntegrityError(
                f"{self.folder}: the router gave {distances.tolist()}; expected one distance for each category"
            )
        if not np.isfinite(distances).all():
            raise ImageError(f"{self.folder}: the router gave {distances.tolist()}; expected finite distances")
        (number,), (relative,) = nearest(distances, self._limits)
        (to,) = routed(distances, self._limits)
        name = self.categories[number].name
        return Route(None if to == -1 else name, name, float(relative))

    def _scorer(self, record: CategoryRecord, threads: int | None, trust: Path | None) -> Scorer:
        scorer = self._bundle(record.name, record.bundle, threads, trust)
        if record.box_model is None or record.box_bundle is None:
            return scorer
        try:
            return scorer.with_box_model(self._bundle(record.box_model, record.box_bundle, threads, trust))
        except ConfigError as error:
            raise IntegrityError(f"{self.folder}: {error}") from error

    def _bundle(self, name: str, fingerprint: str, threads: int | None, trust: Path | None) -> Scorer:
        if not PLAIN_NAME.fullmatch(name):
            raise IntegrityError(
                f"{self.folder}: the router lists the category {name!r}, which is not the name of a folder"
            )
        scorer = Scorer(self.folder / name, threads=threads, trust=trust)
        if (scorer.fingerprint, scorer.category) != (fingerprint, name):
            raise IntegrityError(
                f"{self.folder / name} is the bundle {scorer.fingerprint[:12]} of {scorer.category}, but the "
                f"set was made with {fingerprint[:12]} of {name}; run the stage router again"
            )
        return scorer


def run_router(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> np.ndarray:
    """Distances (n, k) float32 of uint8 RGB pixels (n, h, w, 3) to the nearest good image of each of k categories.

    Raises:
        ShapeError: another shape or dtype.
    """
    require_pixels(pixels)
    (distances,) = session.run([DISTANCES], {"pixels": np.ascontiguousarray(pixels)})
    return np.asarray(distances)


def sign_set(folder: Path, bundles: Iterable[Scorer], key: Path) -> str:
    """Sign the router and the bundles of a set, and return the id of the key. Raises the errors of `bundle.sign`."""
    signature = signature_of(open_sealed(folder / ROUTER).manifest, key)
    write_text(folder / ROUTER / SIGNATURE, signature.decode())
    signed = [sign(folder / one.category, key).signer for one in bundles]
    return str(signed[0])


def _session(network: bytes, file: Path, categories: object, threads: int | None) -> onnxruntime.InferenceSession:
    """The router's network, whose metadata must list the same categories as the manifest.

    Raises:
        IntegrityError: they do not, or onnxruntime cannot load the network.
    """
    require_self_contained(network, str(file))
    try:
        session = open_session(network, threads=threads)
        own = json.loads(session.get_modelmeta().custom_metadata_map["gonogo.categories"])
    except (*NO_NETWORK, KeyError) as error:
        raise IntegrityError(f"{file}: it cannot be loaded as the network of a router: {error}") from error
    if own != categories:
        raise IntegrityError(
            f"{file}: the network lists other categories than the router's manifest; one of them was changed"
        )
    return session
