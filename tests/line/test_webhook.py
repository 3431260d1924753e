"""Rows that are posted: signed, again until they arrive, each on its own, and none is lost or forgotten in silence."""

import base64
import http.server
import json
import shutil
import threading
import time
import urllib.error
from email.utils import formatdate

import pytest

from gonogo.cli.main import main
from gonogo.errors import ConfigError, DataError
from gonogo.line import webhook as webhook_module
from gonogo.line.dead_letters import count_dead, letters, revive
from gonogo.line.http_url import require_http
from gonogo.line.webhook import (
    GIVEN_UP_AFTER,
    LONGEST_RETRY_AFTER,
    Webhook,
    delivery_id,
    read_secrets,
    retry_after,
    signature,
)
from hot_folders import parts, rows_of  # noqa: F401  parts is a fixture
from processes import until

# ruff: noqa: F811  fixtures are imported, and then named


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses of the delivery's file in turn, or else with the server's, the last one for ever.

    None is a connection that breaks; (status, value) has a header Retry-After.
    """

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        statuses = self.server.of_file.get(json.loads(body)["file"], self.server.statuses)
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        self.server.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        if status is None:
            self.connection.close()
            return
        status, after = status if isinstance(status, tuple) else (status, None)
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        if after is not None:
            self.send_header("Retry-After", after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    """A server on this machine; `statuses` are its answers, `of_file` those to the deliveries of a file."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.came, server.statuses, server.of_file = [], [200], {}
    server.url = f"http://127.0.0.1:{server.server_port}/verdicts"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_text("long and random\n")
    return tmp_path / "secret"


def came_of(receiver):
    return [json.loads(body)["file"] for _, _, body in receiver.came]


ROWS = [{"file": f"{n}.png", "key": f"{n:032x}", "bundle": "f", "verdict": "reject"} for n in range(3)]
IDS = [delivery_id(row) for row in ROWS]


def test_what_fails_twice_is_sent_again_later_and_later_with_the_same_id_and_a_signature_that_holds(
    receiver, secret, tmp_path, monkeypatch
):
    waits, begun = [], int(time.time())
    monkeypatch.setattr(webhook_module.JITTER, "uniform", lambda low, high: waits.append((low, high)) or 1e-3)
    receiver.statuses = [500, None, 204]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue")
    webhook.put(ROWS[:1])
    assert webhook.close(300) == 0
    assert names_in(tmp_path / "queue") == []
    assert waits == [(0.8, 1.2)] * 2
    assert len(receiver.came) == 3
    for _, headers, body in receiver.came:
        delivery, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        assert delivery == IDS[0]
        assert headers["webhook-signature"] == signature(b"long and random", delivery, timestamp, body)
        assert begun <= timestamp <= time.time()
        assert json.loads(body) == {"delivery": IDS[0], **ROWS[0]}


def test_the_wait_doubles_up_to_its_longest_and_after_very_many_tries_too(receiver, secret, tmp_path, monkeypatch):
    monkeypatch.setattr(webhook_module.JITTER, "uniform", lambda *_: 1.0)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.5, longest_wait=60.0)
    webhook._stop = True
    delivery = webhook_module._Delivery(0.0, tmp_path / "queue" / "a.json")
    waits = []
    for delivery.n_tries in (1, 2, 3, 4, 7, 8, 1000, 100_000):
        webhook._again(delivery, None)
        waits.append(delivery.due - 1000.0)
    assert waits == [0.5, 1, 2, 4, 32, 60, 60, 60]


def test_the_signature_is_that_of_standard_webhooks(tmp_path):
    # The example of the libraries at https://github.com/standard-webhooks/standard-webhooks
    (tmp_path / "secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    (key,) = read_secrets(tmp_path / "secret")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_with_two_secrets_each_delivery_is_signed_with_both(receiver, tmp_path):
    keys = [bytes(range(32)), bytes(range(32, 64))]
    lines = "\n".join(f"whsec_{base64.b64encode(key).decode()}" for key in keys)
    (tmp_path / "secret").write_text(f"{lines}\n\n")
    webhook = Webhook(receiver.url, tmp_path / "secret", tmp_path / "queue")
    webhook.put(ROWS[:1])
    assert webhook.close(300) == 0
    ((_, headers, body),) = receiver.came
    expected = [signature(key, IDS[0], int(headers["webhook-timestamp"]), body) for key in keys]
    assert headers["webhook-signature"].split(" ") == expected


@pytest.mark.parametrize("text", ["", "\n \n", "whsec_", "whsec_short", "whsec_#" + 40 * "a", "whsec_" + 100 * "aaaa"])
def test_a_secret_that_is_none_is_refused(text, tmp_path):
    (tmp_path / "secret").write_text(text)
    with pytest.raises(ConfigError, match=r"is empty|expected whsec_ and base64 of 24 to 64 bytes"):
        read_secrets(tmp_path / "secret")


@pytest.mark.parametrize("always", [500, 503, 401, 302, 404, None, (503, "86400")])
def test_a_delivery_that_always_fails_stops_no_other(always, receiver, secret, tmp_path):
    receiver.of_file["0.png"] = [always]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.01)
    webhook.put(ROWS)
    until(lambda: names_in(tmp_path / "queue") == [f"{IDS[0]}.json"])
    webhook.put([{**ROWS[1], "key": "ff"}])
    until(lambda: names_in(tmp_path / "queue") == [f"{IDS[0]}.json"])
    assert webhook.close(0) == 1
    assert sorted(set(came_of(receiver))) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("status", [302, 401, 403, 404, 408, 425, 429, 500, 501, 503, None])
def test_what_may_be_taken_later_is_sent_again(status, receiver, secret, tmp_path):
    receiver.statuses = [status, 200]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.01)
    webhook.put(ROWS[:1])
    assert webhook.close(300) == 0
    assert [path for path, _, _ in receiver.came] == ["/verdicts"] * 2  # a redirection is not followed
    assert names_in(tmp_path / "queue") == []


@pytest.mark.parametrize("status", [400, 410, 413, 422])
def test_what_will_never_be_taken_is_a_dead_letter_until_a_person_sends_it_again(
    status, receiver, secret, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(webhook_module, "LOOK_AGAIN", 0.01)
    queue = tmp_path / "queue"
    receiver.of_file["0.png"] = [status, 200]
    webhook = Webhook(receiver.url, secret, queue)
    webhook.put(ROWS[:2])
    until(lambda: names_in(queue) == [f"{IDS[0]}.dead"])
    assert count_dead(queue) == 1
    assert main(["webhook", "list", str(queue), "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["deliveries"]
    assert listed | {"at": None} == {
        "id": IDS[0],
        "dead": True,
        "status": status,
        "reason": f"the receiver answered {status}",
        "at": None,
        "n_tries": 1,
        "body": {"delivery": IDS[0], **ROWS[0]},
    }
    assert main(["webhook", "list", str(queue)]) == 0
    assert f"the receiver answered {status}  0.png" in capsys.readouterr().out
    assert main(["webhook", "retry", str(queue), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["queued"] == [IDS[0]]
    until(lambda: names_in(queue) == [])  # by the webhook that is running
    assert webhook.close(300) == 0
    first, *_, last = [body for _, _, body in receiver.came if b'"0.png"' in body]
    assert first == last
    assert main(["webhook", "list", str(queue)]) == 0
    assert capsys.readouterr().out == "every delivery has arrived\n"


def test_what_fails_for_days_is_given_up_with_the_last_reason(receiver, secret, tmp_path, monkeypatch):
    queue, now = tmp_path / "queue", time.time()
    receiver.statuses = [None]
    webhook = Webhook(receiver.url, secret, queue, first_wait=0.001, longest_wait=0.001)
    webhook.put(ROWS[:1])
    until(lambda: len(receiver.came) > 3)
    assert names_in(queue) == [f"{IDS[0]}.json"]
    monkeypatch.setattr(time, "time", lambda: now + GIVEN_UP_AFTER + 60)
    until(lambda: names_in(queue) == [f"{IDS[0]}.dead"])
    (letter,) = letters(queue)
    assert letter.status is None
    assert letter.reason.startswith("no answer: ")
    assert letter.n_tries > 3
    webhook.close(0)


def test_only_the_dead_letters_that_are_named_are_queued_again_and_wrong_names_are_refused(tmp_path, capsys):
    for name in "ab":
        letter = {"status": 400, "reason": "r", "at": "t", "n_tries": 1, "body": json.dumps({"file": name})}
        (tmp_path / f"{name}.dead").write_text(json.dumps(letter))
    assert revive(tmp_path, ["b"]) == ["b"]
    assert names_in(tmp_path) == ["a.dead", "b.json"]
    with pytest.raises(DataError, match="has no dead letter c"):
        revive(tmp_path, ["a", "c"])
    assert names_in(tmp_path) == ["a.dead", "b.json"]
    assert main(["webhook", "list", str(tmp_path / "none")]) == 3
    assert "is not a folder" in capsys.readouterr().err
    (tmp_path / "a.dead").write_text("{")
    assert main(["webhook", "list", str(tmp_path)]) == 3
    assert "is no delivery" in capsys.readouterr().err


def test_a_retry_after_of_the_receiver_wins_over_the_schedule(receiver, secret, tmp_path):
    receiver.statuses = [(503, "0"), (429, formatdate(time.time() - 60, usegmt=True)), 200]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=1e6, longest_wait=1e6)
    webhook.put(ROWS[:1])
    assert webhook.close(300) == 0
    assert len(receiver.came) == 3


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("9" * 400, LONGEST_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1e400", None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_and_what_is_neither_asks_for_nothing(value, seconds):
    assert retry_after(value, 100.0) == seconds


def test_what_was_not_delivered_waits_for_the_next_start(receiver, secret, tmp_path):
    receiver.statuses = [503]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.02)
    webhook.put(ROWS)
    assert webhook.close(0.2) == 3
    assert len(names_in(tmp_path / "queue")) == 3
    receiver.statuses, n_before = [200], len(receiver.came)
    assert Webhook(receiver.url, secret, tmp_path / "queue").close(300) == 0
    assert sorted(came_of(receiver)[n_before:]) == ["0.png", "1.png", "2.png"]
    assert names_in(tmp_path / "queue") == []


@pytest.mark.parametrize(
    "raised", [UnicodeError("label too long"), ValueError("no URL"), RuntimeError(), MemoryError()]
)
def test_whatever_a_delivery_raises_is_a_failure_of_this_delivery(raised, receiver, secret, tmp_path):
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.01)
    really, tries = webhook._opener.open, []

    def odd(*given, **options):
        tries.append(given)
        if len(tries) < 10:  # more often than there are threads
            raise raised
        return really(*given, **options)

    webhook._opener.open = odd
    webhook.put(ROWS)
    assert webhook.close(300) == 0
    assert sorted(came_of(receiver)) == ["0.png", "1.png", "2.png"]


def test_a_proxy_of_the_environment_is_not_used_and_one_that_is_named_is(receiver, secret, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody answers
    monkeypatch.delenv("no_proxy", raising=False)
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=300)
    webhook.put(ROWS[:1])
    assert webhook.close(300) == 0
    proxied = Webhook("http://far.invalid/verdicts", secret, tmp_path / "queue", proxy=receiver.url, first_wait=300)
    proxied.put(ROWS[1:2])
    assert proxied.close(300) == 0
    assert [path for path, _, _ in receiver.came] == ["/verdicts", "http://far.invalid/verdicts"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "localhost:80/x",
        "http://",
        "http:///path",
        "https://:443/x",
        "http://host:port/x",
        "http://host:99999/x",
        "http://host:0/x",
        "http://[::1/x",
        "http://a..b/x",
        f"http://{64 * 'a'}.de/x",
        "http://host/a b",
        " http://host/x",
        "http://host/x\n",
        "http://ho\tst/x",
        "http://host/größe",
        "http://user:hunter2@host/x",
        "http://hunter2@host/x",
        "http://user:hunter2/x",
        "http://hunter2 /x",
        "",
    ],
)
def test_a_url_that_cannot_be_called_as_it_stands_is_refused_at_the_start_without_what_is_secret_in_it(
    url, secret, tmp_path
):
    with pytest.raises(ConfigError, match=r"^--webhook") as refused:
        Webhook(url, secret, tmp_path / "queue")
    assert "hunter2" not in str(refused.value)
    assert not (tmp_path / "queue").exists()


@pytest.mark.parametrize(
    "url", ["http://host", "https://host:8443/a?b=%20c#d", "http://[::1]:80/", "HTTP://10.0.0.1/x"]
)
def test_other_urls_are_taken(url):
    require_http(url, "--webhook")


def test_a_start_whose_secret_or_proxy_cannot_work_is_refused(secret, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Webhook("http://localhost", tmp_path / "none", tmp_path / "queue")
    with pytest.raises(ConfigError, match="--webhook-proxy"):
        Webhook("http://localhost", secret, tmp_path / "queue", proxy="proxy:3128")


def test_a_delivery_that_a_person_removes_is_forgotten(receiver, secret, tmp_path):
    receiver.statuses = [503]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.01)
    webhook.put(ROWS[:1])
    until(lambda: receiver.came)
    (tmp_path / "queue" / f"{IDS[0]}.json").unlink(missing_ok=True)
    assert webhook.close(300) == 0


def test_each_verdict_of_a_run_is_posted_once_and_what_is_outstanding_is_in_summary_and_status(
    bundle, parts, receiver, secret, tmp_path, capsys
):
    (tmp_path / "in").mkdir()
    for number, part in enumerate(parts):
        shutil.copy(part, tmp_path / "in" / f"{number}.png")
    arguments = ["score", str(bundle), str(tmp_path / "in"), "--out", str(tmp_path / "rows.jsonl")]
    arguments += ["--webhook", receiver.url, "--webhook-secret-file", str(secret)]
    assert main([*arguments, "--json"]) == 1
    assert main([*arguments, "--json"]) == 1
    report = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (report["n_undelivered"], report["n_dead"]) == (0, 0)
    posted = [json.loads(body) for _, _, body in receiver.came]
    by_file = lambda row: row["file"]  # noqa: E731
    assert [{k: v for k, v in one.items() if k != "delivery"} for one in sorted(posted, key=by_file)] == sorted(
        rows_of(tmp_path / "rows.jsonl"), key=by_file
    )
    receiver.statuses = [503]
    shutil.copy(parts[0], tmp_path / "in" / "2.png")
    assert main([*arguments, "--webhook-wait", "0"]) == 4
    assert "1 not delivered yet, 0 given up (gonogo webhook list " in capsys.readouterr().err
    receiver.statuses = [400]
    assert main(arguments) == 4
    assert "0 not delivered yet, 1 given up" in capsys.readouterr().err
    receiver.statuses = [200]
    assert main(arguments) == 4  # it stays one until a person decides
    assert main(["webhook", "retry", str(tmp_path / "rows.jsonl.webhook")]) == 0
    assert main(arguments) == 1


def test_what_a_delivery_costs_does_not_grow_with_those_that_wait(secret, tmp_path, monkeypatch):
    """Each delivery is one file written and one step of a heap: no look at the others."""
    monkeypatch.setattr(Webhook, "_post", lambda *_: (503, None))
    webhook = Webhook("http://127.0.0.1:9", secret, tmp_path / "queue", first_wait=1e6, longest_wait=1e6)
    looks = []
    monkeypatch.setattr(webhook_module.os, "scandir", lambda *given: looks.append(given))
    for number in range(300):
        webhook.put([{**ROWS[0], "key": f"{number:032x}"}] * 2)
    assert webhook.close(0) == 300
    assert looks == []
    assert isinstance(webhook._queued, set)


def test_an_error_of_http_without_a_body_is_an_answer_too(receiver, secret, tmp_path):
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.01)
    really, tries = webhook._opener.open, []

    def odd(*given, **options):
        tries.append(given)
        if len(tries) == 1:
            raise urllib.error.HTTPError(receiver.url, 502, "Bad Gateway", {}, None)
        return really(*given, **options)

    webhook._opener.open = odd
    webhook.put(ROWS[:1])
    assert webhook.close(300) == 0
