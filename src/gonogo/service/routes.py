"""The routes: each reads its request, asks the library, and answers. OpenAPI is made of their signatures."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import QueryParams

from gonogo.service import schemas
from gonogo.service.inspecting import told_of
from gonogo.service.problems import MEDIA_TYPE, STATUSES, Problem, log
from gonogo.service.schemas import InspectionId, Judgement, Moment, Sha256
from gonogo.service.security import Key, body_of, require_role
from gonogo.service.service import Service
from gonogo.service.uploads import MEDIA_TYPES, NAME, Upload, uploads
from gonogo.store.schema import Row

Picture = Literal["map", "overlay"]
Identifier = Annotated[InspectionId, Path(alias="id")]
KEPT_MEDIA_TYPES = {found: media_type for media_type, found in MEDIA_TYPES.items()}
PNG_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "PNG"}}
IMAGE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in MEDIA_TYPES}, "description": "the file as it was sent"}
}
BINARY: dict[str, Any] = {"type": "string", "format": "binary", "minLength": 1}
IMAGES = {
    "type": "object",
    "properties": {"image": {"type": "array", "items": BINARY, "minItems": 1}},
    "required": ["image"],
    "additionalProperties": False,
}
RAW_BODIES = {media_type: {"schema": BINARY} for media_type in (*MEDIA_TYPES, "application/octet-stream")}
FORM = {"schema": IMAGES, "encoding": {"image": {"contentType": ", ".join(MEDIA_TYPES)}}}
ONE_OR_MORE = {"requestBody": {"required": True, "content": {"multipart/form-data": FORM} | RAW_BODIES}}


def service_of(request: Request) -> Service:
    """The service that the request came to."""
    service: Service = request.app.state.service
    return service


def require(role: str) -> Callable[[Request], Awaitable[Key]]:
    """A dependency: the key of the request, which has at least this role, and is charged for a question."""

    async def allowed(request: Request) -> Key:
        keys = service_of(request).keys
        key = await keys.authenticate(request.headers.get("authorization"))
        require_role(key, role)
        keys.charge(key, 1)
        return key

    return allowed


inspecting_key = require("inspect")
InspectorKey = Annotated[Key, Depends(inspecting_key)]
Reviewer = Annotated[Key, Depends(require("review"))]
Admin = Annotated[Key, Depends(require("admin"))]


class InspectQuery(BaseModel):
    """What the query of /v1/inspect may say."""

    include: list[Picture] = Field([], max_length=2, description="pictures to send with it")
    name: str | None = Field(None, pattern=f"^{NAME.pattern}$", description="of a raw image")
    deadline_ms: int | None = Field(
        None, ge=1, le=600_000, description="milliseconds until a 504; the service's at most"
    )

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """What a request's query says.

        Raises:
            RequestValidationError: it is not as it may be.
        """
        said: dict[str, Any] = {**query, "include": query.getlist("include")}
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            errors = [one | {"loc": ("query", *one["loc"])} for one in error.errors()]
            raise RequestValidationError(errors) from error

    @classmethod
    def parameters(cls) -> list[dict[str, Any]]:
        """OpenAPI's word for it."""
        schemas = cls.model_json_schema()["properties"]
        return [{"name": name, "in": "query", "required": False, "schema": one} for name, one in schemas.items()]


async def inspect(request: Request) -> Response:
    """Judge one image or a batch. All of them are kept before the answer, or none is answered with a verdict."""
    # On the line it is this route that has to be quick: it reads key and query itself, as FastAPI would for it.
    service, settings = service_of(request), service_of(request).settings
    key, query = await inspecting_key(request), InspectQuery.of(request.query_params)
    seconds = settings.deadline if query.deadline_ms is None else min(settings.deadline, query.deadline_ms / 1000)
    with service.inspecting.reserve_slot():
        body = body_of(request, settings.max_body, settings.body_seconds)
        content_type = request.headers.get("content-type", "")
        found = [one async for one in uploads(body, content_type, query.name, settings, most=settings.max_images)]
        service.keys.charge(key, len(found) - 1, check=False)
        with service.inspecting.reserve_slot(len(found) - 1) if len(found) > 1 else nullcontext():
            jobs = [service.inspecting.inspect(one, key, sorted(set(query.include))) for one in found]
            try:
                async with asyncio.timeout(seconds):
                    judged = await asyncio.gather(*jobs, return_exceptions=True)
            except TimeoutError as error:
                raise Problem(
                    "deadline", f"no verdict within {seconds:g} s; what was judged is among /v1/inspections by its hash"
                ) from error
    failed = {index: one for index, one in enumerate(judged) if isinstance(one, BaseException)}
    for refusal in failed.values():
        if not isinstance(refusal, Problem):
            raise refusal
    if failed:
        index, first = next((index, one) for index, one in failed.items() if isinstance(one, Problem))
        errors = [{"image": index, "detail": str(one)} for index, one in failed.items()]
        raise Problem(first.kind, f"image {index}: {first.detail}" if len(found) > 1 else first.detail, errors=errors)
    told = schemas.Inspections(inspections=[one for one in judged if isinstance(one, schemas.Judged)])
    return Response(told.model_dump_json(), media_type="application/json")  # FastAPI would check it all once more


async def inspect_stream(request: Request, key: InspectorKey) -> StreamingResponse:
    """Judge many images as they come: a JSON line for each when it is kept, in no set order, with its `index`.

    A line has an `inspection` or a `problem`; the last one counts them, and is there only if all were read. The answer
    begins with the first image: a body without any is refused as a whole.
    """
    settings = service_of(request).settings
    # Starlette would otherwise watch for the client's leaving by receiving, and take the body away from us.
    request.scope["asgi"] = request.scope.get("asgi", {}) | {"spec_version": "2.4"}
    body = body_of(request, settings.max_stream_body, settings.max_stream_images * settings.deadline)
    content_type = request.headers.get("content-type", "")
    found = uploads(body, content_type, None, settings, most=settings.max_stream_images)
    return StreamingResponse(_lines(request, key, await anext(found), found), media_type="application/x-ndjson")


async def _lines(request: Request, key: Key, first: Upload, others: AsyncIterator[Upload]) -> AsyncIterator[str]:
    """Reading goes on while nobody reads the lines, so that a client may send all before it reads any."""
    service, settings = service_of(request), service_of(request).settings
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    room = asyncio.Semaphore(2 * settings.batch)

    async def judge(index: int, upload: Upload) -> None:
        try:
            with service.inspecting.reserve_slot():
                judged = await service.inspecting.inspect(upload, key)
            lines.put_nowait({"index": index, "inspection": judged.model_dump(mode="json", exclude_none=False)})
        except Exception as error:  # an answer that has begun cannot become a 500 any more
            problem = (
                error if isinstance(error, Problem) else Problem("internal", "the service failed; its log says why")
            )
            if problem is not error:
                log.error("image %d of a stream failed", index, exc_info=error)
            lines.put_nowait({"index": index, "problem": problem.document(request.url.path)})
        finally:
            room.release()

    async def read() -> None:
        judging: list[asyncio.Task[None]] = []
        try:
            upload: Upload | None = first
            while upload is not None:
                await room.acquire()
                service.keys.charge(key, 1, check=False)
                judging.append(asyncio.create_task(judge(len(judging), upload)))
                upload = await anext(others, None)
            last: dict[str, Any] = {"n_images": len(judging)}
        except Problem as problem:
            last = {"index": None, "problem": problem.document(request.url.path)}
        try:
            await asyncio.gather(*judging)
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


async def inspections(
    request: Request,
    verdict: Judgement | None = None,
    uncertain: bool | None = None,
    category: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    bundle: Sha256 | None = None,
    image: Annotated[Sha256 | None, Query(description="SHA-256 of its file")] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    min_score: float | None = None,
    max_score: float | None = None,
    reviewed: bool | None = None,
    before: Annotated[InspectionId | None, Query(description="of the page before this one")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> schemas.Page:
    """Inspections that are as asked for, newest first."""
    wanted: dict[str, Any] = {
        "verdict": verdict,
        "uncertain": uncertain,
        "category": category,
        "bundle": bundle,
        "image": image,
        "since": None if since is None else since.timestamp(),
        "until": None if until is None else until.timestamp(),
        "min_score": min_score,
        "max_score": max_score,
        "reviewed": reviewed,
    }
    rows = await asyncio.to_thread(service_of(request).store.newest, wanted, before=before, limit=limit + 1)
    told = [schemas.Inspection(**told_of(row)) for row in rows[:limit]]
    return schemas.Page(inspections=told, before=told[-1].id if len(rows) > limit else None)


async def inspection(request: Request, identifier: Identifier) -> schemas.Inspection:
    """One inspection."""
    return schemas.Inspection(**told_of(await _row(request, identifier)))


async def image(request: Request, identifier: Identifier) -> Response:
    """The image as it was sent."""
    row = await _row(request, identifier)
    return Response(
        await _image(request, row),
        media_type=KEPT_MEDIA_TYPES[row["image_format"]],
        headers={"Content-Disposition": f'attachment; filename="{identifier}.{row["image_format"].lower()}"'},
    )


async def anomaly_map(request: Request, identifier: Identifier) -> Response:
    """The map as PNG of 16 bits, where 10,000 is the threshold; made anew by the bundle that judged the image."""
    return await _drawn(request, identifier, "map")


async def overlay(request: Request, identifier: Identifier) -> Response:
    """The image with its map's colours and a line around each region, as PNG."""
    return await _drawn(request, identifier, "overlay")


async def review(request: Request, key: Reviewer, identifier: Identifier, given: schemas.Review) -> schemas.Inspection:
    """Say what the part really is. Reviews add up; the last one holds."""
    if (given.label == "defect") != (given.defect_type is not None):
        raise Problem("invalid-request", "a defect has a defect_type, and a good part has none")
    await _row(request, identifier)
    service = service_of(request)
    row = given.model_dump() | {"at": service.now(), "key": key.id}
    await asyncio.to_thread(service.store.add_review, identifier, row)
    return schemas.Inspection(**told_of(await _row(request, identifier)))


async def bundles(request: Request) -> schemas.Bundles:
    """The bundles that may be activated, each held against its manifest now."""
    gauge = service_of(request).gauge
    offered = await asyncio.to_thread(gauge.offered)
    active = gauge.scorer.fingerprint
    return schemas.Bundles(
        bundles=[
            schemas.BundleFacts(
                name=one.name,
                fingerprint=one.fingerprint,
                category=one.category,
                signer=one.signer,
                active=one.fingerprint == active,
                error=one.error,
            )
            for one in offered
        ]
    )


async def activate(request: Request, key: Admin, wanted: schemas.Activation) -> schemas.BundleFacts:
    """Use another bundle, once it is verified and has scored; on failure the one in use stays. No image is lost."""
    scorer, name = await service_of(request).activate(wanted.fingerprint, key)
    return schemas.BundleFacts(
        name=name,
        fingerprint=scorer.fingerprint,
        category=scorer.category,
        signer=scorer.signer,
        active=True,
        error=None,
    )


async def healthz() -> schemas.Health:
    """Whether the process answers."""
    return schemas.Health(ok=True, reasons=[])


async def readyz(request: Request) -> JSONResponse:
    """Whether it can take images, and otherwise why not."""
    reasons = await service_of(request).reasons()
    return JSONResponse({"ok": not reasons, "reasons": reasons}, 503 if reasons else 200)


async def metrics(request: Request) -> Response:
    """What Prometheus scrapes; it takes a key as everything does."""
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _row(request: Request, identifier: str) -> Row:
    row = await asyncio.to_thread(service_of(request).store.inspection, identifier)
    if row is None:
        raise Problem("not-found", f"there is no inspection {identifier}")
    return row


async def _image(request: Request, row: Row) -> bytes:
    path = service_of(request).store.images.path_of(row["image_sha256"])
    try:
        return await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError as error:
        raise Problem("image-expired", "the image was removed, as the settings for how long to keep it say") from error


async def _drawn(request: Request, identifier: str, name: Picture) -> Response:
    row = await _row(request, identifier)
    inspecting = service_of(request).inspecting
    with inspecting.reserve_slot():
        data = await inspecting.drawn(await _image(request, row), name, bundle=row["bundle"])
    return Response(data, media_type="image/png")


def _problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's answers for these kinds of problems, and for those that every route with a key has."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    found: dict[int | str, dict[str, Any]] = {}
    for kind in (
        *kinds,
        "bad-request",
        "unauthorized",
        "forbidden",
        "rate-limit",
        "invalid-request",
        "too-large",
        "body-timeout",
    ):
        found.setdefault(STATUSES[kind], {"description": kind, "content": content})
    return found


def router() -> APIRouter:
    """All routes, with what OpenAPI says of them."""
    made = APIRouter()
    bearer = HTTPBearer(auto_error=False)
    keyed: dict[str, Any] = {"dependencies": [Depends(bearer)]}  # the route itself asks whose key it is
    open_to_all_keys: dict[str, Any] = {"dependencies": [Depends(bearer), Depends(inspecting_key)]}
    post, get = ["POST"], ["GET"]
    one = "/v1/inspections/{id}"
    there = _problems("not-found")
    drawn = _problems("not-found", "other-bundle", "image-expired", "busy") | PNG_ANSWER
    taken = _problems("bad-request", "unsupported-media-type", "busy", "deadline", "unreadable-image")
    lines: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/x-ndjson": {}}, "description": "a JSON line for each image"}
    }
    made.add_api_route(
        "/v1/inspect",
        inspect,
        methods=post,
        response_model=schemas.Inspections,
        responses=taken,
        openapi_extra=ONE_OR_MORE | {"parameters": InspectQuery.parameters(), "security": [{bearer.scheme_name: []}]},
    )
    made.add_api_route(
        "/v1/inspect:stream",
        inspect_stream,
        methods=post,
        responses=_problems("unsupported-media-type", "unreadable-image") | lines,
        response_class=StreamingResponse,
        openapi_extra=ONE_OR_MORE,
        **keyed,
    )
    made.add_api_route("/v1/inspections", inspections, methods=get, responses=_problems(), **open_to_all_keys)
    made.add_api_route(one, inspection, methods=get, responses=there, **open_to_all_keys)
    kept = _problems("not-found", "image-expired") | IMAGE_ANSWER
    for name, route, answers in (("image", image, kept), ("map", anomaly_map, drawn), ("overlay", overlay, drawn)):
        made.add_api_route(
            f"{one}/{name}", route, methods=get, responses=answers, response_class=Response, **open_to_all_keys
        )
    made.add_api_route(f"{one}/review", review, methods=post, responses=there, **keyed)
    made.add_api_route("/v1/bundles", bundles, methods=get, responses=_problems(), **open_to_all_keys)
    refused = _problems("bundle-refused", "not-found")
    made.add_api_route("/v1/bundles:activate", activate, methods=post, responses=refused, **keyed)
    made.add_api_route("/healthz", healthz, methods=get)
    unready: dict[int | str, dict[str, Any]] = {503: {"model": schemas.Health}}
    made.add_api_route("/readyz", readyz, methods=get, responses=unready, response_model=schemas.Health)
    made.add_api_route(
        "/metrics", metrics, methods=get, responses=_problems(), response_class=Response, **open_to_all_keys
    )
    return made
