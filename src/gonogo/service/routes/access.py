"""The service that a request is for, and the keys that routes require."""

from collections.abc import Awaitable, Callable, Collection
from typing import Annotated

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import QueryParams

from gonogo.service.security import Key, require_role
from gonogo.service.service import Service
from gonogo.text import alternatives


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


def require_known(query: QueryParams, known: Collection[str]) -> None:
    """Do nothing, or refuse a query with another parameter: a misspelt filter would find everything.

    Raises:
        RequestValidationError: there is one.
    """
    unknown = [name for name in query if name not in known]
    if unknown:
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": f"no such parameter; {alternatives(name, known)}"} for name in unknown]
        )


async def known_query(request: Request) -> None:
    """A dependency of FastAPI: the query of the request has what /openapi.json says of the route, and no more."""
    if request.query_params:
        operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
        require_known(
            request.query_params, [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        )


inspector_key = require_key("inspect")
InspectorKey = Annotated[Key, Depends(inspector_key)]
reviewer_key = require_key("review")
ReviewerKey = Annotated[Key, Depends(reviewer_key)]
admin_key = require_key("admin")
AdminKey = Annotated[Key, Depends(admin_key)]
