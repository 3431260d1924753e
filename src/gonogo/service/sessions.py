"""Sessions of people: who signs in with a key gets a secret for a cookie, of which the store has the hash alone.

A session ends `session_seconds` after it began, `session_idle_seconds` after its last use, when the person signs out,
and when its key is revoked, within the seconds that a key is cached.
"""

import asyncio
import hashlib
import math
import secrets
import time
from typing import Any

from gonogo.service.problems import Problem
from gonogo.service.security import Key, Keys
from gonogo.service.settings import Settings
from gonogo.store.store import Store

CACHE_SECONDS, CACHE_SIZE = 5.0, 10_000  # of sessions that were looked up
NOTE_SECONDS = 60.0  # between two writes of a session's last use
ATTEMPTS, ATTEMPT_SECONDS = 10, 6.0  # failed attempts of one address to sign in at once, and until one more is allowed


class Attempts:
    """Limits how often an address may fail to sign in, by a bucket of tokens."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}  # by address: a time, and the number of tokens then

    def require(self, address: str) -> None:
        """Refuse an address that has failed too often.

        Raises:
            Problem: the header Retry-After says when to try again.
        """
        tokens = self._tokens(address)
        if tokens < 1:
            wait = math.ceil((1 - tokens) * ATTEMPT_SECONDS)
            raise Problem(
                "rate-limit",
                f"too many attempts to sign in failed; try again in {wait} s",
                headers={"Retry-After": str(wait)},
            )

    def fail(self, address: str) -> None:
        """Count a failed attempt."""
        tokens = self._tokens(address) - 1
        if len(self._buckets) >= CACHE_SIZE:
            self._buckets.clear()
        self._buckets[address] = (time.monotonic(), tokens)

    def _tokens(self, address: str) -> float:
        now = time.monotonic()
        then, tokens = self._buckets.get(address, (now, float(ATTEMPTS)))
        return min(float(ATTEMPTS), tokens + (now - then) / ATTEMPT_SECONDS)


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, store: Store, keys: Keys, settings: Settings) -> None:
        self._store, self._keys, self._settings = store, keys, settings
        self._cache: dict[str, tuple[float, dict[str, Any] | None]] = {}  # by hash: when it was looked up, and its row
        self._attempts = Attempts()

    async def begin(self, text: str, *, address: str) -> str:
        """Begin a session with the text of a key; returns the secret for the cookie.

        Raises:
            Problem: the key is unknown, wrong or revoked, or too many attempts from `address` failed.
        """
        self._attempts.require(address)
        try:
            key = await self._keys.authenticate(f"Bearer {text}")
        except Problem:
            self._attempts.fail(address)
            raise
        secret, now = secrets.token_urlsafe(32), time.time()
        row = {"sha256": _hash(secret), "key": key.id, "at": now, "seen": now}
        await asyncio.to_thread(self._add, row)
        return secret

    async def key_of(self, secret: str, *, in_use: bool = True) -> Key | None:
        """The key of a session; None where the session is unknown or has ended.

        `in_use`: whether a person does something now, so that the time until it ends for want of use begins anew.
        """
        sha256, now = _hash(secret), time.time()
        row = await self._row(sha256)
        if row is None or now - row["at"] > self._settings.session_seconds:
            return None
        if now - row["seen"] > self._settings.session_idle_seconds:
            return None
        if in_use and abs(now - row["seen"]) > NOTE_SECONDS:
            row["seen"] = now
            await asyncio.to_thread(self._store.note_session, sha256, now)
        return await self._keys.find(row["key"])

    async def end(self, secret: str) -> None:
        """End a session at once."""
        sha256 = _hash(secret)
        self._cache.pop(sha256, None)
        await asyncio.to_thread(self._store.end_session, sha256)

    def _add(self, row: dict[str, Any]) -> None:
        settings = self._settings
        self._store.remove_sessions(
            begun_before=row["at"] - settings.session_seconds, seen_before=row["at"] - settings.session_idle_seconds
        )
        self._store.add_session(row)

    async def _row(self, sha256: str) -> dict[str, Any] | None:
        now = time.monotonic()
        when, row = self._cache.get(sha256, (-math.inf, None))
        if now - when > CACHE_SECONDS:
            row = await asyncio.to_thread(self._store.session, sha256)
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[sha256] = (now, row)
        return row


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
