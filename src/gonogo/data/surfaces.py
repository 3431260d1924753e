"""Windows of a photographed surface (brick, grass, gravel) as good parts, and synthetic defects on some of them.

The photograph is a grid of disjoint cells, and chance deals each cell to one role. Scattered so, calibrate and test
windows are exchangeable, which is what the certified bound on false alarms rests on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from gonogo.data.defects import DEFECTS, visible_defect
from gonogo.data.sample import Places, Sample, Shares, draw
from gonogo.errors import ConfigError, MissingExtraError
from gonogo.images.reading import read_image
from gonogo.images.roles import ROLES, Role

PHOTOGRAPHS = ("brick", "grass", "gravel")

Cell = tuple[int, int]  # row and column in the grid


@dataclass(frozen=True, kw_only=True)
class Surfaces:
    """A photograph of 512 x 512 pixels from scikit-image, cut into windows.

    The defaults make 12 x 12 cells.

    Attributes:
        photograph: brick, grass or gravel.
        window: side of a window and of a cell, in pixels.
        fit_stride: pixels between neighbouring fit windows; below `window` they overlap one another. Where it divides
            `window`, each fit cell is among them; elsewhere few windows keep clear of the other roles.
        defects_per_type: test windows that get each type of defect; they also stay in test as good ones.
        defect_types: any of scratch, stain, hole, cut_paste, blur.
        strength_min: strength of the faintest defect; a sample's strength is uniform up to `strength_max`.
        strength_max: strength of the plainest one.
    """

    photograph: str = "brick"
    window: Annotated[int, Field(ge=16, le=128)] = 42
    fit_stride: Annotated[int, Field(ge=1)] = 14
    defects_per_type: Annotated[int, Field(ge=1)] = 10
    defect_types: Sequence[str] = tuple(DEFECTS)
    strength_min: Annotated[float, Field(gt=0, le=1)] = 0.5
    strength_max: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if self.photograph not in PHOTOGRAPHS:
            raise ConfigError(f"surfaces: photograph is {self.photograph!r}; choose one of {', '.join(PHOTOGRAPHS)}")
        unknown = [kind for kind in self.defect_types if kind not in DEFECTS]
        if unknown or not self.defect_types or len(set(self.defect_types)) < len(self.defect_types):
            raise ConfigError(
                f"surfaces: defect_types is {list(self.defect_types)!r}; choose, once each, from {', '.join(DEFECTS)}"
            )
        if self.strength_min > self.strength_max:
            raise ConfigError(
                f"surfaces: strength_min {self.strength_min} is above strength_max {self.strength_max}; swap them"
            )

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Fit, calibrate and good test windows, then the defective ones by type.

        Raises:
            ConfigError: fewer windows can show a defect than `defects_per_type`.
            MissingExtraError: scikit-image is not installed.
        """
        picture = read_photograph(self.photograph)
        rows, columns = (range(n // self.window) for n in picture.shape[:2])
        roles = dict(sorted(shares.split(dict.fromkeys(product(rows, columns), ROLES)).items()))
        yield from self._fit_windows(picture, roles)
        for cell, role in roles.items():
            if role != "fit":
                pixels = self._window_at(picture, cell)
                yield _sample(f"{role}_{_name(cell)}_good", role, "good", cell, pixels)
        for kind in self.defect_types:
            yield from self._defective(
                shares.seed, kind, picture, [cell for cell, role in roles.items() if role == "test"]
            )

    def places(self, category: str, raw: Path) -> Places:
        """None: the images are cut out of a photograph that is installed."""
        return Places()

    def _fit_windows(self, picture: np.ndarray, roles: dict[Cell, Role]) -> Iterator[Sample]:
        """Windows that touch no cell of another role, in the group of their top left cell."""
        size, reach = self.window, self.window - 1
        rows, columns = (n // size * size - reach for n in picture.shape[:2])
        for y, x in product(range(0, rows, self.fit_stride), range(0, columns, self.fit_stride)):
            touched = set(product((y // size, (y + reach) // size), (x // size, (x + reach) // size)))
            if all(roles[cell] == "fit" for cell in touched):
                pixels = picture[y : y + size, x : x + size]
                yield _sample(f"fit_y{y:03d}_x{x:03d}_good", "fit", "good", (y // size, x // size), pixels)

    def _defective(self, seed: int, kind: str, picture: np.ndarray, cells: list[Cell]) -> Iterator[Sample]:
        made = 0
        for cell in sorted(cells, key=lambda cell: draw(seed, "surfaces", self.photograph, kind, *cell)):
            if made == self.defects_per_type:
                return
            name = f"test_{_name(cell)}_{kind}"
            rng = np.random.default_rng(draw(seed, "surfaces", self.photograph, name))
            strength = self.strength_min + (self.strength_max - self.strength_min) * rng.random()
            damaged = visible_defect(kind, self._window_at(picture, cell), rng, strength)
            if damaged is not None:
                made += 1
                yield _sample(name, "test", kind, cell, *damaged)
        if made < self.defects_per_type:
            raise ConfigError(
                f"surfaces: defects_per_type is {self.defects_per_type}, but only {made} of {len(cells)} test windows "
                f"of {self.photograph} can show a {kind}; ask for fewer, or give test a larger share"
            )

    def _window_at(self, picture: np.ndarray, cell: Cell) -> np.ndarray:
        y, x = cell[0] * self.window, cell[1] * self.window
        return picture[y : y + self.window, x : x + self.window]


def read_photograph(name: str) -> np.ndarray:
    """(512, 512, 3) uint8 RGB from the file inside scikit-image's wheel; `skimage.data` might turn to the network.

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    try:
        import skimage  # where it is used: other sources need none of it
    except ImportError as error:
        raise MissingExtraError(
            "source surfaces needs scikit-image, which is missing; install gonogo[pipeline]"
        ) from error
    return read_image(Path(skimage.__file__).parent / "data" / f"{name}.png")


def _sample(name: str, role: Role, kind: str, cell: Cell, pixels: np.ndarray, mask: np.ndarray | None = None) -> Sample:
    return Sample(
        name=name,
        image=pixels,
        label=int(kind != "good"),
        defect_type=kind,
        roles=(role,),
        group_id=_name(cell),
        mask=mask,
    )


def _name(cell: Cell) -> str:
    return f"r{cell[0]:02d}_c{cell[1]:02d}"
