"""The routes about depth in the image of an inspection."""

from fastapi import Request
from fastapi.responses import Response

from gonogo.service import schemas
from gonogo.service.routes.abandoned import unless_abandoned
from gonogo.service.routes.access import InspectorKey, service_of
from gonogo.service.routes.inspections import Identifier, stored_row


async def depth(request: Request, key: InspectorKey, identifier: Identifier) -> schemas.Depth:
    """What a network of the user's says of depth in the image: monocular, relative, not metrology."""
    row, service = await stored_row(request, identifier), service_of(request)
    return await unless_abandoned(request, service.depth.of(row, key), service.settings.deadline)


async def depth_view(request: Request, key: InspectorKey, identifier: Identifier) -> Response:
    """Relative nearness as a grey PNG; the nearest is brightest."""
    row, service = await stored_row(request, identifier), service_of(request)
    view = await unless_abandoned(request, service.depth.view(row, key), service.settings.deadline)
    return Response(view, media_type="image/png")
