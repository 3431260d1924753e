"""Who gets into the pages: sessions begin with a key and end as they should, and no other site can act for a person."""

import re

import pytest

from serving import files, inspected, running, start  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.cli.commands.serve import _settings as settings_of
from gonogo.cli.main import parse_arguments
from gonogo.service import sessions
from gonogo.service.pages.access import COOKIE, SECURE_COOKIE, local_path
from gonogo.service.pages.errors import API
from gonogo.service.sessions import ATTEMPTS
from gonogo.service.settings import Settings

# ruff: noqa: F811  fixtures are imported, and then named

OWN = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


def sign_in(running, role="review", **headers):
    """The response to signing in; the client keeps the cookie."""
    form = {"key": running.keys[role], "next": "/cases"}
    return running.http.post("/sign-in", data=form, headers=OWN | headers, follow_redirects=False)


def get(running, path, **headers):
    return running.http.get(path, headers={"Accept": "text/html"} | headers, follow_redirects=False)


def test_a_key_begins_a_session_whose_secret_is_stored_as_its_hash_alone(start):
    with start() as running:
        assert get(running, "/cases?kind=reject").headers["location"] == "/sign-in?next=/cases%3Fkind%3Dreject"
        answer = sign_in(running)
        assert (answer.status_code, answer.headers["location"]) == (303, "/cases")
        cookie = answer.headers["set-cookie"]
        assert re.search(r"^gonogo=[\w-]{43};.*HttpOnly.*SameSite=strict", cookie)
        assert "Secure" not in cookie
        assert get(running, "/cases").status_code == 200
        secret = answer.cookies[COOKIE]
        assert running.service.store.session(secret) is None
        stored = b"".join(path.read_bytes() for path in running.service.settings.data.glob("inspections.sqlite*"))
        assert secret.encode() not in stored


def test_with_tls_the_cookie_is_of_this_host_alone_and_no_other_counts(start):
    with start(tls=True) as running:
        cookie = sign_in(running).headers["set-cookie"]
        assert cookie.startswith(f"{SECURE_COOKIE}=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
        secret = running.http.cookies[SECURE_COOKIE]
        running.http.cookies.clear()
        assert get(running, "/cases", Cookie=f"{COOKIE}={secret}").status_code == 303
        assert get(running, "/cases", Cookie=f"{SECURE_COOKIE}={secret}").status_code == 200


def test_behind_a_proxy_with_tls_the_cookie_is_secure_too(start):
    with start() as running:
        assert sign_in(running, Origin="https://gauge.example").headers["set-cookie"].startswith(f"{SECURE_COOKIE}=")


def test_signing_out_ends_the_session_at_once(start):
    with start() as running:
        secret = sign_in(running).cookies[COOKIE]
        assert running.http.post("/sign-out", headers=OWN, follow_redirects=False).headers["location"] == "/sign-in"
        assert get(running, "/", Cookie=f"{COOKIE}={secret}").status_code == 303


def test_revoking_its_key_ends_a_session(start, monkeypatch):
    monkeypatch.setattr("gonogo.service.security.KEY_CACHE_SECONDS", -1)
    with start() as running:
        sign_in(running)
        assert get(running, "/").status_code == 200
        running.service.store.revoke(running.keys["review"].split("_")[1])
        assert get(running, "/").headers["location"] == "/sign-in"
        fragment = running.http.get("/", headers={"HX-Request": "true"})
        assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/sign-in")
        assert sign_in(running).status_code == 401


@pytest.mark.parametrize(
    ("later", "used", "valid"), [(7.9, False, True), (8.1, False, False), (15.9, True, True), (16.1, True, False)]
)
def test_a_session_ends_for_want_of_use_and_in_any_case_after_a_time(start, monkeypatch, later, used, valid):
    """Hours `later`, after use in between or none."""
    clock = [1.8e9]
    monkeypatch.setattr(sessions.time, "time", lambda: clock[0])
    monkeypatch.setattr(sessions, "CACHE_SECONDS", -1)
    with start() as running:
        sign_in(running)
        clock[0] += 7.95 * 3600 if used else 0
        assert get(running, "/").status_code == 200
        clock[0] = 1.8e9 + later * 3600
        assert get(running, "/").status_code == (200 if valid else 303)
        assert sign_in(running).status_code == 303  # which removes what has expired
        with running.service.store._engine.connect() as connection:
            assert len(connection.exec_driver_sql("SELECT * FROM sessions").all()) == (2 if valid else 1)


def test_the_hours_of_a_session_are_options_of_the_command(tmp_path):
    words = ["serve", "--bundle", "b", "--data", str(tmp_path)]
    assert settings_of(parse_arguments(words)).session_seconds == Settings.session_seconds
    chosen = settings_of(parse_arguments([*words, "--session-hours", "12", "--session-idle-hours", "0.25"]))
    assert (chosen.session_seconds, chosen.session_idle_seconds) == (43_200.0, 900.0)


def test_attempts_to_sign_in_are_limited_and_each_wrong_key_is_told_as_such(start):
    with start() as running:
        for _ in range(ATTEMPTS):
            answer = running.http.post("/sign-in", data={"key": "gonogo_0123456789abcdef_x"}, headers=OWN)
            assert answer.status_code == 401
            assert "not known" in answer.text
            assert "0123456789abcdef" not in answer.text
        refused = running.http.post("/sign-in", data={"key": "x"}, headers=OWN)
        assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://elsewhere.example"}, True),
        ({"Origin": "http://testserver"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, False),
        ({"Origin": "http://testserver.example"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_a_page_of_this_service_can_change_anything(start, files, headers, own):
    with start() as running:
        part = inspected(running, files[0])["id"]
        sign_in(running)
        paths = {
            "/inspect": {"files": [("image", ("x.png", files[0].read_bytes(), "image/png"))]},
            f"/parts/{part}/review": {"data": {"label": "good"}},
            f"/parts/{part}/undo": {},
            "/language": {"data": {"language": "de"}},
            "/sign-in": {"data": {"key": running.keys["inspect"]}},
            "/sign-out": {},
        }
        for path, body in paths.items():
            answer = running.http.post(path, headers=headers, follow_redirects=False, **body)
            assert answer.status_code == (303 if own else 403), path
        n_reviews = 2 if own else 0  # the undone one among them
        assert len(running.service.store.inspection(part)["reviews"]) == min(n_reviews, 1)


@pytest.mark.parametrize("cookie", ["", "x", "é" * 50, "a" * 5000])
def test_a_made_up_cookie_lets_nobody_in_and_breaks_nothing(running, cookie):
    answer = get(running, "/", Cookie=f"{COOKIE}={cookie}".encode("latin-1"))
    assert answer.headers["location"] == "/sign-in"


def test_a_session_is_of_no_use_for_programs(start, files):
    with start() as running:
        part = inspected(running, files[0])["id"]
        sign_in(running, "admin")
        for path in ("/v1/inspections", f"/v1/inspections/{part}/image", "/v1/bundles", "/metrics"):
            assert running.http.get(path).status_code == 401


def test_a_role_decides_what_is_shown_and_what_is_refused(start, files):
    with start() as running:
        part = inspected(running, files[0])["id"]
        sign_in(running, "inspect")
        assert 'id="review"' not in get(running, f"/?id={part}").text
        refused = running.http.post(f"/parts/{part}/review", data={"label": "good"}, headers=OWN)
        assert (refused.status_code, "not allowed" in refused.text) == (403, True)
        running.http.cookies.clear()
        sign_in(running, "review")
        assert 'id="review"' in get(running, f"/?id={part}").text


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "", "/a\nb"]
)
def test_signing_in_leads_nowhere_else(path):
    assert local_path(path) == "/"


@pytest.mark.parametrize("path", ["/", "/cases?kind=reject", "/cases/0?a=//b"])
def test_a_path_of_this_service_is_followed(path):
    assert local_path(path) == path


def test_programs_get_problem_documents_and_people_get_pages(running):
    assert get(running, "/nothing").headers["content-type"].startswith("text/html")
    assert running.http.get("/nothing").headers["content-type"] == "application/problem+json"
    for path in API:
        answer = get(running, f"{path}nothing")
        assert answer.headers["content-type"] == "application/problem+json", path


def test_images_of_parts_keep_the_strict_policy(start, files):
    with start() as running:
        part = inspected(running, files[0])["id"]
        sign_in(running)
        answer = get(running, f"/parts/{part}/image?width=96")
        assert answer.headers["content-type"] in ("image/png", "image/jpeg")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert get(running, f"/parts/{part}/image?width=97").status_code == 422
