"""The routes about bundles: those that the service knows, and the activation of one, or of what is promoted."""

import asyncio

from fastapi import Request

from gonogo.inference.scorer import Scorer
from gonogo.service import schemas
from gonogo.service.promoted import NAME_DIGITS
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
    return _facts(scorer, name)


async def reload_registry(request: Request) -> schemas.BundleFacts:
    """Use the gauge that the registry has in use now, without waiting for the next look at it.

    If its line did not come through the gate, or its bundle is refused, the one in use stays.
    """
    scorer = await service_of(request).reload()
    return _facts(scorer, scorer.fingerprint[:NAME_DIGITS])


def _facts(scorer: Scorer, name: str) -> schemas.BundleFacts:
    return schemas.BundleFacts(
        name=name,
        fingerprint=scorer.fingerprint,
        category=scorer.category,
        signer=scorer.signer,
        active=True,
        error=None,
    )
