"""Connections to the service: how many there may be, and how long a client may keep one silent. Needs no key.

uvicorn itself limits neither. An unfinished head, the rest of a body that nobody reads any more, and a response that
the client does not read would otherwise hold a connection for ever, and each refused one would be a line in the log.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gonogo.service.metrics import Metrics
from gonogo.service.settings import Settings

BACKLOG = 64  # connections that are accepted at once, before any is counted
OTHER_FILES = 128  # that the process may have open beside its connections
LOG_SECONDS, LOG_LINES = 60.0, 10  # at most so many lines of one kind in this time
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Cache-Control: no-store\r\n\r\n"
)


class Limits:
    """The limits of the connections of one service, and what counts against them."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.in_all = min(settings.connections, _open_files() - OTHER_FILES - BACKLOG)
        self.of_address = min(settings.address_connections or settings.connections // 2, self.in_all)
        self.idle_seconds = settings.idle_seconds
        self.by_address: Counter[str] = Counter()
        self._refused = metrics.refused
        for reason in ("connections", "address", "silent", "unread"):
            self._refused.labels(reason)

    def refuse(self, reason: str) -> None:
        """Count a connection that the service closes."""
        self._refused.labels(reason).inc()


class Connection(H11Protocol):
    """A connection, which is closed when there are too many, and when the client is silent where it is its turn."""

    def __init__(self, limits: Limits, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._limits, self._address = limits, ""
        self._turn: asyncio.TimerHandle | None = None  # when the client's turn is over
        self._reading: asyncio.TimerHandle | None = None  # when it must have read on

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or refuse it with 503."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._limits.by_address[self._address] += 1
        if len(self.connections) > self._limits.in_all:
            self._refuse("connections")
        elif self._limits.by_address[self._address] > self._limits.of_address:
            self._refuse("address")
        else:
            self._limit_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self._limits.by_address[self._address] -= 1
        if not self._limits.by_address[self._address]:
            del self._limits.by_address[self._address]
        for timer in (self._turn, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take data, but for those of a connection that is being closed."""
        if not self.transport.is_closing():
            super().data_received(data)

    def handle_events(self) -> None:
        """Handle the data so far."""
        super().handle_events()
        self._limit_turn()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for the rest of a body that nobody reads."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._limit_turn()

    def pause_writing(self) -> None:
        """The client does not read: it has some time to go on."""
        super().pause_writing()
        self._reading = self.loop.call_later(self._limits.idle_seconds, self._abort, "unread")

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def _limit_turn(self) -> None:
        """Begin the client's time where a head, or a body after its response, is not complete; otherwise end it."""
        unread_body = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if self.conn.their_state is not h11.IDLE and not unread_body:
            if self._turn is not None:
                self._turn.cancel()
                self._turn = None
        elif self._turn is None and not self.transport.is_closing():
            self._turn = self.loop.call_later(self._limits.idle_seconds, self._abort, "silent")

    def _refuse(self, reason: str) -> None:
        self._limits.refuse(reason)
        self.transport.write(REFUSAL)
        self.transport.close()

    def _abort(self, reason: str) -> None:
        self._limits.refuse(reason)
        self.transport.abort()


def connections(settings: Settings, metrics: Metrics) -> Callable[..., Connection]:
    """What uvicorn calls as its protocol class."""
    limits = Limits(settings, metrics)
    return lambda **uvicorns: Connection(limits, **uvicorns)


class FewLines(logging.Filter):
    """Lets LOG_LINES lines of one kind through in LOG_SECONDS; the first one after that says how many were left out.

    Lines are of one kind where only their values differ.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[str, tuple[float, int]] = {}  # by kind: when its time began, and the number of lines since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        kind, now = str(record.msg)[:200], time.monotonic()
        began, n_lines = self._lines.get(kind, (now, 0))
        if now - began > LOG_SECONDS:
            if n_lines > LOG_LINES:
                record.msg = f"{record.msg} ({n_lines - LOG_LINES} more like this were left out before)"
            began, n_lines = now, 0
        if len(self._lines) > 1000:  # kinds whose messages are made up by clients
            self._lines.clear()
        self._lines[kind] = (began, n_lines + 1)
        return n_lines < LOG_LINES


def _open_files() -> int:
    """How many files and connections this process may have open, once that is raised as far as the system lets it."""
    try:
        import resource
    except ImportError:  # Windows
        return 1 << 16
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or soft < hard):
        wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
        if wanted > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return 1 << 16 if soft == resource.RLIM_INFINITY else soft
