"""Rows posted to a URL, each signed, and tried again until the receiver has confirmed it. The queue survives a kill.

A delivery is a file in the queue's folder before its row is in the journal, and is removed when the receiver has
answered 2xx. So none is lost; after a kill one may arrive twice, with the same id, and the receiver should ignore an id
that it has seen.

The signature is the hex HMAC-SHA256, with the secret as key, of `TIMESTAMP.BODY`, as in
https://docs.stripe.com/webhooks#verify-manually. The receiver computes it too, compares the two in constant time, and
refuses an old timestamp, so that a recorded request cannot be replayed.
"""

import hashlib
import hmac
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gonogo.errors import ConfigError, DataError
from gonogo.files import sync_folder
from gonogo.line.journal import Row

RETRIED = (408, 425, 429)  # statuses below 500 after which a delivery is tried again
TIMEOUT = 10.0  # seconds to wait for an answer
REFUSED = ".refused"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Do not follow a redirection: a verdict goes to the given URL and nowhere else."""


class Webhook:
    """Posts rows, one after the other, in a thread of its own.

    Attributes:
        n_refused: deliveries that the receiver refused with a status of 3xx or 4xx; their files end in `.refused`.
    """

    def __init__(
        self, url: str, secret_file: Path, queue: Path, *, first_wait: float = 0.5, longest_wait: float = 60.0
    ) -> None:
        """Start the thread, with the deliveries that the folder `queue` has from an earlier start.

        Args:
            first_wait: seconds before the second try; the wait doubles with each further try, up to `longest_wait`.

        Raises:
            ConfigError: the URL is not of HTTP, or the secret cannot be read or is empty.
            DataError: the folder cannot be read or written.
        """
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ConfigError(f"--webhook is {url!r}; expected http://... or https://...")
        try:
            self._secret = secret_file.read_bytes().strip()
        except OSError as error:
            raise ConfigError(
                f"the webhook's secret {secret_file} cannot be read: {error.strerror or error}"
            ) from error
        if not self._secret:
            raise ConfigError(f"the webhook's secret {secret_file} is empty; write a long random one into it")
        self.url, self.queue = url, queue
        self._waits = (first_wait, longest_wait)
        try:
            queue.mkdir(parents=True, exist_ok=True)
            queued = sorted(queue.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        except OSError as error:
            raise DataError(f"{queue}, the queue of the webhook, cannot be used: {error.strerror or error}") from error
        self.n_refused = 0
        self._waiting = deque(queued)
        self._changed = threading.Condition()
        self._stop = False
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._post_all, name="webhook", daemon=True)
        self._thread.start()

    def put(self, rows: Sequence[Row]) -> None:
        """Queue a delivery for each row; they are on the disk when this returns."""
        paths = []
        for row in rows:
            path = self.queue / f"{delivery_id(row)}.json"
            partial = path.with_suffix(".partial")
            with partial.open("wb") as file:
                file.write(json.dumps({"delivery": path.stem, **row}, allow_nan=False).encode())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            paths.append(path)
        sync_folder(self.queue)
        with self._changed:
            self._waiting.extend(path for path in paths if path not in self._waiting)
            self._changed.notify_all()

    def close(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for all deliveries; the number that are left for the next start."""
        end = time.monotonic() + timeout
        with self._changed:
            while self._waiting and (remaining := end - time.monotonic()) > 0:
                self._changed.wait(remaining)
            self._stop = True
            self._changed.notify_all()
            n_left = len(self._waiting)
        self._thread.join(TIMEOUT)
        return n_left

    def _post_all(self) -> None:
        wait = first = self._waits[0]
        while True:
            with self._changed:
                while not self._waiting and not self._stop:
                    self._changed.wait()
                if self._stop:
                    return
                path = self._waiting[0]
            status = self._post(path)
            if 200 <= status < 300:
                path.unlink(missing_ok=True)
            elif 300 <= status < 500 and status not in RETRIED:
                path.replace(path.with_suffix(REFUSED))
                self.n_refused += 1
            with self._changed:
                if not path.exists():
                    self._waiting.popleft()
                    self._changed.notify_all()
                    wait = first
                else:
                    self._changed.wait_for(lambda: self._stop, wait)
                    wait = min(2 * wait, self._waits[1])

    def _post(self, path: Path) -> int:
        """Post one delivery: the status of the answer, or 0 if there was no answer."""
        timestamp = str(int(time.time()))
        try:
            body = path.read_bytes()
            headers = {
                "Content-Type": "application/json",
                "X-Gonogo-Delivery": path.stem,
                "X-Gonogo-Timestamp": timestamp,
                "X-Gonogo-Signature": f"sha256={signature(self._secret, timestamp, body)}",
            }
            # The constructor accepts http and https alone: S310 and bandit's B310 ask for that.
            request = urllib.request.Request(self.url, body, headers, method="POST")  # noqa: S310
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except (OSError, http.client.HTTPException):
            return 0


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of `timestamp.body`."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def delivery_id(row: Row) -> str:
    """32 hex digits, equal for each row of the same bundle on the same file, however often it is judged."""
    identity = json.dumps([row["bundle"], row["key"], row.get("moved_to")])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
