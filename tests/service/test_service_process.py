"""The service over its life: killed, given another bundle, reviewed, streamed to, cleared of images; and its client."""

import asyncio
import json
import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from gonogo.cli.commands.serve import listening
from gonogo.cli.main import main
from gonogo.errors import IntegrityError
from serving import WAIT, activate, bundles, files, inspected, offered, running, serving_process, start, until  # noqa: F401  skips where the extra is missing

# isort: split
import httpx2
import uvicorn

import gonogo
from gonogo.service import client
from gonogo.service.client import AsyncClient, Client, ServiceError
from gonogo.service.schemas import Review
from gonogo.service.security import new_key
from gonogo.store.store import Store

# ruff: noqa: F811  fixtures are imported, and then named


def test_a_bundle_is_exchanged_while_images_are_judged_and_the_choice_outlives_a_restart(start, bundles, files):
    settings = {"bundle": bundles / "first", "bundles": bundles}
    with start(**settings) as running:
        found = offered(running)
        assert {name: (one["active"], bool(one["error"])) for name, one in found.items()} == {
            "first": (True, False),
            "second": (False, False),
            "damaged": (False, True),
        }
        stop = threading.Event()

        def ask_on():
            told = []
            while not stop.is_set() or not told:
                told.append(inspected(running, files[0]))
            return told

        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(ask_on) for _ in range(2)]
            try:
                answer = activate(running, found["second"]["fingerprint"])
                after = inspected(running, files[0])
            finally:
                stop.set()
            told = [one for future in asked for one in future.result()]
        assert answer.status_code == 200, answer.text
        assert after["bundle"] == found["second"]["fingerprint"]
        assert {one["bundle"] for one in told} <= {found["first"]["fingerprint"], found["second"]["fingerprint"]}
        assert offered(running)["second"]["active"]
        before = next(iter(one for one in told if one["bundle"] == found["first"]["fingerprint"]), None)
        if before is not None:
            assert running.ask("GET", f"/v1/inspections/{before['id']}/map").status_code == 409
    with start(**settings) as again:
        assert inspected(again, files[0])["bundle"] == found["second"]["fingerprint"]
    with start(bundle=bundles / "second", bundles=bundles) as other:
        assert inspected(other, files[0])["bundle"] == found["second"]["fingerprint"]


def test_a_bundle_that_is_refused_is_a_5xx_and_the_one_in_use_stays(start, bundles, files, monkeypatch):
    with start(bundle=bundles / "first", bundles=bundles) as running:
        found = offered(running)
        assert activate(running, "0" * 64).status_code == 502
        monkeypatch.setattr(
            "gonogo.service.gauge.Scorer", lambda *_, **__: (_ for _ in ()).throw(IntegrityError("/srv/secret"))
        )
        refused = activate(running, found["second"]["fingerprint"])
        assert (refused.status_code, refused.json()["type"]) == (502, "urn:gonogo:problem:bundle-refused")
        assert "secret" not in refused.text
        assert inspected(running, files[0])["bundle"] == found["first"]["fingerprint"]


def test_a_fingerprint_that_no_bundle_has_is_not_found_where_none_is_damaged(start):
    with start() as running:
        answer = activate(running, "0" * 64)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:gonogo:problem:not-found")


def test_an_activated_bundle_that_is_gone_is_said_when_the_service_starts(start, bundles, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(bundles, own)
    with start(bundle=own / "first", bundles=own) as running:
        assert activate(running, offered(running)["second"]["fingerprint"]).status_code == 200
    shutil.rmtree(own / "second")
    with pytest.raises(IntegrityError, match="was activated last"):
        start(bundle=own / "first", bundles=own)


def test_reviews_add_up_with_who_gave_them_and_find_what_was_reviewed(running, files):
    told = inspected(running, files[0])
    place = f"/v1/inspections/{told['id']}/review"
    first = {"label": "defect", "defect_type": "scratch", "note": "left edge", "reviewer": "review"}
    for review in (first, {"label": "good"}):
        assert running.ask("POST", place, role="review", json=review).status_code == 200
    kept = running.ask("GET", f"/v1/inspections/{told['id']}").json()["reviews"]
    assert [{name: one[name] for name in first} for one in kept] == [
        first,
        {"label": "good", "defect_type": None, "note": None, "reviewer": "review"},
    ]
    assert {one["key"] for one in kept} == {running.keys["review"].split("_")[1]}
    found = running.ask("GET", "/v1/inspections", params={"reviewed": True, "limit": 500}).json()["inspections"]
    assert told["id"] in {one["id"] for one in found}
    assert all(one["reviews"] for one in found)
    for wrong in ({"label": "defect"}, {"label": "good", "defect_type": "x"}):
        assert running.ask("POST", place, role="review", json=wrong).status_code == 422
    assert running.ask("POST", f"/v1/inspections/{'0' * 32}/review", role="review", json=first).status_code == 404


def test_a_stream_has_a_line_for_each_image_the_bad_one_too_and_counts_them_at_its_end(running, files):
    parts = [("image", (f"{number}.png", path.read_bytes())) for number, path in enumerate(files)]
    parts.insert(3, ("image", ("bad.png", b"no image")))
    answer = running.ask("POST", "/v1/inspect:stream", files=parts)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines.pop() == {"n_images": len(parts)}
    assert sorted(line["index"] for line in lines) == list(range(len(parts)))
    for line in lines:
        if line["index"] == 3:
            assert line["problem"]["status"] == 422
        else:
            assert line["inspection"]["image"]["name"] == parts[line["index"]][1][0]
            assert running.service.store.inspection(line["inspection"]["id"]) is not None


def test_a_stream_that_breaks_off_has_no_count_and_what_came_whole_is_kept(running, files):
    head = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    body = head + files[0].read_bytes() + b"\r\n" + head + files[1].read_bytes()[:50]
    answer = running.ask(
        "POST", "/v1/inspect:stream", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert sorted(line["index"] for line in lines if line["index"] is not None) == [0]
    assert lines[-1]["problem"]["type"] == "urn:gonogo:problem:bad-request"
    assert not any("n_images" in line for line in lines)


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [(b"", "image/png", 422), (b"--b--\r\n", "multipart/form-data; boundary=b", 422), (b"{}", "application/json", 415)],
)
def test_a_stream_that_has_no_image_is_refused_as_a_whole(running, content, content_type, status):
    answer = running.ask("POST", "/v1/inspect:stream", content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_images_go_by_age_and_by_size_oldest_first_and_their_rows_stay(start, files):
    with start() as running:
        told = [inspected(running, path) for path in files[:4]]
        store = running.service.store
        sizes = [len(path.read_bytes()) for path in files[:4]]
        assert store.expire(days=1, n_bytes=sum(sizes)) == 0
        assert store.expire(days=None, n_bytes=sizes[2] + sizes[3]) == 2
        statuses = [running.ask("GET", f"/v1/inspections/{one['id']}/image").status_code for one in told]
        assert statuses == [410, 410, 200, 200]
        assert running.ask("GET", f"/v1/inspections/{told[0]['id']}").json()["score"] == told[0]["score"]
        assert store.expire(days=1e-9, n_bytes=None) == 2
        assert inspected(running, files[0])["id"]
        assert store.images.path_of(told[0]["image"]["sha256"]).read_bytes() == files[0].read_bytes()


def test_an_image_that_goes_while_it_is_judged_is_there_again_when_it_is_kept(start, files, monkeypatch):
    with start() as running:
        store, judge = running.service.store, running.service.runner._score
        gone = []

        def judge_slowly(jobs):
            until(lambda: any(store.images.folder.glob("??/" + "?" * 64)))  # it is written beside
            for path in store.images.paths():
                path.unlink()
                gone.append(path)
            return judge(jobs)

        monkeypatch.setattr(running.service.runner._score_batched, "_work", judge_slowly)
        told = inspected(running, files[0])
        assert gone == [store.images.path_of(told["image"]["sha256"])]
        assert gone[0].read_bytes() == files[0].read_bytes()


def test_the_client_asks_what_the_service_has(running, files):
    with Client("http://testserver", running.keys["admin"], transport=running.http._transport) as ask:
        first, second = ask(client.inspect(files[0], files[-1], include=["map"])).inspections
        assert (first.image.name, second.image.name) == (files[0].name, files[-1].name)
        assert first.map_png is not None
        (raw,) = ask(client.inspect(files[0].read_bytes())).inspections
        assert raw.image.sha256 == first.image.sha256
        assert ask(client.inspection(first.id)).score == first.score
        reviewed = ask(client.review(first.id, Review(label="good")))
        assert reviewed.reviews[-1].reviewer == "admin"
        page = ask(client.inspections(image=first.image.sha256, verdict=first.verdict, limit=2))
        assert {one.image.sha256 for one in page.inspections} == {first.image.sha256}
        (active,) = [one for one in ask(client.bundles()).bundles if one.active]
        assert ask(client.activate(active.fingerprint or "")).active
        with pytest.raises(ServiceError, match="422") as refused:
            ask(client.inspect(b"no image"))
        assert refused.value.problem.type == "urn:gonogo:problem:unreadable-image"


def test_the_client_that_is_awaited_does_the_same():
    def answer(request):
        assert request.headers["authorization"] == "Bearer k"
        return httpx2.Response(503, headers={"retry-after": "7"}, text="a proxy's page")

    async def asked():
        async with AsyncClient("http://there", "k", transport=httpx2.MockTransport(answer)) as ask:
            await ask(client.bundles())

    with pytest.raises(ServiceError) as refused:
        asyncio.run(asked())
    assert (refused.value.problem.status, refused.value.retry_after) == (503, 7.0)


def test_killed_under_load_it_has_lost_nothing_that_it_acknowledged_and_ends_gently_when_asked(bundle, files, tmp_path):
    store = Store(tmp_path / "data")
    _, key = new_key(store, "line", "inspect")
    store.close()
    port = 20_000 + os.getpid() % 20_000
    process = serving_process(bundle, tmp_path / "data", port)
    acknowledged = []

    def ask_on(number):
        with Client(f"http://127.0.0.1:{port}", key) as ask:
            while True:
                path = files[(len(acknowledged) + number) % len(files)]
                try:
                    acknowledged.extend((one, path) for one in ask(client.inspect(path)).inspections)
                except (httpx2.HTTPError, ServiceError):
                    return

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask_on, number) for number in range(4)]
        until(lambda: len(acknowledged) >= 30, WAIT)
        os.kill(process.pid, signal.SIGKILL)
        for one in asked:
            one.result()
    process.communicate()
    again = serving_process(bundle, tmp_path / "data", port)
    with Client(f"http://127.0.0.1:{port}", key) as ask:
        kept = ask(client.inspection(acknowledged[-1][0].id))
    assert kept.score == acknowledged[-1][0].score
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=WAIT)
    assert again.returncode == 0
    assert list((tmp_path / "home").rglob("*")) == []  # where onnxruntime would note what it tells its makers
    store = Store(tmp_path / "data")
    for told, path in acknowledged:
        row = store.inspection(told.id)
        assert row is not None
        assert row["score"] == told.score
        assert store.images.path_of(row["image_sha256"]).read_bytes() == path.read_bytes()
    store.close()


def test_an_answer_does_not_wait_for_the_clients_word_that_it_has_the_first_half_of_it():
    with listening("127.0.0.1", 0) as place:
        place.listen()
        with socket.create_connection(place.getsockname()), place.accept()[0] as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_keys_are_made_listed_and_revoked_by_commands(tmp_path, capsys):
    place = ["--data", str(tmp_path)]
    assert main(["serve", "key", "camera 1", "--role", "inspect", "--json", *place]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["serve", "keys", "--json", *place]) == 0
    told = capsys.readouterr().out
    assert made["key"].split("_", 2)[2] not in told
    assert [one["name"] for one in json.loads(told)["keys"]] == ["camera 1"]
    assert main(["serve", "revoke", made["id"], *place]) == 0
    assert main(["serve", "revoke", made["id"], *place]) == 3
    assert f"no key {made['id']}" in capsys.readouterr().err


def test_a_name_of_a_key_forges_no_line_of_the_list(tmp_path, capsys):
    name = "x\n0123456789abcdef  admin    root\x1b[1A\r\u202e"
    store = Store(tmp_path)
    key, _ = new_key(store, name, "inspect")
    store.close()
    assert main(["serve", "keys", "--data", str(tmp_path)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{key.id}  inspect  x\\n0123456789abcdef  admin    root\\x1b[1A\\r\\u202e")
    assert line.isprintable()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "--bundle"),
        (["--bundle", "{bundle}", "--host", "0.0.0.0"], 3, "--tls-cert"),
        (["--bundle", "{bundle}", "--tls-cert", "x.pem"], 3, "go together"),
        (["--bundle", "nowhere"], 4, "nowhere"),
        (["--bundle", "{bundle}", "--rate", "0"], 2, "above 0"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_listens(words, status, message, bundle, tmp_path, capsys):
    words = [word.format(bundle=bundle) for word in words]
    try:
        ended = main(["serve", "--data", str(tmp_path), *words])
    except SystemExit as usage:
        ended = usage.code
    assert ended == status
    assert message in capsys.readouterr().err


POSTGRES = os.environ.get("GONOGO_TEST_POSTGRES")


@pytest.mark.skipif(not POSTGRES, reason="GONOGO_TEST_POSTGRES names no empty database of PostgreSQL")
def test_rows_may_live_in_postgresql(start, files):
    with start(database=POSTGRES) as running:
        told = inspected(running, files[0])
        since = datetime.fromtimestamp(time.time() - 60, UTC).isoformat()
        found = running.ask("GET", "/v1/inspections", params={"since": since, "image": told["image"]["sha256"]})
        assert told["id"] in {one["id"] for one in found.json()["inspections"]}
        review = {"label": "good"}
        place = f"/v1/inspections/{told['id']}/review"
        assert running.ask("POST", place, role="review", json=review).json()["reviews"][0]["reviewer"] == "review"


def test_the_first_line_of_the_log_is_the_address_before_anything_is_loaded(bundle, tmp_path, monkeypatch, capsys):
    ports = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda _, sockets: ports.append(sockets[0].getsockname()[1]))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(["serve", "--bundle", str(bundle), "--data", str(tmp_path / "data"), "--port", "0"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0] == f"gonogo serve {gonogo.__version__}: http://127.0.0.1:{ports[0]}"
    assert "no key yet" in told[1]
    broken = ["serve", "--bundle", str(tmp_path), "--data", str(tmp_path / "d"), "--host", "::1", "--port", "0"]
    assert main(broken) == 4
    assert capsys.readouterr().err.startswith(f"gonogo serve {gonogo.__version__}: http://[::1]:")
