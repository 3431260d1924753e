"""A reviewer's way through the queue, the rates and the arena: by keys, without scripts, and two people at once."""

import io
import re
import zipfile

import pytest

from serving import files, inspected  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.service.security import new_key
from visiting import arrived, browser, expect, site, visit  # noqa: F401

# ruff: noqa: F811  fixtures are imported, and then named

MARKUP = "<b>dent</b><script>document.title = 'broken'</script>"


@pytest.fixture
def queue(site):
    """The site with more rejected parts in its queue than a test needs, and keys of two reviewers."""
    running = site.running
    store = running.service.store
    for name in ("Ana", "Bo"):
        if name not in running.keys:
            running.keys[name] = new_key(store, name, "review")[1]
    waiting = sum(store.queue.counts("0" * 16).values())
    rejected = next(row for row in store.newest({"verdict": "reject"}, before=None, limit=1))
    data = store.images.path_of(rejected["image_sha256"]).read_bytes()
    for number in range(max(0, 6 - waiting)):
        answer = running.ask("POST", "/v1/inspect", content=data, params={"name": f"part {number}"})
        assert answer.status_code == 200
    return site


def shown(page):
    return page.locator("#part .part").get_attribute("data-id")


def test_by_keys_a_reviewer_judges_skips_and_takes_back(browser, queue):
    with visit(browser, queue, "Ana") as page:
        page.goto(queue.url + "/review")
        first = shown(page)
        page.fill("#note", "seen twice")
        page.locator("#note").press("Escape")
        page.keyboard.press("g")
        page.wait_for_function("id => document.querySelector('#part .part')?.dataset.id !== id", arg=first)
        (review,) = queue.running.service.store.inspection(first)["reviews"]
        assert (review["label"], review["note"], review["reviewer"]) == ("good", "seen twice", "Ana")
        page.keyboard.press("u")
        page.wait_for_function("id => document.querySelector('#part .part')?.dataset.id === id", arg=first)
        assert queue.running.service.store.inspection(first)["reviews"][0]["undone"] is not None
        page.keyboard.press("d")
        page.keyboard.type(MARKUP)
        page.keyboard.press("Enter")
        page.wait_for_function("id => document.querySelector('#part .part')?.dataset.id !== id", arg=first)
        expect(page.locator(".done")).to_contain_text(MARKUP)
        second = shown(page)
        page.keyboard.press("s")
        page.wait_for_function("id => document.querySelector('#part .part')?.dataset.id !== id", arg=second)
        third = shown(page)
        page.keyboard.press("1")
        page.wait_for_function("id => document.querySelector('#part .part')?.dataset.id !== id", arg=third)
        types = {each["defect_type"] for each in queue.running.service.store.inspection(third)["reviews"]}
        assert types == {queue.running.service.store.reviews.defect_types(queue.inspections[0]["category"])[0]}
        assert "gonogo" in page.title()


def test_two_people_at_once_get_different_parts(browser, queue):
    with visit(browser, queue, "Ana") as one, visit(browser, queue, "Bo") as other:
        for page in (one, other):
            page.goto(queue.url + "/review")
        assert shown(one) != shown(other)
        before = shown(one)
        one.reload()
        assert shown(one) == before


def test_without_scripts_the_queue_its_undo_and_the_archive_are_forms(browser, queue):
    with visit(browser, queue, "Bo", java_script_enabled=False) as page:
        page.goto(queue.url + "/review")
        first = shown(page)
        page.click("#good")
        page.wait_for_url(f"**/review?done={first}")
        assert shown(page) != first
        page.click("#undo")
        expect(page.locator("#part .part")).to_have_attribute("data-id", first)
        page.click("#good")
        page.wait_for_url(f"**/review?done={first}")
        with page.expect_download() as download:
            page.click("form[action='/review/export'] button")
        with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
            assert first in archive.read("reviews.jsonl").decode()


def test_who_may_only_inspect_sees_no_queue_and_gets_none(browser, site):
    with visit(browser, site, "inspect", check=False) as page:
        page.goto(site.url + "/analytics")
        assert page.locator("nav a[href='/review']").count() == 0
        assert page.locator("nav a[href='/arena']").count() == 1
        assert page.goto(site.url + "/review").status == 403


def test_the_rates_are_those_of_v1_and_a_filter_leads_to_their_csv(browser, site):
    category = site.inspections[0]["category"]
    with visit(browser, site, "inspect", locale="de-DE") as page:
        page.goto(site.url + "/analytics")
        page.select_option("select[name=hours]", "24")
        page.select_option("select[name=category]", category)
        page.click(".filters button")
        page.wait_for_url("**hours=24**")
        counted = site.running.ask("GET", "/v1/analytics", params={"category": category}).json()
        assert page.locator(".figures dd").first.inner_text() == str(counted["total"]["inspected"])
        address = page.locator("a[href^='/analytics/by_category.csv']").get_attribute("href")
        answer = page.request.get(site.url + address)
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.text().splitlines()[1].startswith(f"{category},{counted['total']['inspected']},")


def test_in_the_arena_a_person_answers_by_key_and_then_sees_the_truth_and_the_map(browser, queue):
    running = queue.running
    for each, label in ((queue.inspections[0], "good"), (queue.inspections[-1], "defect")):
        review = {"label": label} | ({"defect_type": "dent"} if label == "defect" else {})
        assert running.ask("POST", f"/v1/inspections/{each['id']}/review", role="Ana", json=review).status_code == 200
    with visit(browser, queue, "Bo") as page:
        page.goto(queue.url + "/arena")
        assert page.locator(".outcome").count() == 0
        page.wait_for_function("document.querySelector('.case').naturalWidth === 960")
        page.keyboard.press("g")
        page.wait_for_selector(".outcome")
        expect(page.locator(".case")).to_have_attribute("src", re.compile("/overlay$"))
        arrived(page.locator(".case"))
        expect(page.locator(".said tr")).to_have_count(3)
        page.keyboard.press("n")
        page.wait_for_url("**/arena**")
