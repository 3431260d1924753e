"""The ASGI application of the workbench."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

import gonogo
from gonogo.errors import GateError, GonogoError, ImageError, IntegrityError, MissingExtraError, PipelineError
from gonogo.service.app import HANDLERS
from gonogo.service.metrics import MetricsMiddleware
from gonogo.service.pages.access import SignInRequired
from gonogo.service.pages.errors import refuse, sign_in_response, with_pages
from gonogo.service.pages.navigation import Entry, PageSet
from gonogo.service.pages.router import common_router
from gonogo.service.problems import Problem
from gonogo.service.security import LimitsMiddleware
from gonogo.workbench.api import router as api_router
from gonogo.workbench.pages import analysis, card, data, deploy, evaluation, fit
from gonogo.workbench.workbench import Workbench

STEPS = ("data", "card", "fit", "evaluation", "analysis", "deploy")
PAGES = PageSet(
    navigation=tuple(Entry(f"/{name}", f"bench.{name}", "admin") for name in STEPS), others=("gonogo.workbench",)
)


def create_workbench(workbench: Workbench) -> Any:
    """The ASGI application; when it ends, it closes the workbench's store."""

    @asynccontextmanager
    async def running(_: Any) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(workbench.store.close)

    app = FastAPI(
        title="gonogo workbench",
        version=gonogo.__version__,
        summary="The steps of a project: what the commands do, over HTTP.",
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = workbench  # what `service_of` returns has keys, sessions and settings
    app.state.pages = PAGES
    app.include_router(api_router)
    app.include_router(common_router(), include_in_schema=False)
    for each in (data, card, fit, evaluation, analysis, deploy):
        app.include_router(each.router, include_in_schema=False)
    for error, handler in (HANDLERS | {GonogoError: gonogo_response}).items():
        app.add_exception_handler(error, with_pages(handler))
    app.add_exception_handler(SignInRequired, sign_in_response)
    return MetricsMiddleware(LimitsMiddleware(app, workbench.settings, refuse), workbench.metrics)


async def gonogo_response(request: Request, error: Any) -> Response:
    """The response for an error of gonogo: its own words, which are those of the command."""
    if isinstance(error, GateError):
        kind = "gate-refused"
    elif isinstance(error, ImageError):
        kind = "unreadable-image"
    else:
        failed = isinstance(error, PipelineError | IntegrityError | MissingExtraError)
        kind = "project-failed" if failed else "invalid-request"
    return Problem(kind, str(error)).response(request.url.path)
