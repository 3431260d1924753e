"""A hot folder, files sorted by verdict, and a webhook: each file once, whatever fails, whenever it is killed."""

import http.server
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from gonogo.cli.main import main
from gonogo.errors import ConfigError, DataError
from gonogo.line.hot_folder import HotFolder
from gonogo.line.sorting import Sorter
from gonogo.line.webhook import Webhook, delivery_id, signature
from processes import COMMAND_LINE, command_killed, needs_kill, until


@pytest.fixture(scope="module")
def parts(digits):
    """An image that the gauge passes and one that it rejects."""
    records = digits.with_role("test")
    return [digits.path_of(next(record for record in records if record.label == label)) for label in (0, 1)]


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def watching(folder, **options):
    now = [0.0]
    return now, HotFolder(folder, settle=2.0, without=set(), clock=lambda: now[0], **options)


def test_a_file_is_given_out_once_and_not_before_it_has_stopped_growing(tmp_path):
    now, hot = watching(tmp_path)
    given = []
    for second, size in enumerate([10, 20, 30, 30, 30, 30, 30]):
        now[0] = float(second)
        if second < 3:
            (tmp_path / "a.png").write_bytes(b"." * size)
        given += [(second, item.path.name) for item in hot.complete()]
        assert hot.waiting is (second < 4)
    assert given == [(4, "a.png")]


def test_a_file_that_is_written_anew_is_given_out_again_and_so_is_one_in_the_place_of_one_that_went(tmp_path):
    now, hot = watching(tmp_path)
    part = tmp_path / "sub" / "a.png"

    def given_after(seconds):
        list(hot.complete())
        now[0] += seconds
        return [item.within.as_posix() for item in hot.complete()]

    part.parent.mkdir()
    part.write_bytes(b"1")
    assert given_after(2) == ["sub/a.png"]
    assert given_after(2) == []
    part.write_bytes(b"22")
    assert given_after(1.9) == []
    assert given_after(0.1) == ["sub/a.png"]
    hot.forget(part)
    assert given_after(2) == ["sub/a.png"]


def test_hidden_files_and_other_suffixes_are_left_alone_and_a_folder_that_is_not_there_is_refused(tmp_path):
    for name in (".a.png", "a.png.partial", "a.txt"):
        (tmp_path / name).write_bytes(b"1")
    now, hot = watching(tmp_path)
    assert list(hot.complete()) == []
    now[0] = 9.0
    assert list(hot.complete()) == []
    with pytest.raises(DataError, match="is not a folder"):
        watching(tmp_path / "none")


def watch(bundle, folder, *arguments):
    return main(["score", str(bundle), "--watch", str(folder), "--settle", "0", "--idle", "0", *map(str, arguments)])


def test_each_file_goes_into_the_folder_of_its_verdict_and_none_takes_the_place_of_another(bundle, parts, tmp_path):
    good, bad = parts
    out, rows = tmp_path / "sorted", tmp_path / "rows.jsonl"
    for part, name in ((good, "1.png"), (bad, "2.png"), (good, "sub/1.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(part, tmp_path / name)
    (tmp_path / "3.png").write_bytes(b"no image")
    assert watch(bundle, tmp_path, "--sort", out, "--out", rows) == 3
    assert below(out) == ["error/3.png", "good/1.png", "good/sub/1.png", "reject/2.png"]
    shutil.copy2(out / "good/1.png", tmp_path / "1.png")  # the very same, once more
    assert watch(bundle, tmp_path, "--sort", out, "--out", rows) == 0
    assert below(out) == ["error/3.png", "good/1.png", "good/1_2.png", "good/sub/1.png", "reject/2.png"]
    assert len(rows_of(rows)) == 5
    assert all(Path(row["moved_to"]).is_file() for row in rows_of(rows))
    assert [path.name for path in tmp_path.glob("*.png")] == []


def test_without_a_folder_to_sort_into_files_stay_and_have_a_row_once_over_all_starts(bundle, parts, tmp_path):
    shutil.copy(parts[1], tmp_path / "1.png")
    rows = tmp_path / "rows.jsonl"
    assert watch(bundle, tmp_path, "--out", rows) == 1
    assert watch(bundle, tmp_path, "--out", rows) == 1
    assert [row["file"] for row in rows_of(rows)] == [str(tmp_path / "1.png")]


def test_a_file_named_twice_is_judged_and_moved_once_without_a_hot_folder_too(bundle, parts, tmp_path, capsys):
    shutil.copy(parts[0], tmp_path / "1.png")
    arguments = ["score", str(bundle), str(tmp_path / "1.png"), str(tmp_path), "--sort", str(tmp_path / "s"), "--jsonl"]
    main([*arguments, "--workers", "3"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("moved_to") for row in found if "error" not in row] == [str(tmp_path / "s/good/1.png")]
    assert below(tmp_path) == ["s/good/1.png"]


def test_a_file_that_has_a_row_and_was_not_moved_is_moved_and_not_judged_again(bundle, parts, tmp_path, monkeypatch):
    """A kill between the row and the move, made by a move that fails."""
    shutil.copy(parts[1], tmp_path / "1.png")
    arguments = [tmp_path, "--sort", tmp_path / "s", "--out", tmp_path / "rows.jsonl"]
    with monkeypatch.context() as killed:
        killed.setattr(Sorter, "move", lambda *_: 1 / 0)
        assert watch(bundle, *arguments) not in (0, 1)
    assert (tmp_path / "1.png").is_file()
    assert watch(bundle, *arguments) == 1
    assert below(tmp_path / "s") == ["reject/1.png"]
    assert len(rows_of(tmp_path / "rows.jsonl")) == 1


def test_another_file_of_that_name_is_judged_although_the_first_was_never_moved(bundle, parts, tmp_path, monkeypatch):
    shutil.copy(parts[0], tmp_path / "1.png")
    arguments = [tmp_path, "--sort", tmp_path / "s", "--out", tmp_path / "rows.jsonl"]
    with monkeypatch.context() as killed:
        killed.setattr(Sorter, "move", lambda *_: 1 / 0)
        watch(bundle, *arguments)
    shutil.copy(parts[1], tmp_path / "1.png")
    assert watch(bundle, *arguments) == 1
    assert below(tmp_path / "s") == ["reject/1.png"]


@needs_kill
@pytest.mark.parametrize("at", [2000, 2111, 2222])
def test_killed_while_it_watches_and_started_again_every_file_is_in_one_place_with_one_row(bundle, parts, tmp_path, at):
    hot, out, rows = tmp_path / "hot", tmp_path / "sorted", tmp_path / "rows.jsonl"
    hot.mkdir()
    for number in range(150):
        shutil.copy(parts[number % 2], hot / f"{number:03d}.png")
    words = ["score", str(bundle), "--watch", str(hot), "--settle", "0"]
    words += ["--sort", str(out), "--out", str(rows), "--workers", "1"]
    killed = command_killed(COMMAND_LINE, *words, first="Line._move", at=at)
    assert subprocess.run(killed, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert 0 < len(list(hot.iterdir())) < 150
    assert watch(bundle, hot, "--sort", out, "--out", rows) == 1
    names = Counter(path.name for path in out.rglob("*.png"))
    assert names == Counter(f"{number:03d}.png" for number in range(150))
    assert Counter(Path(row["file"]).name for row in rows_of(rows)) == names
    assert len(list((out / "reject").iterdir())) == 75


@needs_kill
def test_asked_to_stop_it_ends_well_and_says_what_it_did(bundle, parts, tmp_path):
    shutil.copy(parts[1], tmp_path / "1.png")
    command = [sys.executable, "-m", "gonogo.cli.main", "score", str(bundle), "--watch", str(tmp_path), "--settle", "0"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "rows.jsonl")], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    rows = tmp_path / "rows.jsonl"
    until(lambda: rows.is_file() and rows.stat().st_size)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert said.startswith("0 pass, 1 reject, 0 unreadable")


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the server's statuses in turn, the last one for ever, and keeps what came."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((dict(self.headers), body))
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if status is None:
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    """A server on this machine; `statuses` are its answers, None for a connection that breaks."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.came, server.statuses = [], [200]
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


ROWS = [{"file": f"{n}.png", "key": f"{n:032x}", "bundle": "f", "verdict": "reject"} for n in range(3)]


def test_what_fails_twice_is_sent_again_later_and_later_with_the_same_id_and_a_signature_that_holds(
    receiver, secret, tmp_path, monkeypatch
):
    waits, begun = [], int(time.time())

    class Waits(threading.Condition):
        def wait_for(self, predicate, timeout=None):
            waits.append((self, timeout))
            return super().wait_for(predicate, timeout)

    monkeypatch.setattr(threading, "Condition", Waits)
    receiver.statuses = [500, None, 204]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.01)
    webhook.put(ROWS[:1])
    assert webhook.close(300) == 0
    assert below(tmp_path / "queue") == []
    assert [wait for condition, wait in waits if condition is webhook._changed] == [0.01, 0.02]
    headers, bodies = zip(*receiver.came, strict=True)
    assert len(bodies) == 3
    assert {header["X-Gonogo-Delivery"] for header in headers} == {delivery_id(ROWS[0])}
    for header, body in zip(headers, bodies, strict=True):
        expected = signature(b"long and random", header["X-Gonogo-Timestamp"], body)
        assert header["X-Gonogo-Signature"] == f"sha256={expected}"
        assert begun <= int(header["X-Gonogo-Timestamp"]) <= time.time()
        assert json.loads(body) == {"delivery": delivery_id(ROWS[0]), **ROWS[0]}


def test_the_signature_is_that_of_the_standard_and_depends_on_time_body_and_secret():
    # RFC 4231, test case 2: key "Jefe", data "what do ya want for nothing?", with a dot in place of a blank
    import hashlib
    import hmac

    expected = hmac.digest(b"Jefe", b"what.do ya want for nothing?", hashlib.sha256).hex()
    assert signature(b"Jefe", "what", b"do ya want for nothing?") == expected
    others = [signature(b"jefe", "what", b"do"), signature(b"Jefe", "whet", b"do"), signature(b"Jefe", "what", b"di")]
    assert len({expected, *others}) == 4


def test_what_was_not_delivered_waits_for_the_next_start(receiver, secret, tmp_path):
    receiver.statuses = [503]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue", first_wait=0.02)
    webhook.put(ROWS)
    assert webhook.close(0.2) == 3
    assert len(below(tmp_path / "queue")) == 3
    receiver.statuses, n_before = [200], len(receiver.came)
    assert Webhook(receiver.url, secret, tmp_path / "queue").close(300) == 0
    delivered = [json.loads(body)["file"] for _, body in receiver.came[n_before:]]
    assert sorted(delivered) == ["0.png", "1.png", "2.png"]
    assert below(tmp_path / "queue") == []


@pytest.mark.parametrize("status", [302, 400, 410])
def test_what_the_receiver_refuses_is_kept_aside_and_stops_nothing(status, receiver, secret, tmp_path):
    receiver.statuses = [status, 200]
    webhook = Webhook(receiver.url, secret, tmp_path / "queue")
    webhook.put(ROWS[:2])
    assert webhook.close(300) == 0
    assert webhook.n_refused == 1
    assert below(tmp_path / "queue") == [f"{delivery_id(ROWS[0])}.refused"]
    assert [json.loads(body)["file"] for _, body in receiver.came] == ["0.png", "1.png"]


def test_a_start_whose_webhook_cannot_work_is_refused(secret, tmp_path):
    with pytest.raises(ConfigError, match="expected http"):
        Webhook("file:///etc/passwd", secret, tmp_path / "queue")
    with pytest.raises(ConfigError, match="cannot be read"):
        Webhook("http://localhost", tmp_path / "none", tmp_path / "queue")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        Webhook("http://localhost", tmp_path / "empty", tmp_path / "queue")


def test_each_verdict_of_a_run_is_posted_once_and_the_summary_says_what_was_not(
    bundle, parts, receiver, secret, tmp_path, capsys
):
    (tmp_path / "in").mkdir()
    for number, part in enumerate(parts):
        shutil.copy(part, tmp_path / "in" / f"{number}.png")
    arguments = ["score", str(bundle), str(tmp_path / "in"), "--out", str(tmp_path / "rows.jsonl"), "--json"]
    arguments += ["--webhook", receiver.url, "--webhook-secret-file", str(secret)]
    assert main(arguments) == 1
    assert main(arguments) == 1
    report = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (report["n_undelivered"], report["n_refused"]) == (0, 0)
    posted = [json.loads(body) for _, body in receiver.came]
    assert [{k: v for k, v in one.items() if k != "delivery"} for one in posted] == rows_of(tmp_path / "rows.jsonl")
    receiver.statuses = [503]
    shutil.copy(parts[0], tmp_path / "in" / "2.png")
    assert main([*arguments[:-5], *arguments[-4:], "--webhook-wait", "0"]) == 1
    assert "1 not delivered yet" in capsys.readouterr().err
