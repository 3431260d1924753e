"""The routes that inspect images: one request with one response, and a stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any, Literal, Self

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import QueryParams

from gonogo.service import schemas
from gonogo.service.problems import Problem, log
from gonogo.service.routes.access import InspectorKey, inspector_key, service_of
from gonogo.service.security import Key, body_of
from gonogo.service.uploads import NAME, Upload, uploads

Picture = Literal["map", "overlay"]


class InspectQuery(BaseModel):
    """The query of /v1/inspect."""

    include: list[Picture] = Field([], max_length=2, description="pictures to add to the response")
    name: str | None = Field(None, pattern=f"^{NAME.pattern}$", description="name of a raw image")
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
    service, settings = service_of(request), service_of(request).settings
    key, query = await inspector_key(request), InspectQuery.of(request.query_params)
    seconds = settings.deadline if query.deadline_ms is None else min(settings.deadline, query.deadline_ms / 1000)
    with service.runner.reserve_slot():
        body = body_of(request, settings.max_body, settings.body_seconds)
        content_type = request.headers.get("content-type", "")
        images = [
            upload async for upload in uploads(body, content_type, query.name, settings, max_images=settings.max_images)
        ]
        service.keys.charge(key, len(images) - 1, check=False)
        with service.runner.reserve_slot(len(images) - 1) if len(images) > 1 else nullcontext():
            pictures = sorted(set(query.include))
            jobs = [service.runner.inspect(upload, key, pictures) for upload in images]
            try:
                async with asyncio.timeout(seconds):
                    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
            except TimeoutError as error:
                raise Problem(
                    "deadline",
                    f"no verdict within {seconds:g} s; /v1/inspections finds by its hash an image that was scored",
                ) from error
    _raise_problems(outcomes)
    inspections = [outcome for outcome in outcomes if isinstance(outcome, schemas.InspectionWithPictures)]
    # As text, since FastAPI would validate the whole model once more.
    return Response(schemas.Inspections(inspections=inspections).model_dump_json(), media_type="application/json")


def _raise_problems(outcomes: list[schemas.InspectionWithPictures | BaseException]) -> None:
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
        raise Problem(first.kind, detail, errors=errors)


async def inspect_stream(request: Request, key: InspectorKey) -> StreamingResponse:
    """Inspect many images as they arrive: a JSON line for each when it is stored, in no set order, with its `index`.

    A line has an `inspection` or a `problem`. The last line has the number of images, and is only there if all were
    read. The response begins with the first image; a body without any image is refused as a whole.
    """
    settings = service_of(request).settings
    # With a newer version here, Starlette would wait for the client's disconnection by reading the body itself.
    request.scope["asgi"] = request.scope.get("asgi", {}) | {"spec_version": "2.4"}
    body = body_of(request, settings.max_stream_body, settings.max_stream_images * settings.deadline)
    content_type = request.headers.get("content-type", "")
    images = uploads(body, content_type, None, settings, max_images=settings.max_stream_images)
    return StreamingResponse(_lines(request, key, await anext(images), images), media_type="application/x-ndjson")


async def _lines(request: Request, key: Key, first: Upload, others: AsyncIterator[Upload]) -> AsyncIterator[str]:
    """The lines of a stream. The body is read also while no line is read: a client may send all before it reads any."""
    service, settings = service_of(request), service_of(request).settings
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    slots = asyncio.Semaphore(2 * settings.batch)

    async def inspect_one(index: int, upload: Upload) -> None:
        try:
            with service.runner.reserve_slot():
                inspection = await service.runner.inspect(upload, key)
            lines.put_nowait({"index": index, "inspection": inspection.model_dump(mode="json", exclude_none=False)})
        except Exception as error:  # the response has begun, and can no longer become a 500
            problem = (
                error if isinstance(error, Problem) else Problem("internal", "the service failed; its log says why")
            )
            if problem is not error:
                log.error("image %d of a stream failed", index, exc_info=error)
            lines.put_nowait({"index": index, "problem": problem.document(request.url.path)})
        finally:
            slots.release()

    async def read() -> None:
        tasks: list[asyncio.Task[None]] = []
        try:
            upload: Upload | None = first
            while upload is not None:
                await slots.acquire()
                service.keys.charge(key, 1, check=False)
                tasks.append(asyncio.create_task(inspect_one(len(tasks), upload)))
                upload = await anext(others, None)
            last: dict[str, Any] = {"n_images": len(tasks)}
        except Problem as problem:
            last = {"index": None, "problem": problem.document(request.url.path)}
        try:
            await asyncio.gather(*tasks)
            lines.put_nowait(last)
        finally:
            lines.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while (line := await lines.get()) is not None:
            yield json.dumps(line) + "\n"
        await reading
    finally:
        reading.cancel()
