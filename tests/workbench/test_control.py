"""The control API and the forms: only admins, nothing outside of the project, and no way around the gate."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT
from gonogo.cli.main import main
from gonogo.project.registry import in_use, promote, read_registry
from processes import needs_kill, until
from project.test_registry import WHO, commits, history  # noqa: F401
from serving import Running, listening_service

# isort: split
import httpx2

from gonogo.project.runs import Runs
from gonogo.service.pages.texts import LANGUAGES
from gonogo.service.promoted import RegistrySource
from gonogo.service.settings import Settings
from gonogo.workbench import api
from gonogo.workbench.deployment import tried
from gonogo.workbench.workbench import FollowingService, Workbench, settings_of
from workbench.benches import RunningBench

# ruff: noqa: F811  fixtures are imported, and then named

FOLDER = Path(api.__file__).parent
PARAMS = "seed: 1\nraw: raw\ncategories: [digit_0]\nfit: {detector: pca}\ncalibrate: {}\nprepare: {source: digits}\n"


@pytest.fixture
def bench(commits, monkeypatch):  # noqa: ARG001  it changes to the project's folder
    Path("params.yaml").write_text(PARAMS)
    text = Path("dvc.yaml").read_text()
    Path("dvc.yaml").write_text(text.replace("plots: plots", "plots: plots, metrics: metrics, cards: cards"))
    Path("raw/a").mkdir(parents=True)
    Path("raw/out").symlink_to("/etc")
    monkeypatch.setattr(Runs, "start_worker", lambda _: None)
    bench = RunningBench()
    with bench.http:
        yield bench


@pytest.mark.slow
def test_a_gauge_that_breaks_a_tolerance_is_refused_by_command_page_and_api_in_the_same_words(bench, commits, capsys):
    better = promote("digit_0", "production", commits["better"], **WHO)
    before = Path("registry.jsonl").read_bytes()
    assert main(["promote", "digit_0", "--rev", commits["worse"], "--reason", "try", "--json"]) == 1
    words = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "evaluate.recall went from 0.9 to 0.7; it may fall by 0.05" in words
    wanted = {"category": "digit_0", "rev": commits["worse"], "reason": "try"}
    by_api = bench.ask("POST", "/v1/project/promote", json=wanted)
    assert (by_api.status_code, by_api.json()["type"]) == (409, "urn:gonogo:problem:gate-refused")
    assert by_api.json()["detail"] == words
    bench.sign_in()
    on_page = bench.post("/deploy/promote", alias="production", **wanted)
    assert on_page.status_code == 409
    assert words in on_page.text
    for unknown in ({"gate": "0" * 64}, {"force": True}, {"tolerances": "none.yaml"}, {"bundle": better.bundle}):
        assert bench.ask("POST", "/v1/project/promote", json=wanted | unknown).status_code == 422
    assert Path("registry.jsonl").read_bytes() == before
    passing = bench.ask("POST", "/v1/project/promote", json=wanted | {"alias": "staging"})
    assert passing.status_code == 201
    assert passing.json()["tags"] == ["gauge-digit_0#staging#1"]
    assert in_use(read_registry(), "digit_0", "staging").by == "admin"
    back = bench.ask("POST", "/v1/project/roll-back", json={"category": "digit_0", "reason": "none before"})
    assert (back.status_code, "no earlier gauge" in back.json()["detail"]) == (422, True)


ROUTES = [
    ("GET", "/v1/project"), ("GET", "/v1/project/runs"), ("POST", "/v1/project/runs"), ("GET", "/v1/project/runs/x"),
    ("POST", "/v1/project/runs/x:stop"), ("GET", "/v1/project/metrics"), ("GET", "/v1/project/compare?old=HEAD"),
    ("GET", "/v1/project/thresholds"), ("GET", "/v1/project/versions"), ("GET", "/v1/project/registry"),
    ("POST", "/v1/project/promote"), ("POST", "/v1/project/roll-back"), ("POST", "/v1/project/service:reload"),
]  # fmt: skip
PAGES = [
    "/", "/data", "/data/picture?folder=&number=0", "/card", "/card/0", "/pictures/0", "/fit", "/fit/x", "/evaluation",
    "/analysis", "/analysis/at", "/analysis/0", "/deploy", "/deploy/tried/x",
]  # fmt: skip
FORMS = [
    "/data/prepare", "/fit", "/fit/x/stop", "/deploy/promote", "/deploy/roll-back", "/deploy/reload", "/deploy/try",
    "/deploy/try-folder",
]  # fmt: skip


@pytest.mark.slow
def test_only_an_admin_gets_in_and_no_other_site_can_act_for_one(bench):
    from gonogo.workbench.app import PAGES as PAGE_SET

    known = {path for _, path in ROUTES} | {*PAGES, *FORMS}
    for method, path in ROUTES:
        for role in ("inspect", "review"):
            assert bench.ask(method, path, role=role).status_code == 403, path
        assert bench.http.request(method, path).status_code == 401, path
    for path in PAGES:
        assert bench.page(path, follow_redirects=False).headers["location"].startswith("/sign-in"), path
    bench.sign_in("review")
    for path in PAGES:
        assert bench.page(path, follow_redirects=False).status_code == 403, path
    bench.sign_in()
    for path in FORMS:
        answer = bench.http.post(path, headers={"Sec-Fetch-Site": "cross-site"}, follow_redirects=False)
        assert answer.status_code == 403, path
    assert {entry.path for entry in PAGE_SET.navigation} <= known
    served = set(bench.http.get("/openapi.json").json()["paths"])
    assert {path.partition("?")[0].replace("/x", "/{identifier}") for _, path in ROUTES} == served


@pytest.mark.slow
def test_no_path_of_a_client_leaves_the_project(bench):
    bench.sign_in()
    for folder in ("..", "../..", "/etc", "a/../..", "out", "a/%00", "no-such"):
        for path in (f"/data?folder={folder}", f"/data/picture?folder={folder}&number=0"):
            answer = bench.page(path)
            assert answer.status_code == 422, path
            assert "root:" not in answer.text
    for name in ("%2e%2e", "%2e%2e%2fregistry", "..%5cx", "a" * 300):
        assert bench.page(f"/fit/{name}", follow_redirects=False).status_code in (404, 422), name
        assert bench.page(f"/deploy/tried/{name}", follow_redirects=False).status_code in (404, 422), name
    for category in ("..", "../x", "digit_0/../x", "/etc"):
        for path in ("/card", "/pictures/0", "/analysis", "/evaluation", "/deploy", "/data/problem"):
            got = bench.page(path, params={"category": category, "problem": 0, "number": 0})
            assert got.status_code == 422, (path, category)
    for settings in (["raw=/etc"], ["fit.weights=../../x"], ["prepare.folder=x"], ["fit.python=x"], ["seed=2"]):
        answer = bench.ask("POST", "/v1/project/runs", json={"category": "digit_0", "settings": settings})
        assert answer.status_code == 422, settings
    for recipe in ("../params", "/etc/passwd"):
        body = {"category": "digit_0", "recipe": recipe}
        assert bench.ask("POST", "/v1/project/runs", json=body).status_code == 422
    for revision in ("--output=x", "-h"):
        body = {"category": "digit_0", "rev": revision, "reason": "x"}
        assert bench.ask("POST", "/v1/project/promote", json=body).status_code == 422
        assert bench.ask("GET", "/v1/project/compare", params={"old": revision}).status_code == 422
    assert bench.ask("GET", "/v1/project/runs").json() == {"runs": []}


def test_a_parameter_that_no_route_has_is_refused(bench):
    """Otherwise a misspelt category would be told as the first one."""
    for path in ("metrics", "compare", "thresholds"):
        answer = bench.ask("GET", f"/v1/project/{path}", params={"categry": "digit_0"})
        assert answer.status_code == 422, path
        assert "did you mean category?" in answer.json()["errors"][0]["what"]


@pytest.mark.slow
def test_a_run_of_the_api_is_one_of_the_command_and_can_be_stopped_by_it(bench, capsys):
    Path("raw").mkdir(exist_ok=True)
    body = {"category": "digit_0", "settings": ["fit.explained_variance=0.5"]}
    made = bench.ask("POST", "/v1/project/runs", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["settings"] == ["+fit.explained_variance=0.5"]
    name = made.json()["id"]
    assert main(["runs", "stop", name]) == 0
    capsys.readouterr()
    assert bench.ask("GET", f"/v1/project/runs/{name}").json()["state"] == "stopped"
    again = bench.ask("POST", f"/v1/project/runs/{name}:stop")
    assert (again.status_code, "has ended" in again.json()["detail"]) == (422, True)
    assert bench.ask("POST", "/v1/project/service:reload").status_code == 422


@pytest.mark.slow
def test_a_promotion_reaches_the_service_that_follows_when_the_workbench_says_so(bench, commits, tmp_path):
    first = promote("digit_0", "production", commits["first"], **WHO)
    source = RegistrySource(Path.cwd(), "digit_0", "production", tmp_path / "promoted")
    settings = Settings(bundle=tmp_path, data=tmp_path / "kept", registry=source, registry_seconds=1e6, threads=1)
    with Running(settings) as service, listening_service(service) as port:
        bench.workbench.following = FollowingService(f"http://127.0.0.1:{port}", service.keys["admin"])
        wanted = {"category": "digit_0", "rev": commits["better"], "reason": "finer"}
        better = bench.ask("POST", "/v1/project/promote", json=wanted).json()["entry"]["bundle"]
        assert service.service.gauge.scorer.fingerprint == first.bundle
        told = bench.ask("POST", "/v1/project/service:reload")
        assert (told.status_code, told.json().get("fingerprint")) == (200, better), told.text
        assert service.service.gauge.scorer.fingerprint == better
        bench.workbench.following = FollowingService(f"http://127.0.0.1:{port}", service.keys["inspect"])
        refused = bench.ask("POST", "/v1/project/service:reload")
        assert (refused.status_code, refused.json()["type"]) == (502, "urn:gonogo:problem:project-failed")
        assert "role admin" in refused.json()["detail"]


@pytest.mark.slow
def test_the_images_of_a_folder_are_judged_the_most_anomalous_first_and_what_is_none_is_counted(bench, digits):
    bench.sign_in()
    paths = [digits.path_of(record) for record in digits.with_role("test")[:4]]
    sent = [("images", (f"f/{path.name}", path.read_bytes())) for path in paths]
    sent += [("images", ("f/torn.png", b"no image")), ("images", ("f/notes.txt", b"a note"))]
    own = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    form = {"data": {"category": "digit_0"}, "headers": own, "follow_redirects": False}
    answer = bench.http.post("/deploy/try-folder", files=sent, **form)
    assert answer.status_code == 303, answer.text
    told = tried(re.search("folder=([0-9a-f]{64})", answer.headers["location"])[1])
    scores = [row["score"] for row in told["rows"][:4]]
    assert scores == sorted(scores, reverse=True)
    assert (told["rows"][4]["file"], "torn.png" in told["rows"][4]["error"], told["others"]) == ("f/torn.png", False, 1)
    page = bench.page(answer.headers["location"])
    assert page.status_code == 200
    assert all(path.name in page.text for path in paths)
    assert "1 unreadable" in " ".join(page.text.split())
    assert bench.page(f"{answer.headers['location']}&image={told['rows'][0]['name']}").text.count("/deploy/tried/") == 2
    none = bench.http.post("/deploy/try-folder", files=sent[-1:], **form)
    assert (none.status_code, "no image" in none.text) == (422, True)


@needs_kill
@pytest.mark.slow
def test_the_command_serves_this_machine_until_a_signal_and_prints_a_key_once(bench, tmp_path):
    bench.workbench.store.close()
    command = [sys.executable, "-m", "gonogo.cli", "workbench", "--port", "0", "--data", str(tmp_path / "keys")]
    own = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, env=own, stdout=said, stderr=said)
        until(lambda: "startup complete" in (tmp_path / "said").read_text() or process.poll() is not None)
        text = (tmp_path / "said").read_text()
        url = re.search(r"the workbench is at (http://127\.0\.0\.1:\d+)", text)[1]
        key = re.search(r"sign in with this key.*: (gonogo_\S+)", text)[1]
        told = httpx2.get(f"{url}/v1/project", headers={"Authorization": f"Bearer {key}"}).json()
        assert told["categories"] == ["digit_0"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, (tmp_path / "said").read_text()
    again = Workbench(settings_of(tmp_path / "keys"))
    assert again.first_key() is None
    again.store.close()
    assert main(["workbench", str(tmp_path)]) == 3
    assert main(["workbench", "--host", "0.0.0.0"]) == 3
    with pytest.raises(SystemExit, match="2"):
        main(["workbench", "--service", "http://127.0.0.1:1"])


def test_the_catalogues_have_the_same_keys_and_no_key_is_missing_or_unused():
    catalogues = {name: json.loads((FOLDER / f"texts/{name}.json").read_text()) for name in LANGUAGES}
    first, *others = catalogues.values()
    for other in others:
        assert other.keys() == first.keys()
        for key, text in first.items():
            assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", other[key])), key
    service = json.loads((FOLDER.parent / "service/pages/texts/en.json").read_text())
    assert not first.keys() & service.keys()
    sources = "".join(path.read_text() for path in FOLDER.rglob("*") if path.suffix in (".py", ".j2"))
    called = set(re.findall(r"""(?:\b|_)t\(\s*["']([\w-]+\.[\w.-]+)["'](?=\s*[,)])""", sources))
    begun = (*re.findall(r"""["']([\w.-]+\.)["']\s*~""", sources), "bench.")  # the latter of the navigation
    base = {key.removesuffix(".one").removesuffix(".other") for key in first}
    assert called - base - set(service) == set()
    assert {key for key in base if key not in called and not key.startswith(begun)} == set()
