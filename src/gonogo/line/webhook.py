"""Rows posted to a URL, each signed, and tried again until the receiver has confirmed it. The queue survives a kill.

A delivery is a file in the queue's folder before its row is in the journal, and is removed when the receiver has
answered 2xx. So none is lost; after a kill one may arrive twice, with the same id, and the receiver should ignore an id
that it has seen. Each delivery has its own schedule: one that always fails delays no other. One that is given up stays
in the folder as a dead letter, until a person sends it again or removes it.

Headers and signature are those of Standard Webhooks, for which every language has a library that verifies them.

Source: Standard Webhooks 1.0.0, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec
"""

import base64
import binascii
import hashlib
import heapq
import hmac
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from gonogo.errors import ConfigError, DataError
from gonogo.files import sync_folder
from gonogo.line.dead_letters import QUEUED, bury, write_synced
from gonogo.line.http_url import require_http
from gonogo.line.journal import Row

FINAL = (400, 410, 413, 414, 415, 422)  # statuses that say that this delivery will never be taken
TIMEOUT = 15.0  # seconds to wait for an answer
GIVEN_UP_AFTER = 3 * 86_400.0  # seconds since the delivery was queued
LONGEST_RETRY_AFTER = 86_400.0  # seconds that a receiver may ask for
N_THREADS = 4  # that post; a receiver that is slow to answer one delivery keeps one of them
LAST_SECONDS = 0.2  # for an answer that is on its way at the end
LOOK_AGAIN = 10.0  # seconds after which the folder is looked into for deliveries that a person sends again
JITTER = random.SystemRandom()
SECRET_PREFIX = "whsec_"  # noqa: S105  # nosec B105 - of Standard Webhooks, before the base64 of a secret
SECRET_BYTES = range(24, 65)
MOST_SECRET_BYTES = 1 << 16  # of the file


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Do not follow a redirection: a verdict goes to the given URL and nowhere else."""


@dataclass(order=True)
class _Delivery:
    due: float  # when it is tried next, by time.monotonic
    path: Path
    n_tries: int = 0


class Webhook:
    """Posts rows in threads of its own."""

    def __init__(
        self,
        url: str,
        secret_file: Path,
        queue: Path,
        *,
        proxy: str | None = None,
        first_wait: float = 0.5,
        longest_wait: float = 600.0,
    ) -> None:
        """Start the threads, with the deliveries that the folder `queue` has from an earlier start.

        Args:
            secret_file: has a secret in each line, `whsec_` and base64, or any bytes; with several, each delivery has a
                signature with each, so that a receiver can change from one to the other.
            proxy: the URL of a proxy; None: there is none, whatever the environment says.
            first_wait: seconds before the second try; the wait doubles with each further try, up to `longest_wait`, and
                is varied by a fifth, so that not all come at the same time. A `Retry-After` of the receiver wins.

        Raises:
            ConfigError: a URL cannot be used, or the secret cannot be read, is empty or is damaged.
            DataError: the folder cannot be read or written.
        """
        require_http(url, "--webhook")
        if proxy is not None:
            require_http(proxy, "--webhook-proxy")
        self._secrets = read_secrets(secret_file)
        self.url, self.queue = url, queue
        self._waits = (first_wait, longest_wait)
        # Without a ProxyHandler of ours, urllib would take the proxies of the environment.
        proxies = {} if proxy is None else {"http": proxy, "https": proxy}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirect)
        self._queued: set[str] = set()  # names of deliveries that have not come to their end
        self._due: list[_Delivery] = []  # a heap; those that are being posted are not in it
        self._changed = threading.Condition()
        self._stop = False
        self._looked = time.monotonic()
        try:
            queue.mkdir(parents=True, exist_ok=True)
            self._look_into_queue()
        except OSError as error:
            raise DataError(f"{queue}, the queue of the webhook, cannot be used: {error.strerror or error}") from error
        self._threads = [threading.Thread(target=self._post_all, name="webhook", daemon=True) for _ in range(N_THREADS)]
        for thread in self._threads:
            thread.start()

    def put(self, rows: Sequence[Row]) -> None:
        """Queue a delivery for each row; they are on the disk when this returns.

        Raises:
            DataError: the folder cannot be written.
        """
        try:
            names = [write_delivery(self.queue, delivery_id(row), row) for row in rows]
            sync_folder(self.queue)
        except OSError as error:
            raise DataError(f"{self.queue}, the queue of the webhook: {error.strerror or error}") from error
        with self._changed:
            for name in names:
                self._add(name)
            self._changed.notify_all()

    def close(self, timeout: float, *, stopped: threading.Event | None = None) -> int:
        """Wait up to `timeout` seconds, or until `stopped`, for all deliveries; the number left for the next start."""
        end = time.monotonic() + timeout
        with self._changed:
            while self._queued and (remaining := end - time.monotonic()) > 0:
                if stopped is not None and stopped.is_set():
                    break
                self._changed.wait(min(remaining, 0.1))  # a signal sets `stopped` and notifies nobody
            self._stop = True
            self._changed.notify_all()
        end = time.monotonic() + LAST_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return len(self._queued)

    def _add(self, name: str) -> None:
        if name not in self._queued:
            self._queued.add(name)
            heapq.heappush(self._due, _Delivery(time.monotonic(), self.queue / name))

    def _look_into_queue(self) -> None:
        with os.scandir(self.queue) as found:
            new = [entry for entry in found if entry.name.endswith(QUEUED) and entry.name not in self._queued]
            for entry in sorted(new, key=lambda entry: entry.stat().st_mtime_ns):
                self._add(entry.name)

    def _post_all(self) -> None:
        while (delivery := self._next()) is not None:
            delivery.n_tries += 1
            try:
                status, retry_after = self._post(delivery.path)
                reason = None
            except Exception as error:  # of any kind: a thread that ends would deliver nothing any more, unseen
                status, retry_after, reason = 0, None, f"{type(error).__name__}: {error}"
            try:
                self._settle(delivery, status, retry_after, reason)
            except OSError:  # the disk is full or the folder is gone: as if it had not been tried
                self._again(delivery, None)

    def _next(self) -> _Delivery | None:
        """The delivery that is due, as soon as one is; None at the end."""
        with self._changed:
            while not self._stop:
                now = time.monotonic()
                if now - self._looked > LOOK_AGAIN:
                    self._looked = now
                    with suppress(OSError):
                        self._look_into_queue()
                if self._due and self._due[0].due <= now:
                    return heapq.heappop(self._due)
                self._changed.wait(min(self._due[0].due - now, LOOK_AGAIN) if self._due else LOOK_AGAIN)
        return None

    def _settle(self, delivery: _Delivery, status: int, retry_after: float | None, reason: str | None) -> None:
        """Do what the answer to a delivery asks for; a status of 0 is no answer.

        Raises:
            OSError: the queue cannot be changed.
        """
        if 200 <= status < 300:
            delivery.path.unlink(missing_ok=True)
        elif not delivery.path.exists():  # a person removed it
            pass
        elif status in FINAL or time.time() - delivery.path.stat().st_mtime > GIVEN_UP_AFTER:
            bury(delivery.path, status=status, reason=reason, n_tries=delivery.n_tries)
        else:
            self._again(delivery, retry_after)
            return
        with self._changed:
            self._queued.discard(delivery.path.name)
            self._changed.notify_all()

    def _again(self, delivery: _Delivery, retry_after: float | None) -> None:
        """Try a delivery again when the receiver asked for that, or when its schedule does."""
        first, longest = self._waits
        wait = min(first * 2.0 ** min(delivery.n_tries - 1, 60), longest) * JITTER.uniform(0.8, 1.2)
        with self._changed:
            delivery.due = time.monotonic() + (wait if retry_after is None else retry_after)
            heapq.heappush(self._due, delivery)
            self._changed.notify_all()

    def _post(self, path: Path) -> tuple[int, float | None]:
        """Post one delivery: the status of the answer, and the seconds after which the receiver wants the next try."""
        body, now = path.read_bytes(), int(time.time())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": path.stem,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(signature(secret, path.stem, now, body) for secret in self._secrets),
        }
        # `require_http` accepts http and https alone: S310 and bandit's B310 ask for that.
        request = urllib.request.Request(self.url, body, headers, method="POST")  # noqa: S310
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return int(answer.status), None
        except urllib.error.HTTPError as error:
            error.close()
            return error.code, retry_after(error.headers.get("Retry-After"), time.time())


def read_secrets(path: Path) -> list[bytes]:
    """The keys in a file: one in each line that is not empty.

    Raises:
        ConfigError: it cannot be read, has no key, or one that begins with `whsec_` is not base64 of 24 to 64 bytes.
    """
    try:
        with path.open("rb") as file:  # which may be a pipe, and must not be a device that never ends
            lines = [line.strip() for line in file.read(MOST_SECRET_BYTES).splitlines() if line.strip()]
    except OSError as error:
        raise ConfigError(f"the webhook's secret {path} cannot be read: {error.strerror or error}") from error
    if not lines:
        raise ConfigError(f"the webhook's secret {path} is empty; write a long random one into it")
    secrets = []
    for line in lines:
        if line.startswith(SECRET_PREFIX.encode()):
            try:
                secret = base64.b64decode(line.removeprefix(SECRET_PREFIX.encode()), validate=True)
            except binascii.Error:
                secret = b""
            if len(secret) not in SECRET_BYTES:
                raise ConfigError(f"the webhook's secret {path}: expected {SECRET_PREFIX} and base64 of 24 to 64 bytes")
            line = secret
        secrets.append(line)
    return secrets


def signature(secret: bytes, delivery: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 of `DELIVERY.TIMESTAMP.BODY`, with the secret as key."""
    signed = hmac.digest(secret, f"{delivery}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(signed).decode()}"


def retry_after(value: str | None, now: float) -> float | None:
    """The seconds that a header `Retry-After` asks for, as a number or a date; None if it asks for none.

    Args:
        now: seconds since 1970.
    """
    if value is None:
        return None
    value = value.strip()
    try:
        seconds = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def write_delivery(queue: Path, delivery: str, row: Row) -> str:
    """Write a delivery into the queue; the name of its file, which is whole on the disk, but its name may not be yet.

    Raises:
        OSError: it cannot be written.
    """
    name = delivery + QUEUED
    write_synced(queue / name, json.dumps({"delivery": delivery, **row}, allow_nan=False))
    return name


def delivery_id(row: Row) -> str:
    """32 hex digits, equal for each row of the same bundle on the same file, however often it is judged."""
    identity = json.dumps([row["bundle"], row["key"], row.get("moved_to")])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
