"""Pictures of a category's images: the image, its ground truth, and its map or boxes, by the proven bundle.

An image is named by its number in the prepared data set, never by a path.
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from gonogo.data.prepare.prepare import prepare_params
from gonogo.errors import DataError
from gonogo.images.colours import LABELLED_BOX
from gonogo.images.dataset import Dataset, Record, read_dataset
from gonogo.images.draw_boxes import DrawnBox, with_boxes
from gonogo.images.reading import read_image
from gonogo.inference.scorer import Scorer, Verdict
from gonogo.line.outputs import drawn_boxes
from gonogo.params import Params, project_path
from gonogo.reports.drawing import image_tile, map_tile, mask_tile
from gonogo.text import printable

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
        name = (repr(record), number, view, side, gauge)  # labels too, which may be corrected while it runs
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
        return self._seen(category, pixels, (side, side), ())

    def _seen(self, category: str, pixels: np.ndarray, room: tuple[int, int], labelled: Sequence[DrawnBox]) -> bytes:
        (verdict,) = self.scorer(project_path("bundles", category)).score_pixels(pixels[None])
        return png(seen_tile(pixels, verdict, room, labelled))

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
            return self._seen(record.category, pixels, room, labelled_boxes(record))
        if learns_boxes(record.category) or (record.boxes and record.mask is None):
            return png(boxed_tile(pixels, labelled_boxes(record), room))
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


def learns_boxes(category: str) -> bool:
    """Whether a category's gauge learns from labelled boxes."""
    return prepare_params(Params(Path("params.yaml"), category).section("prepare")).task == "boxes"


def labelled_boxes(record: Record) -> list[DrawnBox]:
    """The boxes of an image's annotation, in green and by their class."""
    return [
        DrawnBox(
            (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]),
            printable(str(box["label"])),
            LABELLED_BOX,
            below=True,
        )
        for box in record.boxes
    ]


def boxed_tile(pixels: np.ndarray, boxes: Sequence[DrawnBox], room: tuple[int, int]) -> np.ndarray:
    """The image (h, w, 3) scaled to fit into `room`, with boxes."""
    tile = image_tile(pixels, room)
    return with_boxes(tile, boxes, scale=tile.shape[1] / pixels.shape[1])


def seen_tile(
    pixels: np.ndarray, verdict: Verdict, room: tuple[int, int], labelled: Sequence[DrawnBox] = ()
) -> np.ndarray:
    """What the gauge saw of an image: its map with regions or, where boxes decide, those found over those labelled."""
    if verdict.boxes is not None and verdict.boxes_decide:
        return boxed_tile(pixels, [*labelled, *drawn_boxes(verdict.boxes)], room)
    return map_tile(verdict.anomaly_map, verdict.threshold, room, verdict.defect_mask)


def _stamp(bundle: Path) -> str:
    """What changes when a bundle does."""
    try:
        status = (bundle / "manifest.json").stat()
    except OSError as error:
        raise DataError(f"{bundle} has no bundle; `dvc pull` or `dvc repro` brings it") from error
    return f"{bundle}/{status.st_mtime_ns}/{status.st_size}/{status.st_ino}"
