"""The service that a request is for, and the keys that routes require."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from gonogo.service.security import Key, require_role
from gonogo.service.service import Service


def service_of(request: Request) -> Service:
    """The service that the request is for."""
    service: Service = request.app.state.service
    return service


def require_key(role: str) -> Callable[[Request], Awaitable[Key]]:
    """A dependency of FastAPI: the key of the request, which has at least this role and pays for one request."""

    async def key_of(request: Request) -> Key:
        keys = service_of(request).keys
        key = await keys.authenticate(request.headers.get("authorization"))
        require_role(key, role)
        keys.charge(key, 1)
        return key

    return key_of


inspector_key = require_key("inspect")
InspectorKey = Annotated[Key, Depends(inspector_key)]
reviewer_key = require_key("review")
ReviewerKey = Annotated[Key, Depends(reviewer_key)]
admin_key = require_key("admin")
AdminKey = Annotated[Key, Depends(admin_key)]
