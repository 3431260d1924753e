"""Refusals as problem documents (RFC 9457). Details of an internal failure go to the log, never to the client."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from gonogo.errors import GonogoError
from gonogo.store.failure import failure_of, summary_of
from gonogo.text import printable

MEDIA_TYPE = "application/problem+json"
URN = "urn:gonogo:problem:"
log = logging.getLogger("gonogo.service")

# The HTTP status of each kind of problem. Programs rely on the names, so a name never changes.
STATUSES = {
    "bad-request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "body-timeout": 408,
    "other-bundle": 409,
    "other-category": 409,
    "not-promoted": 409,
    "gate-refused": 409,
    "changed-meanwhile": 409,
    "image-expired": 410,
    "too-large": 413,
    "unsupported-media-type": 415,
    "unreadable-image": 422,
    "invalid-request": 422,
    "rate-limit": 429,
    "internal": 500,
    "bundle-refused": 502,
    "network-failed": 502,
    "project-failed": 502,
    "busy": 503,
    "not-ready": 503,
    "store-unavailable": 503,
    "deadline": 504,
    "store-full": 507,
}
RETRY_SECONDS = {"full": 60, "unavailable": 5}  # after a failure of the store


class Problem(GonogoError):
    """A refused request. `kind` is a name in STATUSES; `detail` says what was expected, what was got and what to do."""

    def __init__(self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        """Make a problem; `headers` are added to the response, and `more` to the members of the document."""
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
        """The response to a request to the path `instance`."""
        return Response(json.dumps(self.document(instance)), self.status, media_type=MEDIA_TYPE, headers=self.headers)


class DisconnectedError(Problem):
    """The client has hung up; this is for the metrics, since no client is left to read it."""

    def __init__(self) -> None:
        super().__init__("bad-request", "the client disconnected")


def deadline_problem(seconds: float) -> Problem:
    """The problem of an image that has no verdict in time."""
    return Problem(
        "deadline", f"no verdict within {seconds:g} s; /v1/inspections finds by its hash an image that was scored"
    )


async def problem_response(request: Request, problem: Any) -> Response:
    """The response for a problem that a route raised."""
    response: Response = problem.response(request.url.path)
    return response


async def http_response(request: Request, error: Any) -> Response:
    """The response for a request that Starlette refuses, such as one to an unknown path."""
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "bad-request")
    return Problem(kind, str(error.detail), headers=error.headers).response(request.url.path)


async def invalid_response(request: Request, error: Any) -> Response:
    """The response for parameters or JSON that break the OpenAPI document; it does not repeat the values."""
    errors = [{"where": ".".join(str(part) for part in each["loc"]), "what": each["msg"]} for each in error.errors()]
    return Problem("invalid-request", "the request is not as /openapi.json says", errors=errors).response(
        request.url.path
    )


def store_problem(error: BaseException) -> Problem | None:
    """The problem of a request that the disk or the database failed; None where the error is of another kind.

    The log gets one line, without a traceback.
    """
    failure = failure_of(error)
    if failure is None:
        return None
    log.error("the store failed: %s", printable(summary_of(error)))
    if failure == "full":
        kind, detail = "store-full", "the disk is full, so that nothing can be stored; free some, or set --keep-mb"
    else:
        kind, detail = "store-unavailable", "the disk or the database cannot be used now; the service's log says why"
    return Problem(kind, detail, headers={"Retry-After": str(RETRY_SECONDS[failure])})


async def store_response(request: Request, error: Exception) -> Response:
    """The response for an error of the disk or the database that no route expected."""
    problem = store_problem(error)
    return await internal_response(request, error) if problem is None else problem.response(request.url.path)


async def internal_response(request: Request, error: Exception) -> Response:
    """The response for an unexpected error, whose traceback goes to the log alone."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Problem("internal", "the service failed; its log says why").response(request.url.path)
