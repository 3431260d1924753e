"""The service: what it judges is kept before it says so, in pages and pictures, and refusals are problem documents."""

import asyncio
import base64
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from gonogo.images.reading import read_image
from gonogo.inference.scorer import Scorer
from gonogo.line.outputs import MAP_UNIT, crop_at_peak, overlay
from serving import files, inspected, running, start, until  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.service.batcher import Batcher, UnwantedError
from gonogo.service.security import Key
from gonogo.service.uploads import Upload

# ruff: noqa: F811  fixtures are imported, and then named


def test_an_image_has_the_verdict_of_the_scorer_and_all_that_is_known_about_it(running, bundle, files):
    scorer = Scorer(bundle)
    verdicts = set()
    for path in files:
        told, verdict = inspected(running, path), scorer.score_image(path)
        assert told["score"] == pytest.approx(verdict.score, rel=1e-6)
        assert told["verdict"] == ("reject" if verdict.anomalous else "pass")
        assert (told["threshold"], told["bundle"]) == (scorer.threshold, scorer.fingerprint)
        assert (told["p_value"], told["uncertain"]) == (verdict.p_value, verdict.uncertain)
        assert [tuple(one["box"]) for one in told["regions"]] == [one.box for one in verdict.regions]
        assert told["certificate"]["sentence"] == scorer.record.sentence
        assert told["category"] == scorer.category
        verdicts.add(told["verdict"])
    assert verdicts == {"pass", "reject"}


def test_a_batch_is_answered_in_its_order_as_its_images_are_one_by_one(running, files):
    parts = [("image", (f"part {number}.png", path.read_bytes(), "image/png")) for number, path in enumerate(files)]
    batch = running.ask("POST", "/v1/inspect", files=parts).json()["inspections"]
    assert [one["image"]["name"] for one in batch] == [f"part {number}.png" for number in range(len(files))]
    for one, path in zip(batch, files, strict=True):
        assert one["score"] == pytest.approx(inspected(running, path)["score"], rel=1e-5)


def test_an_inspection_is_found_again_with_its_image_its_map_and_its_overlay(running, bundle, files):
    told = inspected(running, files[-1], params={"include": ["map", "overlay", "crop"]})
    place = f"/v1/inspections/{told['id']}"
    again = running.ask("GET", place).json()
    assert {name: again[name] for name in again if name != "timings_ms"} == {
        name: told[name] for name in again if name != "timings_ms"
    }
    assert running.ask("GET", f"{place}/image").content == files[-1].read_bytes()
    pixels, verdict = read_image(files[-1]), Scorer(bundle).score_image(files[-1])
    expected_map = np.clip(verdict.anomaly_map / verdict.threshold * MAP_UNIT, 0, 65535)
    drawings = (("map", expected_map, 1.5), ("overlay", overlay(pixels, verdict), 1))
    for name, expected, tolerance in (*drawings, ("crop", crop_at_peak(pixels, verdict), 0)):
        drawn = running.ask("GET", f"{place}/{name}").content
        assert base64.b64decode(told[f"{name}_png"]) == drawn
        found = np.asarray(Image.open(io.BytesIO(drawn))).astype(float)
        assert np.abs(found - expected).max() <= tolerance
    for scale in ("min-max", "percentile"):  # of the overlay's colours alone
        params = {"include": ["map", "overlay"], "overlay_scale": scale}
        other = inspected(running, files[-1], params=params)
        drawn = running.ask("GET", f"{place}/overlay", params={"overlay_scale": scale}).content
        assert base64.b64decode(other["overlay_png"]) == drawn
        found = np.asarray(Image.open(io.BytesIO(drawn))).astype(int)
        assert np.abs(found - overlay(pixels, verdict, scale=scale)).max() <= 1
        assert other["overlay_png"] != told["overlay_png"]
        assert [other[name] for name in ("map_png", "regions", "score")] == [
            told[name] for name in ("map_png", "regions", "score")
        ]
    assert running.ask("GET", f"{place}/overlay", params={"overlay_scale": "own"}).status_code == 422


def test_pages_go_through_all_inspections_newest_first_and_filters_choose_among_them(start, files):
    with start() as running:
        told = [inspected(running, path) for path in files]
        pages, before = [], None
        while True:
            asked = {"limit": 4} | ({"before": before} if before else {})
            page = running.ask("GET", "/v1/inspections", params=asked).json()
            pages.append([one["id"] for one in page["inspections"]])
            before = page["before"]
            if before is None:
                break
        assert [len(page) for page in pages] == [4, 4, 2]
        ids = [one["id"] for one in told]
        assert [one for page in pages for one in page] == sorted(ids, reverse=True)

        def chosen(**asked):
            return {one["id"] for one in running.ask("GET", "/v1/inspections", params=asked).json()["inspections"]}

        middle = sorted(one["score"] for one in told)[4]
        rejected = {one["id"] for one in told if one["verdict"] == "reject"}
        assert chosen(verdict="reject") == rejected != set(ids)
        assert chosen(min_score=middle) == {one["id"] for one in told if one["score"] >= middle}
        assert chosen(image=told[0]["image"]["sha256"]) == {told[0]["id"]}
        assert chosen(since=told[3]["at"]) | chosen(until=told[3]["at"]) == set(ids)
        assert told[2]["id"] in chosen(until=told[3]["at"])
        assert told[2]["id"] not in chosen(since=told[3]["at"])
        assert chosen(category="another") == set()


def test_a_part_that_is_not_called_image_is_refused(running, files):
    parts = [("image", files[0].read_bytes()), ("picture", files[1].read_bytes())]
    assert running.ask("POST", "/v1/inspect", files=parts).status_code == 400


@pytest.mark.parametrize("moment", ["0.5", "1700000000", "2026-11-22", "2026-11-22T06:00:00", "yesterday"])
def test_a_moment_is_a_date_a_time_and_an_offset(running, moment):
    assert running.ask("GET", "/v1/inspections", params={"since": moment}).status_code == 422
    assert running.ask("GET", "/v1/inspections", params={"until": "2026-11-22T06:00:00+01:00"}).status_code == 200


def test_what_was_kept_is_there_after_a_restart(start, files):
    with start() as running:
        told = inspected(running, files[0])
    with start() as again:
        assert again.ask("GET", f"/v1/inspections/{told['id']}").json()["score"] == told["score"]
        assert again.ask("GET", f"/v1/inspections/{told['id']}/image").content == files[0].read_bytes()


def test_an_inspection_that_cannot_be_kept_is_not_answered_with_a_verdict(start, files, monkeypatch):
    with start() as running:
        monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
        answer = running.ask("POST", "/v1/inspect", content=files[0].read_bytes())
        monkeypatch.undo()
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:gonogo:problem:store-unavailable")
        assert "space" not in answer.text
        assert running.ask("GET", "/v1/inspections").json()["inspections"] == []


def test_an_image_that_is_sent_twice_is_two_inspections_and_one_file(start, files):
    with start() as running:
        first, second = inspected(running, files[0]), inspected(running, files[0])
        assert first["id"] != second["id"]
        kept = [path for path in running.service.store.images.paths() if path.is_file()]
        assert [path.read_bytes() for path in kept] == [files[0].read_bytes()]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"include": "heat"}, "query.include.0"),
        ({"include": ["map"] * 4}, "query.include"),
        ({"name": "x" * 256}, "query.name"),
        ({"deadline_ms": 0}, "query.deadline_ms"),
        ({"deadline_ms": "soon"}, "query.deadline_ms"),
    ],
)
def test_a_query_that_openapi_does_not_have_is_422_that_says_where(running, files, query, where):
    answer = running.ask("POST", "/v1/inspect", content=files[0].read_bytes(), params=query)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gonogo:problem:invalid-request")
    assert [one["where"] for one in answer.json()["errors"]] == [where]


def test_one_bad_image_refuses_its_batch_names_itself_and_nothing_is_told_as_judged(running, files):
    parts = [("image", ("a.png", files[0].read_bytes())), ("image", ("b.png", b"no image"))]
    answer = running.ask("POST", "/v1/inspect", files=parts)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert problem["type"] == "urn:gonogo:problem:unreadable-image"
    assert [one["image"] for one in problem["errors"]] == [1]
    assert {"title", "status", "detail", "instance"} <= set(problem)


def test_beyond_what_may_wait_is_503_that_says_when_to_come_again_and_the_rest_is_answered(start, files, monkeypatch):
    with start(waiting=2, max_images=2) as running:
        scorer, gate = running.service.gauge.scorer, threading.Event()
        real = scorer.score_pixels
        monkeypatch.setattr(scorer, "score_pixels", lambda *what, **how: gate.wait(300) and real(*what, **how))
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(inspected, running, files[0]) for _ in range(2)]
            until(lambda: running.service.runner.waiting == 2)
            refused = running.ask("POST", "/v1/inspect", content=files[0].read_bytes())
            assert running.http.get("/readyz").status_code == 503
            gate.set()
            assert all(one.result()["verdict"] for one in asked)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:gonogo:problem:busy")
        assert int(refused.headers["retry-after"]) >= 1
        told = running.http.get("/readyz").json()
        assert (told["ok"], told["reasons"], told["warnings"]) == (True, [], [])
        assert (told["category"], told["bundle"]) == (scorer.category, scorer.fingerprint)


def test_past_the_deadline_is_504_and_what_waited_for_its_turn_is_not_judged(start, files, monkeypatch):
    with start(batch=1) as running:
        scorer, gate, judged = running.service.gauge.scorer, threading.Event(), []
        real = scorer.score_pixels

        def slow(pixels, **how):
            judged.append(len(pixels))
            gate.wait(300)
            return real(pixels, **how)

        monkeypatch.setattr(scorer, "score_pixels", slow)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(inspected, running, files[0])
            until(lambda: judged == [1])
            parts = [("image", ("a.png", files[number].read_bytes())) for number in (1, 3)]
            late = running.ask("POST", "/v1/inspect", files=parts, params={"deadline_ms": 100})
            gate.set()
            assert first.result()["verdict"]
        assert (late.status_code, late.json()["type"]) == (504, "urn:gonogo:problem:deadline")
        assert inspected(running, files[2])["verdict"]
        assert judged == [1, 1]
        gate.clear()  # and one that is being judged when its time is over
        late = running.ask("POST", "/v1/inspect", content=files[4].read_bytes(), params={"deadline_ms": 100})
        gate.set()
        assert (late.status_code, late.json()["type"]) == (504, "urn:gonogo:problem:deadline")


def test_the_end_waits_for_what_was_accepted(start, files, monkeypatch):
    with start() as running:
        scorer, gate = running.service.gauge.scorer, threading.Event()
        real = scorer.score_pixels
        judging = threading.Event()

        def slow(pixels, **how):
            judging.set()
            gate.wait(300)
            return real(pixels, **how)

        monkeypatch.setattr(scorer, "score_pixels", slow)

        async def accepted_then_closed():
            runner = running.service.runner
            with running.service.memory.holds("k") as holds:
                upload = Upload(files[0].read_bytes(), "", None, holds.new())
                job = asyncio.create_task(runner.inspect(upload, Key("k", "k", "admin")))
                await asyncio.sleep(0)
            assert await asyncio.to_thread(judging.wait, 300)
            closing = asyncio.create_task(runner.close())
            await asyncio.to_thread(until, lambda: runner._small.threads._shutdown)  # it closes, and takes nothing more
            assert not closing.done()
            gate.set()
            await closing
            return await job

        told = asyncio.run(accepted_then_closed())
        assert running.service.store.inspection(told.id)["score"] == told.score


def test_things_that_wait_go_together_as_far_as_they_are_alike_and_fit_and_are_wanted():
    calls, gate, unwanted = [], threading.Event(), set()

    def work(things):
        gate.wait(300)
        calls.append(things)
        return [thing * 10 if thing != 5 else ValueError("five") for thing in things]

    batcher = Batcher(
        work, weight=lambda _: 1 / 3, batch_key=lambda thing: thing % 2, wanted=lambda thing: thing not in unwanted
    )
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(batcher, 1)]
        for n_waiting, thing in enumerate((2, 4, 6, 8, 3, 9, 5, 7)):
            until(lambda n=n_waiting: batcher.n_waiting == n)
            if n_waiting == 0:
                until(lambda: batcher._n_free == 0)
            asked.append(pool.submit(batcher, thing))
        until(lambda: batcher.n_waiting == 8)
        unwanted |= {9, 7}
        gate.set()
    assert calls == [[1], [2, 4, 6], [8], [3, 5]]
    assert [one.result() for one in asked[:6]] == [10, 20, 40, 60, 80, 30]
    errors = [type(one.exception()) for one in asked[6:]]
    assert errors == [UnwantedError, ValueError, UnwantedError]
    assert batcher(11) == 110  # whoever came last has let go
    with pytest.raises(UnwantedError):
        batcher(7)
    assert calls[4:] == [[11]]


def test_as_many_batches_as_allowed_are_worked_on_at_once():
    both, calls = threading.Barrier(2), []

    def work(things):
        if things != [2]:
            both.wait(60)
        calls.append(things)
        return things

    batcher = Batcher(work, weight=lambda _: 1 / 8, n_at_once=2)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(batcher, (0, 1))) == [0, 1]
    assert batcher(2) == 2
    assert sorted(calls) == [[0], [1], [2]]


def test_work_that_fails_as_a_whole_fails_for_each_and_for_none_after_it():
    def work(things):
        if 0 in things:
            raise ZeroDivisionError
        return things

    batcher = Batcher(work, weight=lambda _: 1)
    with pytest.raises(ZeroDivisionError):
        batcher(0)
    assert batcher(1) == 1


def test_requests_that_come_together_go_through_the_network_together(start, files, monkeypatch):
    with start() as running:
        scorer, gate, sizes = running.service.gauge.scorer, threading.Event(), []
        real = scorer.score_pixels

        def counted(pixels, **how):
            sizes.append(len(pixels))
            gate.wait(300)
            return real(pixels, **how)

        monkeypatch.setattr(scorer, "score_pixels", counted)
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(inspected, running, files[0])]
            until(lambda: sizes == [1])
            asked += [pool.submit(inspected, running, files[0]) for _ in range(5)]
            until(lambda: running.service.runner._score_batched.n_waiting == 5)
            gate.set()
            scores = [one.result()["score"] for one in asked]
        assert sizes == [1, 5]
        assert scores == pytest.approx([scores[0]] * 6, rel=1e-5)


def test_health_and_metrics_tell_of_requests_verdicts_scores_and_the_bundle(start, files):
    with start() as running:
        assert running.http.get("/healthz").json()["ok"] is True
        told = [inspected(running, path) for path in files[:3]]
        running.ask("POST", "/v1/inspect", content=b"no image")
        text = running.ask("GET", "/metrics").text
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        category = told[0]["category"]
        for verdict in ("pass", "reject"):
            expected = sum(one["verdict"] == verdict for one in told)
            name = f'gonogo_verdicts_total{{category="{category}",verdict="{verdict}"}}'
            assert float(values.get(name, 0)) == expected
        assert values['gonogo_requests_total{method="POST",route="/v1/inspect",status="200"}'] == "3.0"
        assert values['gonogo_requests_total{method="POST",route="/v1/inspect",status="422"}'] == "1.0"
        assert values[f'gonogo_relative_score_count{{category="{category}"}}'] == "3.0"
        assert values['gonogo_stage_seconds_count{stage="score"}'] == "3.0"
        assert values[f'gonogo_active_bundle{{category="{category}",fingerprint="{told[0]["bundle"]}"}}'] == "1.0"
        assert values["gonogo_queue_depth"] == "0.0"


@pytest.mark.parametrize(
    ("method", "path", "query", "meant"),
    [
        ("POST", "/v1/inspect", "pixel=bgr8", "did you mean pixels?"),
        ("POST", "/v1/inspect:stream", "pixel=bgr8", "did you mean pixels?"),
        ("POST", "/v1/predict", "pixel=bgr8", "did you mean pixels?"),
        ("GET", "/v1/inspections", "limit=1&verdit=reject", "did you mean verdict?"),
        ("GET", "/v1/reviews:export", "catgory=x", "did you mean category?"),
        ("POST", "/v1/registry:reload", "now=1", "choose one of none"),
    ],
)
def test_a_parameter_that_a_route_does_not_know_is_refused(running, method, path, query, meant):
    """A misspelt filter would find everything, and a misspelt option would do nothing."""
    answer = running.ask(method, f"{path}?{query}", role="admin")
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["where"] == f"query.{query.rsplit('&')[-1].split('=')[0]}"
    assert error["what"].startswith("no such parameter")
    assert meant in error["what"]


def test_openapi_describes_every_route_with_its_problems(running):
    document = json.loads(json.dumps(running.http.get("/openapi.json").json()))
    paths = document["paths"]
    assert {"/v1/inspect", "/v1/inspect:stream", "/v1/inspections/{id}/review", "/v1/bundles:activate"} <= set(paths)
    assert {"image/png", "multipart/form-data"} <= set(paths["/v1/inspect"]["post"]["requestBody"]["content"])
    asked = {one["name"]: one["schema"] for one in paths["/v1/inspect"]["post"]["parameters"]}
    assert asked["include"]["items"]["enum"] == ["map", "overlay", "crop"]
    assert asked["deadline_ms"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 600_000}
    assert paths["/v1/inspect"]["post"]["security"] == paths["/v1/bundles"]["get"]["security"] != []
    for route in ("inspect", "inspect:stream", "predict"):
        assert "pixels" in [one["name"] for one in paths[f"/v1/{route}"]["post"]["parameters"]]
    refused = paths["/v1/inspect"]["post"]["responses"]["503"]["content"]["application/problem+json"]
    name = refused["schema"]["$ref"].rsplit("/", 1)[1]
    assert {"type", "title", "status", "detail", "instance"} <= set(
        document["components"]["schemas"][name]["properties"]
    )
