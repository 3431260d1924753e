"""All inspections with filters, page by page, and one of them with everything that is known about it."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from gonogo.service.inspecting import row_of_verdict
from gonogo.service.pages.access import InspectorPageKey, ReviewerPageKey, inspector_page_key
from gonogo.service.pages.inspector import part_values
from gonogo.service.pages.parts import SIMILAR, pictures_of, soon
from gonogo.service.pages.rendering import is_fragment, render
from gonogo.service.problems import Problem
from gonogo.service.reviewing import inspection_row
from gonogo.service.routes.access import service_of
from gonogo.service.routes.inspections import Identifier
from gonogo.service.schemas import CaseFacts, InspectionId, Trace
from gonogo.service.security import Key
from gonogo.service.stored_image import stored_image
from gonogo.service.tracing import trace_of
from gonogo.store.schema import Row

ON_PAGE = 48
Kind = Literal["", "pass", "reject", "uncertain"]
FactText = Annotated[str, Form(max_length=10_000)]
router = APIRouter(prefix="/cases")


class CaseFilters(NamedTuple):
    """The filters as the form has them; empty is none."""

    kind: str
    reviewed: str
    category: str
    name: str
    since: str
    until: str

    def of_store(self) -> dict[str, Any]:
        """As `Store.newest` takes them.

        Raises:
            Problem: a day is not a date.
        """
        return {
            "verdict": self.kind if self.kind in ("pass", "reject") else None,
            "uncertain": True if self.kind == "uncertain" else None,
            "reviewed": {"yes": True, "no": False}.get(self.reviewed),
            "category": self.category or None,
            "name": self.name or None,
            "since": _day(self.since, 0),
            "until": _day(self.until, 1),
        }

    def address(self, **more: str) -> str:
        """The page with these filters."""
        query = {name: value for name, value in (self._asdict() | more).items() if value}
        return f"/cases?{urlencode(query)}" if query else "/cases"


@router.get("", dependencies=[Depends(inspector_page_key)])
async def cases(
    request: Request,
    kind: Kind = "",
    reviewed: Literal["", "yes", "no"] = "",
    category: Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")] = "",
    name: Annotated[str, Query(max_length=255, pattern=r"^[^\x00]*$")] = "",
    since: Annotated[str, Query(max_length=10)] = "",
    until: Annotated[str, Query(max_length=10)] = "",
    before: InspectionId | None = None,
) -> Response:
    """The inspections that match all filters, newest first."""
    store, filters = service_of(request).store, CaseFilters(kind, reviewed, category, name.strip(), since, until)
    chosen = filters.of_store()
    rows, categories = await asyncio.gather(
        asyncio.to_thread(store.newest, chosen, before=before, limit=ON_PAGE + 1),
        asyncio.to_thread(store.analytics.categories),
    )
    older = filters.address(before=rows[ON_PAGE - 1]["id"]) if len(rows) > ON_PAGE else None
    return render(
        request,
        "cases.html.j2",
        rows=rows[:ON_PAGE],
        categories=categories,
        filters=filters,
        older=older,
        newest=filters.address() if before else None,
    )


@router.post("/{id}/facts")
async def facts(
    request: Request,
    key: ReviewerPageKey,
    identifier: Identifier,
    severity: Annotated[str, Form(max_length=3)] = "",
    cause: FactText = "",
    remedy: FactText = "",
    note: FactText = "",
) -> Response:
    """Say what is known of the case that an inspection is, in place of what was said before."""
    store = service_of(request).store
    values = {"severity": severity, "cause": cause, "remedy": remedy, "note": note}
    try:
        given = CaseFacts.model_validate({name: value.strip() or None for name, value in values.items()})
    except ValidationError as error:
        told = [{"where": str(each["loc"][-1]), "what": each["msg"]} for each in error.errors()]
        raise Problem("invalid-request", "this cannot be stored", errors=told) from error
    own = await _case_of(request, identifier)
    if own is None:
        raise Problem("not-found", f"the inspection {identifier} is no case: a review makes one of a defect")
    await asyncio.to_thread(store.cases.describe, own["id"], given.model_dump(), by=key.name, key=key.id)
    if not is_fragment(request):
        return RedirectResponse(f"/cases/{identifier}#facts", 303)
    return render(request, "case_facts.html.j2", facts=await _case_of(request, identifier), saved=True)


@router.get("/{id}/trace")
async def traced(request: Request, key: InspectorPageKey, identifier: Identifier) -> Response:
    """How the part leads to causes and remedies, for a script."""
    row = await inspection_row(service_of(request).store, identifier)
    return render(request, "trace.html.j2", part=row, trace=await _trace(request, key, row))


@router.get("/{id}/depth")
async def looked(request: Request, key: InspectorPageKey, identifier: Identifier) -> Response:
    """What a network of the user's says of depth in the part, for a script."""
    row = await inspection_row(service_of(request).store, identifier)
    depth = await soon(request, service_of(request).depth.of(row, key))
    return render(request, "depth.html.j2", part=row, depth=depth)


@router.get("/{id}")
async def case(request: Request, key: InspectorPageKey, identifier: Identifier, more: bool = False) -> Response:
    """One inspection; with `more` the page waits for what has to be computed, which a script adds otherwise."""
    row = await inspection_row(service_of(request).store, identifier)
    values = await part_values(request, row)
    computed = await _computed(request, key, row) if more and values["kept"] else None
    trace = await _trace(request, key, row) if computed is not None and values["in_use"] else None
    similar = None
    if computed is not None and values["same_category"]:
        similar = await soon(request, service_of(request).cases.like_inspection(row, key, k=SIMILAR))
    has_depth, depth = service_of(request).depth.given, None
    if computed is not None and has_depth:
        depth = await soon(request, service_of(request).depth.of(row, key))
    own = await _case_of(request, identifier)
    return render(
        request,
        "case.html.j2",
        has_depth=has_depth,
        depth=depth,
        part=row,
        computed=computed,
        similar=similar,
        trace=trace,
        facts=own,
        saved=False,
        **values,
    )


@router.get("/{id}/more")
async def computed(request: Request, key: InspectorPageKey, identifier: Identifier) -> Response:
    """What has to be computed about an inspection, for a script."""
    row = await inspection_row(service_of(request).store, identifier)
    return render(request, "case_computed.html.j2", part=row, computed=await _computed(request, key, row))


async def _case_of(request: Request, identifier: str) -> Row | None:
    """The case that an inspection is, unless its reviewers took that back."""
    own = await asyncio.to_thread(service_of(request).store.cases.of_inspection, identifier)
    return None if own is None or own["removed"] is not None else own


async def _trace(request: Request, key: Key, row: Row) -> Trace:
    return await soon(
        request, trace_of(service_of(request), row, key, await stored_image(service_of(request).store, row))
    )


async def _computed(request: Request, key: Key, row: Row) -> dict[str, Any]:
    """What the maps of the part show, or what the bundle of today says where another one judged the part."""
    service = service_of(request)
    scorer = service.gauge.scorer
    if scorer.fingerprint == row["bundle"]:
        return {"view": await soon(request, pictures_of(request).view(row, key)), "today": None}
    work = service.runner.explain(
        await stored_image(service_of(request).store, row),
        key,
        bundle=scorer.fingerprint,
        top=1,
        render=lambda _, explanation: row_of_verdict(explanation.verdict, scorer),
    )
    with service.runner.reserve_slot(key):
        return {"view": None, "today": await soon(request, work)}


def _day(text: str, days: int) -> float | None:
    """The beginning of a day, or of the one so many days later, in the time zone of the service's machine."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=days)
        return datetime(day.year, day.month, day.day).timestamp()
    except (ValueError, OverflowError) as error:
        raise Problem("invalid-request", f"expected a day as 2026-11-29, got {text!r}") from error
