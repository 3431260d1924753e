"""The routes about reports on inspections, and about corrections of them."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from gonogo.service import schemas
from gonogo.service.correcting import add_correction, corrections_of
from gonogo.service.pages.texts import preferred_language
from gonogo.service.problems import Problem
from gonogo.service.routes.access import InspectorKey, service_of
from gonogo.service.routes.inspections import Identifier, stored_row
from gonogo.store.schema import Row


async def write_report(
    request: Request, key: InspectorKey, identifier: Identifier, asked: schemas.ReportRequest | None = None
) -> JSONResponse:
    """Begin a report on an inspection; GET on the same path has it when it is ready."""
    row = await stored_row(request, identifier)
    language = asked.language if asked is not None else None
    chosen = language or preferred_language(request.headers.get("accept-language", ""))
    begun = await service_of(request).reporter.begin(row, chosen, key)
    told = schemas.Report(**report_fields(begun)).model_dump(mode="json")
    return JSONResponse(told, 202, headers={"Location": request.url.path})


async def report(request: Request, identifier: Identifier, language: schemas.Language | None = None) -> schemas.Report:
    """The last report on an inspection: pending, ready with its sentences, or failed."""
    await stored_row(request, identifier)
    row = await service_of(request).reporter.latest(identifier, language)
    if row is None:
        raise Problem("not-found", f"there is no report on {identifier}; POST to the same path begins one")
    return schemas.Report(**report_fields(row))


async def correct(
    request: Request, key: InspectorKey, identifier: Identifier, given: schemas.Correction
) -> schemas.Corrections:
    """Say what is wrong with an inspection. It joins the queue; of a reviewer's key it is a review too."""
    service = service_of(request)
    await add_correction(service.store, identifier, given, key)
    return await corrections_of(service.store, identifier)


async def corrections(request: Request, identifier: Identifier) -> schemas.Corrections:
    """What people said is wrong with an inspection, oldest first."""
    await stored_row(request, identifier)
    return await corrections_of(service_of(request).store, identifier)


def report_fields(row: Row) -> dict[str, Any]:
    """The fields of `Report` from a row of the store."""
    content = row["content"] or {}
    return {name: row[name] for name in schemas.Report.model_fields if name in row} | content
