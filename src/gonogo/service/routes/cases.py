"""The routes about past cases: those like an inspection, all of them, their pictures, and what is known of them."""

import asyncio
from typing import Annotated, Literal

from fastapi import Path, Query, Request
from fastapi.responses import Response

from gonogo.cases.words import Filters
from gonogo.service import schemas
from gonogo.service.problems import Problem
from gonogo.service.reviewing import inspection_row
from gonogo.service.routes.abandoned import unless_abandoned
from gonogo.service.routes.access import InspectorKey, ReviewerKey, service_of
from gonogo.service.routes.inspections import Identifier, stored_row
from gonogo.service.schemas import InspectionId
from gonogo.service.similar import MOST, case_fields, cases_of
from gonogo.service.stored_image import stored_image
from gonogo.service.tracing import trace_of

CaseId = Annotated[InspectionId, Path(alias="id")]
Name = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


async def similar(
    request: Request,
    key: InspectorKey,
    identifier: Identifier,
    k: Annotated[int, Query(ge=1, le=MOST)] = 5,
    defect_type: Name = None,
    min_severity: Annotated[int | None, Query(ge=1, le=10)] = None,
) -> schemas.Similar:
    """The past cases that are most like an inspection; its own image and part are left out."""
    service = service_of(request)
    row = await inspection_row(service.store, identifier)
    work = service.cases.like_inspection(row, key, k=k, defect_type=defect_type, min_severity=min_severity)
    return await unless_abandoned(request, work, service.settings.deadline)


async def trace(request: Request, key: InspectorKey, identifier: Identifier) -> schemas.Trace:
    """How an inspection leads to causes and remedies: differing places, similar cases, causes, actions, by distance."""
    row, service = await stored_row(request, identifier), service_of(request)
    work = trace_of(service, row, key, await stored_image(service.store, row))
    return await unless_abandoned(request, work, service.settings.deadline)


async def cases(
    request: Request,
    category: Name = None,
    defect_type: Name = None,
    min_severity: Annotated[int | None, Query(ge=1, le=10)] = None,
    words: Annotated[
        str | None,
        Query(max_length=500, description="of types, causes, remedies and notes; the best first, on one page"),
    ] = None,
    by: Annotated[Literal["text", "picture"], Query(description="what of a case `words` are compared with")] = "text",
    before: InspectionId | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> schemas.Cases:
    """The cases that match all parameters."""
    service = service_of(request)
    if words is not None:
        filters = Filters(category, defect_type, min_severity)
        search = service.cases.search if by == "text" else service.cases.search_pictures
        work = search(words, filters, limit=limit)
        return cases_of(await unless_abandoned(request, work, service.settings.deadline))
    rows = await asyncio.to_thread(
        service.store.cases.newest,
        category=category,
        defect_type=defect_type,
        min_severity=min_severity,
        before=before,
        limit=limit + 1,
    )
    page = [schemas.FoundCase(**case_fields(row)) for row in rows[:limit]]
    return schemas.Cases(cases=page, before=page[-1].id if len(rows) > limit else None, meaning=None)


async def crop(request: Request, identifier: CaseId) -> Response:
    """The picture of a case: its region with what is around it, or the whole image."""
    data, media_type = await crop_of(request, identifier)
    return Response(data, media_type=media_type)


async def crop_of(request: Request, identifier: str) -> tuple[bytes, str]:
    """The picture of a case and its media type.

    Raises:
        Problem: there is no such case.
    """
    found = await asyncio.to_thread(service_of(request).store.cases.crop, identifier)
    if found is None:
        raise Problem("not-found", f"there is no case {identifier}")
    return found


async def describe(request: Request, key: ReviewerKey, identifier: CaseId, given: schemas.CaseFacts) -> schemas.Case:
    """Say what is known about a case, in place of what was said before; that stays in the store."""
    store = service_of(request).store
    if not await asyncio.to_thread(store.cases.describe, identifier, given.model_dump(), by=key.name, key=key.id):
        raise Problem("not-found", f"there is no case {identifier}")
    rows = await asyncio.to_thread(store.cases.with_ids, [identifier])
    if not rows:
        raise Problem("not-found", f"the case {identifier} was taken back by a review")
    return schemas.Case(**case_fields(rows[0]))
