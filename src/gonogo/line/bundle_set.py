"""Several gauges as one: a router says which of them an image is for, or that it is for none."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.errors import IntegrityError
from gonogo.files import read_manifest
from gonogo.router_record import ROUTER, ROUTER_FILE, CategoryRecord
from gonogo.scorer import NO_NETWORK, Scorer, open_session


@dataclass(frozen=True)
class Route:
    """Where an image belongs.

    category: None where it is of none of them.
    nearest: the category whose good images are nearest, as a part of its limit.
    relative: its distance from them, as a part of that limit; below 1 it is of the category.
    """

    category: str | None
    nearest: str
    relative: float


def is_set(place: Path) -> bool:
    """Whether it is the folder of a set, not a bundle."""
    return (place / ROUTER / "manifest.json").is_file()


class BundleSet:
    """The folder of a set, as the router stage writes it; each gauge is loaded when the first image goes to it."""

    def __init__(self, folder: Path, *, threads: int | None = None, trust: Path | None = None) -> None:
        """Read the router. `threads` and `trust` are as in `Scorer`.

        Raises:
            IntegrityError: the router's files are not those that were written, or say different things.
        """
        manifest = read_manifest(folder / ROUTER)
        try:
            self.categories = [CategoryRecord.from_dict(one) for one in manifest["categories"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{folder}: its router lists no categories that make sense ({error!r})") from error
        try:
            self._session = open_session(folder / ROUTER / ROUTER_FILE, threads=threads)
            told = json.loads(self._session.get_modelmeta().custom_metadata_map["gonogo.categories"])
        except (*NO_NETWORK, KeyError) as error:
            raise IntegrityError(f"{folder}: {ROUTER_FILE} is no network of a router: {error}") from error
        if told != manifest["categories"]:
            raise IntegrityError(f"{folder}: the router's manifest and its network name different categories")
        self.folder, self._options = folder, {"threads": threads, "trust": trust}
        self._scorers: dict[str, Scorer] = {}
        self._limits = np.array([one.limit for one in self.categories])

    def route(self, pixels: np.ndarray) -> Route:
        """Where the image (h, w, 3) uint8 belongs.

        Raises:
            IntegrityError: a distance is not a number.
        """
        (distances,) = self._session.run(None, {"pixels": pixels[None]})
        relative = distances[0] / self._limits
        if not np.isfinite(relative).all():
            raise IntegrityError(f"{self.folder}: the router gave a distance that is not a number")
        number = int(relative.argmin())
        name, nearest = self.categories[number].name, float(relative[number])
        return Route(name if nearest < 1 else None, name, nearest)

    def scorer(self, category: str) -> Scorer:
        """The gauge of a category.

        Raises:
            IntegrityError: it is not the bundle that the set was made with, or cannot be trusted.
        """
        if category not in self._scorers:
            (record,) = (one for one in self.categories if one.name == category)
            options: Any = self._options
            scorer = Scorer(self.folder / category, **options)
            if scorer.fingerprint != record.bundle:
                raise IntegrityError(
                    f"{self.folder / category} is the bundle {scorer.fingerprint[:12]}, the set was made with "
                    f"{record.bundle[:12]}; make the set anew"
                )
            self._scorers[category] = scorer
        return self._scorers[category]
