"""The first page: the newest part with its verdict, and the parts before it."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from gonogo.service.pages.access import inspector_page_key
from gonogo.service.pages.rendering import render

router = APIRouter(dependencies=[Depends(inspector_page_key)])


@router.get("/")
async def inspector(request: Request) -> Response:
    """The page of the newest part."""
    return render(request, "inspector.html.j2")
