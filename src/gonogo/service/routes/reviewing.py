"""The routes about reviewing: the queue, the defect types, the audit sample, and what was reviewed as a file."""

import asyncio
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response, StreamingResponse

from gonogo.service import schemas
from gonogo.service.auditing import CONFIDENCE, false_alarms, misses
from gonogo.service.inspecting import certificate_fields, inspection_fields
from gonogo.service.reviewing import inspection_row, next_task, skip_task
from gonogo.service.routes.access import ReviewerKey, service_of
from gonogo.service.routes.inspections import Identifier
from gonogo.service.service import Service
from gonogo.store.reviewed import packed, reviewed_images

Category = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]


async def next_review(request: Request, key: ReviewerKey) -> schemas.Task:
    """The inspection to review next. Nobody else gets it for five minutes; it stays the same until it is reviewed."""
    store = service_of(request).store
    task, waiting = await next_task(store, key), await asyncio.to_thread(store.queue.counts, key.id)
    if task is None:
        return schemas.Task(reason=None, inspection=None, waiting=waiting)
    inspection = schemas.Inspection(**inspection_fields(await inspection_row(store, task.inspection)))
    return schemas.Task.model_validate({"reason": task.reason, "inspection": inspection, "waiting": waiting})


async def skip(request: Request, key: ReviewerKey, identifier: Identifier) -> Response:
    """Set an inspection aside for this key, for an hour; others get it."""
    await skip_task(service_of(request).store, identifier, key)
    return Response(status_code=204)


async def defect_types(request: Request, category: Category) -> schemas.DefectTypes:
    """The types of defects that reviewers of a category named."""
    names = await asyncio.to_thread(service_of(request).store.reviews.defect_types, category)
    return schemas.DefectTypes(category=category, defect_types=names)


async def audit(request: Request) -> schemas.Audit:
    """What the random sample of inspections says of the bundle in use, beside its certificate."""
    return await audit_of(service_of(request))


async def export(request: Request, category: Category) -> StreamingResponse:
    """The settled reviews of a category with their images, as a zip archive for `gonogo accept --reviewed`."""
    return await archive_response(service_of(request), category)


async def archive_response(service: Service, category: str) -> StreamingResponse:
    """What was reviewed of a category, as a file that is made while it is sent."""
    found = await asyncio.to_thread(reviewed_images, service.store, category)
    return StreamingResponse(
        packed(service.store, found),
        media_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="reviewed.zip"'},
    )


async def audit_of(service: Service) -> schemas.Audit:
    """What the audit sample says of the bundle in use."""
    scorer = service.gauge.scorer
    parts = await asyncio.to_thread(service.store.audits.parts, scorer.fingerprint)
    return schemas.Audit(
        bundle=scorer.fingerprint,
        certificate=schemas.Certificate(**certificate_fields(scorer.record)),
        confidence=CONFIDENCE,
        share=service.settings.audit_share,
        drawn=len(parts),
        false_alarms=false_alarms(parts),
        misses=misses(parts),
    )
