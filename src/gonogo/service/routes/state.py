"""The routes for whatever watches the service: its health and its metrics."""

import asyncio

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from gonogo.service import schemas
from gonogo.service.routes.access import service_of


async def healthz() -> schemas.Health:
    """Whether the process answers."""
    return schemas.Health(ok=True, reasons=[])


async def readyz(request: Request) -> JSONResponse:
    """Whether the service can accept images, and otherwise the reasons why not; and the bundle that judges them."""
    service = service_of(request)
    scorer, reasons = service.gauge.scorer, await service.reasons_not_ready()
    told = schemas.Readiness(
        ok=not reasons,
        reasons=reasons,
        category=scorer.category,
        bundle=scorer.fingerprint,
        warnings=list(service.warnings.values()),
    )
    return JSONResponse(told.model_dump(), 503 if reasons else 200)


async def metrics(request: Request) -> Response:
    """The metrics for Prometheus; this needs a key, as all other routes but healthz, readyz and openapi.json do."""
    service = service_of(request)
    await asyncio.to_thread(service.standing.show)
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
