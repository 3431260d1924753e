"""The ASGI application: what uvicorn runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import gonogo
from gonogo.service.metrics import Measured
from gonogo.service.problems import Problem, tell_http, tell_internal, tell_invalid, tell_problem
from gonogo.service.routes import router
from gonogo.service.schemas import ProblemDocument
from gonogo.service.security import LimitsMiddleware
from gonogo.service.service import Service


def create_app(service: Service) -> Any:
    """The application of a service, which it closes at its end; every answer goes through `LimitsMiddleware`."""

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
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(router())
    app.add_exception_handler(Problem, tell_problem)
    app.add_exception_handler(HTTPException, tell_http)
    app.add_exception_handler(RequestValidationError, tell_invalid)
    app.add_exception_handler(Exception, tell_internal)
    app.openapi()["components"]["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()  # made once
    return Measured(LimitsMiddleware(app, service.settings), service.metrics)
