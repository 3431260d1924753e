"""The first page: one part with its verdict, beside it the parts that the line sends or those of a batch.

Everything that is shown is in the address: `id` is the part, `ids` are those of a batch; without either, it is the
newest part, and the live feed goes on.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from gonogo.service.pages.access import InspectorPageKey, inspector_page_key, session_key
from gonogo.service.pages.charts import score_chart
from gonogo.service.pages.feed import Feed
from gonogo.service.pages.rendering import HEADERS, OWN_CAMERA, fragment_text, is_fragment, render
from gonogo.service.problems import Problem
from gonogo.service.reviewing import inspection_row
from gonogo.service.routes.access import service_of
from gonogo.service.routes.inspect_images import inspect_body, raise_problems
from gonogo.service.schemas import InspectionId, InspectionWithPictures
from gonogo.store.schema import Row

LISTED = 24  # parts beside the one that is shown
Ids = Annotated[str, Query(pattern=r"^[0-9a-f]{32}(\.[0-9a-f]{32})*$", max_length=33 * 256)]
router = APIRouter()


@router.get("/", dependencies=[Depends(inspector_page_key)])
async def inspector(request: Request, id: str | None = None, ids: Ids | None = None) -> Response:
    """The page of a part; a script gets the part alone."""
    store = service_of(request).store
    if ids is None:
        listed = await asyncio.to_thread(store.newest, {}, before=None, limit=LISTED)
    else:
        listed = sorted(await asyncio.to_thread(store.with_ids, ids.split(".")), key=_most_anomalous_first)
    row = await inspection_row(service_of(request).store, id) if id is not None else (listed[0] if listed else None)
    if is_fragment(request):
        if row is None:
            raise Problem("not-found", "there is no inspection yet")
        return await part_response(request, row)
    follows = id is None and ids is None
    values: dict[str, Any] = {} if row is None else await part_values(request, row)
    headers = {"Permissions-Policy": OWN_CAMERA}
    return render(
        request, "inspector.html.j2", headers=headers, part=row, listed=listed, ids=ids, follows=follows, **values
    )


@router.post("/inspect")
async def inspect(request: Request, key: InspectorPageKey) -> Response:
    """Inspect pictures of a form, and lead to the part or, of several, to the one that differs most."""
    outcomes = await inspect_body(request, key, name=None, pictures=(), seconds=service_of(request).settings.deadline)
    told = [outcome for outcome in outcomes if isinstance(outcome, InspectionWithPictures)]
    if not told or len(told) < len(outcomes):
        raise_problems(outcomes)
    if len(told) == 1:
        return RedirectResponse(f"/?id={told[0].id}", 303)
    return RedirectResponse(f"/?ids={'.'.join(one.id for one in told)}", 303)


@router.get("/live", dependencies=[Depends(inspector_page_key)])
async def live(request: Request, after: InspectionId | None = None) -> Response:
    """Inspections newer than `after` as server-sent events, until the session or the service ends."""
    last = request.headers.get("last-event-id", "")  # of a browser that connects again
    begin = last if re.fullmatch(r"[0-9a-f]{32}", last) else after
    return StreamingResponse(
        _events(request, begin), media_type="text/event-stream", headers=HEADERS | {"X-Accel-Buffering": "no"}
    )


async def _events(request: Request, after: str | None) -> AsyncIterator[str]:
    feed: Feed = request.app.state.feed
    yield "retry: 2000\n\n"
    async for rows in feed.watch(after):
        if await session_key(request, in_use=False) is None:
            yield "event: end\ndata:\n\n"
            return
        for row in reversed(rows):
            text = fragment_text(request, "feed_item.html.j2", each=row, ids=None, shown=None)
            yield f"id: {row['id']}\ndata: {json.dumps({'id': row['id'], 'html': text})}\n\n"
        if not rows:
            yield ":\n\n"  # so that a connection that is gone is noticed


async def part_response(request: Request, row: Row) -> Response:
    """The part alone, for a script."""
    return render(request, "part.html.j2", part=row, **await part_values(request, row))


async def part_values(request: Request, row: Row) -> dict[str, Any]:
    """What the template of a part needs beside its row."""
    service = service_of(request)
    scorer = service.gauge.scorer
    in_use = scorer.fingerprint == row["bundle"]
    types = await asyncio.to_thread(service.store.reviews.defect_types, row["category"])
    has_boxes = row["boxes"] is not None or (in_use and scorer.box_classes is not None)
    return {
        "in_use": in_use,
        "same_category": scorer.category == row["category"],
        "localises": has_boxes or (in_use and bool(scorer.manifest["localises"])),
        "boxes_decide": has_boxes and row["box_model"] is None,
        "kept": await asyncio.to_thread(service.store.images.path_of(row["image_sha256"]).exists),
        "chart": score_chart(scorer.record, row["score"]) if in_use else None,
        "defect_types": list(dict.fromkeys([*types, *(box["label"] for box in row["boxes"] or [])])),
    }


def _most_anomalous_first(row: Row) -> tuple[bool, float]:
    return row["verdict"] != "reject", -row["score"]
