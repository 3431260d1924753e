"""Pictures come in as people bring them: dropped, pasted, chosen, taken by a camera, one or many; and go out small."""

import re

import numpy as np
import pytest
from PIL import Image

from serving import Running, bundles, files, inspected, listening_service  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.service.pages.pictures import WIDTHS
from gonogo.service.settings import Settings
from visiting import PAGES, PHONE, Site, browser, expect, site, visit  # noqa: F401

# ruff: noqa: F811  fixtures are imported, and then named

DROPPED_AT = {"x": 600, "y": 400}  # pixels, in the middle of the page


def drop(page, *paths):
    """Drag files over the page and drop them, as the browser sees it from the system."""
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, **DROPPED_AT, "data": data})


def stored(site, page):
    """The rows of the inspections that the page's address names, in the order of their names."""
    ids = re.findall(r"[0-9a-f]{32}", page.url)
    return sorted(site.running.service.store.with_ids(ids), key=lambda row: row["name"] or "")


def content(site, row):
    return site.running.service.store.images.path_of(row["image_sha256"]).read_bytes()


def test_one_picture_is_dropped_and_many_make_a_batch(browser, site, files):
    with visit(browser, site, "inspect") as page:
        page.goto(site.url)
        drop(page, files[0])
        page.wait_for_url("**/?id=*")
        (row,) = stored(site, page)
        assert (row["name"], content(site, row)) == (files[0].name, files[0].read_bytes())
        drop(page, *files[:5])
        page.wait_for_url("**/?ids=*")
        assert [row["name"] for row in stored(site, page)] == sorted(path.name for path in files[:5])
        expect(page.locator("#feed li")).to_have_count(5)


def test_a_file_that_is_no_picture_is_not_sent_and_the_page_stays(browser, site, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with visit(browser, site, "inspect") as page:
        page.goto(site.url)
        asked = []
        page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
        drop(page, tmp_path / "notes.txt")
        expect(page.locator("body.dropping")).to_have_count(0)
        assert (page.url, asked) == (f"{site.url}/", [])


def test_a_picture_is_pasted_from_the_clipboard(browser, site, files):
    with visit(browser, site, "inspect", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(site.url)
        page.evaluate(
            """async (bytes) => navigator.clipboard.write(
              [new ClipboardItem({"image/png": new Blob([new Uint8Array(bytes)], {type: "image/png"})})])""",
            list(files[1].read_bytes()),
        )
        page.keyboard.press("Control+v")
        page.wait_for_url("**/?id=*")
        (row,) = stored(site, page)
        assert row["image_format"] == "PNG"
        with Image.open(files[1]) as given:  # the system's clipboard keeps pixels, and writes its own PNG
            path = site.running.service.store.images.path_of(row["image_sha256"])
            assert np.array_equal(np.asarray(Image.open(path).convert("RGB")), np.asarray(given.convert("RGB")))


def test_pictures_are_chosen_in_the_systems_dialog(browser, site, files):
    with visit(browser, site, "inspect") as page:
        page.goto(site.url)
        with page.expect_file_chooser() as chooser:
            page.get_by_text("Choose pictures").click()
        assert chooser.value.is_multiple()
        chooser.value.set_files(files[:2])
        page.wait_for_url("**/?ids=*")
        assert len(stored(site, page)) == 2


def test_a_picture_is_taken_by_a_camera_and_the_camera_goes_off(browser, site):
    with visit(browser, site, "inspect", permissions=["camera"]) as page:
        page.goto(site.url)
        page.get_by_text("Camera", exact=True).click()
        page.locator("#camera-take:enabled").wait_for()
        wide, high = page.locator("#film").evaluate("film => [film.videoWidth, film.videoHeight]")
        track = page.evaluate_handle("() => camera.stream.getTracks()[0]")
        page.keyboard.press("Escape")
        page.wait_for_function("track => track.readyState === 'ended'", arg=track)
        page.locator("#take").press("Enter")
        page.locator("#camera-take:enabled").wait_for()
        page.locator("#camera-take").click()
        page.wait_for_url("**/?id=*")
        (row,) = stored(site, page)
        assert (row["image_width"], row["image_height"], row["image_format"]) == (wide, high, "PNG")
        assert re.fullmatch(r"camera [\d-]+T[\d-]+\.png", row["name"])


def test_a_camera_that_may_not_be_used_is_said_in_the_dialog(browser, site):
    with visit(browser, site, "inspect", permissions=[]) as page:
        page.goto(site.url)
        refuse = "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('')); }"
        page.evaluate(refuse)
        page.get_by_text("Camera", exact=True).click()
        page.locator("#camera-none").wait_for()
        expect(page.locator("#camera-take")).to_be_disabled()


def test_on_a_phone_the_camera_is_that_of_the_system(browser, site):
    with visit(browser, site, "inspect", viewport=PHONE, has_touch=True, is_mobile=True) as page:
        page.goto(site.url)
        with page.expect_file_chooser() as chooser:
            page.get_by_text("Camera", exact=True).tap()
        assert not chooser.value.is_multiple()
        assert page.locator("#take").get_attribute("capture") == "environment"


@pytest.fixture(scope="module")
def large(site, tmp_path_factory):
    """An inspection of a picture of 2,400 x 1,800 pixels."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    pixels = np.random.default_rng(4).integers(0, 255, (18, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((2400, 1800)).save(path)
    return inspected(site.running, path, params={"name": path.name})


@pytest.mark.parametrize("place", ["/", "/?id={id}", "/cases", "/cases/{id}", "/review"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pictures_are_sent_at_the_size_shown(browser, site, large, place, width):
    with visit(browser, site, "review", viewport={"width": width, "height": 800}) as page:
        page.goto(site.url + place.format(id=large["id"]))
        page.wait_for_load_state("load")
        shown = page.locator("img[src*='/parts/'][src*='image?width']").evaluate_all(
            "all => all.filter((one) => one.complete && one.naturalWidth)"
            ".map((one) => [Number(new URL(one.currentSrc).searchParams.get('width')), one.clientWidth])"
        )
        assert shown
        for sent, wide in shown:
            assert sent <= 2 * next(each for each in WIDTHS if each >= wide), (sent, wide)


@pytest.mark.parametrize("place", PAGES, ids=lambda place: place.name)
def test_a_page_weighs_less_than_600_kilobytes_without_pictures(browser, site, place):
    with visit(browser, site, place.role, check=place.name != "error") as page:
        sizes = []
        pictures = ("/parts/", "/live", "/image", "/overlay")
        page.on("response", lambda one: None if any(each in one.url for each in pictures) else sizes.append(one))
        page.goto(site.url + site.path(place))
        page.wait_for_load_state("load")
        if place.name == "inspector":  # with the script of the zoom, which is loaded when it is wanted
            page.keyboard.press("z")
            page.locator("#zoom-view canvas").first.wait_for()
        bodies = [one.body() for one in sizes if one.ok]
        assert len(bodies) >= 4 or place.name == "error"
        assert sum(map(len, bodies)) < 600_000


def test_a_part_of_another_bundle_shows_what_judged_it_and_what_the_bundle_of_today_says(
    browser, bundles, files, tmp_path
):
    settings = Settings(bundle=bundles / "first", bundles=bundles, data=tmp_path, threads=1, deadline=60.0)
    with Running(settings) as running, listening_service(running) as port:
        before = inspected(running, files[-1])
        second = {one["name"]: one for one in running.ask("GET", "/v1/bundles").json()["bundles"]}["second"]
        body = {"fingerprint": second["fingerprint"]}
        assert running.ask("POST", "/v1/bundles:activate", role="admin", json=body).status_code == 200
        site = Site(running, port, [before])
        with visit(browser, site, "inspect") as page:
            page.goto(site.url)
            assert page.locator(".layer").count() == 0
            assert (
                "only while the bundle that judged the part is in use"
                in page.locator(".viewer figcaption").inner_text()
            )
            page.goto(f"{site.url}/cases/{before['id']}")
            page.locator(f"text={second['fingerprint'][:12]}").first.wait_for()
            assert before["bundle"][:12] in page.locator("main").inner_text()
            drop(page, files[0])  # a case takes no pictures
            assert page.url.endswith(f"/cases/{before['id']}")
