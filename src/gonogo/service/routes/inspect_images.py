"""The routes that inspect images: one request with one response, and a stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any, Literal, Self, TypeVar

from fastapi import Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from gonogo.images.colours import PictureScale
from gonogo.service import schemas
from gonogo.service.memory import Holds
from gonogo.service.names import MAX_NAME, name_in
from gonogo.service.problems import DisconnectedError, Problem, deadline_problem, log, store_problem
from gonogo.service.routes.abandoned import unless_abandoned
from gonogo.service.routes.access import InspectorKey, inspector_key, require_known, service_of
from gonogo.service.security import Key, body_of, late
from gonogo.service.service import Service
from gonogo.service.settings import Settings
from gonogo.service.similar import MOST
from gonogo.service.uploads import Upload, png_of_array, uploads

Picture = Literal["map", "overlay", "crop"]
OVERLAY_SCALE = (
    "what the colours of an overlay stand for: multiples of the threshold, or the map's own range, from least to "
    "largest or between its 1st and 99th percentile; for looking alone, since a good part then looks as red as any"
)
MAX_FORMAT, PIXELS = 8, "what the numbers of .npy arrays are, as bgr8; each is judged, and kept, as a PNG"
PixelsQuery = Annotated[str | None, Query(max_length=MAX_FORMAT, description=PIXELS)]
Result = TypeVar("Result")
Outcome = schemas.InspectionWithPictures | BaseException  # of one image


class InspectQuery(BaseModel):
    """The query of /v1/inspect."""

    include: list[Picture] = Field([], max_length=3, description="pictures to add to the response")
    overlay_scale: PictureScale = Field("threshold", description=OVERLAY_SCALE)
    name: str | None = Field(None, max_length=MAX_NAME, description="name of a raw image; any text")
    pixels: str | None = Field(None, max_length=MAX_FORMAT, description=PIXELS)
    similar: int | None = Field(None, ge=1, le=MOST, description="how many past cases like the image to add")
    deadline_ms: int | None = Field(
        None, ge=1, le=600_000, description="milliseconds until a 504; the service's own deadline at most"
    )

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """The query of a request.

        Raises:
            RequestValidationError: a value is not allowed.
        """
        values: dict[str, Any] = {**query, "include": query.getlist("include")}
        require_known(query, cls.model_fields)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            errors = [each | {"loc": ("query", *each["loc"])} for each in error.errors()]
            raise RequestValidationError(errors) from error

    @classmethod
    def parameters(cls) -> list[dict[str, Any]]:
        """The query's parameters for the OpenAPI document."""
        properties = cls.model_json_schema()["properties"]
        return [
            {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()
        ]


async def inspect(request: Request) -> Response:
    """Inspect one image or a batch. The response is sent when all its inspections are stored."""
    # The line waits for this route, so it reads key and query itself, which takes less time than FastAPI's own way.
    deadline = service_of(request).settings.deadline
    key, query = await inspector_key(request), InspectQuery.of(request.query_params)
    seconds = deadline if query.deadline_ms is None else min(deadline, query.deadline_ms / 1000)
    pictures = sorted(set(query.include))
    outcomes = await inspect_body(
        request,
        key,
        name=_name(request, query),
        pictures=pictures,
        similar=query.similar,
        seconds=seconds,
        pixels=query.pixels,
        overlay_scale=query.overlay_scale,
    )
    raise_problems(outcomes)
    inspections = [outcome for outcome in outcomes if isinstance(outcome, schemas.InspectionWithPictures)]
    # As text, since FastAPI would validate the whole model once more.
    return Response(schemas.Inspections(inspections=inspections).model_dump_json(), media_type="application/json")


async def inspect_body(
    request: Request,
    key: Key,
    *,
    name: str | None,
    pictures: Sequence[Picture],
    seconds: float,
    similar: int | None = None,
    pixels: str | None = None,
    overlay_scale: PictureScale = "threshold",
) -> list[Outcome]:
    """Inspect all images of a request's body: for each, in their order, its inspection or what went wrong.

    Args:
        request: its body is read here.
        key: pays for the images; for one of them it has paid already.
        name: of a raw image.
        pictures: to add to each inspection.
        seconds: until the deadline.
        similar: number of past cases to add to each inspection; None: none are looked for.
        pixels: what the numbers are, where the images are arrays.
        overlay_scale: what the colours of overlays stand for.

    Raises the errors of `of_body`.
    """
    service = service_of(request)
    like = None if similar is None else partial(service.cases.like, k=similar)

    async def work(upload: Upload) -> schemas.InspectionWithPictures:
        upload = await as_image(upload, pixels, service.settings)
        return await service.runner.inspect(upload, key, pictures, like, seconds=seconds, overlay_scale=overlay_scale)

    return await of_body(request, key, work, name=name, seconds=seconds)


async def as_image(upload: Upload, pixels: str | None, settings: Settings) -> Upload:
    """The upload; where `pixels` says what its numbers are, the PNG of the array that it must be.

    Raises:
        Problem: it is no such array.
    """
    return upload if pixels is None else await asyncio.to_thread(png_of_array, upload, pixels, settings)


async def of_body(
    request: Request,
    key: Key,
    work: Callable[[Upload], Awaitable[Result]],
    *,
    name: str | None,
    seconds: float,
) -> list[Result | BaseException]:
    """What `work` makes of each image of a request's body: for each, in their order, its result or what went wrong.

    Args:
        request: its body is read here.
        key: pays for the images; for one of them it has paid already.
        work: begins when all images are read.
        name: of a raw image.
        seconds: until the deadline.

    Raises:
        Problem: the body cannot be read, too many images wait, or the deadline is over.
    """
    service, settings = service_of(request), service_of(request).settings
    with service.memory.holds(key.id) as holds:
        body, content_type = body_of(request, settings.max_body, settings), request.headers.get("content-type", "")
        read = uploads(body, content_type, name, settings, max_images=settings.max_images, new_hold=holds.new)
        images = [upload async for upload in read]
        service.keys.charge(key, len(images) - 1, check=False)
        with service.runner.reserve_slot(key, len(images)):
            jobs = [work(upload) for upload in images]
            together = _outcome(jobs[0]) if len(jobs) == 1 else asyncio.gather(*jobs, return_exceptions=True)
            return await unless_abandoned(request, together, seconds)


async def _outcome(job: Awaitable[Result]) -> list[Result | BaseException]:
    """As `asyncio.gather` of one job, without a task of its own."""
    try:
        return [await job]
    except Exception as error:
        return [error]


def _name(request: Request, query: InspectQuery) -> str | None:
    """The name of a raw image: that of the query, or of a header Content-Disposition."""
    return query.name or name_in(request.headers.get("content-disposition", "").encode("latin-1"))


def raise_problems(outcomes: Sequence[object]) -> None:
    """Refuse a batch of which an image failed, with all failed images under `errors`."""
    problems: dict[int, Problem] = {}
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Problem):
            problems[index] = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
    if problems:
        errors = [{"image": index, "detail": problem.detail} for index, problem in problems.items()]
        index, first = next(iter(problems.items()))
        detail = f"image {index}: {first.detail}" if len(outcomes) > 1 else first.detail
        raise Problem(first.kind, detail, headers=first.headers, errors=errors)


async def inspect_stream(request: Request, key: InspectorKey, pixels: PixelsQuery = None) -> StreamingResponse:
    """Inspect many images as they arrive: a JSON line for each when it is stored, in no set order, with its `index`.

    A line has an `inspection` or a `problem`. The last line has the number of images, and is only there if all were
    read. The response begins with the first image; a body without any image is refused as a whole. Each image is
    charged to the key as a request is, and ends the stream where the key was revoked.
    """
    service = service_of(request)
    # With a newer version here, Starlette would wait for the client's disconnection by reading the body itself.
    request.scope["asgi"] = request.scope.get("asgi", {}) | {"spec_version": "2.4"}
    with ExitStack() as stack:
        stack.enter_context(service.keys.stream(key))
        stream = _Stream(request, service, key, stack.enter_context(service.memory.holds(key.id)), pixels)
        return _StreamResponse(stream.lines(await stream.next_image()), stack.pop_all())


class _StreamResponse(StreamingResponse):
    """The lines of a stream; when they are sent, or no client reads them any more, `ending` is closed."""

    def __init__(self, lines: AsyncIterator[str], ending: ExitStack) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._ending:
            await super().__call__(scope, receive, send)


class _Stream:
    """The images of one stream, and the lines about them.

    The body is read also while no line is read: a client may send all before it reads any.
    """

    def __init__(self, request: Request, service: Service, key: Key, holds: Holds, pixels: str | None) -> None:
        settings = service.settings
        self._pixels = pixels
        self._request, self._service, self._key, self._settings = request, service, key, settings
        self._holds = holds
        self._images = uploads(
            body_of(request, settings.max_stream_body, settings, whole=False),
            request.headers.get("content-type", ""),
            None,
            settings,
            max_images=settings.max_stream_images,
            new_hold=holds.new,
        )
        self._lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._slots = asyncio.Semaphore(2 * settings.batch)

    async def next_image(self) -> Upload | None:
        """The next image of the body; None at its end.

        Raises:
            Problem: it cannot be read, or does not come to its end in time.
        """
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                return await anext(self._images, None)
        except TimeoutError as error:
            raise late(self._settings) from error

    async def lines(self, first: Upload | None) -> AsyncIterator[str]:
        """The lines, of which the last one says how the stream ended."""
        reading = asyncio.create_task(self._read(first))
        try:
            while (line := await self._lines.get()) is not None:
                yield json.dumps(line) + "\n"
            await reading
        finally:
            reading.cancel()

    async def _read(self, first: Upload | None) -> None:
        """Begin the inspection of each image; whoever cancels this, or hangs up, ends those that have not begun."""
        n_images = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                last: dict[str, Any]
                try:
                    upload = first
                    while upload is not None:
                        await self._slots.acquire()
                        await self._service.keys.authenticate(self._request.headers.get("authorization"))
                        tasks.create_task(self._inspect(n_images, upload))
                        n_images += 1
                        upload = await self.next_image()
                    last = {"n_images": n_images}
                except DisconnectedError:
                    raise
                except Exception as error:  # the response has begun, and can no longer become another one
                    last = {"index": None, "problem": self._document(error)}
            self._lines.put_nowait(last)
        except* DisconnectedError:
            pass
        finally:
            self._lines.put_nowait(None)

    async def _inspect(self, index: int, upload: Upload) -> None:
        try:
            self._service.keys.charge(self._key, 1)
            with self._service.runner.reserve_slot(self._key):
                async with asyncio.timeout(self._settings.deadline):
                    upload = await as_image(upload, self._pixels, self._settings)
                    inspection = await self._service.runner.inspect(upload, self._key)
            self._lines.put_nowait({"index": index, "inspection": inspection.model_dump(mode="json")})
        except Exception as error:
            self._lines.put_nowait({"index": index, "problem": self._document(error)})
        finally:
            self._holds.end(upload.hold)
            self._slots.release()

    def _document(self, error: Exception) -> dict[str, Any]:
        """The problem document of what an image, or the whole stream, failed with."""
        problem: Problem | None
        if isinstance(error, TimeoutError):
            problem = deadline_problem(self._settings.deadline)
        else:
            problem = error if isinstance(error, Problem) else store_problem(error)
        if problem is None:
            log.error("an image of a stream failed", exc_info=error)
            problem = Problem("internal", "the service failed; its log says why")
        return problem.document(self._request.url.path)
