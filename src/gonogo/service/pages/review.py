"""The queue of reviews: one part at a time, what was said of the last one, and what the audit sample tells.

The part is leased while it is shown, so that two people at once get different ones; opening the page again shows the
same one. `done` in the address is the part that was reviewed last, whose review can be taken back.
"""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from gonogo.service.pages.access import ReviewerPageKey, reviewer_page_key
from gonogo.service.pages.inspector import part_values
from gonogo.service.pages.parts import FormReview
from gonogo.service.pages.rendering import is_fragment, render
from gonogo.service.reviewing import add_review, inspection_row, next_task, skip_task, undo_last_review
from gonogo.service.routes.access import service_of
from gonogo.service.routes.inspections import Identifier
from gonogo.service.routes.reviewing import archive_response, audit_of
from gonogo.service.schemas import InspectionId
from gonogo.service.security import Key
from gonogo.store.queue import MOST_COUNTED
from gonogo.store.schema import Row

router = APIRouter(prefix="/review")


@router.get("")
async def review_page(request: Request, key: ReviewerPageKey, done: InspectionId | None = None) -> Response:
    """The page of the part that waits; a script gets the part alone."""
    if is_fragment(request):
        return await _task(request, key, done)
    service = service_of(request)
    categories = await asyncio.to_thread(service.store.analytics.categories)
    values = await _task_values(request, key, done)
    audit = await audit_of(service)
    return render(request, "review.html.j2", audit=audit, categories=categories, **values)


@router.post("/export", dependencies=[Depends(reviewer_page_key)])
async def export(request: Request, category: Annotated[str, Form(max_length=200)]) -> Response:
    """What was reviewed of a category, as an archive."""
    return await archive_response(service_of(request), category)


@router.post("/{id}/review")
async def give(request: Request, key: ReviewerPageKey, identifier: Identifier, given: FormReview) -> Response:
    """Add a review, and show the next part."""
    await add_review(service_of(request).store, identifier, given, key)
    await service_of(request).cases.reviewed(identifier, key)
    return await _next(request, key, done=identifier)


@router.post("/{id}/skip")
async def skip(request: Request, key: ReviewerPageKey, identifier: Identifier) -> Response:
    """Set a part aside, and show the next one."""
    await skip_task(service_of(request).store, identifier, key)
    return await _next(request, key, done=None)


@router.post("/{id}/undo")
async def undo(request: Request, key: ReviewerPageKey, identifier: Identifier) -> Response:
    """Take back the last review of a part, and show it again."""
    store = service_of(request).store
    if await undo_last_review(store, identifier, key):
        await service_of(request).cases.reviewed(identifier, key)
        await asyncio.to_thread(store.queue.take_back, identifier, key=key.id, now=time.time())
    return await _next(request, key, done=None)


async def _next(request: Request, key: Key, *, done: str | None) -> Response:
    if is_fragment(request):
        return await _task(request, key, done)
    return RedirectResponse("/review" if done is None else f"/review?done={done}", 303)


async def _task(request: Request, key: Key, done: str | None) -> Response:
    return render(request, "review_task.html.j2", **await _task_values(request, key, done))


async def _task_values(request: Request, key: Key, done: str | None) -> dict[str, Any]:
    """What the templates of a task need: why it waits, its part, how many wait, and the review that was given last."""
    store = service_of(request).store
    task = await next_task(store, key)
    values: dict[str, Any] = {
        "task": task,
        "waiting": await asyncio.to_thread(store.queue.counts, key.id),
        "most_counted": MOST_COUNTED,
        "done": None if done is None else _own_review(await inspection_row(store, done), key),
        "part": None,
        "drawn": None,
    }
    if task is not None:
        row = await inspection_row(store, task.inspection)
        drawn = await asyncio.to_thread(store.audits.of, task.inspection)
        values |= {"part": row, "drawn": drawn} | await part_values(request, row)
    return values


def _own_review(row: Row, key: Key) -> Row | None:
    """The last review that this key gave of an inspection and that counts, with the inspection's name."""
    mine = [each for each in row["reviews"] if each["key"] == key.id and each["undone"] is None]
    return mine[-1] | {"name": row["name"]} if mine else None
