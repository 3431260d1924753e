"""The page of a report, which prints on a sheet of A4, and the form for what is wrong with an inspection."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from gonogo.service import schemas
from gonogo.service.correcting import add_correction, corrections_of
from gonogo.service.pages.access import InspectorPageKey, inspector_page_key
from gonogo.service.pages.inspector import part_values
from gonogo.service.pages.rendering import language_of, render
from gonogo.service.problems import Problem
from gonogo.service.reviewing import inspection_row
from gonogo.service.routes.access import service_of
from gonogo.service.routes.inspections import Identifier
from gonogo.service.routes.reports import report_fields

router = APIRouter(prefix="/cases/{id}")


@router.get("/report", dependencies=[Depends(inspector_page_key)])
async def report_page(request: Request, identifier: Identifier) -> Response:
    """The last report in the language of the page, or a button that begins one."""
    service = service_of(request)
    row = await inspection_row(service.store, identifier)
    latest = await service.reporter.latest(identifier, language_of(request))
    report = None if latest is None else schemas.Report(**report_fields(latest))
    values = await part_values(request, row)
    return render(request, "report.html.j2", part=row, report=report, **values)


@router.post("/report")
async def write(request: Request, key: InspectorPageKey, identifier: Identifier) -> Response:
    """Begin a report in the language of the page, and lead to it."""
    service = service_of(request)
    row = await inspection_row(service.store, identifier)
    await service.reporter.begin(row, language_of(request), key)
    return RedirectResponse(f"/cases/{identifier}/report", 303)


@router.get("/correct", dependencies=[Depends(inspector_page_key)])
async def correct_page(request: Request, identifier: Identifier) -> Response:
    """The form for what is wrong with an inspection, and what was said before."""
    store = service_of(request).store
    row = await inspection_row(store, identifier)
    told = (await corrections_of(store, identifier)).corrections
    return render(request, "correct.html.j2", part=row, corrections=told)


@router.post("/correct")
async def correct(
    request: Request,
    key: InspectorPageKey,
    identifier: Identifier,
    reason: Annotated[str, Form(max_length=20)],
    defect_type: Annotated[str, Form(max_length=1000)] = "",
    category: Annotated[str, Form(max_length=1000)] = "",
    note: Annotated[str, Form(max_length=10_000)] = "",
) -> Response:
    """Add a correction by the person who is signed in, and lead to the case."""
    try:
        given = schemas.Correction.model_validate(
            {
                "reason": reason,
                "defect_type": defect_type.strip() or None if reason == "miss" else None,
                "category": category.strip() or None if reason == "wrong_category" else None,
                "note": note.strip() or None,
            }
        )
    except ValidationError as error:
        told = [{"where": str(each["loc"][-1]), "what": each["msg"]} for each in error.errors()]
        raise Problem("invalid-request", "the correction cannot be stored", errors=told) from error
    await add_correction(service_of(request).store, identifier, given, key)
    return RedirectResponse(f"/cases/{identifier}/correct", 303)
