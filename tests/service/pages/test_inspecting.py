"""An inspector's way through the pages, with scripts and without: drop a part, judge it, zoom, review by keys, undo."""

import io
import os
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from serving import WAIT, files, inspected, serving_process, until  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.inference.scorer import Scorer
from gonogo.service import client
from gonogo.service.client import Client
from gonogo.service.security import new_key
from gonogo.store.store import Store
from visiting import browser, expect, site, visit  # noqa: F401

# ruff: noqa: F811  fixtures are imported, and then named

MARKUP = '<img src=x onerror="document.title=1">"&<b>'


@pytest.fixture(scope="module")
def verdicts(bundle, files):
    """Of each file, the word that the page shows."""
    scored = [Scorer(bundle).score_image(path) for path in files]
    return ["Uncertain" if one.uncertain else one.label.title() for one in scored]


def reviews_of(site, identifier):
    """The reviews in force, as (label, type, note)."""
    rows = site.running.service.store.inspection(identifier)["reviews"]
    return [(row["label"], row["defect_type"], row["note"]) for row in rows if row["undone"] is None]


def shown(page):
    return page.locator("#part .part").get_attribute("data-id")


def test_someone_signs_in_drops_parts_and_signs_out(browser, site, files, verdicts):
    with visit(browser, site, None) as page:
        page.goto(f"{site.url}/cases")
        page.get_by_label("Key").fill(site.running.keys["inspect"])
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{site.url}/cases")
        page.get_by_role("link", name="Inspector").click()
        page.set_input_files("#choose", files[0])
        page.wait_for_url("**/?id=*")
        assert page.locator("#verdict-word").inner_text() == verdicts[0]
        page.set_input_files("#choose", files[:4])
        page.wait_for_url("**/?ids=*")
        words = page.locator("#feed .verdict").all_inner_texts()
        assert sorted(words) == sorted(verdicts[:4])
        assert page.locator("#verdict-word").inner_text() == words[0]
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        page.goto(site.url)
        assert page.url.endswith("/sign-in")


def test_a_part_is_reviewed_by_keys_and_a_new_type_has_a_key_from_then_on(browser, site):
    part = site.inspections[3]["id"]
    with visit(browser, site, "review") as page:
        page.goto(f"{site.url}/?id={part}")
        page.keyboard.press("g")
        page.locator("#undo").wait_for()
        assert reviews_of(site, part) == [("good", None, None)]
        page.keyboard.press("u")
        page.locator("#undo").wait_for(state="detached")
        assert reviews_of(site, part) == []
        page.keyboard.press("n")
        page.keyboard.type("seen by hand: g")
        page.keyboard.press("Escape")
        page.keyboard.press("d")
        page.keyboard.type("worn edge")
        page.keyboard.press("Enter")
        page.locator("#undo").wait_for()
        assert reviews_of(site, part) == [("defect", "worn edge", "seen by hand: g")]
        other = site.inspections[4]["id"]
        page.goto(f"{site.url}/?id={other}")
        page.keyboard.press("1")
        page.locator("#undo").wait_for()
        assert reviews_of(site, other) == [("defect", "worn edge", None)]
        page.locator("#keys-help").click()
        page.locator("#keys-on").uncheck()
        page.locator("#keys button").click()
        page.keyboard.press("u")
        page.keyboard.press("z")
        assert reviews_of(site, other) == [("defect", "worn edge", None)]


def test_the_list_is_walked_by_keys_and_the_address_follows(browser, site):
    with visit(browser, site, "inspect") as page:
        page.goto(site.url)
        first = shown(page)
        page.keyboard.press("j")
        page.wait_for_url("**/?id=*")
        second = shown(page)
        assert second != first
        assert page.url == f"{site.url}/?id={second}"
        page.keyboard.press("k")
        page.wait_for_url(f"**/?id={first}")
        page.reload()
        assert shown(page) == first


def test_the_part_is_zoomed_and_its_map_fades_within_the_policy(browser, site):
    with visit(browser, site, "inspect") as page:
        page.goto(f"{site.url}/?id={site.inspections[5]['id']}")
        page.keyboard.press("z")
        page.locator("#zoom-view canvas").first.wait_for()
        page.keyboard.press("+")
        page.locator("#zoom-opacity").fill("20")
        page.keyboard.press("Escape")
        expect(page.locator("#zoom")).to_be_hidden()
        page.keyboard.press("m")
        expect(page.locator(".layer")).to_have_css("opacity", "0")


def test_a_key_counts_also_before_the_browser_takes_the_focus_out_of_a_dialog_that_was_closed(browser, site):
    with visit(browser, site, "inspect") as page:
        page.goto(f"{site.url}/?id={site.inspections[5]['id']}")
        page.keyboard.press("z")
        page.locator("#zoom-opacity").fill("20")
        focused = page.evaluate("""() => {
            document.getElementById("zoom").close();
            const focused = document.activeElement;  // the browser moves it when it draws the next time
            focused.dispatchEvent(new KeyboardEvent("keydown", { key: "m", bubbles: true }));
            return focused.id;
        }""")
        assert focused == "zoom-opacity"
        expect(page.locator(".layer")).to_have_css("opacity", "0")


def test_a_faint_map_is_seen_on_its_own_range_until_the_next_part(browser, site):
    with visit(browser, site, "inspect") as page:
        page.goto(f"{site.url}/?id={site.inspections[5]['id']}")
        chosen, note = page.locator("#map-scale"), page.locator("#map-scale-note")
        expect(note).to_be_hidden()
        with page.expect_response(lambda answer: answer.url.endswith("/layer?scale=min-max")) as answer:
            chosen.select_option("min-max")
        assert answer.value.ok
        assert np.asarray(Image.open(io.BytesIO(answer.value.body())))[..., 3].min() > 0  # all of the map shows
        expect(note).to_be_visible()
        page.keyboard.press("j")
        page.wait_for_url(f"**/?id={site.inspections[4]['id']}")
        expect(chosen).to_have_value("threshold")
        expect(note).to_be_hidden()


def test_what_the_line_sends_appears_in_every_browser_and_a_pause_holds_it_back(browser, site, files):
    with visit(browser, site, "inspect") as first, visit(browser, site, "review") as second:
        for page in (first, second):
            with page.expect_response("**/live*"):
                page.goto(site.url)
        second.locator("#pause").click()
        n_before = second.locator("#feed li").count()
        told = inspected(site.running, files[1], params={"name": MARKUP})
        first.locator(f'#feed li[data-id="{told["id"]}"]').wait_for()
        first.locator(f'#part .part[data-id="{told["id"]}"]').wait_for()
        expect(first.locator("#part .subject")).to_contain_text(MARKUP)
        second.wait_for_function("follow.waiting.length > 0")
        assert second.locator("#feed li").count() == n_before
        second.locator("#pause").click()
        second.locator(f'#feed li[data-id="{told["id"]}"]').wait_for()


def test_the_live_feed_says_so_when_the_session_has_ended(browser, site):
    secret = site.session("inspect", new=True)
    with visit(browser, site, "inspect", session=secret, check=False) as page:  # pictures on their way are refused
        # Of the page's own requests, one that comes too late would lead to the sign-in.
        with page.expect_response("**/live*"), page.expect_response("**/why"), page.expect_response("**/similar"):
            page.goto(site.url)
        page.evaluate("fetch('/sign-out', {method: 'POST', redirect: 'manual'})")
        page.locator("#feed-ended").wait_for()


def test_the_live_feed_ends_with_the_service_and_goes_on_with_the_next_one(browser, bundle, files, tmp_path):
    store = Store(tmp_path / "data")
    _, key = new_key(store, "Ana", "inspect")
    store.close()
    port = 20_000 + os.getpid() % 20_000
    here = SimpleNamespace(url=f"http://127.0.0.1:{port}")
    process = serving_process(bundle, tmp_path / "data", port)
    try:
        with visit(browser, here, None, check=False) as page:
            page.goto(f"{here.url}/sign-in")
            page.get_by_label("Key").fill(key)
            with page.expect_response("**/live*"):
                page.get_by_role("button", name="Sign in").click()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=WAIT)
            assert process.returncode == 0
            page.locator("#feed-lost").wait_for(state="visible")
            process = serving_process(bundle, tmp_path / "data", port)
            page.locator("#feed-lost").wait_for(state="hidden")
            with Client(here.url, key) as ask:
                (told,) = ask(client.inspect(files[0])).inspections
            page.locator(f'#feed li[data-id="{told.id}"]').wait_for()
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)


def test_the_time_for_which_somebody_watches_is_no_time_of_a_request(browser, site):
    with visit(browser, site, "inspect") as page, page.expect_response("**/live*"):
        page.goto(site.url)
    metrics = site.running.service.metrics
    until(lambda: 'gonogo_requests_total{method="GET",route="/live",status="200"}' in metrics.text().decode())
    counted = [line for line in metrics.text().decode().splitlines() if line.startswith("gonogo_request_seconds_count")]
    assert any('route="/"' in line for line in counted)
    assert not any("/live" in line for line in counted)


def test_a_name_and_a_note_full_of_markup_are_text_on_every_page(browser, site, files):
    told = inspected(site.running, files[2], params={"name": MARKUP})
    with visit(browser, site, "review") as page:
        page.goto(f"{site.url}/?id={told['id']}")
        page.locator("#note").fill(MARKUP)
        page.locator("#new-type").fill(MARKUP)
        page.locator("#defect").click()
        page.locator("#undo").wait_for()
        for path in (f"/?id={told['id']}", "/cases", f"/cases/{told['id']}"):
            page.goto(site.url + path)
            page.wait_for_load_state("networkidle")
            assert MARKUP in page.locator("main").inner_text()
            assert page.title() != "1"
        page.goto(f"{site.url}/?id={told['id']}")
        page.locator("#undo").click()
        page.locator("#undo").wait_for(state="detached")


def test_without_scripts_a_part_is_dropped_reviewed_and_compared_with_good_ones(browser, site, files, verdicts):
    with visit(browser, site, "review", java_script_enabled=False) as page:
        page.goto(site.url)
        page.set_input_files("#choose", files[6])
        page.locator("#upload button").click()
        page.wait_for_url("**/?id=*")
        identifier = re.search(r"id=(\w+)", page.url)[1]
        expect(page.locator("#verdict-word")).to_have_text(verdicts[6])
        page.locator("#good").click()
        page.locator("#undo").wait_for()
        expect(page).to_have_url(f"{site.url}/?id={identifier}")
        assert reviews_of(site, identifier) == [("good", None, None)]
        page.locator("#undo").click()
        page.locator("#undo").wait_for(state="detached")
        assert reviews_of(site, identifier) == []
        page.goto(f"{site.url}/cases/{identifier}")
        page.locator("noscript a, a", has_text="Compare with good parts").first.click()
        expect(page.locator("h2").nth(2)).to_be_visible()


def test_the_browser_chooses_the_language_and_the_person_another(browser, site):
    with visit(browser, site, "review", locale="de-DE") as page:
        page.goto(f"{site.url}/cases")
        assert page.locator("html").get_attribute("lang") == "de"
        assert page.locator("h1").inner_text() == "Fälle"
        page.get_by_role("button", name="English").click()
        expect(page.locator("h1")).to_have_text("Cases")
        expect(page).to_have_url(f"{site.url}/cases")
        page.goto(site.url)
        assert page.locator("html").get_attribute("lang") == "en"


def test_filters_choose_among_the_cases_and_pages_go_through_all(browser, site):
    with visit(browser, site, "inspect") as page:
        page.goto(f"{site.url}/cases")
        page.locator("select[name=kind]").select_option("reject")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**kind=reject**")
        words = set(page.locator(".cards .verdict").all_inner_texts())
        assert words <= {"Reject", "Uncertain"}
        assert words
        page.goto(f"{site.url}/cases?name=no-such-name")
        assert "No part matches" in page.locator("main").inner_text()


def test_an_upload_that_is_no_picture_is_refused_with_a_page(browser, site, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with visit(browser, site, "inspect", check=False) as page:
        page.goto(site.url)
        page.set_input_files("#choose", tmp_path / "a.png")
        page.locator("h1", has_text="cannot be read as a picture").wait_for()


def test_keys_of_the_same_person_do_not_undo_the_reviews_of_another(site):
    store, part = site.running.service.store, site.inspections[7]["id"]
    _, text = new_key(store, "Bo", "review")
    own = {"Sec-Fetch-Site": "same-origin"}
    http = site.running.http
    http.post("/sign-in", data={"key": text}, headers=own, follow_redirects=False)
    http.post(f"/parts/{part}/review", data={"label": "good"}, headers=own, follow_redirects=False)
    http.cookies.clear()
    http.post("/sign-in", data={"key": site.running.keys["review"]}, headers=own, follow_redirects=False)
    http.post(f"/parts/{part}/undo", headers=own, follow_redirects=False)
    http.cookies.clear()
    assert reviews_of(site, part) == [("good", None, None)]
