"""The page of the certificate: whether it holds, what speaks against it, what moved, and its re-instatement."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from gonogo.service.drift import drift_of
from gonogo.service.pages.access import AdminPageKey, inspector_page_key
from gonogo.service.pages.rendering import render
from gonogo.service.problems import Problem
from gonogo.service.routes.access import service_of
from gonogo.service.routes.certificate import reinstated, status_of
from gonogo.service.schemas import Reinstatement

router = APIRouter(prefix="/drift")


@router.get("", dependencies=[Depends(inspector_page_key)])
async def drift(request: Request) -> Response:
    """The page."""
    service = service_of(request)
    status = await status_of(service)
    return render(request, "drift.html.j2", found=status, drift=await drift_of(service, status))


@router.post("/reinstate")
async def reinstate(
    request: Request,
    key: AdminPageKey,
    bundle: Annotated[str, Form(max_length=64)],
    reason: Annotated[str, Form(max_length=10_000)] = "",
) -> Response:
    """Let the certificate hold again, and show the page anew."""
    try:
        wanted = Reinstatement(bundle=bundle, reason=reason)
    except ValidationError as error:
        raise Problem("invalid-request", "say in at most 2,000 characters why the certificate holds again") from error
    await reinstated(service_of(request), key, wanted)
    return RedirectResponse("/drift", 303)
