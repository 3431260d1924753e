"""What every data source yields: samples, each with the roles that the layout leaves open to it."""

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from gonogo.images.roles import Role

Key = TypeVar("Key", bound=Hashable)


# A mask is a file that `images.masks` reads, an array, or what draws it at (height, width).
Mask = Path | np.ndarray | Callable[[int, int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image and what its source knows of it.

    Attributes:
        name: unique within the category: a raw file's path below the raw folder, or a stem of our own making.
        image: the raw file, which stays where it is, or pixels (h, w, 3) uint8 RGB, which prepare writes.
        label: 0 good, 1 anomalous.
        defect_type: "good" for good parts.
        roles: the roles that the layout leaves open; prepare deals one of them.
        group_id: shared by the samples that show the same piece of the world; None: it stands alone.
        mask: (h, w) bool or what makes it, True where anomalous; None where no mask exists. Good parts need none, and
            theirs is only looked at.
        boxes: objects of the annotation, each {"x", "y", "width", "height", "label"} in pixels.
        saturation: per defect of the image {"mask", "threshold", "relative"}, as MVTec LOCO gives it for sPRO.
        size: (width, height) that the annotation was drawn at, where it says so.
        sha256: of the raw file's bytes, where it is known; another file is not this image.
        accepted: of an image that a person accepted as good: id, date, by and reason of the acceptance.
    """

    name: str
    image: Path | np.ndarray
    label: int
    defect_type: str
    roles: tuple[Role, ...]
    group_id: str | None = None
    mask: Mask | None = None
    boxes: Sequence[Mapping[str, Any]] = ()
    saturation: Sequence[Mapping[str, Any]] = ()
    size: tuple[int, int] | None = None
    sha256: str | None = None
    accepted: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How good parts are assigned to the roles that their layout leaves open.

    Attributes:
        seed: of the shuffle.
        test: share of the good parts that test gets, of those that may be test.
        calibrate: share of the remaining good parts that calibrate gets; fit gets the rest.
    """

    seed: int
    test: float
    calibrate: float

    def split(self, open_roles: Mapping[Key, Sequence[Role]]) -> dict[Key, Role]:
        """A role for each key, among those open to it; a key's place in the shuffle depends on itself alone."""
        order = sorted(open_roles, key=lambda key: draw(self.seed, "role", str(key)))
        assigned: dict[Key, Role] = {key: open_roles[key][0] for key in order if len(open_roles[key]) == 1}
        undecided = [key for key in order if key not in assigned]
        may_test = [key for key in undecided if "test" in open_roles[key]]
        assigned |= dict.fromkeys(may_test[: round(self.test * len(may_test))], "test")
        rest = [key for key in undecided if key not in assigned]
        calibrate = set(rest[: round(self.calibrate * len(rest))])
        return assigned | {key: "calibrate" if key in calibrate else "fit" for key in rest}


@dataclass(frozen=True)
class Places:
    """Where the images of a category lie.

    Attributes:
        folders: all of whose images should be of use, at any depth.
        apart_from: files and folders in them that the source passes over on purpose, or uses otherwise than as the
            image or the mask of one sample.
    """

    folders: Sequence[Path] = ()
    apart_from: Sequence[Path] = ()


class Source(Protocol):
    """Where the images of a category come from."""

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Every sample of `category`; the same seed gives the same bytes on every machine.

        Args:
            category: the gauge's name, and the data set's own unless an option says otherwise.
            raw: the folder of the user's images; sources that draw their own ignore it.
            shares: for sources that must know a part's role before they draw it.

        Raises:
            ConfigError: the options do not fit what is there.
            DataError: the layout is not the one expected; the message says what was found.
        """
        ...

    def places(self, category: str, raw: Path) -> Places:
        """The folders that the images are read from; none for a source that draws its own.

        Raises:
            ConfigError, DataError: as `samples`.
        """
        ...


def draw(seed: int, *names: str | int) -> int:
    """A number in [0, 2**64) that depends on its arguments alone, thus on no other sample.

    To sort by it is to shuffle; unlike a shuffle it keeps the order of the rest when an element comes or goes.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
