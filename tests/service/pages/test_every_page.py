"""Every page: usable by everyone, light and dark, large and small, and nothing leaves the host."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from serving import files  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.cases.language import TOKENIZER
from gonogo.service import pages
from gonogo.service.pages import assets
from gonogo.service.pages.texts import LANGUAGES
from visiting import DESK, PAGES, PHONE, browser, site, violations, visit  # noqa: F401

# ruff: noqa: F811  fixtures are imported, and then named

FOLDER = Path(pages.__file__).parent


@pytest.mark.parametrize("place", PAGES, ids=lambda place: place.name)
def test_axe_finds_no_violation_and_no_page_breaks_the_policy_or_asks_another_host(browser, site, place):
    expected = 404 if place.name == "error" else 200
    with visit(browser, site, place.role, check=expected == 200) as page:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.goto(site.url + site.path(place)).status == expected
            page.wait_for_load_state("networkidle")
    with visit(browser, site, place.role, bypass_csp=True, check=False) as page:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(site.url + site.path(place))
            assert violations(page) == {}, scheme


@pytest.mark.parametrize("place", PAGES, ids=lambda place: place.name)
def test_no_page_is_wider_than_the_window(browser, site, place):
    with visit(browser, site, place.role, check=False) as page:
        for width in (360, 3840):
            page.set_viewport_size({"width": width, "height": 800})
            page.goto(site.url + site.path(place))
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("folder", [FOLDER / "static/vendor", Path(__file__).parent / "vendor", TOKENIZER.parent])
def test_files_of_others_are_as_listed_with_their_licences(folder):
    listed = json.loads((folder / "vendor.json").read_text())
    for one in listed:
        assert hashlib.sha256((folder / one["file"]).read_bytes()).hexdigest() == one["sha256"], one["file"]
        assert (folder / one["licence_file"]).stat().st_size > 100
    known = {"vendor.json", *(one[name] for one in listed for name in ("file", "licence_file"))}
    assert {path.name for path in folder.iterdir()} == known


def test_the_policy_allows_nothing_inline_and_no_other_host():
    from gonogo.service.pages.rendering import HEADERS, POLICY

    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    assert set(POLICY.values()) == {"'none'", "'self'"}


def test_the_catalogues_have_the_same_keys_and_values_and_no_key_is_missing_or_unused():
    catalogues = {name: json.loads((FOLDER / f"texts/{name}.json").read_text()) for name in LANGUAGES}
    first, *others = catalogues.values()
    for other in others:
        assert other.keys() == first.keys()
        for key, text in first.items():
            assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", other[key])), key
    sources = "".join(
        path.read_text()
        for path in (*FOLDER.rglob("*"), *(FOLDER.parent / "reporting").glob("*"))
        if path.suffix in (".py", ".j2") and path != FOLDER / "__init__.py"
    )
    called = set(re.findall(r"""(?:\b|_)t\(\s*["']([\w-]+\.[\w.-]+)["'](?=\s*[,)])""", sources))
    quoted = set(re.findall(r"""["']([\w-]+\.[\w.-]+)["']""", sources))  # in a list, or in a row of the navigation
    begun = tuple(re.findall(r"""["']([\w.-]+\.)["']\s*~""", sources) + re.findall(r"""f"([\w.]+\.){""", sources))
    plural = {key.removesuffix(".one") for key in first if key.endswith(".one")}
    singular = plural | {key for key in first if key.rpartition(".")[0] not in plural}
    assert called - set(first) - singular == set()
    assert {key for key in singular if key not in called | quoted and not key.startswith(begun)} == set()


def test_static_files_are_cached_for_ever_under_their_own_hash_alone(site):
    for asset in assets.assets().values():
        answer = site.running.http.get(asset.path)
        assert (answer.status_code, answer.content) == (200, asset.plain)
        assert "immutable" in answer.headers["cache-control"]
        other = re.sub(r"/static/\w+/", "/static/0000000000000000/", asset.path)
        assert site.running.http.get(other).status_code == 404
