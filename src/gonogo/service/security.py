"""Who may do what, how often, and what every request and answer is held to before the service looks at it."""

import asyncio
import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect

from gonogo.service.problems import Problem
from gonogo.service.settings import Settings
from gonogo.store.store import Store

ROLES = ("inspect", "review", "admin")  # each may what those before it may
PREFIX = "gonogo"
SEEN_FOR = 5.0  # seconds that a key's row is believed; a revoked key works no longer than that
MOST_SEEN = 10_000  # keys and strangers' guesses that are remembered at once
SMALL_BODY = 64 * 1024  # bytes of a request that is no image
IMAGE_PATHS = {"/v1/inspect": "max_body", "/v1/inspect:stream": "max_stream_body"}

HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
INSIST_ON_TLS = {"strict-transport-security": "max-age=31536000"}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Key:
    """Who asks."""

    id: str
    name: str
    role: str


def new_key(store: Store, name: str, role: str) -> tuple[Key, str]:
    """Make a key; the key, and the text that its holder sends, which is kept nowhere.

    Its secret half has 256 random bits, so that a plain SHA-256 of it is as hard to turn around as a slow hash.
    """
    key, secret = Key(secrets.token_hex(8), name, role), secrets.token_urlsafe(32)
    store.add_key(vars(key) | {"sha256": _hashed(secret), "at": time.time()})
    return key, f"{PREFIX}_{key.id}_{secret}"


class Keys:
    """Tells who sends a key, and how often they may: a bucket of tokens for each, which a batch may overdraw."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._rate, self._burst = store, settings.rate, settings.burst
        self._seen: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self._buckets: dict[str, tuple[float, float]] = {}  # by key: when, and how many tokens there were

    async def authenticate(self, authorization: str | None) -> Key:
        """The holder of the key in an Authorization header.

        Raises:
            Problem: there is none, or it is not one.
        """
        scheme, _, text = (authorization or "").partition(" ")
        prefix, _, rest = text.strip().partition("_")
        identifier, _, secret = rest.partition("_")
        row = None
        if scheme.lower() == "bearer" and prefix == PREFIX and len(identifier) == 16 and identifier.isalnum():
            row = await self._row(identifier)
        expected = row["sha256"] if row is not None else _hashed("nobody's")  # a stranger's guess takes as long
        if not hmac.compare_digest(_hashed(secret), expected) or row is None:
            raise Problem(
                "unauthorized",
                "expected the header Authorization: Bearer KEY with a key that `gonogo serve key` made",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return Key(row["id"], row["name"], row["role"])

    def charge(self, key: Key, cost: int, *, check: bool = True) -> None:
        """Take tokens, one for an image or a question.

        Raises:
            Problem: none is left and `check` is asked for; nothing is taken.
        """
        now = time.monotonic()
        then, tokens = self._buckets.get(key.id, (now, float(self._burst)))
        tokens = min(float(self._burst), tokens + (now - then) * self._rate)
        if check and tokens < 1:
            wait = math.ceil((1 - tokens) / self._rate)
            raise Problem(
                "rate-limit",
                f"more than {self._rate:g} images or questions per second; ask again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        self._buckets[key.id] = (now, tokens - cost)

    async def _row(self, identifier: str) -> dict[str, Any] | None:
        now = time.monotonic()
        when, row = self._seen.get(identifier, (-math.inf, None))
        if now - when > SEEN_FOR:
            row = await asyncio.to_thread(self._store.key, identifier)
            if len(self._seen) >= MOST_SEEN:
                self._seen.clear()
            self._seen[identifier] = (now, row)
        return row


def require_role(key: Key, role: str) -> None:
    """Do nothing, or refuse a key whose role is below `role`.

    Raises:
        Problem: it is.
    """
    if ROLES.index(key.role) < ROLES.index(role):
        raise Problem("forbidden", f"this takes a key with the role {role}; {key.name!r} has {key.role}")


class LimitsMiddleware:
    """ASGI around the whole service: bodies within their limits, in their time, and headers on every answer.

    A body that says it is too large is refused before it is read, one that turns out so as soon as it does. A small
    one, which is no image, is read here; images are read where they are taken.
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        self._app, self._settings = app, settings
        headers = HEADERS | (INSIST_ON_TLS if settings.tls else {})
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *self._headers]}
            await send(message)

        limit = SMALL_BODY
        if scope["path"] in IMAGE_PATHS:
            limit = getattr(self._settings, IMAGE_PATHS[scope["path"]])
        try:
            _require_length(dict(scope["headers"]).get(b"content-length"), limit)
            if scope["path"] not in IMAGE_PATHS:
                receive = await self._read(receive, limit)
        except Problem as problem:
            await problem.response(scope["path"])(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    async def _read(self, receive: Receive, limit: int) -> Receive:
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _broken_off()
                    body += message.get("body", b"")
                    _require_length(str(len(body)).encode(), limit)
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise Problem("body-timeout", f"no whole body within {self._settings.body_seconds:g} s") from error
        told = False

        async def receive_again() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return receive_again


async def body_of(request: Any, limit: int, seconds: float) -> Any:
    """The chunks of a request's body.

    Raises:
        Problem: it has more than `limit` bytes, takes longer than `seconds`, or the client leaves before its end.
    """
    n_bytes, chunks = 0, request.stream()
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(end):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise Problem("body-timeout", f"no whole body within {seconds:g} s") from error
        except ClientDisconnect as error:
            raise _broken_off() from error
        if chunk is None:
            return
        n_bytes += len(chunk)
        _require_length(str(n_bytes).encode(), limit)
        yield chunk


def _require_length(said: bytes | None, limit: int) -> None:
    if said is not None and (not said.isdigit() or int(said) > limit):
        raise Problem("too-large", f"a body of more than {limit} bytes", headers={"Connection": "close"})


def _broken_off() -> Problem:
    """For the log and the figures: nobody is there to read it, and it is no failure of the service."""
    return Problem("bad-request", "the body broke off before its end")


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
