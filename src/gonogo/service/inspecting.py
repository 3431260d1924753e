"""From an upload to an inspection: decoded, judged with what else is waiting, written, and only then told.

Each image has a thread from its upload to its answer, which waits where another works for it too. To go from one thread
to the next by way of the event loop, for each step, took longer than most steps.
"""

import asyncio
import base64
import io
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from gonogo.errors import GonogoError
from gonogo.inference.scorer import BATCH_PIXELS, NO_NETWORK, Scorer, Verdict
from gonogo.line.outputs import map_16_bit, overlay
from gonogo.service.batcher import Batcher
from gonogo.service.gauge import Gauge
from gonogo.service.metrics import Metrics
from gonogo.service.problems import Problem
from gonogo.service.schemas import Inspection, Judged
from gonogo.service.security import Key
from gonogo.service.settings import Settings
from gonogo.service.uploads import Upload, decoded
from gonogo.store.schema import Row
from gonogo.store.store import NewInspection, Store, new_id

DECODERS, WRITERS = 2, 4  # at once
BATCHES = 3  # of each worker: one is being decoded, one judged and one kept
KEEP_TOGETHER = 64  # inspections that are written in one transaction
T = TypeVar("T")


@dataclass
class Asked:
    """Whoever waits for an image, and since when; `cancelled` once the deadline has passed."""

    since: float
    cancelled: bool = False


@dataclass(frozen=True)
class Job:
    """Pixels (h, w, 3) uint8 to judge, and for whom."""

    pixels: np.ndarray
    request: Asked


@dataclass(frozen=True)
class Judgement:
    """A verdict, whose it is, and how long it took, in seconds."""

    verdict: Verdict
    scorer: Scorer
    took: float


class Inspecting:
    """Judges images and keeps what came of it."""

    def __init__(self, settings: Settings, gauge: Gauge, store: Store, metrics: Metrics) -> None:
        self._settings, self._gauge, self._store, self._metrics = settings, gauge, store, metrics
        n_threads = BATCHES * settings.batch * settings.workers  # and so many images' pixels are in memory
        self._threads, self._writing = ThreadPoolExecutor(n_threads), ThreadPoolExecutor(WRITERS)
        self._decoders = threading.Semaphore(DECODERS)
        self._judging: Batcher[Job, Judgement] = Batcher(
            self._judge,
            weight=lambda job: max(1 / settings.batch, job.pixels[..., 0].size / BATCH_PIXELS),
            alike=lambda job: job.pixels.shape,
            wanted=lambda job: not job.request.cancelled,
            at_once=settings.workers,
        )
        self._keeping: Batcher[NewInspection, None] = Batcher(self._keep, weight=lambda _: 1 / KEEP_TOGETHER)
        self.waiting = 0
        self._pace = 0.05  # seconds an image takes, lately

    async def close(self) -> None:
        """Finish what was accepted."""
        for threads in (self._threads, self._writing):
            await asyncio.to_thread(threads.shutdown)

    @contextmanager
    def reserve_slot(self, n_images: int = 1) -> Iterator[None]:
        """Room for so many images among those that wait.

        Raises:
            Problem: there is not so much; it says when to come again.
        """
        if self.waiting + n_images > self._settings.waiting:
            wait = max(1, math.ceil(self.waiting * self._pace))
            raise Problem(
                "busy",
                f"{self.waiting} images are waiting, at most {self._settings.waiting} may; come again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        self._wait(n_images)
        try:
            yield
        finally:
            self._wait(-n_images)

    async def inspect(self, upload: Upload, key: Key, pictures: Sequence[str] = ()) -> Judged:
        """The inspection of one image, when it is on the disk; `pictures` of map and overlay.

        Cancelled, it goes on, but for an image that is not being judged yet.

        Raises:
            Problem: the image is refused.
        """
        return await self._in_thread(lambda request: self._inspect(upload, key, pictures, request))

    async def drawn(self, data: bytes, name: str, *, bundle: str) -> bytes:
        """The map or the overlay of an image that was kept, as PNG.

        Raises:
            Problem: the bundle that judged it is not the one in use.
        """
        return await self._in_thread(lambda request: self._drawn(data, name, bundle, request))

    async def _in_thread(self, work: Callable[[Asked], T]) -> T:
        request = Asked(time.perf_counter())
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, request)
        except asyncio.CancelledError:
            request.cancelled = True
            raise

    def _inspect(self, upload: Upload, key: Key, pictures: Sequence[str], request: Asked) -> Judged:
        began = time.perf_counter()
        sha256 = upload.sha256
        pixels, found = self._decoded(upload)
        ready = time.perf_counter()
        written = self._writing.submit(self._store.images.write, sha256, upload.data)
        judgement = self._judging(Job(pixels, request))
        waited = began - request.since + time.perf_counter() - ready - judgement.took
        timings = {"decode": ready - began, "queue": waited, "score": judgement.took}
        height, width = pixels.shape[:2]
        now = time.time()
        image = {"sha256": sha256, "format": found, "n_bytes": len(upload.data), "width": width, "height": height}
        row = row_of(judgement) | {"id": new_id(), "at": now, "image": sha256, "name": upload.name, "key": key.id}
        row["timings_ms"] = _milliseconds(timings)
        drawn: dict[str, Any] = {f"{name}_png": _base64(drawing(name, pixels, judgement.verdict)) for name in pictures}
        writing = time.perf_counter()
        written.result()
        self._keeping(NewInspection(row, image | {"last_seen": now, "kept": True}, upload.data))
        timings["keep"] = time.perf_counter() - writing
        for stage, seconds in timings.items():
            self._metrics.stages.labels(stage).observe(seconds)
        self._metrics.judged(judgement.scorer.category, judgement.verdict)
        told = told_of(row | {f"image_{name}": value for name, value in image.items()} | {"reviews": []})
        told["timings_ms"] = _milliseconds(timings | {"total": time.perf_counter() - request.since})
        return Judged(**told, **drawn)

    def _drawn(self, data: bytes, name: str, bundle: str, request: Asked) -> bytes:
        pixels, _ = self._decoded(Upload(data, "", None))
        judgement = self._judging(Job(pixels, request))
        if judgement.scorer.fingerprint != bundle:
            raise Problem(
                "other-bundle", f"the bundle {bundle[:12]} judged it, {judgement.scorer.fingerprint[:12]} is in use"
            )
        return drawing(name, pixels, judgement.verdict)

    def _decoded(self, upload: Upload) -> tuple[np.ndarray, str]:
        with self._decoders:
            return decoded(upload, self._settings)

    def _wait(self, n_images: int) -> None:
        self.waiting += n_images
        self._metrics.waiting.set(self.waiting)

    def _judge(self, jobs: list[Job]) -> list[Judgement | Exception]:
        scorer, began = self._gauge.scorer, time.perf_counter()
        try:
            verdicts = scorer.score_pixels(np.stack([job.pixels for job in jobs]))
            for verdict in verdicts:
                assert verdict.regions is not None  # found here, in this thread
        except Exception as error:
            if len(jobs) > 1:  # one of them is to blame, and the others are not
                return [outcome for job in jobs for outcome in self._judge([job])]
            if isinstance(error, NO_NETWORK) and not isinstance(error, GonogoError):
                height, width = jobs[0].pixels.shape[:2]
                return [Problem("unreadable-image", f"the gauge cannot judge an image of {width} x {height} pixels")]
            return [error]
        took = time.perf_counter() - began
        self._metrics.batch.observe(len(jobs))
        self._pace += 0.1 * (took / len(jobs) - self._pace)
        return [Judgement(verdict, scorer, took) for verdict in verdicts]

    def _keep(self, kept: list[NewInspection]) -> list[Exception | None]:
        self._store.add_inspections(kept)
        return [None] * len(kept)


def row_of(judgement: Judgement) -> Row:
    """What a judgement gives to the row of an inspection."""
    record = judgement.scorer.record
    return {
        **judgement.verdict.row(),
        "category": judgement.scorer.category,
        "bundle": judgement.scorer.fingerprint,
        "certificate": {
            "sentence": record.sentence,
            "method": record.method,
            "certified": record.certified,
            "false_alarm_rate": record.certified_false_alarm_rate,
            "confidence": record.confidence,
            "n_good_parts": record.n_groups,
        },
    }


def told_of(row: Row) -> dict[str, Any]:
    """What `Inspection` takes, of a row of the store."""
    image = {name: row[f"image_{name}"] for name in ("sha256", "format", "width", "height", "n_bytes")}
    known = {name: row[name] for name in Inspection.model_fields if name in row}
    return known | {"image": image | {"name": row["name"]}}


def drawing(name: str, pixels: np.ndarray, verdict: Verdict) -> bytes:
    """A PNG of the map, of 16 bits where 10,000 is the threshold, or of the image with its map and regions.

    Raises:
        Problem: the map's unit is the threshold, and that is not above 0.
    """
    if name == "overlay":
        drawn = overlay(pixels, verdict)
    elif verdict.threshold > 0:
        drawn = map_16_bit(verdict)
    else:
        raise Problem("invalid-request", f"maps are in parts of the threshold, which is {verdict.threshold:g}")
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, format="PNG")
    return file.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _milliseconds(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(1000 * value, 3) for name, value in seconds.items()}
