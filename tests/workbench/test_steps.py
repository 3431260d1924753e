"""Through all six steps in a browser, on a small real project: from a folder of images to a promoted gauge and back."""

import json
import re
from pathlib import Path

import pytest

from serving import listening_app  # skips where the extra is missing
from visiting import browser, expect, violations, visit  # noqa: F401

# isort: split
from gonogo.cli.main import main
from gonogo.evaluation.boxes.box_accuracy import BOX_COLUMNS
from gonogo.project.git import git
from gonogo.project.registry import check, in_use, read_registry
from gonogo.service.pages.access import COOKIE
from gonogo.workbench.pages import analysis
from gonogo.workbench.pictures import dataset_of
from processes import until
from workbench.benches import RunningBench, in_folder
from workbench.project import CATEGORY, environment, make_project

# ruff: noqa: F811  fixtures are imported, and then named

pytestmark = pytest.mark.slow
PAGES = (
    "/data?look=true", "/data?folder=brick/test/hole", "/card", "/card?role=test&type=hole", "/card/3", "/fit",
    "/fit?detector=patchcore", "/evaluation", "/analysis", "/analysis/3", "/deploy", "/deploy?rev=HEAD",
)  # fmt: skip


class Place:
    """What `visit` needs of a site."""

    def __init__(self, bench, url):
        self.bench, self.url = bench, url

    def session(self, role):
        self.bench.sign_in(role)
        return self.bench.http.cookies[COOKIE]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workbench")
    project = make_project(folder)
    with in_folder(project, environment(folder)):
        bench = RunningBench()
        with listening_app(bench.app) as port:
            yield Place(bench, f"http://127.0.0.1:{port}")


def test_axe_finds_nothing_on_any_page_and_no_page_is_wider_than_a_phone(browser, place):
    with visit(browser, place, "admin", bypass_csp=True, viewport={"width": 360, "height": 740}) as page:
        for path in PAGES:
            assert page.goto(place.url + path).status == 200, path
            assert violations(page) == {}, path
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_no_page_is_refused_anything_by_its_policy(browser, place):
    with visit(browser, place, "admin", color_scheme="dark") as page:
        for path in PAGES:
            page.goto(place.url + path)
            page.wait_for_load_state("load")


def test_an_image_of_a_gauge_that_finds_boxes_has_a_table_of_them(place, monkeypatch):
    monkeypatch.setattr(analysis, "learns_boxes", lambda _category: True)
    path, image = Path("plots/regions/brick.csv"), dataset_of("brick").records[0].path
    kept = path.read_text(encoding="utf-8")
    boxes = [f"{image},labelled,pore,1,2,3,4,1.0,0.5", f"{image},found,pore,2,2,3,4,1.75,0.5"]
    path.write_text("\n".join([",".join(BOX_COLUMNS), *boxes, ""]), encoding="utf-8")
    place.bench.sign_in()
    try:
        page = place.bench.page("/analysis/0?category=brick").text
    finally:
        path.write_text(kept, encoding="utf-8")
    cells = [re.findall(r"<t[dh][^>]*>([^<]*)</t", row) for row in re.findall(r"<tr><th scope=.row.*?</tr>", page)]
    assert cells == [
        ["pore", "labelled", "1", "2", "3", "4", "50%", "–"],
        ["pore", "found", "2", "2", "3", "4", "50%", "1.75"],
    ]
    assert "labelled green, found orange" in page


def test_from_the_folder_to_a_promoted_gauge_and_back(browser, place, capsys):
    runs = place.bench.workbench.runs
    with visit(browser, place, "admin", check=False) as page:
        page.goto(f"{place.url}/")
        page.get_by_role("link", name="brick").first.click()
        page.get_by_role("link", name="test").click()
        page.get_by_role("link", name="hole").click()
        expect(page.locator(".tiles img")).to_have_count(10)

        page.goto(f"{place.url}/card")
        page.get_by_role("link", name="scratch").click()
        expect(page.locator("a.tile")).to_have_count(10)
        page.locator("a.tile").first.click()
        page.wait_for_url("**/card/*")  # its script has run then
        first = page.url
        page.keyboard.press("ArrowRight")
        page.wait_for_url(lambda url: url != first)
        page.keyboard.press("Escape")
        page.wait_for_url("**/card?*")
        expect(page.locator("a.tile")).to_have_count(10)  # still filtered

        page.goto(f"{place.url}/fit")
        page.fill("[name='option.explained_variance']", "2")
        page.get_by_role("button", name="Start").click()
        expect(page.locator("main")).to_contain_text("explained_variance is 2")
        page.go_back()
        page.fill("[name='option.explained_variance']", "0.5")
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**/fit/fit-brick-*")
        stopped = page.url.rpartition("/")[2]
        until(lambda: runs.log(stopped) or not runs.get(stopped).is_open)
        page.reload()
        expect(page.locator("#run .state")).to_have_text("goes on")
        other = page.context.new_page()
        other.goto(f"{place.url}/fit")
        assert other.get_by_role("link", name=stopped).count() == 1
        assert main(["runs", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["runs"][0]["id"] == stopped
        page.get_by_role("button", name="Stop").click()
        other.locator(".runs .state", has_text="stopped").wait_for()  # without a reload
        assert git(Path(), "for-each-ref", f"refs/exps/*/*/{stopped}") == ""
        assert git(Path(), "status", "--porcelain") == ""

        other.fill("[name='option.explained_variance']", "0.99")
        other.get_by_role("button", name="Start").click()
        other.wait_for_url("**/fit/fit-brick-*")
        fitted = other.url.rpartition("/")[2]
        other.get_by_role("link", name="Compare").wait_for(timeout=300_000)  # by itself, when the run is done
        assert runs.get(fitted).state == "done", runs.get(fitted).reason
        other.close()

        page.goto(f"{place.url}/evaluation?against={fitted}")
        assert "explained_variance" not in page.locator("h1").inner_text()
        assert page.get_by_role("row", name=re.compile(fitted)).count() >= 1
        assert page.locator("#comparison ~ .scroll tbody tr").count() > 3

        page.goto(f"{place.url}/analysis")
        before = page.locator("#point").inner_text()
        page.locator("input[type=range]").focus()
        page.keyboard.press("Home")
        until(lambda: page.locator("#point").inner_text() != before)
        expect(page.locator("#point")).to_contain_text("100%")
        page.get_by_role("button", name="Sort by it").click()
        expect(page.locator(".cases li").first.locator("b")).to_have_text("false alarm")
        page.locator(".cases a").first.click()
        expect(page.locator(".pair img")).to_have_count(3)

        promote(page, place, fitted)
        assert in_use(read_registry(), CATEGORY, "production").by == "admin"
        promote(page, place, "HEAD")
        current = in_use(read_registry(), CATEGORY, "production")
        assert current.commit == git(Path(), "rev-parse", "HEAD").strip()
        words = "bench.bundle_mb went from"
        page.goto(f"{place.url}/deploy?rev={fitted}")
        assert words in page.locator("#gate ~ .note").inner_text()
        promote(page, place, fitted)
        on_page = page.locator("main").inner_text()
        by_api = place.bench.ask(
            "POST", "/v1/project/promote", json={"category": CATEGORY, "rev": fitted, "reason": "again"}
        )
        assert main(["promote", CATEGORY, "--rev", fitted, "--reason", "again", "--json"]) == 1
        by_command = json.loads(capsys.readouterr().out)["error"]["message"]
        assert by_api.status_code == 409
        assert by_api.json()["detail"] == by_command
        assert " ".join(by_command.split()) in " ".join(on_page.split())
        assert words in by_command
        assert in_use(read_registry(), CATEGORY, "production") == current

        page.goto(f"{place.url}/deploy")
        page.fill("#why", "the line likes the other one")
        page.get_by_role("button", name="Roll back").click()
        page.wait_for_url("**/deploy?*")
        back = in_use(read_registry(), CATEGORY, "production")
        assert (back.action, back.restores, back.reason) == ("roll back", 1, "the line likes the other one")
        assert list(check(read_registry())) == []
        page.set_input_files("#image", next(Path("../images/brick/test/hole").iterdir()))
        page.get_by_role("button", name="Judge", exact=True).click()
        page.locator(".pair img").first.wait_for()
        page.reload()
        expect(page.locator(".pair img")).to_have_count(2)


def promote(page, place, revision):
    """Promote a version on the page."""
    page.goto(f"{place.url}/deploy?rev={revision}")
    page.fill("#reason", "a test")
    with page.expect_navigation():
        page.get_by_role("button", name="Promote").click()
