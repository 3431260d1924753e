"""From an uploaded image to an inspection: decode it, score it, store it, and only then return it.

Each image has one thread from its upload to its response, also while another thread scores it in a batch. Handing an
image from thread to thread through the event loop, once for each step, took longer than most of the steps.

A large image would keep small ones waiting for seconds, and so would a small one that is slow to decode. It is
therefore worked on alone, in a thread for large images, beside the small ones. Who gets a thread, who decodes and who
is scored is decided by turns of the keys, so that none waits for the queue of another.
"""

import asyncio
import base64
import io
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np
from PIL import Image

import gonogo
from gonogo.calibration.certificate import ThresholdRecord
from gonogo.errors import GonogoError, ImageError, SlowImageError
from gonogo.images.colours import PictureScale
from gonogo.images.draw_boxes import DrawnBox, whole_steps
from gonogo.images.header import Header
from gonogo.images.reading import QUICK, decode_checked
from gonogo.images.statistics import STATISTICS, image_statistics
from gonogo.inference.scorer import NO_NETWORK, Scorer, Verdict
from gonogo.line.explain import Explanation, explain
from gonogo.line.outputs import crop_at_peak, map_16_bit, overlay
from gonogo.service.batcher import Batcher, UnwantedError
from gonogo.service.gauge import Gauge
from gonogo.service.memory import SHARE_OF_KEY, Hold, MemoryBudget
from gonogo.service.metrics import Metrics
from gonogo.service.problems import Problem
from gonogo.service.schemas import Inspection, InspectionWithPictures, Similar
from gonogo.service.security import Key
from gonogo.service.settings import MEBIBYTE, Settings
from gonogo.service.standing import CertificateStanding
from gonogo.service.turns import Turns
from gonogo.service.uploads import Upload, is_as_declared, require_accepted
from gonogo.service.verdict_cache import KnownVerdict, VerdictCache
from gonogo.store.audit import AuditRule
from gonogo.store.reviews import settle
from gonogo.store.schema import Row
from gonogo.store.store import NewInspection, Store

LARGE_PIXELS = 1 << 20  # an image with more is worked on alone; one of 1,024 x 1,024 is not
BATCH_PIXELS = 1 << 21  # of all images of a batch, so that the next one begins soon
SMALL_SECONDS = 0.1  # of computing, after which a small image is worked on as a large one; honest ones take a third
SLOW_PIXELS = 5_000_000  # that a slow image counts as
N_DECODERS, N_WRITERS = 2, 4  # images that are decoded, and files that are written, at the same time
BATCHES_PER_WORKER = 3  # one is being decoded, one scored and one stored
RGB_BYTES = 3  # of a decoded pixel
DEVIATIONS = 2  # above the mean, of the time that an image is expected to take
EXPLAINED_CELLS = 32  # along the longer side of the image
SMALL_SIDE, JPEG_QUALITY = 64, 86  # pixels; of pictures for browsers
MAX_STORED_TOGETHER = 64  # inspections in one transaction
Decoded = tuple[np.ndarray, str]  # pixels (h, w, 3) uint8 RGB, and the image's format
Result = TypeVar("Result")


@dataclass
class PendingRequest:
    """A request for one image.

    key: the id of its key.
    since: when it came, on the clock `time.perf_counter`.
    until: its deadline, on the clock of the event loop.
    cancelled: whether it was cancelled since.
    """

    key: str
    since: float
    until: float
    cancelled: bool = False


@dataclass
class Load:
    """What waits to be worked on, in images or pixels, and the mean of the seconds that one of these has taken lately.

    Until the first was noted, `seconds_each` is a guess. `deviation_each` is the mean of how far off it was, as
    Jacobson's of a round trip (1988). `waiting_of` counts what waits by the id of the key.
    """

    seconds_each: float
    deviation_each: float = 0.0
    waiting_of: Counter[str] = field(default_factory=Counter)
    n_noted: int = 0

    @property
    def waiting(self) -> int:
        """What waits of all keys."""
        return self.waiting_of.total()

    @property
    def seconds(self) -> float:
        """How long all that waits will take."""
        return self.waiting * self.seconds_each

    def add(self, key: str, count: int) -> None:
        """Count more, or with a `count` below 0 fewer, that wait."""
        self.waiting_of[key] += count
        if not self.waiting_of[key]:
            del self.waiting_of[key]

    def note(self, seconds: float, count: int) -> None:
        """Take the time of `count` images or pixels into the mean."""
        error, weight = seconds / count - self.seconds_each, max(0.1, 1 / (self.n_noted + 1))
        if self.n_noted:  # otherwise it was a guess that is off
            self.deviation_each += weight * (abs(error) - self.deviation_each)
        self.seconds_each += weight * error
        self.n_noted += 1

    def seconds_of(self, count: int) -> float:
        """How long `count` will take at most, as far as one can tell."""
        return count * (self.seconds_each + DEVIATIONS * self.deviation_each)

    def seconds_with(self, key: str, count: int) -> float:
        """How long `count` more of a key would wait and take at most; 0 where nothing waits.

        The keys take turns: until all of this key is done, as much of each other one is, at most.
        """
        if not self.waiting:
            return 0.0
        own = self.waiting_of[key] + count
        return self.seconds_of(own + sum(min(n, own) for other, n in self.waiting_of.items() if other != key))


@dataclass(frozen=True)
class Lane:
    """Threads for images of one kind, whose turn it is to get one, and what waits for that."""

    threads: ThreadPoolExecutor
    turns: Turns
    load: Load

    @classmethod
    def of(cls, n_threads: int, guess: float) -> Self:
        """A lane with so many threads, and a guess of the seconds that one image or pixel takes."""
        return cls(ThreadPoolExecutor(n_threads), Turns(n_threads), Load(guess))


class LargeImageError(Exception):
    """An image is for the thread of large images."""

    def __init__(self, n_pixels: int) -> None:
        super().__init__()
        self.n_pixels = n_pixels


@dataclass(frozen=True)
class Job:
    """Pixels (h, w, 3) uint8 RGB to score, and the request that they are from.

    features: whether the verdict needs them.
    boxes_alone: whether the model that finds boxes judges alone, where it stands beside a gauge.
    """

    pixels: np.ndarray
    request: PendingRequest
    features: bool = False
    boxes_alone: bool = False


@dataclass(frozen=True)
class Judgement:
    """A verdict, the scorer that gave it, and the seconds that its batch took."""

    verdict: Verdict
    scorer: Scorer
    seconds: float


class InspectionRunner:
    """Scores images and stores the inspections."""

    def __init__(
        self,
        settings: Settings,
        gauge: Gauge,
        store: Store,
        metrics: Metrics,
        memory: MemoryBudget,
        standing: CertificateStanding,
    ) -> None:
        self._settings, self._gauge, self._store, self._metrics = settings, gauge, store, metrics
        self._memory, self._standing, self._cache = memory, standing, VerdictCache(settings.cache)
        n_threads = BATCHES_PER_WORKER * settings.batch * settings.workers  # also the most decoded images in memory
        self._small, self._large = Lane.of(n_threads, 0.05), Lane.of(1, 3e-7)  # their loads: in images, and in pixels
        self._writers = ThreadPoolExecutor(N_WRITERS)
        self._decode_in_turn: Batcher[tuple[Upload, PendingRequest], Decoded] = Batcher(
            lambda one: [self._decode_small(upload) for upload, _ in one],
            weight=lambda _: 1,
            whose=lambda one: one[1].key,
            wanted=lambda one: not one[1].cancelled,
            n_at_once=N_DECODERS,
        )
        self._score_batched: Batcher[Job, Judgement] = Batcher(
            self._score,
            weight=self._share_of_batch,
            batch_key=lambda job: (job.pixels.shape, job.boxes_alone),
            whose=lambda job: job.request.key,
            wanted=lambda job: not job.request.cancelled,
            n_at_once=settings.workers,
        )
        self._store_batched: Batcher[NewInspection, str] = Batcher(
            self._add_to_store, weight=lambda _: 1 / MAX_STORED_TOGETHER
        )
        self._audit = AuditRule(settings.audit_share, f"gonogo serve {gonogo.__version__}")

    @property
    def waiting(self) -> int:
        """Images that were accepted and are not answered yet."""
        return self._small.load.waiting

    async def close(self) -> None:
        """Finish all images that were accepted."""
        for threads in (self._small.threads, self._large.threads, self._writers):
            await asyncio.to_thread(threads.shutdown)

    @contextmanager
    def reserve_slot(self, key: Key, n_images: int = 1) -> Iterator[None]:
        """Count `n_images` of a key among those that wait, for as long as the context lasts.

        Raises:
            Problem: too many wait already, of this key or in all, or they will take longer than the deadline; its
                header Retry-After says how many seconds to wait.
        """
        settings, load = self._settings, self._small.load
        of_key, most_of_key = load.waiting_of[key.id], max(settings.max_images, int(SHARE_OF_KEY * settings.waiting))
        if self.waiting + n_images > settings.waiting:
            raise _busy(f"{self.waiting} images are waiting, and at most {settings.waiting} may", load)
        if of_key + n_images > most_of_key:
            raise _busy(f"{of_key} images of this key are waiting, and at most {most_of_key} may", load)
        if load.seconds_with(key.id, n_images) / settings.workers > settings.deadline:
            raise _busy(f"{self.waiting} images are waiting, and will take longer than the deadline", load)
        self._change_waiting(key, n_images)
        try:
            yield
        finally:
            self._change_waiting(key, -n_images)

    async def inspect(
        self,
        upload: Upload,
        key: Key,
        pictures: Sequence[str] = (),
        similar: Callable[[Judgement, str], Similar] | None = None,
        *,
        seconds: float | None = None,
        overlay_scale: PictureScale = "threshold",
    ) -> InspectionWithPictures:
        """Score and store one image; returns when the inspection is on the disk.

        When the caller is cancelled, nothing more is begun: neither decoding nor scoring. What was scored is stored.

        Args:
            upload: the image.
            key: the key of the request.
            pictures: "map", "overlay", "crop", or some of them.
            similar: finds the cases like an image from its judgement, with features, and its SHA-256; None: not asked.
            seconds: until the deadline; None: as the settings have it.
            overlay_scale: what the colours of an overlay stand for.

        Raises:
            Problem: the image is refused, also where it could not be begun early enough for its deadline.
        """
        return await self._worked_on(
            lambda request, large: self._inspect(
                upload, key, pictures, similar, request, large=large, overlay_scale=overlay_scale
            ),
            key,
            upload.hold,
            seconds,
        )

    async def draw(
        self,
        data: bytes,
        key: Key,
        name: str,
        *,
        bundle: str,
        overlay_scale: PictureScale = "threshold",
        labelled: Sequence[DrawnBox] = (),
        side: int = 1,
    ) -> bytes:
        """The map, the overlay or the crop of a stored image, as PNG.

        Args:
            data: the image's file.
            key: the key of the request.
            name: "map", "overlay" or "crop".
            bundle: fingerprint of the bundle that scored the image.
            overlay_scale: what the colours of an overlay stand for.
            labelled: boxes that the overlay has beside those that were found.
            side: pixels up to which the longer side of an overlay is enlarged, in whole steps.

        Raises:
            Problem: that bundle is not the one in use.
        """

        def drawn(upload: Upload, request: PendingRequest, large: bool) -> bytes:
            pixels, _ = self._decode(upload, request, large=large)
            judgement = self._judge(Job(pixels, request), large=large)
            _require_bundle(bundle, judgement.scorer)
            return draw_picture(name, pixels, judgement.verdict, overlay_scale, labelled=labelled, side=side)

        return await self._of_file(data, key, drawn)

    async def explain(
        self, data: bytes, key: Key, *, bundle: str, top: int, render: Callable[[np.ndarray, Explanation], Result]
    ) -> Result:
        """What `render` makes of a stored image's pixels and of the explanation of its verdict.

        Args:
            data: the image's file.
            key: the key of the request.
            bundle: fingerprint of the bundle that scored the image.
            top: number of places in the explanation.
            render: is called in a thread, within the memory that the image may take.

        Raises:
            Problem: that bundle is not the one in use.
        """

        def explained(upload: Upload, request: PendingRequest, large: bool) -> Result:
            pixels, _ = self._decode(upload, request, large=large)
            scorer = self._gauge.scorer
            _require_bundle(bundle, scorer)
            return render(pixels, explain(scorer, pixels, n_cells=EXPLAINED_CELLS, top=top))

        return await self._of_file(data, key, explained)

    async def pictured(self, data: bytes, key: Key, make: Callable[[np.ndarray], Result]) -> Result:
        """What `make` makes of the pixels (h, w, 3) uint8 RGB of a stored image."""
        return await self._of_file(
            data, key, lambda upload, request, large: make(self._decode(upload, request, large=large)[0])
        )

    async def judge(self, data: bytes, key: Key) -> Judgement:
        """What the bundle in use says of a stored image; nothing is stored."""
        return await self._of_file(data, key, self._judged)

    async def judge_boxes(self, upload: Upload, key: Key) -> Judgement:
        """What the model that finds boxes says of an image that was sent; nothing is stored."""
        return await self._worked_on(
            lambda request, large: self._judged(upload, request, large, boxes_alone=True), key, upload.hold
        )

    def _judged(self, upload: Upload, request: PendingRequest, large: bool, *, boxes_alone: bool = False) -> Judgement:
        pixels = self._decode(upload, request, large=large)[0]
        return self._judge(Job(pixels, request, boxes_alone=boxes_alone), large=large)

    async def with_features(self, data: bytes, key: Key, make: Callable[[np.ndarray, Judgement], Result]) -> Result:
        """What `make` makes of the pixels of a stored image and of what the bundle in use says of it, with features."""

        def judged(upload: Upload, request: PendingRequest, large: bool) -> Result:
            pixels = self._decode(upload, request, large=large)[0]
            return make(pixels, self._judge(Job(pixels, request, features=True), large=large))

        return await self._of_file(data, key, judged)

    async def _of_file(self, data: bytes, key: Key, work: Callable[[Upload, PendingRequest, bool], Result]) -> Result:
        """The result of `work` for the bytes of a stored image."""
        with self._memory.holds(key.id) as holds:
            upload = Upload(data, "", None, holds.new())
            upload.hold.add(len(data))
            return await self._worked_on(lambda request, large: work(upload, request, large), key, upload.hold)

    async def _worked_on(
        self, work: Callable[[PendingRequest, bool], Result], key: Key, hold: Hold, seconds: float | None = None
    ) -> Result:
        """The result of `work` for an image, in a thread, or in that of large images if the image is one."""
        seconds = self._settings.deadline if seconds is None else seconds
        clock = asyncio.get_running_loop().time
        request = PendingRequest(key.id, time.perf_counter(), clock() + seconds)
        large, n_before = self._large, BATCHES_PER_WORKER * self._settings.batch  # those that have a thread already
        try:
            return await self._in_thread(self._small, partial(work, request, False), hold, request, n_before)
        except LargeImageError as image:
            n_pixels = image.n_pixels
        if large.load.seconds_with(key.id, n_pixels) > request.until - clock():
            raise _busy("large images are waiting, and will take longer than the deadline", large.load)

        def timed() -> Result:
            began = time.perf_counter()
            result = work(request, True)
            large.load.note(time.perf_counter() - began, n_pixels)
            return result

        large.load.add(key.id, n_pixels)
        try:
            return await self._in_thread(large, timed, hold, request, n_pixels)
        finally:
            large.load.add(key.id, -n_pixels)

    async def _in_thread(
        self, lane: Lane, work: Callable[[], Result], hold: Hold, request: PendingRequest, count: int
    ) -> Result:
        """The result of `work`; the turn and the bytes of the image are given back when its thread has ended.

        Once its turn has come, `work` takes as long as `count` images or pixels of the lane. What had to wait until it
        can no longer end before its deadline is not begun: nobody would wait for it.

        Raises:
            Problem: its turn did not come early enough.
        """
        turns, latest = lane.turns, request.until - lane.load.seconds_of(count)
        try:
            async with asyncio.timeout_at(latest):
                await turns.take(request.key)
        except TimeoutError as error:
            raise _busy("other images took so long that this one would have missed the deadline", lane.load) from error
        hold.join()
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def end() -> None:
            turns.end()
            hold.leave()
            if not ended.done():
                ended.set_result(None)

        working = lane.threads.submit(work)
        working.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(end))
        try:
            await ended  # and not a future of asyncio's around `working`, which costs further turns of the loop
        except asyncio.CancelledError:
            request.cancelled = True
            raise
        return working.result()

    def _inspect(
        self,
        upload: Upload,
        key: Key,
        pictures: Sequence[str],
        similar: Callable[[Judgement, str], Similar] | None,
        request: PendingRequest,
        *,
        large: bool,
        overlay_scale: PictureScale,
    ) -> InspectionWithPictures:
        began = time.perf_counter()
        sha256 = upload.sha256
        known = self._cache.get(sha256, self._gauge.scorer.fingerprint)
        is_verdict_alone = not pictures and similar is None and not request.cancelled
        if is_verdict_alone and known is not None and is_as_declared(upload, known.format):
            file_written = self._writers.submit(self._store.images.write, sha256, upload.data)
            return self._kept(upload, sha256, key, request, known, {"queue": began - request.since}, file_written)
        pixels, image_format = self._decode(upload, request, large=large)
        decoded_at = time.perf_counter()
        file_written = self._writers.submit(self._store.images.write, sha256, upload.data)
        statistics = self._writers.submit(self._beside_the_network, pixels)
        judgement = self._judge(Job(pixels, request, features=similar is not None), large=large)
        queued = began - request.since + time.perf_counter() - decoded_at - judgement.seconds
        timings = {"decode": decoded_at - began, "queue": queued, "score": judgement.seconds}
        height, width = pixels.shape[:2]
        of_image = dict(zip(STATISTICS, statistics.result(), strict=True))
        known = KnownVerdict(row_of(judgement) | {"statistics": of_image}, image_format, width, height)
        self._cache.put(sha256, known)
        drawn: dict[str, Any] = {
            f"{name}_png": _base64(draw_picture(name, pixels, judgement.verdict, overlay_scale)) for name in pictures
        }
        if similar is not None:
            searching_began = time.perf_counter()
            drawn["similar"] = similar(judgement, sha256)
            timings["similar"] = time.perf_counter() - searching_began
        return self._kept(upload, sha256, key, request, known, timings, file_written, **drawn)

    def _kept(
        self,
        upload: Upload,
        sha256: str,
        key: Key,
        request: PendingRequest,
        known: KnownVerdict,
        timings: dict[str, float],
        file_written: Future[None],
        **drawn: Any,
    ) -> InspectionWithPictures:
        """Store the inspection, with the seconds that its stages took, once the image's file is written."""
        image = {
            "sha256": sha256,
            "format": known.format,
            "n_bytes": len(upload.data),
            "width": known.width,
            "height": known.height,
        }
        row = known.row | {"at": time.time(), "image": sha256, "name": upload.name, "key": key.id}
        row["certificate"] = row["certificate"] | self._standing.of(row["bundle"])
        row["timings_ms"] = _milliseconds({name: value for name, value in timings.items() if name != "similar"})
        storing_began = time.perf_counter()
        file_written.result()
        row["id"] = self._store_batched(NewInspection(row, image, upload.data))
        timings["keep"] = time.perf_counter() - storing_began
        for stage, seconds in timings.items():
            self._metrics.stages.labels(stage).observe(seconds)
        self._metrics.count_verdict(known.row)
        fields = inspection_fields(row | {f"image_{name}": value for name, value in image.items()} | {"reviews": []})
        fields["timings_ms"] = _milliseconds(timings | {"total": time.perf_counter() - request.since})
        return InspectionWithPictures(**fields, **drawn)

    def _beside_the_network(self, pixels: np.ndarray) -> tuple[float, ...]:
        """The statistics of an image; what the verdict says of the certificate is learnt in this time too."""
        self._standing.catch_up()
        return image_statistics(pixels)

    def _decode(self, upload: Upload, request: PendingRequest, *, large: bool) -> Decoded:
        """Pixels and format of an image.

        Raises:
            Problem: it is refused.
            UnwantedError: the request was cancelled.
            LargeImageError: it is large, and `large` is false.
        """
        if request.cancelled:
            raise UnwantedError
        try:
            if not large:
                return self._decode_in_turn((upload, request))
            return _decoded(upload, lambda header: require_accepted(header, upload, self._settings))
        except ImageError as error:
            raise Problem("unreadable-image", str(error)) from error

    def _decode_small(self, upload: Upload) -> Decoded:
        """As `_decode`, of an image that may turn out to be large.

        Raises:
            ImageError: it cannot be decoded.
        """

        def check(header: Header) -> None:
            n_pixels = header.width * header.height
            require_accepted(header, upload, self._settings)
            self._require_memory(header)
            if n_pixels > LARGE_PIXELS:
                raise LargeImageError(n_pixels)
            upload.hold.add(RGB_BYTES * n_pixels)

        try:
            return _decoded(upload, check, most_seconds=SMALL_SECONDS)
        except SlowImageError as error:
            raise LargeImageError(SLOW_PIXELS) from error

    def _require_memory(self, header: Header) -> None:
        needed = self._gauge.scorer.working_bytes(header.height, header.width)
        if needed > self._memory.large_limit:
            raise Problem(
                "too-large",
                f"an image of {header.width} x {header.height} pixels may need {needed // MEBIBYTE} MiB of memory, and "
                f"{self._memory.large_limit // MEBIBYTE} are set aside for one; send a smaller one, or raise --memory",
            )

    def _judge(self, job: Job, *, large: bool) -> Judgement:
        if not large:
            return self._score_batched(job)
        if job.request.cancelled:
            raise UnwantedError
        (judgement,) = self._score([job])
        if isinstance(judgement, Exception):
            raise judgement
        return judgement

    def _share_of_batch(self, job: Job) -> float:
        height, width = job.pixels.shape[:2]
        of_bytes: float = self._gauge.scorer.working_bytes(height, width) / self._memory.batch_limit
        return max(1 / self._settings.batch, of_bytes, float(height * width / BATCH_PIXELS))

    def _change_waiting(self, key: Key, n_images: int) -> None:
        self._small.load.add(key.id, n_images)
        self._metrics.waiting.set(self.waiting)

    def _score(self, jobs: list[Job]) -> list[Judgement | Exception]:
        scorer, began = self._gauge.scorer, time.perf_counter()
        if jobs[0].boxes_alone and scorer.box_model is not None:
            scorer = scorer.box_model
        try:
            pixels = jobs[0].pixels[None] if len(jobs) == 1 else np.stack([job.pixels for job in jobs])
            verdicts = scorer.score_pixels(pixels, features=any(job.features for job in jobs))
            for verdict in verdicts:
                assert verdict.regions is not None  # computed now, in this thread, and cached
        except Exception as error:
            if len(jobs) > 1:  # score each by itself, so that only the image that caused the error is refused
                return [outcome for job in jobs for outcome in self._score([job])]
            if isinstance(error, (*NO_NETWORK, MemoryError)) and not isinstance(error, GonogoError):
                height, width = jobs[0].pixels.shape[:2]
                return [Problem("unreadable-image", f"the gauge cannot score an image of {width} x {height} pixels")]
            return [error]
        seconds = time.perf_counter() - began
        self._metrics.batch.observe(len(jobs))
        if jobs[0].pixels[..., 0].size <= LARGE_PIXELS:
            self._small.load.note(seconds, len(jobs))
        return [Judgement(verdict, scorer, seconds) for verdict in verdicts]

    def _add_to_store(self, new: list[NewInspection]) -> list[str | Exception]:
        ids = self._store.add_inspections(new, self._audit)
        self._standing.stored()
        return list(ids)


def _decoded(upload: Upload, check: Callable[[Header], None], *, most_seconds: float = math.inf) -> Decoded:
    pixels, header = decode_checked(upload.data, "the image", check, most_seconds=most_seconds)
    return pixels, header.format


def _require_bundle(bundle: str, scorer: Scorer) -> None:
    if scorer.fingerprint != bundle:
        raise Problem(
            "other-bundle", f"the bundle {bundle[:12]} scored this image, and {scorer.fingerprint[:12]} is in use"
        )


def _busy(reason: str, load: Load) -> Problem:
    wait = max(1, math.ceil(load.seconds))
    return Problem("busy", f"{reason}; try again in {wait} s", headers={"Retry-After": str(wait)})


def row_of(judgement: Judgement) -> Row:
    """The columns of an inspection's row that a judgement gives."""
    return row_of_verdict(judgement.verdict, judgement.scorer)


def row_of_verdict(verdict: Verdict, scorer: Scorer) -> Row:
    """As `row_of`, for a verdict of a scorer; `boxes` and `box_model` are None where there are none."""
    row = {"boxes": None, "box_model": None} | verdict.row()
    if row["box_model"] is not None and scorer.box_model is not None:
        row["box_model"] |= {"certificate": certificate_fields(scorer.box_model.record)}
    return {
        **row,
        "category": scorer.category,
        "bundle": scorer.fingerprint,
        "certificate": certificate_fields(scorer.record),
    }


def certificate_fields(record: ThresholdRecord) -> dict[str, Any]:
    """The fields of `Certificate`."""
    return {
        "sentence": record.sentence,
        "method": record.method,
        "certified": record.certified,
        "false_alarm_rate": record.certified_false_alarm_rate,
        "confidence": record.confidence,
        "n_good_parts": record.n_groups,
    }


def inspection_fields(row: Row) -> dict[str, Any]:
    """The fields of `Inspection` from a row of the store."""
    image = {name: row[f"image_{name}"] for name in ("sha256", "format", "width", "height", "n_bytes")}
    fields = {name: row[name] for name in Inspection.model_fields if name in row}
    return fields | {"image": image | {"name": row["name"]}, "settlement": vars(settle(row["reviews"]))}


def draw_picture(
    name: str,
    pixels: np.ndarray,
    verdict: Verdict,
    overlay_scale: PictureScale = "threshold",
    *,
    labelled: Sequence[DrawnBox] = (),
    side: int = 1,
) -> bytes:
    """A PNG of the map, of the overlay or of the crop.

    Args:
        name: "map", of 16 bits, where 10,000 is the threshold; "overlay", the image with its map and regions;
            or "crop", the part of the image around the place that differs most.
        pixels: (h, w, 3) uint8 RGB, the image.
        verdict: its verdict.
        overlay_scale: what the colours of the overlay stand for; nothing else has this scale.
        labelled: boxes that the overlay has beside those that were found.
        side: pixels up to which the longer side of an overlay is enlarged, in whole steps.

    Raises:
        Problem: the map cannot be drawn, because the threshold is not above 0.
    """
    if name == "overlay":
        picture = overlay(pixels, verdict, scale=overlay_scale, labelled=labelled, factor=whole_steps(pixels, side))
    elif name == "crop":
        picture = crop_at_peak(pixels, verdict)
    elif verdict.threshold > 0:
        picture = map_16_bit(verdict)
    else:
        raise Problem("invalid-request", f"a map is in units of the threshold, which is {verdict.threshold:g}")
    return png_of(picture)


def png_of(picture: np.ndarray) -> bytes:
    """A PNG file of a picture, written quickly."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", compress_level=QUICK)
    return file.getvalue()


def browser_picture(pixels: np.ndarray, width: int) -> tuple[bytes, str]:
    """Pixels (h, w, 3) uint8 as a file for a browser, at most `width` pixels wide, and its media type.

    A small image is sent without loss, since its pixels are seen one by one.
    """
    picture, file = Image.fromarray(pixels), io.BytesIO()
    if pixels.shape[1] > width:
        picture = picture.resize((width, max(1, round(pixels.shape[0] * width / pixels.shape[1]))))
    if max(picture.size) <= SMALL_SIDE:
        picture.save(file, format="PNG")
        return file.getvalue(), "image/png"
    picture.save(file, format="JPEG", quality=JPEG_QUALITY)
    return file.getvalue(), "image/jpeg"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _milliseconds(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(1000 * value, 3) for name, value in seconds.items()}
