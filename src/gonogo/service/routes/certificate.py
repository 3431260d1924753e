"""The routes about the certificate in use: whether it holds, and its re-instatement by a person."""

import asyncio

from fastapi import Request

from gonogo.service import schemas
from gonogo.service.drift import drift_of
from gonogo.service.inspecting import certificate_fields
from gonogo.service.problems import Problem
from gonogo.service.routes.access import AdminKey, service_of
from gonogo.service.security import Key
from gonogo.service.service import Service
from gonogo.store.schema import Row


async def certificate(request: Request) -> schemas.CertificateStatus:
    """Whether the certificate of the bundle in use still holds, and what speaks against it."""
    return await status_of(service_of(request))


async def reinstate(request: Request, key: AdminKey, wanted: schemas.Reinstatement) -> schemas.CertificateStatus:
    """Let a certificate hold again, and watch it anew from now on. Who did it and why is kept."""
    return await reinstated(service_of(request), key, wanted)


async def drift(request: Request) -> schemas.Drift:
    """What moved since the evidence against the certificate began to grow, and typical parts before and after."""
    service = service_of(request)
    return await drift_of(service, await status_of(service))


async def status_of(service: Service) -> schemas.CertificateStatus:
    """The state of the certificate in use, with all times that certificates of its category were watched."""
    standing = service.standing
    report = await asyncio.to_thread(standing.report)
    watch, told = standing.watch_row, standing.standing
    history = await asyncio.to_thread(service.store.watches.history, watch["category"])
    return schemas.CertificateStatus.model_validate(
        report
        | {
            "category": watch["category"],
            "bundle": watch["bundle"],
            "since": told.since,
            "inspection": told.inspection,
            "certificate": certificate_fields(service.gauge.scorer.record) | told.fields,
            "history": [_past(row) for row in history],
        }
    )


async def reinstated(service: Service, key: Key, wanted: schemas.Reinstatement) -> schemas.CertificateStatus:
    """Re-instate the certificate of the bundle in use.

    Raises:
        Problem: another bundle is in use, or its certificate holds.
    """
    standing = service.standing
    if wanted.bundle != standing.watch_row["bundle"]:
        raise Problem("other-bundle", f"the bundle {standing.watch_row['bundle'][:12]} is in use")
    await asyncio.to_thread(standing.catch_up)
    if standing.standing.state == "holds":
        raise Problem("invalid-request", "the certificate holds; there is nothing to re-instate")
    await asyncio.to_thread(standing.reinstate, key=key.id, by=key.name, reason=wanted.reason)
    return await status_of(service)


def _past(row: Row) -> dict[str, object]:
    names = ("bundle", "by", "reason", "withdrawn")
    own = {name: row[name] for name in names}
    return own | {"begun": row["at"], "key": row["key"] or None, "inspection": row["withdrawn_at"]}
