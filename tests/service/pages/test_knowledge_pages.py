"""What people know of failures, by API and by pages: rated beside measured, edited with history, with scripts off."""

import json
import re
import shutil
from itertools import product

import pytest

from visiting import Site, expect, violations, visit
from visiting import browser as browser
from visiting import files as files

# isort: split
from gonogo.files import seal
from gonogo.knowledge.measured import share_of
from gonogo.knowledge.stored import load_knowledge
from gonogo.knowledge.tables import read_knowledge
from gonogo.service.settings import Settings
from serving import Running, inspected, listening_service

TABLES = {
    "modes.csv": "id,name,category,defect_type\nscratch,Scratch <b>,digit_0,scratch\nburr,Burr,digit_0,burr\n",
    "effects.csv": "id,name,severity\nleak,The seal leaks,9\n",
    "causes.csv": "id,name,occurrence,group\nworn-jaw,Worn jaw,4,machine\n",
    "controls.csv": "id,name,type,detection\ngauge,gonogo,detection,2\n",
    "actions.csv": "id,name,step,status,due\nnew-jaw,New jaws,corrective,open,2026-12-01\n",
}
PAIRS = (("worn-jaw", "scratch"), ("scratch", "leak"), ("gauge", "scratch"), ("new-jaw", "worn-jaw"))


@pytest.fixture(scope="module")
def site(bundle, files, tmp_path_factory):
    """A service with ten inspections, of which reviewers settled three as scratches, and with knowledge of them."""
    folder = tmp_path_factory.mktemp("known")
    shutil.copytree(bundle, folder / "bundle")
    content = json.loads((folder / "bundle/manifest.json").read_text())
    listed = content.pop("files")
    content.pop("manifest_sha256")
    seal(folder / "bundle", content | {"recall_by_type": {"scratch": [19, 20]}}, listed)
    settings = Settings(bundle=folder / "bundle", data=folder / "data", threads=1, deadline=60.0)
    with Running(settings) as running, listening_service(running) as port:
        inspections = [inspected(running, path, params={"name": path.name}) for path in files]
        for one in inspections[:3]:
            review = {"label": "defect", "defect_type": "scratch"}
            running.ask("POST", f"/v1/inspections/{one['id']}/review", role="review", json=review)
        seen = inspections[0]["id"]
        links = "source,target,evidence,by,at\n" + "".join(f"{a},{b},{seen},Bo,2026-11-29\n" for a, b in PAIRS)
        tables = folder / "tables"
        tables.mkdir()
        for name, text in (TABLES | {"links.csv": links}).items():
            (tables / name).write_text(text)
        load_knowledge(running.service.store, read_knowledge(tables), by="Ana")
        yield Site(running, port, inspections)


def asked(site, method="GET", path="", status=200, **rest):
    answer = site.running.ask(method, f"/v1/knowledge{path}", **rest)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_failure_is_told_as_people_rated_it_and_as_it_was_measured(site):
    told = asked(site)
    row, other = sorted(told["rows"], key=lambda row: row["mode"], reverse=True)
    assert (row["mode"], row["cause"], row["effects"], row["controls"], row["actions"]) == (
        "scratch", "worn-jaw", ["leak"], ["gauge"], ["new-jaw"],
    )  # fmt: skip
    assert (row["severity"], row["occurrence"], row["detection"], row["priority"]) == (9, 4, 2, "high")
    for name, share in (("measured_occurrence", share_of(3, 10)), ("measured_detection", share_of(19, 20))):
        assert row[name] == {**share._asdict(), "rate": share.rate}
    assert (other["measured_occurrence"]["k"], other["measured_detection"], other["priority"]) == (0, None, None)
    assert told["priorities"] == "simple"
    rejected = sum(one["verdict"] == "reject" for one in site.inspections)
    of_settled = sum(one["verdict"] == "reject" for one in site.inspections[:3])
    assert told["production"] == [
        {"category": "digit_0", "inspected": 10, "rejected": rejected, "unreviewed": rejected - of_settled}
    ]
    assert [(bar["name"], bar["n"], bar["cumulative"]) for bar in told["types"]] == [("scratch", 3, 1.0)]
    around = {item["id"] for item in asked(site, params={"defect_type": "scratch"})["items"]}
    assert around == {"scratch", "leak", "worn-jaw", "gauge", "new-jaw"}
    assert asked(site, params={"min_severity": 10})["rows"] == []
    assert {each["name"] for each in asked(site, path=".jsonld")["@graph"] if "name" in each} > {"Worn jaw"}


def test_a_change_by_api_is_refused_where_it_is_wrong_or_comes_too_late(site):
    seen = site.inspections[1]["id"]
    made = asked(site, "POST", "/noise", role="review", json={"kind": "effect", "values": {"name": "n", "severity": 3}})
    version = made["versions"][-1]["version"]
    wrong = {"kind": "effect", "values": {"name": "n", "severity": 11}}
    assert "from 1 to 10" in asked(site, "POST", "/noise", 422, role="review", json=wrong)["detail"]
    asked(site, "POST", "/noise", 403, json=wrong)
    link = {"kind": "link", "values": {"evidence": seen}}
    told = asked(site, "POST", "/burr%3Enoise", role="review", json=link)
    assert told["versions"][-1]["content"]["by"] == "review"
    changed = {"kind": "effect", "values": {"name": "n", "severity": 4}, "based_on": version}
    asked(site, "POST", "/noise", role="review", json=changed)
    late = asked(site, "POST", "/noise", 409, role="review", json=changed)
    assert late["type"].endswith("changed-meanwhile")
    removed = asked(site, "POST", "/noise", role="review", json={"kind": "effect", "values": None})
    assert [one["content"] and one["content"]["severity"] for one in removed["versions"]] == [3, 4, None]
    assert all("noise" not in (one["source"], one["target"]) for one in asked(site)["links"])
    asked(site, path="/nothing", status=404)


@pytest.mark.parametrize("path", ["/knowledge?words=x", "/knowledge/items/scratch", "/knowledge/new?kind=control"])
def test_the_pages_break_no_rule(browser, site, path):
    with visit(browser, site, "review") as page:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(site.url + path)
    with visit(browser, site, "review", bypass_csp=True, check=False, locale="de-DE") as page:
        for scheme, width in product(("light", "dark"), (360, 1280)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 800})
            page.goto(site.url + path)
            assert violations(page) == {}, (scheme, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_shows_rated_beside_measured_and_the_graph_with_its_table(browser, site):
    with visit(browser, site, "inspect") as page:
        page.goto(f"{site.url}/knowledge?category=digit_0")
        row = page.locator(".fmea tbody tr", has_text="Scratch <b>").inner_text()
        assert "30% 6.67% to 65.25%, 3 of 10" in row
        assert "95% 75% to 100%, 19 of 20" in row
        boxes = page.locator("svg.knowledge .box title").all_text_contents()
        assert sorted(boxes)[:2] == ["Action: New jaws", "Cause: Worn jaw"]
        assert page.locator("svg.knowledge .arrow").count() == len(PAIRS)
        page.get_by_text("The links as a table").click()
        expect(page.locator("details tbody tr")).to_have_count(len(PAIRS))
        assert page.get_by_role("link", name="Add a cause").count() == 0  # for reviewers


def test_an_item_is_added_changed_linked_and_removed_without_scripts_and_its_history_stays(browser, site):
    with visit(browser, site, "review", java_script_enabled=False) as page:
        page.goto(f"{site.url}/knowledge")
        page.get_by_role("link", name="Add a cause").click()
        page.get_by_label("Name").fill("Größe <i>falsch</i>")
        page.get_by_label("Occurrence").fill("5")
        page.get_by_role("button", name="Save").click()
        page.wait_for_url("**/knowledge/items/grosse-i-falsch-i")
        page.get_by_label("Occurrence").fill("7")
        page.get_by_label("Group").select_option("material")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".versions li").first).to_have_text(re.compile("^[^→]*→[^→]*$"))
        page.get_by_label("Link with").select_option(">burr")
        page.get_by_label("Where it was seen").fill(site.inspections[2]["id"])
        page.get_by_role("button", name="Add the link").click()
        expect(page.locator(".links")).to_contain_text("causes Burr")
        page.get_by_role("button", name="Remove the link").click()
        expect(page.locator(".links")).to_have_count(0)
        with page.expect_navigation():
            page.get_by_role("button", name="Remove", exact=True).click()
        page.goto(f"{site.url}/knowledge/items/grosse-i-falsch-i")
        assert "its history stays" in page.locator("main").inner_text()
        assert page.locator(".versions li").count() == 3


def test_a_form_that_somebody_else_was_faster_than_says_so(browser, site):
    with visit(browser, site, "review", check=False) as page:
        page.goto(f"{site.url}/knowledge/items/leak")
        asked(site, "POST", "/leak", role="review", json={"kind": "effect", "values": {"name": "Leak", "severity": 9}})
        page.get_by_role("button", name="Save").click()
        page.get_by_role("heading", name="Somebody else has changed it meanwhile").wait_for()
        assert asked(site, path="/leak")["versions"][-1]["content"]["name"] == "Leak"
