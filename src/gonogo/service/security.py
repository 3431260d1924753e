"""API keys with their roles and rates, and the limits and headers of all requests and responses."""

import asyncio
import hashlib
import hmac
import math
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gonogo.service.problems import DisconnectedError, Problem
from gonogo.service.settings import Settings
from gonogo.store.store import Store

ROLES = ("inspect", "review", "admin")  # each includes those before it
PREFIX = "gonogo"
KEY_CACHE_SECONDS = 5.0  # a key works at most this long after it was revoked
KEY_CACHE_SIZE = 10_000  # ids, unknown ones included
SMALL_BODY = 64 * 1024  # bytes; the limit of a request without images
IMAGE_PATHS = {
    "/v1/inspect": "max_body",
    "/v1/predict": "max_body",
    "/v1/inspect:stream": "max_stream_body",
    "/inspect": "max_body",
    "/deploy/try": "max_body",
    "/deploy/try-folder": "max_stream_body",
}

HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
STRICT_TRANSPORT = {"strict-transport-security": "max-age=31536000"}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Refuse = Callable[[Request, Problem], Response]


@dataclass(frozen=True)
class Key:
    """An API key, without its secret."""

    id: str
    name: str
    role: str


def new_key(store: Store, name: str, role: str) -> tuple[Key, str]:
    """Make a key and store its hash; returns the key, and its text, which the client sends and which is not stored.

    The secret part of the text has 256 random bits; a plain SHA-256 of that cannot be inverted by guessing.
    """
    key, secret = Key(secrets.token_hex(8), name, role), secrets.token_urlsafe(32)
    store.add_key(vars(key) | {"sha256": _hash(secret), "at": time.time()})
    return key, f"{PREFIX}_{key.id}_{secret}"


class Keys:
    """Authenticates requests by their key, and limits the rate of each key by a bucket of tokens.

    A batch may take more tokens than are left; the key then waits longer for its next request.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._rate, self._burst = store, settings.rate, settings.burst
        self._most_streams = settings.streams
        self._streams: Counter[str] = Counter()  # that are open, by key id
        self._cache: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self._buckets: dict[str, tuple[float, float]] = {}  # by key id: a time, and the number of tokens then

    async def authenticate(self, authorization: str | None) -> Key:
        """The key in an Authorization header.

        Raises:
            Problem: the header is missing, or its key is unknown, wrong or revoked.
        """
        scheme, _, text = (authorization or "").partition(" ")
        prefix, _, rest = text.strip().partition("_")
        identifier, _, secret = rest.partition("_")
        row = None
        if scheme.lower() == "bearer" and prefix == PREFIX and len(identifier) == 16 and identifier.isalnum():
            row = await self._row(identifier)
        expected = row["sha256"] if row is not None else _hash("no key")  # an unknown id takes as long as a known one
        if not hmac.compare_digest(_hash(secret), expected) or row is None:
            raise Problem(
                "unauthorized",
                "expected the header Authorization: Bearer KEY with a key that `gonogo serve key` made",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return Key(row["id"], row["name"], row["role"])

    async def find(self, identifier: str) -> Key | None:
        """The key with this id; None where there is none, or it is revoked."""
        row = await self._row(identifier)
        return None if row is None else Key(row["id"], row["name"], row["role"])

    def charge(self, key: Key, cost: int, *, check: bool = True) -> None:
        """Take `cost` tokens of a key; an image costs one, and so does any other request.

        Raises:
            Problem: no token is left and `check` is true; none is taken.
        """
        now = time.monotonic()
        then, tokens = self._buckets.get(key.id, (now, float(self._burst)))
        tokens = min(float(self._burst), tokens + (now - then) * self._rate)
        if check and tokens < 1:
            wait = math.ceil((1 - tokens) / self._rate)
            raise Problem(
                "rate-limit",
                f"more than {self._rate:g} images or other requests per second; try again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        self._buckets[key.id] = (now, tokens - cost)

    @contextmanager
    def stream(self, key: Key) -> Iterator[None]:
        """Count a stream of a key, for as long as the context lasts.

        Raises:
            Problem: the key has too many open already.
        """
        if self._streams[key.id] >= self._most_streams:
            raise Problem(
                "rate-limit",
                f"this key has {self._streams[key.id]} streams open, and at most {self._most_streams} may be",
                headers={"Retry-After": "1", "Connection": "close"},
            )
        self._streams[key.id] += 1
        try:
            yield
        finally:
            self._streams[key.id] -= 1
            if not self._streams[key.id]:
                del self._streams[key.id]

    async def _row(self, identifier: str) -> dict[str, Any] | None:
        now = time.monotonic()
        when, row = self._cache.get(identifier, (-math.inf, None))
        if now - when > KEY_CACHE_SECONDS:
            row = await asyncio.to_thread(self._store.key, identifier)
            if len(self._cache) >= KEY_CACHE_SIZE:
                self._cache.clear()
            self._cache[identifier] = (now, row)
        return row


def require_role(key: Key, role: str) -> None:
    """Refuse a key whose role is below `role`.

    Raises:
        Problem: the role is too low.
    """
    if ROLES.index(key.role) < ROLES.index(role):
        raise Problem("forbidden", f"this needs a key with the role {role}; {key.name!r} has the role {key.role}")


class LimitsMiddleware:
    """ASGI middleware around the whole service: limits on the size and time of bodies, and headers on every response.

    A body whose Content-Length is too large is refused before it is read, and a body without that header as soon as it
    is too large. Bodies without images are read here, completely; routes read bodies with images by `body_of`. A
    response has those of HEADERS that it does not set itself, as pages do.
    """

    def __init__(self, app: Any, settings: Settings, refuse: Refuse) -> None:
        """Wrap `app`; `refuse` makes the response to a refused request."""
        self._app, self._settings, self._refuse = app, settings, refuse
        headers = HEADERS | (STRICT_TRANSPORT if settings.tls else {})
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", [])
                names = {name.lower() for name, _ in own}
                message = {**message, "headers": [*own, *(each for each in self._headers if each[0] not in names)]}
            await send(message)

        limit = SMALL_BODY
        if scope["path"] in IMAGE_PATHS:
            limit = getattr(self._settings, IMAGE_PATHS[scope["path"]])
        try:
            _require_length(dict(scope["headers"]).get(b"content-length"), limit)
            if scope["path"] not in IMAGE_PATHS:
                receive = await self._read(receive, limit)
        except Problem as problem:
            await self._refuse(Request(scope), problem)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    async def _read(self, receive: Receive, limit: int) -> Receive:
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._settings.idle_seconds):  # a small body comes with its head
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise DisconnectedError
                    body += message.get("body", b"")
                    _require_length(str(len(body)).encode(), limit)
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise late(self._settings) from error
        delivered = False

        async def receive_again() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()
            delivered = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return receive_again


async def body_of(request: Any, limit: int, settings: Settings, *, whole: bool = True) -> Any:
    """The chunks of a request's body.

    Args:
        request: Starlette's.
        limit: bytes.
        settings: with the seconds that a client may take, and those that it may be silent.
        whole: whether the body must be complete in this time; otherwise the caller limits the time of its images.

    Raises:
        Problem: it has more bytes, takes longer, or the client disconnects before its end.
    """
    n_bytes, chunks, clock = 0, request.stream(), asyncio.get_running_loop().time
    end = clock() + settings.body_seconds
    while True:
        try:
            async with asyncio.timeout_at(min(end, clock() + settings.idle_seconds) if whole else None):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise late(settings) from error
        except ClientDisconnect as error:
            raise DisconnectedError from error
        if chunk is None:
            return
        n_bytes += len(chunk)
        _require_length(str(n_bytes).encode(), limit)
        yield chunk


def late(settings: Settings) -> Problem:
    """The problem of a body that does not come to its end."""
    return Problem(
        "body-timeout",
        f"the body was not complete within {settings.body_seconds:g} s, or nothing of it came for "
        f"{settings.idle_seconds:g} s",
        headers={"Connection": "close"},
    )


def _require_length(length: bytes | None, limit: int) -> None:
    if length is not None and (not length.isdigit() or int(length) > limit):
        raise Problem("too-large", f"a body of more than {limit} bytes", headers={"Connection": "close"})


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
