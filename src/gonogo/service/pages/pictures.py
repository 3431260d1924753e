"""Pictures of parts, at the size at which a page shows them: the part, a layer of its map, and its highest places.

The map is not stored: the bundle that scored the image computes it again, once for all pictures of a part. What was
made last stays in memory.
"""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from gonogo.calibration.boxes import FoundBox
from gonogo.calibration.regions import dilated
from gonogo.images.colours import OUTLINE, PictureScale, scaled_colours
from gonogo.images.draw_boxes import with_boxes
from gonogo.inference.attribution import Attribution
from gonogo.line.explain import Explanation, top_cells
from gonogo.line.outputs import drawn_boxes
from gonogo.service.inspecting import browser_picture
from gonogo.service.security import Key
from gonogo.service.service import Service
from gonogo.service.stored_image import stored_image
from gonogo.store.schema import Row

WIDTHS = (96, 192, 384, 768, 1536, 3072)  # in which pictures are made; a page asks for one of them
LAYER_WIDTH, BOX_LAYER_WIDTH = 1536, 768  # the most that a layer has, and the least that one of boxes has
N_PLACES, PLACE_SIDE = 3, 192  # highest places that are shown, and pixels of their pictures
GRID_CELLS = 16  # along the longer side of the image
KEPT_PICTURES, KEPT_VIEWS = 512, 64
FAINTEST, STRONGEST = 0.7, 0.8  # the map is transparent below so much of the threshold; its opacity above it
Made = TypeVar("Made")


@dataclass(frozen=True)
class PlaceView:
    """A place where the part differs most: its picture beside that of the nearest good patch.

    relative: the highest value of the map there, as a multiple of the threshold.
    image: the name of the good part.
    """

    part: bytes
    good: bytes
    media_type: str
    relative: float
    image: str


@dataclass(frozen=True)
class View:
    """What the map of a part shows.

    layer: a PNG with transparency, the map's colours and the outlines of regions.
    places: the highest places; none where the bundle has no good patches.
    grid: the highest value of the map in each cell, as multiples of the threshold, row by row; None where the detector
        does not localise.
    attribution: what the score is made of; None where it is not taken apart.
    """

    layer: bytes
    places: tuple[PlaceView, ...]
    grid: list[list[float]] | None
    attribution: Attribution | None

    @property
    def shown_places(self) -> tuple[PlaceView, ...]:
        """The places beyond the threshold, and the highest one in any case."""
        return tuple(place for number, place in enumerate(self.places) if number == 0 or place.relative >= 1)


class Latest(Generic[Made]):
    """What was made for the last `size` names, each made once however many ask for it at the same time."""

    def __init__(self, size: int) -> None:
        self._size, self._made = size, OrderedDict[str, asyncio.Task[Made]]()

    async def get(self, name: str, make: Callable[[], Awaitable[Made]]) -> Made:
        """What was made for `name`, or what `make` makes now; what fails is tried again the next time."""
        task = self._made.get(name)
        if task is None:
            task = self._made[name] = asyncio.ensure_future(_as_coroutine(make()))
            task.add_done_callback(lambda ended: self._forget(name, ended))
            while len(self._made) > self._size:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(name)
        return await asyncio.shield(task)

    def _forget(self, name: str, ended: asyncio.Task[Made]) -> None:
        if ended.cancelled() or ended.exception() is not None:
            self._made.pop(name, None)


class Pictures:
    """Makes the pictures of one service's inspections."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pictures: Latest[tuple[bytes, str]] = Latest(KEPT_PICTURES)
        self._views: Latest[View] = Latest(KEPT_VIEWS)

    async def part(self, row: Row, key: Key, width: int) -> tuple[bytes, str]:
        """The part, at most `width` pixels wide, and the media type.

        Raises:
            Problem: the image is kept no more, or there is no memory for it now.
        """

        async def make() -> tuple[bytes, str]:
            data = await stored_image(self._service.store, row)
            return await self._service.runner.pictured(data, key, partial(browser_picture, width=width))

        return await self._pictures.get(f"{row['image_sha256']}/{width}", make)

    async def view(self, row: Row, key: Key, scale: PictureScale = "threshold") -> View:
        """What the map of the part shows; `scale` is that of the layer's colours.

        Raises:
            Problem: the image is kept no more, or the bundle that scored it is not the one in use.
        """

        async def make() -> View:
            data = await stored_image(self._service.store, row)
            with self._service.runner.reserve_slot(key):
                return await self._service.runner.explain(
                    data, key, bundle=row["bundle"], top=N_PLACES, render=partial(self._render, scale=scale)
                )

        return await self._views.get(f"{row['image_sha256']}/{row['bundle']}/{scale}", make)

    async def layer(self, row: Row, key: Key, scale: PictureScale = "threshold") -> bytes:
        """A PNG to be laid over the part: its boxes as they were found, whichever bundle is in use, or its map.

        Boxes that stand beside a gauge are drawn over its map, as long as the gauge is in use.

        Raises:
            Problem: as `view`, for a map alone.
        """
        if row["boxes"] is None:
            return (await self.view(row, key, scale)).layer
        boxes, below = [FoundBox(**box) for box in row["boxes"]], None
        if row["box_model"] is not None and row["bundle"] == self._service.gauge.scorer.fingerprint:
            below = (await self.view(row, key, scale)).layer
        return await asyncio.to_thread(box_layer, (row["image_height"], row["image_width"]), boxes, below)

    def _render(self, pixels: np.ndarray, explanation: Explanation, *, scale: PictureScale) -> View:
        verdict = explanation.verdict
        unit = verdict.threshold if verdict.threshold > 0 else 1.0
        places = []
        for pair in explanation.places:
            part, media_type = browser_picture(pair.picture, PLACE_SIDE)
            good, _ = browser_picture(pair.good.picture, PLACE_SIDE)
            places.append(PlaceView(part, good, media_type, pair.peak / unit, pair.good.image))
        if verdict.boxes_decide and verdict.boxes is not None:
            return View(box_layer(pixels.shape[:2], verdict.boxes), (), None, None)
        grid = grid_of(verdict.anomaly_map / unit) if explanation.cells else None
        drawn = layer(verdict.anomaly_map, verdict.threshold, verdict.defect_mask, scale)
        return View(drawn, tuple(places), grid, explanation.attribution)


def layer(anomaly_map: np.ndarray, threshold: float, mask: np.ndarray, scale: PictureScale = "threshold") -> bytes:
    """A PNG to be laid over the part: the colours of the map (h, w), and the outlines of the regions in `mask` (h, w).

    On the scale of the threshold it is transparent where the map is below FAINTEST of it, and becomes opaque up to it.
    On the map's own range all of it shows.
    """
    relative = anomaly_map / threshold if threshold > 0 else np.zeros_like(anomaly_map)
    opacity = np.clip((relative - FAINTEST) / (1 - FAINTEST), 0, STRONGEST)
    if scale != "threshold":
        opacity = np.full_like(relative, STRONGEST)
    colours = scaled_colours(anomaly_map, threshold, scale)
    colours = np.dstack([colours, (255 * opacity).round().astype(np.uint8)])
    colours[dilated(mask, 1 + max(mask.shape) // 512) & ~mask] = (*OUTLINE, 255)
    picture, file = Image.fromarray(colours, "RGBA"), io.BytesIO()
    if picture.width > LAYER_WIDTH:
        picture = picture.resize((LAYER_WIDTH, max(1, round(picture.height * LAYER_WIDTH / picture.width))))
    picture.save(file, format="PNG", compress_level=3)
    return file.getvalue()


def box_layer(size: tuple[int, ...], boxes: Sequence[FoundBox], below: bytes | None = None) -> bytes:
    """A PNG to be laid over a part of this height and width: transparent, with each box, its class and its confidence.

    It is at least as wide as names can be read in, where the image itself is not. The boxes are drawn over the layer
    `below`, a PNG as `layer` makes it; None: over nothing.
    """
    height, width = size
    scale = min(max(1.0, BOX_LAYER_WIDTH / width), LAYER_WIDTH / width)
    rows, columns = max(1, round(scale * height)), max(1, round(scale * width))
    drawn = np.zeros((rows, columns, 4), dtype=np.uint8)
    if below is not None:
        drawn = np.asarray(Image.open(io.BytesIO(below)).resize((columns, rows), Image.Resampling.NEAREST))
    file = io.BytesIO()
    Image.fromarray(with_boxes(drawn, drawn_boxes(boxes), scale=scale)).save(file, format="PNG", compress_level=3)
    return file.getvalue()


def grid_of(relative: np.ndarray) -> list[list[float]]:
    """The highest value in each cell of a map (h, w), row by row; the longer side has up to GRID_CELLS cells."""
    rows: dict[int, list[tuple[int, float]]] = {}
    for cell in top_cells(relative, n_cells=GRID_CELLS):
        rows.setdefault(cell.box[1], []).append((cell.box[0], cell.peak))
    return [[peak for _, peak in sorted(cells)] for _, cells in sorted(rows.items())]


async def _as_coroutine(awaitable: Awaitable[Made]) -> Made:
    return await awaitable
