"""The routes about what people know of failures: all of it, its exports, and changes with their history."""

import asyncio
from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.responses import JSONResponse, Response

from gonogo.knowledge.exchange import as_graphml, as_json_ld
from gonogo.service import knowledge_schemas as schemas
from gonogo.service.knowledge import Wanted
from gonogo.service.routes.access import ReviewerKey, service_of
from gonogo.service.routes.cases import Name

Severity = Annotated[int | None, Query(ge=1, le=10)]
Item = Annotated[schemas.ItemId, Path(alias="id")]
JSON_LD, GRAPHML = "application/ld+json", "application/graphml+xml"


async def knowledge(
    request: Request,
    category: Name = None,
    defect_type: Name = None,
    min_severity: Severity = None,
    days: Annotated[int, Query(ge=1, le=366, description="of production that is measured, up to now")] = 90,
) -> schemas.Knowledge:
    """The failure modes that match all parameters with all around them, rated and measured."""
    wanted = Wanted(category, defect_type, min_severity, days)
    return await asyncio.to_thread(service_of(request).known_failures.view, wanted)


async def json_ld(request: Request) -> Response:
    """All that is known, as JSON-LD."""
    known = await asyncio.to_thread(service_of(request).known_failures.knowledge)
    return JSONResponse(as_json_ld(known), media_type=JSON_LD, headers=_named("knowledge.jsonld"))


async def graphml(request: Request) -> Response:
    """All that is known, as GraphML."""
    known = await asyncio.to_thread(service_of(request).known_failures.knowledge)
    return Response(as_graphml(known), media_type=GRAPHML, headers=_named("knowledge.graphml"))


async def history(request: Request, identifier: Item) -> schemas.KnowledgeHistory:
    """The versions of an item, or of a link, whose id is that of its ends with > between them."""
    return await asyncio.to_thread(service_of(request).known_failures.history, identifier)


async def change(
    request: Request, key: ReviewerKey, identifier: Item, given: schemas.KnowledgeChange
) -> schemas.KnowledgeHistory:
    """Add, change or remove an item or a link; nothing is lost, and the whole stays right or nothing is changed."""
    known = service_of(request).known_failures
    await asyncio.to_thread(known.change, identifier, given, key)
    return await asyncio.to_thread(known.history, identifier)


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
