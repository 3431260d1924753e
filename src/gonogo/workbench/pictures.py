"""Pictures of a category's images: the image, its ground truth, and its map with the regions, by the proven bundle.

An image is named by its number in the prepared data set, never by a path.
"""

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from gonogo.errors import DataError
from gonogo.images.colours import OUTLINE
from gonogo.images.dataset import Dataset, Record, read_dataset
from gonogo.images.reading import read_image
from gonogo.inference.scorer import Scorer
from gonogo.params import Params, project_path
from gonogo.reports.drawing import fitted_size, image_tile, map_tile, mask_tile

View = Literal["image", "truth", "map"]
SIDES = (96, 192, 384, 768)  # pixels of the square that a picture fits into
KEPT = 512


class Pictures:
    """Makes pictures, and keeps the latest of them, and the scorer of one bundle."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, int, View, int, str], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._scorer: tuple[str, Scorer] | None = None

    def of(self, category: str, number: int, view: View, side: int) -> bytes:
        """A PNG of an image of the prepared data set, which fits into a square of `side` pixels.

        Raises:
            DataError: there is no such image.
            IntegrityError: the image or the bundle is not the one that its manifest describes.
        """
        dataset = dataset_of(category)
        record = record_of(dataset, number)
        gauge = _stamp(project_path("bundles", category)) if view == "map" else ""
        name = (record.sha256 + category, number, view, side, gauge)
        with self._lock:
            if name in self._made:
                self._made.move_to_end(name)
                return self._made[name]
        data = self._draw(dataset, record, view, (side, side))
        with self._lock:
            self._made[name] = data
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        return data

    def map_of(self, category: str, pixels: np.ndarray, side: int) -> bytes:
        """The map of any image (h, w, 3), as `of` draws it."""
        verdict = self.scorer(project_path("bundles", category)).score_pixels(pixels[None])[0]
        return png(map_tile(verdict.anomaly_map, verdict.threshold, (side, side), verdict.defect_mask))

    def scorer(self, bundle: Path) -> Scorer:
        """The scorer of a bundle, which is loaded when another one was asked for before."""
        stamp = _stamp(bundle)
        with self._lock:
            if self._scorer is None or self._scorer[0] != stamp:
                self._scorer = (stamp, Scorer(bundle, threads=1))
            return self._scorer[1]

    def _draw(self, dataset: Dataset, record: Record, view: View, room: tuple[int, int]) -> bytes:
        pixels = dataset.pixels_of(record)
        if view == "image":
            return png(image_tile(pixels, room))
        if view == "map":
            verdict = self.scorer(project_path("bundles", record.category)).score_pixels(pixels[None])[0]
            return png(map_tile(verdict.anomaly_map, verdict.threshold, room, verdict.defect_mask))
        if record.boxes and record.mask is None:
            return png(_boxed(pixels, record, room))
        mask = np.zeros(pixels.shape[:2], bool) if record.label == 0 else dataset.mask_of(record)
        return png(mask_tile(pixels, mask, room))


def dataset_of(category: str) -> Dataset:
    """The prepared data set of a category.

    Raises:
        DataError: it is not prepared.
        ConfigError: there is no such category.
    """
    return read_dataset(project_path("prepared", category), Params(Path("params.yaml"), category).raw)


def record_of(dataset: Dataset, number: int) -> Record:
    """An image by its number.

    Raises:
        DataError: there is no such image.
    """
    if not 0 <= number < len(dataset.records):
        raise DataError(f"there is no image {number}; the data set has {len(dataset.records)}")
    return dataset.records[number]


def tile_of_file(path: Path, side: int) -> bytes:
    """A PNG of an image file, which fits into a square of `side` pixels.

    Raises:
        ImageError: it cannot be read.
    """
    return png(image_tile(read_image(path), (side, side)))


def png(pixels: np.ndarray) -> bytes:
    """The pixels (h, w, 3) as a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=3)
    return file.getvalue()


def _boxed(pixels: np.ndarray, record: Record, room: tuple[int, int]) -> np.ndarray:
    """The image with the boxes of its annotation."""
    size = fitted_size((pixels.shape[1], pixels.shape[0]), room)
    scale = size[0] / pixels.shape[1]
    picture = Image.fromarray(image_tile(pixels, room))
    draw = ImageDraw.Draw(picture)
    for box in record.boxes:
        left, top = scale * box["x"], scale * box["y"]
        draw.rectangle((left, top, left + scale * box["width"], top + scale * box["height"]), outline=OUTLINE, width=2)
    return np.asarray(picture)


def _stamp(bundle: Path) -> str:
    """What changes when a bundle does."""
    try:
        status = (bundle / "manifest.json").stat()
    except OSError as error:
        raise DataError(f"{bundle} has no bundle; `dvc pull` or `dvc repro` brings it") from error
    return f"{bundle}/{status.st_mtime_ns}/{status.st_size}/{status.st_ino}"
