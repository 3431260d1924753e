"""The routes about stored inspections: pages of them, one with its pictures, and its reviews."""

import asyncio
from typing import Annotated, Any

from fastapi import Path, Query, Request
from fastapi.responses import Response

from gonogo.images.colours import PictureScale
from gonogo.service import schemas
from gonogo.service.inspecting import inspection_fields
from gonogo.service.problems import Problem
from gonogo.service.reviewing import add_review, inspection_row, undo_review
from gonogo.service.routes.abandoned import unless_abandoned
from gonogo.service.routes.access import InspectorKey, ReviewerKey, service_of
from gonogo.service.routes.inspect_images import OVERLAY_SCALE, Picture
from gonogo.service.schemas import InspectionId, Moment, Sha256, VerdictLabel
from gonogo.service.security import Key
from gonogo.service.stored_image import stored_image
from gonogo.service.uploads import MEDIA_TYPES
from gonogo.store.schema import Row

Identifier = Annotated[InspectionId, Path(alias="id")]
MEDIA_TYPE_OF_FORMAT = {image_format: media_type for media_type, image_format in MEDIA_TYPES.items()}


async def inspections(
    request: Request,
    verdict: VerdictLabel | None = None,
    uncertain: bool | None = None,
    category: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    bundle: Sha256 | None = None,
    image: Annotated[Sha256 | None, Query(description="SHA-256 of the image's file")] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    min_score: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    max_score: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    reviewed: bool | None = None,
    before: Annotated[InspectionId | None, Query(description="`before` of the previous page")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> schemas.Page:
    """The inspections that match all parameters, newest first."""
    filters: dict[str, Any] = {
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
    rows = await asyncio.to_thread(service_of(request).store.newest, filters, before=before, limit=limit + 1)
    page = [schemas.Inspection(**inspection_fields(row)) for row in rows[:limit]]
    return schemas.Page(inspections=page, before=page[-1].id if len(rows) > limit else None)


async def inspection(request: Request, identifier: Identifier) -> schemas.Inspection:
    """One inspection."""
    return schemas.Inspection(**inspection_fields(await stored_row(request, identifier)))


async def image(request: Request, identifier: Identifier) -> Response:
    """The image as it was sent."""
    row = await stored_row(request, identifier)
    return Response(
        await stored_image(service_of(request).store, row),
        media_type=MEDIA_TYPE_OF_FORMAT[row["image_format"]],
        headers={"Content-Disposition": f'attachment; filename="{identifier}.{row["image_format"].lower()}"'},
    )


async def anomaly_map(request: Request, key: InspectorKey, identifier: Identifier) -> Response:
    """The anomaly map as PNG of 16 bits, where 10,000 is the threshold; computed again by the bundle that scored it."""
    return await _picture(request, key, identifier, "map")


async def overlay(
    request: Request,
    key: InspectorKey,
    identifier: Identifier,
    overlay_scale: Annotated[PictureScale, Query(description=OVERLAY_SCALE)] = "threshold",
) -> Response:
    """The image with the colours of its map and an outline of each region, as PNG."""
    return await _picture(request, key, identifier, "overlay", overlay_scale)


async def crop_at_peak(request: Request, key: InspectorKey, identifier: Identifier) -> Response:
    """The part of the image where it differs most, as PNG; the whole image if the gauge does not localise."""
    return await _picture(request, key, identifier, "crop")


async def review(
    request: Request, key: ReviewerKey, identifier: Identifier, given: schemas.Review
) -> schemas.Inspection:
    """Add a review, which says whether the part is really good. Earlier reviews stay, and so do those of others."""
    await add_review(service_of(request).store, identifier, given, key)
    await service_of(request).cases.reviewed(identifier, key)
    return schemas.Inspection(**inspection_fields(await stored_row(request, identifier)))


async def undo(request: Request, key: ReviewerKey, identifier: Identifier, given: schemas.Undo) -> schemas.Inspection:
    """Take back a review of this inspection that the same key gave. Both stay in the history."""
    store = service_of(request).store
    reviewed = await asyncio.to_thread(store.reviews.review, given.review)
    if reviewed is None or reviewed["inspection"] != identifier:
        raise Problem("not-found", f"the inspection {identifier} has no review {given.review}")
    await undo_review(store, given.review, key)
    await service_of(request).cases.reviewed(identifier, key)
    return schemas.Inspection(**inspection_fields(await stored_row(request, identifier)))


async def stored_row(request: Request, identifier: str) -> Row:
    """The row of an inspection.

    Raises:
        Problem: there is none.
    """
    return await inspection_row(service_of(request).store, identifier)


async def _picture(
    request: Request, key: Key, identifier: str, name: Picture, overlay_scale: PictureScale = "threshold"
) -> Response:
    row = await stored_row(request, identifier)
    service = service_of(request)
    with service.runner.reserve_slot(key):
        work = service.runner.draw(
            await stored_image(service.store, row),
            key,
            name,
            bundle=row["bundle"],
            overlay_scale=overlay_scale,
        )
        picture = await unless_abandoned(request, work, service.settings.deadline)
    return Response(picture, media_type="image/png")
