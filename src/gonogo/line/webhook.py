"""Verdicts posted to an address, signed, until each has been received; what waits outlives a kill.

A delivery is a file in a folder before its row is in the journal, and is removed when the receiver has answered 2xx. So
none is lost, and one may come twice after a kill, with the same id: a receiver keeps the ids that it has seen.

The signature is HMAC-SHA256, in hex, by the secret, over `TIMESTAMP.BODY`, as in
https://docs.stripe.com/webhooks#verify-manually. A receiver computes it anew, compares in constant time, and refuses
an old timestamp, so that nobody can replay what was overheard.
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

LATER = (408, 425, 429)  # statuses below 500 that ask for another try
TIMEOUT = 10.0  # seconds for an answer
REFUSED = ".refused"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """A verdict goes where it was told to go, and nowhere else."""


class Webhook:
    """Posts rows in a thread of its own, one after the other.

    Attributes:
        n_refused: deliveries that the receiver will not have (a status of 3xx or 4xx); their files end in `.refused`.
    """

    def __init__(
        self, url: str, secret_file: Path, queue: Path, *, first_wait: float = 0.5, longest_wait: float = 60.0
    ) -> None:
        """Start to post what is in the folder `queue` already.

        Args:
            first_wait: seconds before the second try; each further one waits twice as long, up to `longest_wait`.

        Raises:
            ConfigError: the URL is not one of HTTP, or there is no secret.
            DataError: the folder cannot be used.
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
            left = sorted(queue.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        except OSError as error:
            raise DataError(f"{queue} cannot be used for what waits: {error.strerror or error}") from error
        self.n_refused = 0
        self._waiting = deque(left)
        self._changed = threading.Condition()
        self._stop = False
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._post_all, name="webhook", daemon=True)
        self._thread.start()

    def put(self, rows: Sequence[Row]) -> None:
        """Queue a delivery for each row; they are on the disk when it returns."""
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

    def close(self, patience: float) -> int:
        """Wait up to `patience` seconds until all is delivered; how many wait for the next start."""
        end = time.monotonic() + patience
        with self._changed:
            while self._waiting and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
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
            done = 200 <= status < 300
            if done:
                path.unlink(missing_ok=True)
            elif 300 <= status < 500 and status not in LATER:
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
        """The answer's status; 0 where there was none."""
        timestamp = str(int(time.time()))
        try:
            body = path.read_bytes()
            headers = {
                "Content-Type": "application/json",
                "X-Gonogo-Delivery": path.stem,
                "X-Gonogo-Timestamp": timestamp,
                "X-Gonogo-Signature": f"sha256={signature(self._secret, timestamp, body)}",
            }
            request = urllib.request.Request(self.url, body, headers, method="POST")
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except (OSError, http.client.HTTPException):
            return 0


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 over `timestamp.body`."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def delivery_id(row: Row) -> str:
    """32 hex digits: the same for the same verdict on the same file, however often it is computed."""
    told = json.dumps([row["bundle"], row["key"], row.get("moved_to")])
    return hashlib.sha256(told.encode()).hexdigest()[:32]
