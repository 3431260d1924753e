"""One part on whichever page: its pictures at the size shown, why it got its verdict, and reviews of it."""

from collections.abc import Awaitable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from gonogo.images.colours import PictureScale
from gonogo.service.pages.access import InspectorPageKey, ReviewerPageKey, inspector_page_key, local_path
from gonogo.service.pages.inspector import part_response
from gonogo.service.pages.pictures import WIDTHS, Pictures, PlaceView
from gonogo.service.pages.rendering import is_fragment, render
from gonogo.service.problems import Problem
from gonogo.service.reviewing import add_review, inspection_row, undo_last_review
from gonogo.service.routes.abandoned import unless_abandoned
from gonogo.service.routes.access import service_of
from gonogo.service.routes.cases import CaseId, crop_of
from gonogo.service.routes.inspections import Identifier
from gonogo.service.schemas import Review

# A picture belongs to an inspection for ever; only this browser keeps it, and signing out clears it.
CACHED = {"Cache-Control": "private, max-age=86400, immutable"}
Width = Annotated[int, Query(description="of WIDTHS")]
Result = TypeVar("Result")
SIMILAR = 5  # past cases that are shown
router = APIRouter(prefix="/parts/{id}")
past = APIRouter(prefix="/past/{id}")


@router.get("/image")
async def image(request: Request, key: InspectorPageKey, identifier: Identifier, width: Width = WIDTHS[-2]) -> Response:
    """The part, at most so many pixels wide."""
    if width not in WIDTHS:
        raise Problem("invalid-request", f"the width of a picture is one of {', '.join(map(str, WIDTHS))}")
    row = await inspection_row(service_of(request).store, identifier)
    data, media_type = await soon(request, pictures_of(request).part(row, key, width))
    return Response(data, media_type=media_type, headers=CACHED)


@router.get("/layer")
async def layer(
    request: Request, key: InspectorPageKey, identifier: Identifier, scale: PictureScale = "threshold"
) -> Response:
    """The colours of the map and the outlines of regions, or the boxes, to be laid over the part."""
    row = await inspection_row(service_of(request).store, identifier)
    drawn = await soon(request, pictures_of(request).layer(row, key, scale))
    return Response(drawn, media_type="image/png", headers=CACHED)


@router.get("/places/{number}/{side}")
async def place(
    request: Request,
    key: InspectorPageKey,
    identifier: Identifier,
    number: Annotated[int, InPath(ge=0, le=99)],
    side: Annotated[str, InPath(pattern="^(part|good)$")],
) -> Response:
    """The picture of one of the highest places, or of the good patch nearest to it."""
    row = await inspection_row(service_of(request).store, identifier)
    places = (await soon(request, pictures_of(request).view(row, key))).places
    if number >= len(places):
        raise Problem("not-found", f"the part has {len(places)} such places")
    found: PlaceView = places[number]
    return Response(found.part if side == "part" else found.good, media_type=found.media_type, headers=CACHED)


@router.get("/why")
async def why(request: Request, key: InspectorPageKey, identifier: Identifier) -> Response:
    """The places where the part differs most, each beside the nearest good patch."""
    row = await inspection_row(service_of(request).store, identifier)
    view = await soon(request, pictures_of(request).view(row, key))
    return render(request, "why.html.j2", part=row, view=view)


@router.get("/similar")
async def similar(request: Request, key: InspectorPageKey, identifier: Identifier) -> Response:
    """The past cases that are most like the part, with cause and remedy."""
    service = service_of(request)
    row = await inspection_row(service.store, identifier)
    found = await soon(request, service.cases.like_inspection(row, key, k=SIMILAR))
    return render(request, "similar.html.j2", part=row, similar=found)


@router.get("/depth")
async def depth(request: Request, key: InspectorPageKey, identifier: Identifier) -> Response:
    """The view of depth in the part."""
    service = service_of(request)
    row = await inspection_row(service.store, identifier)
    view = await soon(request, service.depth.view(row, key))
    return Response(view, media_type="image/png", headers=CACHED)


@past.get("/crop", dependencies=[Depends(inspector_page_key)])
async def crop(request: Request, identifier: CaseId) -> Response:
    """The picture of a past case."""
    data, media_type = await crop_of(request, identifier)
    return Response(data, media_type=media_type, headers=CACHED)


async def review_of_form(
    label: Annotated[str, Form(max_length=10)] = "defect",
    defect_type: Annotated[str, Form(max_length=1000)] = "",
    new_type: Annotated[str, Form(max_length=1000)] = "",
    note: Annotated[str, Form(max_length=10_000)] = "",
) -> Review:
    """The review of the person who is signed in. A button with a type of defect stands for its label too.

    Raises:
        Problem: a defect has no type, or a value is not allowed.
    """
    named = (new_type.strip() or defect_type.strip()) if label != "good" else ""
    if label == "defect" and not named:
        raise Problem("invalid-request", "a defect has a type: choose one, or write a new one")
    try:
        return Review.model_validate({"label": label, "defect_type": named or None, "note": note.strip() or None})
    except ValidationError as error:
        told = [{"where": str(each["loc"][-1]), "what": each["msg"]} for each in error.errors()]
        raise Problem("invalid-request", "the review cannot be stored", errors=told) from error


FormReview = Annotated[Review, Depends(review_of_form)]
NextPage = Annotated[str, Form(alias="next", max_length=20_000)]


@router.post("/review")
async def review(
    request: Request, key: ReviewerPageKey, identifier: Identifier, given: FormReview, next_page: NextPage = "/"
) -> Response:
    """Add a review of the person who is signed in."""
    await add_review(service_of(request).store, identifier, given, key)
    await service_of(request).cases.reviewed(identifier, key)
    return await _after_review(request, identifier, next_page)


@router.post("/undo")
async def undo(request: Request, identifier: Identifier, key: ReviewerPageKey, next_page: NextPage = "/") -> Response:
    """Take back the last review that was given with this key, if it still counts."""
    await undo_last_review(service_of(request).store, identifier, key)
    await service_of(request).cases.reviewed(identifier, key)
    return await _after_review(request, identifier, next_page)


async def _after_review(request: Request, identifier: str, next_page: str) -> Response:
    if not is_fragment(request):
        return RedirectResponse(local_path(next_page), 303)
    return await part_response(request, await inspection_row(service_of(request).store, identifier))


async def soon(request: Request, work: Awaitable[Result]) -> Result:
    """The result of `work`, unless the deadline is over or the client has hung up.

    Raises:
        Problem: one of both.
    """
    return await unless_abandoned(request, work, service_of(request).settings.deadline)


def pictures_of(request: Request) -> Pictures:
    """The pictures of the service."""
    pictures: Pictures = request.app.state.pictures
    return pictures
