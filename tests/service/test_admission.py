"""What is accepted is bounded in memory, shared out fairly among the keys, and given up when nobody waits for it."""

import asyncio
import io
import json
import logging
import math
import signal
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import uvicorn
from PIL import Image

from serving import files, inspected, running, start, until  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.cli.main import main
from gonogo.compute.memory import resident_bytes
from gonogo.errors import ConfigError, SlowImageError
from gonogo.images import reading
from gonogo.inference import scorer
from gonogo.inference.scorer import Scorer
from gonogo.service import inspecting, security
from gonogo.service.batcher import Batcher
from gonogo.service.inspecting import Load
from gonogo.service.memory import MemoryBudget
from gonogo.service.problems import Problem
from gonogo.service.security import new_key
from gonogo.service.settings import MEBIBYTE, Settings
from gonogo.service.turns import Turns

# ruff: noqa: F811  fixtures are imported, and then named


def noise(width, height):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)).save(file, "BMP")
    return file.getvalue()


@pytest.fixture
def gated(monkeypatch):
    """Let a service score nothing until the gate is set; returns the gate, and the sizes of what was begun."""

    def gate(running):
        scorer, gate, begun = running.service.gauge.scorer, threading.Event(), []
        real = scorer.score_pixels

        def wait(pixels, **how):
            begun.append(pixels.shape)
            assert gate.wait(300)
            return real(pixels, **how)

        monkeypatch.setattr(scorer, "score_pixels", wait)
        return gate, begun

    return gate


def budget(**settings):
    made = MemoryBudget(Settings(bundle="b", data="d", memory=resident_bytes() + 4000 * MEBIBYTE, **settings))
    made.held_limit, made.key_limit = 100, 60
    return made


def test_bytes_are_counted_for_each_key_and_in_all_and_refused_ones_are_not_held():
    memory = budget()
    with memory.holds("a") as of_a, memory.holds("b") as of_b:
        first, second = of_a.new(), of_b.new()
        first.add(60)
        with pytest.raises(Problem, match="this key") as refused:
            of_a.new().add(1)
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
        second.add(40)
        with pytest.raises(Problem, match="all keys"):
            second.add(1)
        first.join()  # a thread works on it
        of_a.end(first)
        assert memory.held == 100
        first.leave()
        assert memory.held == 40
        second.add(20)
    assert memory.held == 0


def test_bytes_stay_held_as_long_as_a_thread_needs_them_though_the_request_has_ended():
    memory = budget()
    with memory.holds("a") as holds:
        hold = holds.new()
        hold.add(10)
        hold.join()
    assert memory.held == 10
    hold.leave()
    assert memory.held == 0


def test_a_budget_that_leaves_nothing_beside_the_bundle_is_refused_with_what_is_needed():
    settings = Settings(bundle="b", data="d", memory=resident_bytes() + 100 * MEBIBYTE)
    with pytest.raises(ConfigError, match=r"at least \d+ MiB are needed"):
        MemoryBudget(settings)


def test_keys_take_turns_and_who_is_cancelled_takes_none():
    order = []

    async def work(turns, key, number):
        await turns.take(key)
        order.append(f"{key}{number}")
        await asyncio.sleep(0)
        turns.end()

    async def all_of_them():
        turns = Turns(1)
        await turns.take("x")
        asked = [asyncio.create_task(work(turns, "a", number)) for number in range(4)]
        await asyncio.sleep(0)
        asked += [asyncio.create_task(work(turns, key, number)) for key in "bc" for number in range(2)]
        await asyncio.sleep(0)
        asked[1].cancel()
        await asyncio.sleep(0)
        turns.end()
        await asyncio.gather(*asked, return_exceptions=True)
        await turns.take("x")  # it is free again

    asyncio.run(all_of_them())
    assert order == ["a0", "b0", "c0", "a2", "b1", "c1", "a3"]


def test_a_body_beyond_the_budget_is_503_while_another_key_is_judged_and_all_is_given_back(start, files):
    with start() as running:
        running.service.memory.key_limit = 100_000
        refused = running.ask("POST", "/v1/inspect", content=noise(400, 300))
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:gonogo:problem:busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert inspected(running, files[0], role="admin")
        parts = [("image", ("a.bmp", noise(100, 100)))] * 5
        assert running.ask("POST", "/v1/inspect", files=parts).status_code == 503
        lines = running.ask("POST", "/v1/inspect:stream", files=[parts[0], ("image", noise(400, 300))]).text
        assert json.loads(lines.splitlines()[-1])["problem"]["type"] == "urn:gonogo:problem:busy"
        assert running.service.memory.held == 0
        assert running.service.runner.waiting == 0


def test_a_decoded_image_counts_too_and_so_does_an_array_that_becomes_one(start):
    with start() as running:
        array = io.BytesIO()
        np.save(array, np.zeros((100, 100, 3), np.uint8))  # 30 kB, of which there are copies on the way
        running.service.memory.key_limit = 100_000
        query = {"pixels": "rgb8"}
        assert running.ask("POST", "/v1/inspect", content=array.getvalue(), params=query).status_code == 503
        assert running.service.memory.held == 0
        running.service.memory.key_limit = 200_000
        assert running.ask("POST", "/v1/inspect", content=array.getvalue(), params=query).status_code == 200
        file = io.BytesIO()
        Image.new("L", (900, 900)).save(file, "PNG")  # small, and 2.43 MB when it is decoded
        running.service.memory.key_limit = 2_000_000
        assert running.ask("POST", "/v1/inspect", content=file.getvalue()).status_code == 503
        assert running.service.memory.held == 0


def test_an_image_that_may_need_more_than_is_set_aside_is_refused_before_it_is_decoded(start, monkeypatch):
    with start() as running:
        monkeypatch.setattr(inspecting, "LARGE_PIXELS", 10_000)
        monkeypatch.setattr(reading, "pixels_of", lambda *_: pytest.fail("it was decoded"))
        running.service.memory.large_limit = running.service.gauge.scorer.working_bytes(200, 200) - 1
        answer = running.ask("POST", "/v1/inspect", content=noise(200, 200))
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:gonogo:problem:too-large")
        assert "--memory" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (reading, "pixels_of"),
        (Scorer, "score_pixels"),
        (scorer, "defect_mask"),
        (scorer, "find_regions"),
        (inspecting, "draw_picture"),
    ],
)
def test_a_large_image_keeps_no_small_one_waiting_at_any_step_and_large_ones_go_one_by_one(
    start, files, monkeypatch, owner, step
):
    monkeypatch.setattr(inspecting, "LARGE_PIXELS", 10_000)
    real, gate, begun = getattr(owner, step), threading.Event(), []

    def wait_if_large(*arguments, **options):
        seen = [one for one in arguments if isinstance(one, bytes | np.ndarray)]
        sizes = [len(one) if isinstance(one, bytes) else one.size for one in seen]
        if max(sizes) > 30_000:
            begun.append(sizes)
            assert gate.wait(60)
        return real(*arguments, **options)

    monkeypatch.setattr(owner, step, wait_if_large)
    with start() as running:
        post = partial(running.ask, "POST", "/v1/inspect?include=overlay")
        with ThreadPoolExecutor(3) as pool:
            large = [pool.submit(post, content=noise(200, 200 + n)) for n in range(3)]
            until(lambda: begun)
            small = [post(content=path.read_bytes()).status_code for path in files[:2]]
            assert (small, len(begun)) == ([200, 200], 1)
            gate.set()
            assert [one.result().status_code for one in large] == [200, 200, 200]
        assert running.service.memory.held == 0


def test_what_would_wait_for_longer_than_the_deadline_is_refused_at_once(start, monkeypatch):
    monkeypatch.setattr(inspecting, "LARGE_PIXELS", 10_000)
    with start(deadline=5.0) as running:
        load = running.service.runner._large.load
        load.waiting_of, load.seconds_each = Counter({"another": 1}), 6.0
        answer = running.ask("POST", "/v1/inspect", content=noise(200, 200))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "6")
        load.waiting_of.clear()  # when nothing waits, an image is taken, however long it may take
        assert running.ask("POST", "/v1/inspect", content=noise(200, 200)).status_code == 200


def test_what_waited_until_it_can_no_longer_end_in_time_is_told_to_come_again_and_not_begun(start, gated, monkeypatch):
    monkeypatch.setattr(inspecting, "LARGE_PIXELS", 100)
    with start(deadline=60.0) as running, ThreadPoolExecutor(1) as pool:
        gate, begun = gated(running)
        running.service.runner._large.load.seconds_each = (
            59.0 / 160_000
        )  # so that a minute hardly suffices for the second
        first = pool.submit(running.ask, "POST", "/v1/inspect", content=noise(12, 10))
        until(lambda: begun)
        late = running.ask("POST", "/v1/inspect", content=noise(400, 400))
        assert (late.status_code, late.json()["type"]) == (503, "urn:gonogo:problem:busy")
        assert int(late.headers["retry-after"]) >= 1
        gate.set()
        assert (first.result().status_code, len(begun)) == (200, 1)
        assert running.service.runner._large.load.waiting == 0


def test_what_images_take_is_expected_with_a_margin_where_it_varies():
    load = Load(9.0)
    for seconds in (1.0, 3.0) * 100:
        load.note(seconds, 1)
    assert load.seconds_each == pytest.approx(2.0, abs=0.2)
    assert load.seconds_of(10) == pytest.approx(10 * (2.0 + inspecting.DEVIATIONS * 1.0), rel=0.1)
    steady = Load(9.0)
    for _ in range(3):
        steady.note(2.0, 1)
    assert steady.seconds_of(10) == 20.0


def in_turns(keys, *, at_once):
    """The batches that a batcher makes of items of these keys, which arrive one by one while the first is worked on."""
    gate, batches = threading.Event(), []

    def work(items):
        batches.append(items)
        assert gate.wait(60)
        return items

    batcher = Batcher(work, weight=lambda _: 1 / at_once, whose=lambda item: item[0])
    with ThreadPoolExecutor(len(keys)) as pool:
        asked = []
        for number, key in enumerate(keys):
            asked.append(pool.submit(batcher, f"{key}{number}"))
            until(lambda n=number: len(batches) == 1 and batcher.n_waiting == n)
        gate.set()
        assert [one.result() for one in asked] == [f"{key}{number}" for number, key in enumerate(keys)]
    return batches


def test_a_key_with_a_long_queue_lets_the_others_have_their_turns_in_each_batch():
    assert in_turns("xaaaabbc", at_once=1) == [["x0"], ["a1"], ["b5"], ["c7"], ["a2"], ["b6"], ["a3"], ["a4"]]
    assert in_turns("xaaaabbc", at_once=3) == [["x0"], ["a1", "b5", "c7"], ["a2", "b6", "a3"], ["a4"]]


def test_what_is_slow_to_decode_goes_to_the_thread_of_large_images_and_keeps_no_other_waiting(
    start, files, monkeypatch
):
    slow, gate, begun, decode = noise(40, 40), threading.Event(), [], inspecting.decode_checked

    def wait_if_slow(data, where, check, *, most_seconds):
        if data == slow:
            begun.append(most_seconds)
            if most_seconds < math.inf:
                raise SlowImageError("it takes longer than small ones may")
            assert gate.wait(60)
        return decode(data, where, check, most_seconds=most_seconds)

    monkeypatch.setattr(inspecting, "decode_checked", wait_if_slow)
    with start() as running, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(running.ask, "POST", "/v1/inspect", content=slow)
        until(lambda: len(begun) == 2)
        assert begun == [inspecting.SMALL_SECONDS, math.inf]
        assert running.service.runner._large.load.waiting == inspecting.SLOW_PIXELS
        for path in files[:3]:
            assert inspected(running, path)["verdict"]
        gate.set()
        assert asked.result().status_code == 200
        assert running.service.runner._large.load.waiting == 0


def test_a_key_has_half_of_the_waiting_images_and_another_one_finds_room(start, files, gated):
    with start(waiting=8, max_images=2, batch=1) as running, ThreadPoolExecutor(8) as pool:
        gate, _ = gated(running)
        asked = [pool.submit(running.ask, "POST", "/v1/inspect", content=files[0].read_bytes()) for _ in range(4)]
        until(lambda: running.service.runner.waiting == 4)
        refused = running.ask("POST", "/v1/inspect", content=files[0].read_bytes())
        assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (503, True)
        assert "4 images of this key are waiting, and at most 4 may" in refused.json()["detail"]
        other = [
            pool.submit(running.ask, "POST", "/v1/inspect", role="admin", content=files[0].read_bytes())
            for _ in range(4)
        ]
        until(lambda: running.service.runner.waiting == 8)
        third = running.ask("POST", "/v1/inspect", role="review", content=files[0].read_bytes())
        assert "8 images are waiting, and at most 8 may" in third.json()["detail"]
        gate.set()
        assert [one.result().status_code for one in (*asked, *other)] == [200] * 8


def test_the_load_learns_from_what_images_took_and_forgets_its_guess():
    load = Load(0.05)
    load.note(3.0, 2)
    assert load.seconds_each == 1.5
    load.note(0.5, 1)
    assert load.seconds_each == 1.0  # the mean of the first ten, each batch counting once
    for _ in range(200):
        load.note(8.0, 4)
    assert load.seconds_each == pytest.approx(2.0)


def test_how_long_a_key_will_wait_is_told_by_turns_and_not_by_the_queue_of_another():
    load = Load(2.0)
    assert load.seconds_with("a", 1) == 0.0  # nothing waits
    load.add("a", 50)
    load.add("b", 1)
    assert (load.waiting, load.seconds) == (51, 102.0)
    assert load.seconds_with("c", 1) == 2.0 * (1 + 1 + 1)
    assert load.seconds_with("c", 4) == 2.0 * (4 + 4 + 1)
    assert load.seconds_with("a", 1) == 2.0 * (51 + 1)
    load.add("a", -50)
    assert load.waiting_of == {"b": 1}


@pytest.mark.parametrize("lane", ["_small", "_large"])
def test_a_key_whose_images_wait_for_longer_than_the_deadline_takes_no_room_from_another(
    start, files, monkeypatch, lane
):
    monkeypatch.setattr(inspecting, "LARGE_PIXELS", 10 if lane == "_large" else 10**9)
    with start(deadline=60.0) as running:
        load, image = getattr(running.service.runner, lane).load, files[0].read_bytes()
        one = Image.open(files[0]).width * Image.open(files[0]).height if lane == "_large" else 1
        load.seconds_each = 8.0 / one
        (greedy,) = (row["id"] for row in running.service.store.all_keys() if row["name"] == "inspect")
        load.add(greedy, 20 * one)
        refused = running.ask("POST", "/v1/inspect", content=image)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "160")
        assert running.ask("POST", "/v1/inspect", role="admin", content=image).status_code == 200


def test_the_service_notes_what_small_and_large_images_took_apart(start, files, monkeypatch):
    with start() as running:
        small, large = running.service.runner._small.load, running.service.runner._large.load
        inspected(running, files[0])
        assert (small.n_noted, large.n_noted) == (1, 0)
        for width, noted in ((1024, (2, 0)), (1025, (2, 1))):  # many cameras of a line give the first
            assert running.ask("POST", "/v1/inspect", content=noise(width, 1024)).status_code == 200
            assert (small.n_noted, large.n_noted) == noted
        monkeypatch.setattr(inspecting, "LARGE_PIXELS", 10)
        inspected(running, files[0])
        assert (small.n_noted, large.n_noted) == (2, 2)
        assert 0 < small.seconds_each < 60


def test_threads_yield_more_often_and_log_lines_are_few_while_it_serves_and_as_before_when_it_ended(
    bundle, tmp_path, monkeypatch
):
    def state():
        loggers = [logging.getLogger(name) for name in ("gonogo.service", "gonogo.store", "asyncio", "uvicorn.error")]
        return sys.getswitchinterval(), [len(one.filters) for one in loggers]

    before, seen = state(), []
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: seen.append(state()))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(["serve", "--bundle", str(bundle), "--data", str(tmp_path / "data"), "--port", "0"]) == 0
    assert seen == [(pytest.approx(5e-4), [count + 1 for count in before[1]])]
    assert state() == before


@pytest.mark.parametrize("large_pixels", [1, 10**9])
def test_after_the_deadline_nothing_more_is_decoded_or_scored_and_nothing_is_held(
    start, files, gated, monkeypatch, large_pixels
):
    monkeypatch.setattr(inspecting, "LARGE_PIXELS", large_pixels)
    with start(batch=1) as running:
        gate, begun = gated(running)
        decoded, decode = [], reading.pixels_of
        monkeypatch.setattr(reading, "pixels_of", lambda *what: decoded.append(1) or decode(*what))
        with ThreadPoolExecutor(8) as pool:
            first = pool.submit(inspected, running, files[0])
            until(lambda: len(begun) == 1)
            query = {"params": {"deadline_ms": 50}}
            late = [
                pool.submit(running.ask, "POST", "/v1/inspect", content=files[1].read_bytes(), **query)
                for _ in range(7)
            ]
            assert {one.result().status_code for one in late} <= {503, 504}  # what was not begun is told to come again
            gate.set()
            assert first.result()["verdict"]
        assert inspected(running, files[2])["verdict"]
        until(lambda: running.service.memory.held == 0)
        assert len(begun) == 2
        assert large_pixels > 1 or len(decoded) == 2


@pytest.mark.parametrize("path", ["/v1/inspect", "/v1/inspect:stream"])
def test_what_a_client_that_hung_up_waited_for_is_given_up(start, files, gated, path):
    hung_up = asyncio.Event()

    async def ask_and_hang_up(running):
        body = files[1].read_bytes()
        if path.endswith("stream"):
            body = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + body + b"\r\n--b\r\n"
        sent = iter([{"type": "http.request", "body": body, "more_body": path.endswith("stream")}])

        async def receive():
            for message in sent:
                return message
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(_):
            pass

        kind = b"multipart/form-data; boundary=b" if path.endswith("stream") else b"image/png"
        headers = [(b"authorization", f"Bearer {running.keys['admin']}".encode()), (b"content-type", kind)]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path}
        scope |= {"raw_path": path.encode(), "query_string": b"", "headers": headers, "scheme": "http"}
        asking = asyncio.create_task(running.http.app(scope | {"client": ("c", 1), "server": ("s", 2)}, receive, send))
        await asyncio.to_thread(until, lambda: running.service.runner._score_batched.n_waiting)
        hung_up.set()
        await asking

    with start(batch=1) as running:
        gate, begun = gated(running)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(inspected, running, files[0])
            until(lambda: len(begun) == 1)
            asyncio.run(asyncio.wait_for(ask_and_hang_up(running), 300))
            gate.set()
            assert first.result()["verdict"]
        assert inspected(running, files[2])["verdict"]
        assert len(begun) == 2
        assert [row["image_sha256"] for row in running.service.store.newest({}, before=None, limit=9)]
        assert len(running.service.store.newest({}, before=None, limit=9)) == 2


def stream_of(files, count):
    return [("image", (f"{number}.png", files[number % len(files)].read_bytes())) for number in range(count)]


def lines_of(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_images_of_a_stream_are_limited_as_requests_are(start, files):
    with start(rate=0.01, burst=6) as running:
        lines = lines_of(running.ask("POST", "/v1/inspect:stream", files=stream_of(files, 20)))
        assert lines.pop() == {"n_images": 20}
        refused = [line["problem"]["status"] for line in lines if "problem" in line]
        assert refused == [429] * 15  # the stream itself was the first of six
        assert running.ask("GET", "/v1/bundles").status_code == 429


def test_a_key_that_is_revoked_ends_its_stream(start, files, monkeypatch):
    monkeypatch.setattr(security, "KEY_CACHE_SECONDS", -1.0)
    with start() as running:
        key, text = new_key(running.service.store, "line", "inspect")
        running.keys["line"] = text
        real, n_seen = running.service.store.key, 0

        def revoked_after_three(identifier):
            nonlocal n_seen
            n_seen += 1
            if n_seen == 4:
                running.service.store.revoke(key.id)
            return real(identifier)

        monkeypatch.setattr(running.service.store, "key", revoked_after_three)
        lines = lines_of(running.ask("POST", "/v1/inspect:stream", role="line", files=stream_of(files, 20)))
        assert lines[-1]["problem"]["type"] == "urn:gonogo:problem:unauthorized"
        assert sorted(line["index"] for line in lines[:-1]) == [0, 1]


def test_a_key_has_only_so_many_streams_open_and_another_key_its_own(start, files, gated):
    with start(streams=2) as running:
        gate, _ = gated(running)
        parts = stream_of(files, 1)
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(running.ask, "POST", "/v1/inspect:stream", files=parts) for _ in range(2)]
            until(lambda: running.service.keys._streams.total() == 2)
            refused = running.ask("POST", "/v1/inspect:stream", files=parts)
            other = pool.submit(running.ask, "POST", "/v1/inspect:stream", files=parts, role="admin")
            until(lambda: running.service.keys._streams.total() == 3)
            gate.set()
            assert [lines_of(one.result())[-1] for one in (*asked, other)] == [{"n_images": 1}] * 3
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:gonogo:problem:rate-limit")
        assert running.service.keys._streams.total() == 0
        assert running.ask("POST", "/v1/inspect:stream", content=b"", files=None).status_code in (415, 422)
        assert running.service.keys._streams.total() == 0
