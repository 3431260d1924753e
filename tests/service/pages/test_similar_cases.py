"""The inspector and the page of a case show past cases with cause and remedy, with scripts and without."""

import pytest

from visiting import Site, arrived, expect, violations, visit
from visiting import browser as browser

# isort: split
from gonogo.knowledge.stored import edit
from gonogo.service.pages.access import COOKIE
from gonogo.service.settings import Settings
from serving import Running, inspected, listening_service

CAUSE, REMEDY = "worn <gripper>", "new pads"


@pytest.fixture(scope="module")
def site(patchcore_bundle, digits, tmp_path_factory):
    """A service whose bundle has features, with two cases and a part that nobody reviewed."""
    paths = [digits.path_of(one) for one in digits.with_role("test") if one.defect_type == "digit_1"][:3]
    settings = Settings(bundle=patchcore_bundle, data=tmp_path_factory.mktemp("past"), threads=1, deadline=60.0)
    with Running(settings) as running, listening_service(running) as port:
        inspections = [inspected(running, path, params={"name": path.name}) for path in paths]
        for one, kind in zip(inspections[:2], ("chip", "dent"), strict=True):
            review = {"label": "defect", "defect_type": kind}
            running.ask("POST", f"/v1/inspections/{one['id']}/review", role="review", json=review)
        facts = {"severity": 7, "cause": CAUSE, "remedy": REMEDY}
        answer = running.ask("POST", f"/v1/cases/{inspections[0]['id']}/facts", role="review", json=facts)
        assert answer.status_code == 200
        yield Site(running, port, inspections)


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
@pytest.mark.parametrize("path", ["/?id={id}", "/cases/{id}", "/cases/{id}?more=true"])
def test_past_cases_are_shown_with_cause_and_remedy_and_axe_finds_nothing(browser, site, path, locale):
    with visit(browser, site, "review", bypass_csp=True, locale=locale) as page:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(site.url + path.format(id=site.inspections[-1]["id"]))
            expect(page.locator(".similar li")).to_have_count(2)
            told = page.locator(".similar").inner_text()
            assert CAUSE in told
            assert REMEDY in told
            assert {"chip", "dent"} == set(page.locator(".similar b").all_inner_texts())
            arrived(page.locator(".similar img"))
            assert violations(page) == {}, scheme


def test_without_scripts_the_page_of_a_case_shows_them(browser, site):
    with visit(browser, site, "inspect", java_script_enabled=False) as page:
        page.goto(f"{site.url}/?id={site.inspections[-1]['id']}")
        page.get_by_role("link", name="Show similar past cases").click()
        expect(page.locator(".similar li")).to_have_count(2)


def test_the_part_itself_is_no_case_like_itself(browser, site):
    with visit(browser, site, "inspect") as page:
        page.goto(f"{site.url}/cases/{site.inspections[0]['id']}?more=true")
        expect(page.locator(".similar b")).to_have_text(["dent"])


def test_a_picture_of_a_case_is_for_who_is_signed_in(browser, site):
    path = f"{site.url}/past/{site.inspections[0]['id']}/crop"
    with visit(browser, site, None, check=False) as page:
        page.goto(path)
        assert "/sign-in" in page.url


def test_the_trace_leads_from_the_verdict_to_a_remedy_by_distances(browser, site):
    store, own = site.running.service.store, site.inspections[-1]["id"]
    who = {"based_on": None, "by": "Ana", "key": "", "conflict": RuntimeError}
    edit(store, "mode", {"name": "Chipped edge", "category": "digit_0", "defect_type": "chip"}, "chipped", **who)
    edit(store, "cause", {"name": "Worn pads", "occurrence": 4}, "pads", **who)
    seen = {"evidence": [site.inspections[0]["id"]], "by": "Ana", "at": "2026-11-29"}
    edit(store, "link", seen | {"source": "pads", "target": "chipped"}, "pads>chipped", **who)
    answer = site.running.ask("GET", f"/v1/inspections/{own}/trace")
    assert answer.status_code == 200, answer.text
    trace = answer.json()
    similar = site.running.ask("GET", f"/v1/inspections/{own}/similar").json()
    assert trace["similar"] == similar
    of_chip = next(case for case in similar["cases"] if case["defect_type"] == "chip")
    assert trace["causes"] == [
        {"cause": CAUSE, "remedy": REMEDY, "distance": of_chip["distance"], "cases": [of_chip["id"]]}
    ]
    assert [(mode["mode"], mode["distance"], [cause["id"] for cause in mode["causes"]]) for mode in trace["known"]] == [
        ("chipped", of_chip["distance"], ["pads"])
    ]
    distances = [place["distance"] for place in trace["places"]]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0
    with visit(browser, site, "inspect") as page:
        page.goto(f"{site.url}/cases/{own}")
        page.get_by_role("region", name="From the verdict to a remedy").scroll_into_view_if_needed()
        expect(page.locator(".trace > li")).to_have_count(5)
        expect(page.locator(".trace")).to_contain_text("Worn pads")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_reviewer_says_on_the_page_what_is_known_of_a_case_and_others_read_it(browser, site, scripts):
    case, cause = site.inspections[1]["id"], f"<b>cause</b> {scripts}"
    with visit(browser, site, "review", java_script_enabled=scripts) as page:
        page.goto(f"{site.url}/cases/{case}")
        page.get_by_label("Severity, 1 to 10").fill("8")
        page.get_by_label("Cause").fill(cause)
        page.get_by_role("button", name="Save what is known").click()
        if scripts:
            page.get_by_text("Saved.").wait_for()
        expect(page.get_by_label("Cause")).to_have_value(cause)
    with visit(browser, site, "inspect") as page:
        page.goto(f"{site.url}/cases/{case}")
        assert cause in page.locator("#facts").inner_text()
        assert page.locator("#facts form").count() == 0
        page.goto(f"{site.url}/cases/{site.inspections[-1]['id']}")
        assert page.locator("#facts").count() == 0  # nobody reviewed it as a defect


def test_a_severity_beyond_ten_is_refused_on_the_page(site):
    path = f"/cases/{site.inspections[1]['id']}/facts"
    for severity, status in (("11", 422), ("0", 422), ("10", 303)):
        answer = site.running.http.post(
            path, data={"severity": severity}, cookies={COOKIE: site.session("review")}, follow_redirects=False,
            headers={"Sec-Fetch-Site": "same-origin"},
        )  # fmt: skip
        assert answer.status_code == status
    site.running.http.cookies.clear()
