"""A repeated image keeps its verdict: not scored again, kept as another inspection, and never across bundles."""

import pytest

from serving import activate, bundles, files, inspected, offered, running, start  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.service.verdict_cache import KnownVerdict, VerdictCache

# ruff: noqa: F811  fixtures are imported, and then named


@pytest.fixture
def counted(monkeypatch):
    """The sizes of the batches that a service scores from now on."""

    def counted(running):
        batches, real = [], running.service.runner._score

        def score(jobs):
            batches.append(len(jobs))
            return real(jobs)

        monkeypatch.setattr(running.service.runner._score_batched, "_work", score)
        return batches

    return counted


def verdict_of(told):
    other = ("id", "at", "timings_ms", "image")
    return {name: value for name, value in told.items() if name not in other}


def test_a_repeated_image_is_not_scored_again_and_is_an_inspection_of_its_own(start, files, counted):
    with start(cache=100) as running:
        batches = counted(running)
        first = inspected(running, files[0], params={"name": "first"})
        again = inspected(running, files[0], params={"name": "again"})
        assert batches == [1]
        assert verdict_of(again) == verdict_of(first)
        assert first["id"] != again["id"]
        assert (first["image"]["name"], again["image"]["name"]) == ("first", "again")
        assert again["image"] | {"name": None} == first["image"] | {"name": None}
        assert set(again["timings_ms"]) == {"queue", "keep", "total"}
        assert running.ask("GET", f"/v1/inspections/{again['id']}/image").content == files[0].read_bytes()
        inspected(running, files[1])
        assert batches == [1, 1]
        text = running.ask("GET", "/metrics").text
        counts = [float(line.split()[-1]) for line in text.splitlines() if line.startswith("gonogo_verdicts_total{")]
        assert sum(counts) == 3


def test_without_the_setting_each_image_is_scored(start, files, counted):
    with start() as running:
        batches = counted(running)
        for _ in range(2):
            inspected(running, files[0])
        assert batches == [1, 1]


def test_pictures_are_drawn_and_another_declared_type_is_refused_whatever_is_known(start, files, counted):
    with start(cache=100) as running:
        batches = counted(running)
        inspected(running, files[0])
        assert inspected(running, files[0], params={"include": "overlay"})["overlay_png"]
        assert batches == [1, 1]
        wrong = running.ask("POST", "/v1/inspect", content=files[0].read_bytes(), headers={"Content-Type": "image/bmp"})
        assert (wrong.status_code, "declared as" in wrong.json()["detail"]) == (422, True)


def test_a_verdict_of_one_bundle_is_none_of_another(start, bundles, files, counted):
    with start(cache=100, bundle=bundles / "first", bundles=bundles) as running:
        batches = counted(running)
        one = inspected(running, files[0])
        second = offered(running)["second"]["fingerprint"]
        assert activate(running, second).status_code == 200
        other = inspected(running, files[0])
        assert (one["bundle"] != other["bundle"], other["bundle"], batches) == (True, second, [1, 1])


def test_the_verdicts_that_were_asked_for_last_are_kept():
    cache = VerdictCache(2)
    known = {name: KnownVerdict({"bundle": "b", "score": name}, "PNG", 8, 8) for name in "abc"}
    cache.put("a", known["a"])
    cache.put("b", known["b"])
    assert cache.get("a", "b") is known["a"]
    cache.put("c", known["c"])
    assert (cache.get("b", "b"), cache.get("a", "b"), cache.get("c", "b")) == (None, known["a"], known["c"])
    assert cache.get("a", "another bundle") is None
    VerdictCache(None).put("a", known["a"])
    assert VerdictCache(None).get("a", "b") is None
