"""Connections to the service: how many there may be, and how long a client may keep one silent. Needs no key.

uvicorn itself limits neither. An unfinished head, the rest of a body that nobody reads any more, and a response that
the client does not read would otherwise hold a connection for ever, and each refused one would be a line in the log.

Where the client still sends when it is answered, its connection ends in two steps: the service ends its own side, and
takes what comes for a while without looking at it. Closed at once, the system would answer the rest with a reset, which
takes the answer from a client that has not read it yet (RFC 9112, section 9.6).
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gonogo.service.metrics import Metrics
from gonogo.service.settings import Settings

BACKLOG = 64  # connections that are accepted at once, before any is counted
MOST_REFUSED, REFUSED_SECONDS = 64, 1.0  # connections beyond the limits that may still read their answer, and how long
KEEP_ALIVE_SECONDS = 75  # between two requests; longer than a busy service tells a client to wait
OTHER_FILES = 128  # that the process may have open beside its connections
LOG_SECONDS, LOG_LINES = 60.0, 10  # at most so many lines of one kind in this time
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Cache-Control: no-store\r\n\r\n"
)


class Limits:
    """The limits of the connections of one service, and what counts against them."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.in_all = min(settings.connections, _open_files() - OTHER_FILES - BACKLOG - MOST_REFUSED)
        self.of_address = min(settings.address_connections or settings.connections // 2, self.in_all)
        self.idle_seconds, self.most_unread = settings.idle_seconds, settings.max_body
        self.by_address: Counter[str] = Counter()
        self.n_taken = self.n_refused = 0  # connections that are open now
        self._refused = metrics.refused
        for reason in ("connections", "address", "silent", "unread"):
            self._refused.labels(reason)

    def refuse(self, reason: str) -> None:
        """Count a connection that the service closes."""
        self._refused.labels(reason).inc()


class Transport:
    """uvicorn's transport, but for its end: `close` calls `end` once, and from then on it is closing."""

    def __init__(self, transport: Any, end: Callable[[], None]) -> None:
        self._transport, self._end, self._ending = transport, end, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether it is closed, or will be soon."""
        return self._ending or self._transport.is_closing()

    def close(self) -> None:
        """End it, when the client had time to read its answer."""
        if not self.is_closing():
            self._ending = True
            self._end()


class Connection(H11Protocol):
    """A connection, which is closed when there are too many, and when the client is silent where it is its turn."""

    def __init__(self, limits: Limits, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.timeout_keep_alive = KEEP_ALIVE_SECONDS
        self._limits, self._address, self._refused = limits, "", False
        self._is_between_requests = False  # nothing has come since the last response
        self._n_unread = 0  # bytes that came after the end
        self._turn: asyncio.TimerHandle | None = None  # when the client's turn is over
        self._reading: asyncio.TimerHandle | None = None  # when it must have read on
        self._ending: asyncio.TimerHandle | None = None  # when it must have ended its side too

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or refuse it with 503."""
        own = Transport(transport, partial(self._end, transport))
        super().connection_made(own)  # type: ignore[arg-type]  # the rest of it is uvicorn's own
        self._address, limits = self.client[0] if self.client else "", self._limits
        if limits.n_taken >= limits.in_all:
            self._refuse("connections")
        elif limits.by_address[self._address] >= limits.of_address:
            self._refuse("address")
        else:
            limits.n_taken += 1
            limits.by_address[self._address] += 1
            self._limit_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        limits = self._limits
        if self._refused:
            limits.n_refused -= 1
        else:
            limits.n_taken -= 1
            limits.by_address[self._address] -= 1
            if not limits.by_address[self._address]:
                del limits.by_address[self._address]
        for timer in (self._turn, self._reading, self._ending):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take data, but for those of a connection that is being closed."""
        if not self.transport.is_closing():
            self._is_between_requests = False
            super().data_received(data)
            return
        self._n_unread += len(data)
        if self._n_unread > self._limits.most_unread:
            self.transport.abort()

    def handle_events(self) -> None:
        """Handle the data so far."""
        super().handle_events()
        self._limit_turn()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for the rest of a body that nobody reads."""
        self._is_between_requests = True
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._limit_turn()

    def shutdown(self) -> None:
        """End with the server, which does not wait for what nobody looks at."""
        if self._ending is not None:
            self.transport.abort()
        else:
            super().shutdown()

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
        """Begin the client's time where a head, or a body after its response, is not complete; otherwise end it.

        Between two requests it is uvicorn that waits, for KEEP_ALIVE_SECONDS.
        """
        unread_head = self.conn.their_state is h11.IDLE and (
            not self._is_between_requests or bool(self.conn.trailing_data[0])
        )
        unread_body = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if not unread_head and not unread_body:
            if self._turn is not None:
                self._turn.cancel()
                self._turn = None
        elif self._turn is None and not self.transport.is_closing():
            self._turn = self.loop.call_later(self._limits.idle_seconds, self._abort, "silent")

    def _refuse(self, reason: str) -> None:
        self._limits.refuse(reason)
        self._refused = True
        self._limits.n_refused += 1
        self.transport.write(REFUSAL)
        self.transport.close()

    def _end(self, transport: Any) -> None:
        """Close a transport of which no one reads any more, at once or when its client has had time for its answer."""
        if self._turn is not None:
            self._turn.cancel()
        still_sends = self.conn.their_state in (h11.SEND_BODY, h11.ERROR)
        if self._refused and self._limits.n_refused <= MOST_REFUSED:
            seconds = REFUSED_SECONDS
        elif still_sends:
            seconds = self._limits.idle_seconds
        else:
            transport.close()
            return
        if transport.can_write_eof():  # not with TLS
            transport.write_eof()
        self.flow.resume_reading()
        self._ending = self.loop.call_later(seconds, transport.abort)

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
