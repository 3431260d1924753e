"""Several bundles as one, with a router that says which of them an image is for, or that it is for none."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from gonogo.calibration.route import ROUTER, ROUTER_FILE, CategoryRecord, nearest, routed
from gonogo.errors import IntegrityError
from gonogo.files import PLAIN_NAME, read_sealed, write_text
from gonogo.inference.bundle import MANIFEST, sign
from gonogo.inference.scorer import NO_NETWORK, Scorer, open_session
from gonogo.inference.signature import SIGNATURE, require_signed, signature_in, signature_of


@dataclass(frozen=True)
class Route:
    """Where an image belongs.

    category: None where it is of none of them.
    nearest: the one whose good images are nearest, as a part of its limit.
    relative: the distance from them as a part of that limit.
    """

    category: str | None
    nearest: str
    relative: float


def is_set(place: Path) -> bool:
    """Whether it is the folder of a set, not a bundle."""
    return (place / ROUTER / MANIFEST).is_file()


class BundleSet:
    """The folder that the router stage writes: a bundle for each category, and the router.

    fingerprint: SHA-256 of the router's manifest, which names every bundle.
    scorers: by category.
    """

    def __init__(self, folder: Path, *, threads: int | None = None, trust: Path | None = None) -> None:
        """Load the router and all bundles. `threads` and `trust` are as in `Scorer`; the router is signed, too.

        Raises:
            IntegrityError: the router's files are not those that were written, or a bundle cannot be trusted or is not
                the one that the set was made with.
        """
        manifest = read_sealed(folder / ROUTER)
        written = (folder / ROUTER / MANIFEST).read_bytes()
        if trust is not None:
            require_signed(written, signature_in(folder / ROUTER), trust, folder / ROUTER)
        self.folder, self.fingerprint = folder, hashlib.sha256(written).hexdigest()
        try:
            self.categories = [CategoryRecord.from_dict(one) for one in manifest["categories"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{folder}: its router lists no categories that make sense ({error!r})") from error
        if not self.categories or ROUTER_FILE not in manifest["files"]:
            raise IntegrityError(f"{folder}: its router has no category or no {ROUTER_FILE}")
        self._session = _session(folder / ROUTER / ROUTER_FILE, manifest["categories"], threads)
        self._limits = np.array([one.limit for one in self.categories])
        self.scorers = {one.name: self._scorer(one, threads, trust) for one in self.categories}

    def route(self, pixels: np.ndarray) -> Route:
        """Where the image (h, w, 3) uint8 belongs.

        Raises:
            IntegrityError: a distance is not a number, or there is not one for each category.
        """
        try:
            (distances,) = self._session.run(["distances"], {"pixels": np.ascontiguousarray(pixels[None])})
        except NO_NETWORK as error:
            height, width = pixels.shape[:2]
            raise IntegrityError(f"{self.folder}: the router fails on {width} x {height} pixels: {error}") from error
        if distances.shape != (1, len(self.categories)) or not np.isfinite(distances).all():
            raise IntegrityError(f"{self.folder}: the router gave {distances.tolist()}; expected one for each category")
        (number,), (relative,) = nearest(distances, self._limits)
        (to,) = routed(distances, self._limits)
        name = self.categories[number].name
        return Route(None if to == -1 else name, name, float(relative))

    def _scorer(self, record: CategoryRecord, threads: int | None, trust: Path | None) -> Scorer:
        if not PLAIN_NAME.fullmatch(record.name):
            raise IntegrityError(f"{self.folder}: its router names the category {record.name!r}, no folder here")
        scorer = Scorer(self.folder / record.name, threads=threads, trust=trust)
        if (scorer.fingerprint, scorer.category) != (record.bundle, record.name):
            raise IntegrityError(
                f"{self.folder / record.name} is the bundle {scorer.fingerprint[:12]} of {scorer.category}, the set "
                f"was made with {record.bundle[:12]} of {record.name}; make the set anew"
            )
        return scorer


def sign_set(folder: Path, categories: Iterable[str], key: Path) -> str:
    """Sign the router and every bundle of a set that was read, and return the key's id; raises as `sign` does."""
    signature = signature_of((folder / ROUTER / MANIFEST).read_bytes(), key)
    write_text(folder / ROUTER / SIGNATURE, signature.decode())
    signed = [sign(folder / name, key).signer for name in categories]
    return str(signed[0])


def _session(file: Path, categories: object, threads: int | None) -> onnxruntime.InferenceSession:
    """The router's network, which must name the same categories as its manifest.

    Raises:
        IntegrityError: it does not, or is no network.
    """
    try:
        session = open_session(file, threads=threads)
        own = json.loads(session.get_modelmeta().custom_metadata_map["gonogo.categories"])
    except (*NO_NETWORK, KeyError) as error:
        raise IntegrityError(f"{file} is no network of a router: {error}") from error
    if own != categories:
        raise IntegrityError(f"{file}: the router's manifest and its network name different categories")
    return session
