"""How the service says no: problem documents as RFC 9457 has them. What went wrong inside stays inside."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from gonogo.errors import GonogoError

MEDIA_TYPE = "application/problem+json"
URN = "urn:gonogo:problem:"
log = logging.getLogger("gonogo.service")

# The status of each kind of problem; its name is a promise to programs.
STATUSES = {
    "bad-request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "body-timeout": 408,
    "other-bundle": 409,
    "image-expired": 410,
    "too-large": 413,
    "unsupported-media-type": 415,
    "unreadable-image": 422,
    "invalid-request": 422,
    "rate-limit": 429,
    "internal": 500,
    "bundle-refused": 502,
    "busy": 503,
    "not-ready": 503,
    "deadline": 504,
}


class Problem(GonogoError):
    """A request is refused; `kind` is one of STATUSES, `detail` what was expected, what was got and what to do."""

    def __init__(self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        """`more`: further members of the document."""
        super().__init__(detail)
        self.kind, self.detail, self.headers, self.more = kind, detail, dict(headers or {}), more

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUSES[self.kind]

    def document(self, instance: str) -> dict[str, Any]:
        """The problem document of a request to the path `instance`."""
        return self.more | {
            "type": URN + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }

    def response(self, instance: str) -> Response:
        """The answer to a request to the path `instance`."""
        return Response(json.dumps(self.document(instance)), self.status, media_type=MEDIA_TYPE, headers=self.headers)


async def tell_problem(request: Request, problem: Any) -> Response:
    """Answer with the problem."""
    answer: Response = problem.response(request.url.path)
    return answer


async def tell_http(request: Request, error: Any) -> Response:
    """Answer what Starlette refuses, as a path that is not there."""
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "bad-request")
    return Problem(kind, str(error.detail), headers=error.headers).response(request.url.path)


async def tell_invalid(request: Request, error: Any) -> Response:
    """Answer parameters or JSON that are not as OpenAPI says; what was sent is not sent back."""
    errors = [{"where": ".".join(str(part) for part in one["loc"]), "what": one["msg"]} for one in error.errors()]
    return Problem("invalid-request", "the request is not as /openapi.json says", errors=errors).response(
        request.url.path
    )


async def tell_internal(request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw; the traceback goes to the log alone."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Problem("internal", "the service failed; its log says why").response(request.url.path)
