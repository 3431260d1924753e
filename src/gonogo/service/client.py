"""A typed client of the service, for use with and without asyncio.

Functions such as `inspect` make a `Call`; `Client` sends it and waits, `AsyncClient` is awaited:

with Client("http://127.0.0.1:8484", key) as client:
    (inspection,) = client(inspect(Path("part.png").read_bytes())).inspections
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import httpx2
from pydantic import BaseModel

from gonogo.errors import GonogoError
from gonogo.images.colours import PictureScale
from gonogo.service import schemas

UNDECLARED = "application/octet-stream"
Answer = TypeVar("Answer", bound=BaseModel)


class ServiceError(GonogoError, RuntimeError):
    """The service refused a request with a problem document; `retry_after` is in seconds, or None."""

    def __init__(self, problem: schemas.ProblemDocument, retry_after: float | None) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem, self.retry_after = problem, retry_after


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request, and the type of its response."""

    answer: type[Answer]
    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)

    def read(self, response: httpx2.Response) -> Answer:
        """The content of a response.

        Raises:
            ServiceError: the service refused the request.
        """
        if response.is_success:
            return self.answer.model_validate_json(response.content)
        try:
            problem = schemas.ProblemDocument.model_validate_json(response.content)
        except ValueError:  # a proxy's error page, for example
            problem = schemas.ProblemDocument(
                type="about:blank",
                title=response.reason_phrase,
                status=response.status_code,
                detail="",
                instance=self.path,
            )
        wait = response.headers.get("retry-after", "")
        raise ServiceError(problem, float(wait) if wait.isdigit() else None)


def inspect(
    *images: bytes | Path,
    include: Sequence[Literal["map", "overlay", "crop"]] = (),
    deadline_ms: int | None = None,
    overlay_scale: PictureScale = "threshold",
) -> Call[schemas.Inspections]:
    """Inspect encoded images (bytes) or files (paths); the response has them in this order.

    No media type is declared: a file's name may say another one than its content, which the service looks at.
    """
    files = [
        ("image", (image.name, image.read_bytes(), UNDECLARED) if isinstance(image, Path) else (None, image))
        for image in images
    ]
    query: dict[str, Any] = {"include": list(include), "overlay_scale": overlay_scale}
    query |= {} if deadline_ms is None else {"deadline_ms": deadline_ms}
    if len(images) == 1 and isinstance(images[0], bytes):
        return Call(schemas.Inspections, "POST", "/v1/inspect", query, {"content": images[0]})
    return Call(schemas.Inspections, "POST", "/v1/inspect", query, {"files": files})


def inspections(
    *,
    verdict: Literal["pass", "reject"] | None = None,
    uncertain: bool | None = None,
    image: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    reviewed: bool | None = None,
    before: str | None = None,
    limit: int = 50,
) -> Call[schemas.Page]:
    """One page of the inspections that match, newest first; for the next page, give `before` of the last one."""
    request = {
        "verdict": verdict,
        "uncertain": uncertain,
        "image": image,
        "since": since and since.astimezone().isoformat(),
        "until": until and until.astimezone().isoformat(),
        "reviewed": reviewed,
        "before": before,
        "limit": limit,
    }
    return Call(
        schemas.Page, "GET", "/v1/inspections", {name: value for name, value in request.items() if value is not None}
    )


def inspection(identifier: str) -> Call[schemas.Inspection]:
    """One inspection by its id."""
    return Call(schemas.Inspection, "GET", f"/v1/inspections/{identifier}")


def review(identifier: str, given: schemas.Review) -> Call[schemas.Inspection]:
    """Add a review, which says whether the part is really good; the response has all reviews of the inspection."""
    return Call(
        schemas.Inspection, "POST", f"/v1/inspections/{identifier}/review", body={"json": given.model_dump(mode="json")}
    )


def bundles() -> Call[schemas.Bundles]:
    """The bundles that may be activated."""
    return Call(schemas.Bundles, "GET", "/v1/bundles")


def activate(fingerprint: str, *, category: str | None = None) -> Call[schemas.BundleFacts]:
    """Activate the bundle with this fingerprint; `category` is needed where it is another one than that in use."""
    body = {"fingerprint": fingerprint} | ({} if category is None else {"category": category})
    return Call(schemas.BundleFacts, "POST", "/v1/bundles:activate", body={"json": body})


def reload_registry() -> Call[schemas.BundleFacts]:
    """Use the gauge that the registry has in use now, in a service that follows one."""
    return Call(schemas.BundleFacts, "POST", "/v1/registry:reload")


class Client:
    """Sends a call and waits for its response. Several threads may share a client."""

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, transport: Any = None) -> None:
        """`timeout` is in seconds; `transport` is httpx's."""
        self._http = httpx2.Client(base_url=url, headers=_headers(key), timeout=timeout, transport=transport)

    def __call__(self, call: Call[Answer]) -> Answer:
        """The response to a call.

        Raises:
            ServiceError: the service refused.
            httpx2.HTTPError: the service cannot be reached, or did not answer in time.
        """
        return call.read(self._http.request(call.method, call.path, params=call.query, **call.body))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()


class AsyncClient:
    """The same as `Client`, for asyncio."""

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, transport: Any = None) -> None:
        """`timeout` is in seconds; `transport` is httpx's."""
        self._http = httpx2.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout, transport=transport)

    async def __call__(self, call: Call[Answer]) -> Answer:
        """The response to a call; raises the same errors as `Client`."""
        return call.read(await self._http.request(call.method, call.path, params=call.query, **call.body))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
