"""The good patches of a memory bank, as pictures in the bundle. Needs only numpy and Pillow.

For each entry of the memory bank, a table has the fit image and the place in it, and a mosaic has a picture of that
place with its surroundings, one entry after the other, row by row.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gonogo.errors import ImageError, IntegrityError
from gonogo.files import json_object
from gonogo.images.reading import decode

TABLE, MOSAIC = "neighbours.json", "neighbours.jpg"
BESIDE = (214, 217, 221)  # colour of the part of a picture that lies outside of its image

Box = tuple[int, int, int, int]  # x, y, width, height in pixels


@dataclass(frozen=True)
class GoodPatch:
    """An entry of the memory bank.

    entry: its number.
    image: path of the fit image.
    box: (x, y, width, height) of the patch in pixels of the fit image.
    turned: degrees, anticlockwise, by which the image was turned when the gauge was fitted on it, and is in `picture`.
    picture: (s, s, 3) uint8, the patch with its surroundings.
    """

    entry: int
    image: str
    box: Box
    turned: float
    picture: np.ndarray


class GoodPatches:
    """All entries of the memory bank of a bundle, by number."""

    def __init__(self, table: bytes, mosaic: bytes, bundle: Path) -> None:
        """Read the table and the mosaic that the stage parity wrote into the bundle.

        Raises:
            IntegrityError: they are damaged, or do not fit each other.
        """
        content = json_object(table, bundle / TABLE)
        try:
            self.cells = (int(content["cells"][0]), int(content["cells"][1]))
            self.share, self.side, self.columns = (
                float(content["share"]), int(content["side"]), int(content["columns"])
            )  # fmt: skip
            self.images = [str(name) for name in content["images"]]
            self.rows = np.array(content["entries"], dtype=np.float64).reshape(-1, 6)
            self.mosaic = decode(mosaic, bundle / MOSAIC)[0]
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, ImageError) as error:
            raise IntegrityError(f"{bundle}: {TABLE} and {MOSAIC} cannot be read ({error!r}); export again") from error
        height, width = self.mosaic.shape[:2]
        whole = (
            min(*self.cells, self.side, self.columns) >= 1
            and 0 < self.share <= 1
            and len(self.rows) >= 1
            and (height, width) == (-(-len(self.rows) // self.columns) * self.side, self.columns * self.side)
            and bool(np.isfinite(self.rows).all() and (self.rows[:, :3] >= 0).all() and (self.rows[:, 3:5] >= 1).all())
            and bool((self.rows[:, 0] < len(self.images)).all())
        )
        if not whole:
            raise IntegrityError(
                f"{bundle}: {TABLE} lists {len(self.rows)} patches of {len(self.images)} images in a mosaic of "
                f"{self.columns} columns of {self.side} pixels; {MOSAIC} has {width} x {height} pixels, which does not "
                "fit: export again"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, entry: int) -> GoodPatch:
        """The entry of a number.

        Raises:
            IntegrityError: there is no such entry, so that the network must be of another bundle.
        """
        if not 0 <= entry < len(self.rows):
            raise IntegrityError(f"the network gave the number {entry} of a good patch; {TABLE} has {len(self.rows)}")
        number, x, y, width, height = (int(value) for value in self.rows[entry, :5])
        row, column = divmod(entry, self.columns)
        picture = self.mosaic[row * self.side :, column * self.side :][: self.side, : self.side]
        return GoodPatch(entry, self.images[number], (x, y, width, height), float(self.rows[entry, 5]), picture)

    def picture_of(self, pixels: np.ndarray, box: Box) -> np.ndarray:
        """(s, s, 3) uint8: a place of an image (h, w, 3), cut out on the scale of the pictures in the mosaic."""
        x, y, width, height = box
        return picture_around(pixels, (x + width / 2, y + height / 2), share=self.share, side=self.side)


def box_around(centre: tuple[float, float], cell: tuple[float, float], size: tuple[int, int]) -> Box:
    """The box of pixels that a cell touches in an image of `size`; each argument has x first, then y."""
    first = [max(0, int(np.floor(c - s / 2 + 1e-6))) for c, s in zip(centre, cell, strict=True)]
    last = [min(n, int(np.ceil(c + s / 2 - 1e-6))) for c, s, n in zip(centre, cell, size, strict=True)]
    return first[0], first[1], last[0] - first[0], last[1] - first[1]


def picture_around(
    pixels: np.ndarray, centre: tuple[float, float], *, share: float, side: int, turned: float = 0.0
) -> np.ndarray:
    """(side, side, 3) uint8: a square of an image (h, w, 3) around `centre` (x, y), BESIDE outside of the image.

    Args:
        share: side of the square as a share of the longer side of the image.
        turned: degrees, anticlockwise.
    """
    length = share * max(pixels.shape[:2])
    if turned == 0:
        return _square(pixels, centre, length, side)
    wide = side + 2 * (side // 4)  # more than sqrt(2) times the side, so that the turned square has its corners
    upright = Image.fromarray(_square(pixels, centre, length * wide / side, wide))
    around = upright.rotate(turned, Image.Resampling.BICUBIC, fillcolor=BESIDE)
    return np.asarray(around)[side // 4 :, side // 4 :][:side, :side]


def _square(pixels: np.ndarray, centre: tuple[float, float], length: float, side: int) -> np.ndarray:
    low = [c - length / 2 for c in centre]
    sizes = (pixels.shape[1], pixels.shape[0])
    seen = [(max(0.0, at), min(float(n), at + length)) for at, n in zip(low, sizes, strict=True)]
    ends = [[round((edge - at) * side / length) for edge in edges] for edges, at in zip(seen, low, strict=True)]
    square = Image.new("RGB", (side, side), BESIDE)
    (x0, x1), (y0, y1) = ends
    if x1 > x0 and y1 > y0:
        method = Image.Resampling.BICUBIC if length < side else Image.Resampling.LANCZOS
        box = (seen[0][0], seen[1][0], seen[0][1], seen[1][1])
        square.paste(Image.fromarray(pixels).resize((x1 - x0, y1 - y0), method, box=box), (x0, y0))
    return np.asarray(square)


def as_jpeg(mosaic: np.ndarray, quality: int) -> bytes:
    """The bytes of a JPEG of the mosaic (h, w, 3) uint8."""
    file = io.BytesIO()
    Image.fromarray(mosaic).save(file, format="JPEG", quality=quality, optimize=True)
    return file.getvalue()
