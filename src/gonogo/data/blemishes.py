"""Windows of a photographed surface with several drawn defects each, labelled with boxes: for a fit of boxes.

As in `surfaces`, the photograph is a grid of disjoint cells. Some cells stay good, the others get defects, in so many
views each, and all views of a cell are of one group: no pixel of the surface is in two roles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from gonogo.data.defects import DEFECTS, visible_defect
from gonogo.data.sample import Places, Sample, Shares, draw
from gonogo.data.surfaces import PHOTOGRAPHS, read_photograph
from gonogo.errors import ConfigError
from gonogo.images.roles import ROLES

GAP = 2  # pixels at least between two drawn defects, which would otherwise be one


@dataclass(frozen=True, kw_only=True)
class Blemishes:
    """A photograph of 512 x 512 pixels from scikit-image, cut into windows, some with up to `most` drawn defects.

    Attributes:
        photograph: brick, grass or gravel.
        window: side of a window and of a cell, in pixels.
        field: side of the square that a defect is drawn in, in pixels; defects are about a third of it.
        defective_share: share of the cells that get defects.
        views: windows with defects of each such cell, each with others.
        most: defects of a window, from 1 up to so many.
        defect_types: any of scratch, stain, hole, cut_paste, blur: the classes.
        strength_min: strength of the faintest defect; a defect's strength is uniform up to 1.
    """

    photograph: str = "brick"
    window: Annotated[int, Field(ge=32, le=128)] = 48
    field: Annotated[int, Field(ge=16)] = 28
    defective_share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    views: Annotated[int, Field(ge=1)] = 4
    most: Annotated[int, Field(ge=1, le=8)] = 3
    defect_types: Sequence[str] = ("hole", "scratch", "stain")
    strength_min: Annotated[float, Field(gt=0, le=1)] = 0.6

    def __post_init__(self) -> None:
        if self.photograph not in PHOTOGRAPHS:
            raise ConfigError(f"blemishes: photograph is {self.photograph!r}; choose one of {', '.join(PHOTOGRAPHS)}")
        if any(kind not in DEFECTS for kind in self.defect_types) or not self.defect_types:
            raise ConfigError(
                f"blemishes: defect_types is {list(self.defect_types)!r}; choose from {', '.join(DEFECTS)}"
            )
        if self.field > self.window:
            raise ConfigError(f"blemishes: field {self.field} is larger than window {self.window}; make it smaller")

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """The good cells, then the views of the others; every role is open to each cell.

        Raises:
            ConfigError: a cell can show none of the defects.
            MissingExtraError: scikit-image is not installed.
        """
        picture = read_photograph(self.photograph)
        rows, columns = (range(length // self.window) for length in picture.shape[:2])
        cells = list(product(rows, columns))
        order = sorted(cells, key=lambda cell: draw(shares.seed, "blemishes", self.photograph, *cell))
        defective = set(order[: round(self.defective_share * len(cells))])
        for cell in sorted(set(cells) - defective):
            yield Sample(
                name=f"{_name(cell)}_good",
                image=self._window_at(picture, cell),
                label=0,
                defect_type="good",
                roles=ROLES,
                group_id=_name(cell),
            )
        for cell, view in product(sorted(defective), range(self.views)):
            yield self._with_defects(self._window_at(picture, cell), cell, view, shares.seed)

    def places(self, category: str, raw: Path) -> Places:
        """None: the images are cut out of a photograph that is installed."""
        return Places()

    def _with_defects(self, pixels: np.ndarray, cell: tuple[int, int], view: int, seed: int) -> Sample:
        name = f"{_name(cell)}_view{view}"
        rng = np.random.default_rng(draw(seed, "blemishes", self.photograph, name))
        pixels, mask = pixels.copy(), np.zeros(pixels.shape[:2], dtype=bool)
        boxes: list[dict[str, Any]] = []
        for _ in range(int(rng.integers(1, self.most, endpoint=True))):
            kind = str(self.defect_types[int(rng.integers(len(self.defect_types)))])
            top, left = rng.integers(0, self.window - self.field, 2, endpoint=True).tolist()
            square = slice(top, top + self.field), slice(left, left + self.field)
            strength = self.strength_min + (1 - self.strength_min) * rng.random()
            drawn = visible_defect(kind, pixels[square], rng, strength)
            if drawn is None:
                continue
            damaged, where = drawn
            rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
            y0, y1, x0, x1 = top + rows[0], top + rows[-1] + 1, left + columns[0], left + columns[-1] + 1
            if mask[max(0, y0 - GAP) : y1 + GAP, max(0, x0 - GAP) : x1 + GAP].any():
                continue
            pixels[square] = damaged
            mask[square] |= where
            box = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
            boxes.append({key: float(value) for key, value in box.items()} | {"label": kind})
        if not boxes:
            raise ConfigError(
                f"blemishes: {name} of {self.photograph} can show none of {', '.join(self.defect_types)}; take "
                "stronger defects, or another photograph"
            )
        areas = dict.fromkeys(self.defect_types, 0.0)
        for box in boxes:
            areas[box["label"]] += box["width"] * box["height"]
        return Sample(
            name=name,
            image=pixels,
            label=1,
            defect_type=max(sorted(areas), key=lambda kind: areas[kind]),
            roles=ROLES,
            group_id=_name(cell),
            mask=mask,
            boxes=boxes,
        )

    def _window_at(self, picture: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
        y, x = cell[0] * self.window, cell[1] * self.window
        return picture[y : y + self.window, x : x + self.window]


def _name(cell: tuple[int, int]) -> str:
    return f"r{cell[0]:02d}_c{cell[1]:02d}"
