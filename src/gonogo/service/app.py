"""The ASGI application that uvicorn runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

import gonogo
from gonogo.service.metrics import MetricsMiddleware
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


def create_app(service: Service) -> Any:
    """The ASGI application of a service; when the application ends, it closes the service."""

    @asynccontextmanager
    async def running(_: Any) -> AsyncIterator[None]:
        expiring = asyncio.create_task(service.expire())
        yield
        expiring.cancel()
        with suppress(asyncio.CancelledError):
            await expiring
        await service.close()

    app = FastAPI(
        title="gonogo",
        version=gonogo.__version__,
        summary="A go/no-go gauge for images, as a service.",
        lifespan=running,
        docs_url=None,  # its page would load scripts from another host
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the host that the client named
    )
    app.state.service = service
    app.include_router(router())
    app.add_exception_handler(Problem, problem_response)
    app.add_exception_handler(HTTPException, http_response)
    app.add_exception_handler(RequestValidationError, invalid_response)
    app.add_exception_handler(OSError, store_response)
    app.add_exception_handler(SQLAlchemyError, store_response)
    app.add_exception_handler(Exception, internal_response)
    app.openapi()["components"]["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()  # FastAPI caches it
    return MetricsMiddleware(LimitsMiddleware(app, service.settings), service.metrics)
