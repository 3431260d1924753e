"""The ASGI application that uvicorn runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

import gonogo
from gonogo.service.metrics import MetricsMiddleware
from gonogo.service.pages.access import SignInRequired
from gonogo.service.pages.errors import Handler, refuse, sign_in_response, with_pages
from gonogo.service.pages.feed import Feed
from gonogo.service.pages.pictures import Pictures
from gonogo.service.pages.router import pages_router
from gonogo.service.problems import (
    Problem,
    http_response,
    internal_response,
    invalid_response,
    problem_response,
    store_response,
)
from gonogo.service.routes.router import router
from gonogo.service.schemas import ProblemDocument
from gonogo.service.security import LimitsMiddleware
from gonogo.service.service import Service

ABOUT: dict[str, Any] = {
    "title": "gonogo",
    "version": gonogo.__version__,
    "summary": "A go/no-go gauge for images, as a service.",
}
HANDLERS: dict[type[Exception], Handler] = {
    Problem: problem_response,
    HTTPException: http_response,
    RequestValidationError: invalid_response,
    OSError: store_response,
    SQLAlchemyError: store_response,
    Exception: internal_response,
}


def create_app(service: Service) -> Any:
    """The ASGI application of a service; when the application ends, it closes the service."""

    @asynccontextmanager
    async def running(_: Any) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.expire()), asyncio.create_task(service.follow_registry())]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await service.close()

    app = FastAPI(
        **ABOUT,
        lifespan=running,
        docs_url=None,  # its page would load scripts from another host
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the host that the client named
    )
    app.state.service = service
    app.state.pictures = Pictures(service)
    app.state.feed = Feed(service)
    app.include_router(router())
    app.include_router(pages_router(), include_in_schema=False)
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, with_pages(handler))
    app.add_exception_handler(SignInRequired, sign_in_response)
    api_document()  # now: the first who asked for it would keep all others waiting
    app.openapi = api_document  # type: ignore[method-assign]  # so FastAPI's documentation has it
    return MetricsMiddleware(LimitsMiddleware(app, service.settings, refuse), service.metrics)


@cache
def api_document() -> dict[str, Any]:
    """What /openapi.json says: the same of every service of this process. To make it is most of the time of a start."""
    api = FastAPI(**ABOUT)
    api.include_router(router())
    document = api.openapi()
    document["components"]["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()
    return document
