"""Clients without a key: silent ones lose their connection, and too many are turned away without a line in the log."""

import logging
import socket
import threading
from contextlib import ExitStack
from http.client import HTTPResponse

import pytest

from serving import files, listening_service, running, start, until  # noqa: F401  skips where the extra is missing

# isort: split

from gonogo.service.connections import BACKLOG, KEEP_ALIVE_SECONDS, LOG_LINES, FewLines, Limits
from gonogo.service.metrics import Metrics
from gonogo.service.settings import Settings

# ruff: noqa: F811  fixtures are imported, and then named

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def port(running):
    with listening_service(running) as number:
        yield number


def opened(stack, port, data=b""):
    """A connection that waits for minutes, which only a hang needs."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=300))
    connection.sendall(data)
    return connection


def status_of(connection):
    """The status of the next answer, which is read to its end."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def all_of(connection):
    """What comes until the end of the connection, however it ends."""
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


def refused(running, reason):
    text = running.ask("GET", "/metrics").text
    (line,) = [
        one for one in text.splitlines() if one.startswith(f'gonogo_refused_connections_total{{reason="{reason}"')
    ]
    return float(line.rsplit(" ", 1)[1])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
        HEAD + b"GET /hea",
        b"POST /v1/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nx",
        b"POST /v1/bundles:activate HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nx",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nx",
        b"POST /v1/inspect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
    ],
)
def test_a_client_that_is_silent_where_it_is_its_turn_loses_its_connection(start, data):
    with start(idle_seconds=0.2) as running, listening_service(running) as port, ExitStack() as stack:
        silent = opened(stack, port, data)
        answer = all_of(silent)
        assert answer.count(b"HTTP/1.1 ") == data.count(b"\r\n\r\n")
        assert all_of(opened(stack, port, HEAD.replace(b"Host", b"Connection: close\r\nHost"))).startswith(
            b"HTTP/1.1 200"
        )


def test_one_byte_now_and_then_does_not_keep_a_head_open(start):
    with start(idle_seconds=0.5) as running, listening_service(running) as port, ExitStack() as stack:
        slow = opened(stack, port, b"GET /healthz HTTP/1.1\r\n")
        ended = threading.Event()
        reading = threading.Thread(target=lambda: (all_of(slow), ended.set()))
        reading.start()
        while not ended.wait(0.05):
            try:
                slow.sendall(b"x")
            except OSError:
                break
        reading.join(300)
        assert refused(running, "silent") == 1


def test_a_body_that_waits_takes_no_place(start, files):
    with start(waiting=2, max_images=2) as running, listening_service(running) as port, ExitStack() as stack:
        head = f"POST /v1/inspect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.keys['inspect']}\r\n"
        head += "Content-Length: 5000\r\n\r\nx"
        for _ in range(20):
            opened(stack, port, head.encode())
        until(lambda: running.service.memory.held == 20)
        assert running.service.runner.waiting == 0
        assert running.ask("POST", "/v1/inspect", content=files[0].read_bytes()).status_code == 200


def test_between_two_requests_a_client_may_wait_for_longer_than_within_one(start):
    with start(idle_seconds=0.2) as running, listening_service(running) as port, ExitStack() as stack:
        waits = opened(stack, port, HEAD)
        assert status_of(waits) == 200
        assert all_of(opened(stack, port)) == b""  # this one was silent for longer than a client may
        waits.sendall(HEAD)
        assert status_of(waits) == 200
        assert running.service.settings.deadline < KEEP_ALIVE_SECONDS


FORM = "Content-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'


@pytest.mark.parametrize(
    ("path", "headers", "begin", "status", "stays"),
    [
        ("/v1/inspect", "Authorization: none\r\n", b"", 401, True),
        ("/v1/inspect", "", b"", 503, False),
        ("/v1/inspect", FORM, PART, 503, False),
        ("/v1/inspect:stream", FORM, PART, 503, False),
        ("/v1/inspect", "Content-Length: 99000000\r\n", b"", 413, False),
        ("/v1/bundles:activate", "", b"", 413, False),
        ("/v1/inspect", "Authorization: none\r\nConnection: close\r\n", b"", 401, False),
        ("no HTTP", "", b"", 400, False),
    ],
)
def test_a_client_that_still_sends_when_it_is_refused_can_send_on_and_read_why(
    running, port, monkeypatch, path, headers, begin, status, stays
):
    monkeypatch.setattr(running.service.memory, "key_limit", 100_000)
    body = begin + bytes(20_000_000)  # more than the system takes on both sides
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}"
    if "Authorization" not in headers:
        head += f"Authorization: Bearer {running.keys['inspect']}\r\n"
    if "Content-Length" not in headers:
        head += f"Content-Length: {len(body)}\r\n"
    with ExitStack() as stack:
        client = opened(stack, port, head.encode() + b"\r\n")
        client.sendall(body)  # and no reset
        assert status_of(client) == status
        if stays:
            client.sendall(HEAD)
            assert status_of(client) == 200
        else:
            assert client.recv(65536) == b""


def test_what_is_sent_after_a_refusal_is_taken_for_a_while_only_and_up_to_the_size_of_a_body(start):
    limits = {"max_body": 1_000_000, "max_image": 900_000, "idle_seconds": 60.0}
    with start(**limits) as running, listening_service(running) as port, ExitStack() as stack:
        client = opened(stack, port, b"POST /v1/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\n\r\n")
        assert status_of(client) == 413
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.sendall(bytes(90_000_000))


@pytest.mark.parametrize(
    ("limits", "reason"), [({"connections": 5}, "connections"), ({"address_connections": 5}, "address")]
)
def test_too_many_connections_are_turned_away_and_those_that_are_there_go_on(start, limits, reason, caplog):
    limits = {"address_connections": 100} | limits
    with start(**limits) as running, listening_service(running) as port, ExitStack() as stack:
        kept = [opened(stack, port) for _ in range(5)]
        turned_away = [opened(stack, port, HEAD) for _ in range(20)]
        answers = [one.recv(65536) for one in turned_away]
        assert all(answer.startswith(b"HTTP/1.1 503") and b"Retry-After: 1" in answer for answer in answers)
        assert refused(running, reason) == 20
        for one in kept:
            one.sendall(HEAD)
            assert one.recv(65536).startswith(b"HTTP/1.1 200")
        kept.pop().close()
        until(lambda: all_of_one(port).startswith(b"HTTP/1.1 200"))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def all_of_one(port):
    with ExitStack() as stack:
        return all_of(opened(stack, port, HEAD.replace(b"Host", b"Connection: close\r\nHost")))


def test_a_client_that_does_not_read_its_answer_loses_its_connection(start, monkeypatch):
    with start(idle_seconds=0.2) as running, listening_service(running) as port, ExitStack() as stack:
        monkeypatch.setattr(Metrics, "text", lambda _: b"x" * 50_000_000)
        head = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.keys['inspect']}\r\n\r\n"
        opened(stack, port, head.encode())
        until(lambda: running.service.metrics.refused.labels("unread")._value.get() == 1)


def test_there_are_fewer_connections_than_files_that_may_be_open(monkeypatch):
    monkeypatch.setattr("gonogo.service.connections._open_files", lambda: 300)
    limits = Limits(Settings(bundle="b", data="d"), Metrics())
    assert limits.in_all + BACKLOG < 300 - 64
    assert limits.of_address <= limits.in_all


def test_a_line_of_one_kind_is_written_a_few_times_and_then_counted(caplog, monkeypatch):
    logger, now = logging.getLogger("gonogo.service.test"), [0.0]
    logger.addFilter(FewLines())
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for number in range(LOG_LINES + 30):
        logger.warning("the store failed: %s", number)
    logger.warning("another")
    assert len(caplog.records) == LOG_LINES + 1
    now[0] = 61.0
    logger.warning("the store failed: %s", "again")
    assert caplog.records[-1].getMessage() == "the store failed: again (30 more like this were left out before)"
