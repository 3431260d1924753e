"""Whatever is malformed is the client's mistake: 4xx, told as a problem, and nothing of it is kept."""

import asyncio
import logging
from random import Random

import pytest

from serving import running, start  # noqa: F401  skips where the extra is missing

# isort: split
from malformed import MAKERS, malformed, picture

# ruff: noqa: F811  fixtures are imported, and then named


def test_malformed_requests_of_every_kind_are_4xx_and_nothing_is_kept_of_them(start, caplog):
    kinds = set()
    with start(rate=1e6, burst=10**6) as running:
        for one in malformed(480, seed=5):
            if one.framed_wrongly:  # which the server of HTTP sees and not the service
                continue
            headers = {name: value.encode("latin-1") for name, value in one.headers.items()}
            answer = running.ask("POST", one.path, role="admin", content=one.body, headers=headers)
            assert 400 <= answer.status_code < 500, (one, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
            kinds.add(one.kind)
        assert running.ask("GET", "/v1/inspections").json()["inspections"] == []
        assert list(running.service.store.images.paths()) == []
    assert kinds == {maker.__name__ for maker in MAKERS}
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("path", ["/v1/inspect", "/v1/inspect:stream", "/v1/bundles:activate"])
def test_a_client_that_hangs_up_amid_its_body_is_no_failure_of_the_service(start, path, caplog):
    body = picture(Random(1), "image/png")
    sent = []

    async def send(message):
        sent.append(message)

    async def hang_up(running):
        coming = iter(
            [{"type": "http.request", "body": body[:50], "more_body": True}, *[{"type": "http.disconnect"}] * 9]
        )

        async def receive():
            return next(coming)

        headers = [(b"authorization", f"Bearer {running.keys['admin']}".encode()), (b"content-type", b"image/png")]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path}
        scope |= {"raw_path": path.encode(), "query_string": b"", "headers": headers, "scheme": "http"}
        await running.http.app(scope | {"client": ("c", 1), "server": ("s", 2)}, receive, send)

    with start() as running:
        asyncio.run(hang_up(running))
        text = running.ask("GET", "/metrics").text
    assert sent[0]["status"] in (200, 400)
    assert b"Traceback" not in b"".join(message.get("body", b"") for message in sent)
    assert 'status="5' not in text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
