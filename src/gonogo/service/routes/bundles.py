"""The routes about bundles: those that the service knows, and the activation of one."""

import asyncio

from fastapi import Request

from gonogo.service import schemas
from gonogo.service.routes.access import AdminKey, service_of


async def bundles(request: Request) -> schemas.Bundles:
    """The bundles that the service knows, each verified now."""
    gauge = service_of(request).gauge
    available = await asyncio.to_thread(gauge.available)
    active = gauge.scorer.fingerprint
    return schemas.Bundles(
        bundles=[
            schemas.BundleFacts(
                name=bundle.name,
                fingerprint=bundle.fingerprint,
                category=bundle.category,
                signer=bundle.signer,
                active=bundle.fingerprint == active,
                error=bundle.error,
            )
            for bundle in available
        ]
    )


async def activate(request: Request, key: AdminKey, wanted: schemas.Activation) -> schemas.BundleFacts:
    """Use another bundle, once it is verified and has scored an image. If it fails, the one in use stays.

    A bundle of another category is used only if the request names this category. Images that are being scored are
    finished with the bundle that they began with.
    """
    scorer, name = await service_of(request).activate(wanted.fingerprint, wanted.category, key)
    return schemas.BundleFacts(
        name=name,
        fingerprint=scorer.fingerprint,
        category=scorer.category,
        signer=scorer.signer,
        active=True,
        error=None,
    )
