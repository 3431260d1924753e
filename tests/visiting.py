"""The service's pages in a browser. Importing it skips the tests where Playwright or Chromium is missing."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("playwright", reason="no playwright: pip install 'gonogo[dev]'")
# The first of them takes less than half of the processor time: it has no window that it would not show.
NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
CHROMIUM = os.environ.get("GONOGO_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
if CHROMIUM is None:
    pytest.skip("no Chromium: apt-get install chromium, or name it in GONOGO_TEST_CHROMIUM", allow_module_level=True)

# ruff: noqa: E402
from playwright.sync_api import expect as expect  # asked again until it holds: a click does not wait for the page
from playwright.sync_api import sync_playwright

from serving import Running, inspected, listening_service
from serving import files as files

# isort: split
from gonogo.service.pages.access import COOKIE
from gonogo.service.settings import Settings

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)

AXE = Path(__file__).parent / "service/pages/vendor/axe.min.js"
OFFLINE = [  # or Chromium looks up its maker's hosts at every start
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
]  # fmt: skip
CAMERA = [  # a test picture that moves, in place of the machine's cameras, and nobody who would have to allow it
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


class Place(NamedTuple):
    """A page: its path, in which `{id}` is that of an inspection, the role that opens it, and a name."""

    path: str
    role: str | None
    name: str


PAGES = (
    Place("/sign-in", None, "sign-in"),
    Place("/", "review", "inspector"),
    Place("/cases", "inspect", "cases"),
    Place("/cases/{id}", "review", "case"),
    Place("/cases/{id}/report", "inspect", "report"),
    Place("/cases/{id}/correct", "inspect", "correct"),
    Place("/review", "review", "review"),
    Place("/knowledge", "review", "knowledge"),
    Place("/analytics", "inspect", "analytics"),
    Place("/drift", "admin", "drift"),
    Place("/arena", "inspect", "arena"),
    Place("/no-such-page", "inspect", "error"),
)


class Site:
    """A running service with its address, a browser's sessions on it by role, and its inspections, newest last."""

    def __init__(self, running, port, inspections):
        self.running, self.url, self.inspections = running, f"http://127.0.0.1:{port}", inspections
        self._secrets = {}

    def session(self, role, *, new=False):
        """The secret of a session of the key of a role; of its own where `new` is true."""
        if new or role not in self._secrets:
            form = {"key": self.running.keys[role], "next": "/"}
            answer = self.running.http.post(
                "/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=False
            )
            assert answer.status_code == 303, answer.text
            self.running.http.cookies.clear()
            secret = answer.cookies[COOKIE]
            if new:
                return secret
            self._secrets[role] = secret
        return self._secrets[role]

    def path(self, place):
        """The path of a place, with the id of the last inspection."""
        return place.path.format(id=self.inspections[-1]["id"])


@pytest.fixture(scope="module")
def browser():
    """Chromium. It lives no longer than a module's tests, since it keeps an event loop in their thread."""
    with sync_playwright() as playwright:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        options = ["--no-sandbox"] if root else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OFFLINE, *CAMERA, *options])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(bundle, files, tmp_path_factory):
    """A service that listens, with an inspection of each of `files`."""
    settings = Settings(bundle=bundle, data=tmp_path_factory.mktemp("pages"), threads=1, deadline=60.0)
    with Running(settings) as running, listening_service(running) as port:
        yield Site(running, port, [inspected(running, path, params={"name": path.name}) for path in files])


@contextmanager
def visit(browser, site, role, *, session=None, check=True, **options):
    """A page of a new browser context in which someone with `role` is signed in; None: nobody.

    At the end it fails if a page wrote an error to the console, broke the policy, or asked another host for something.

    Args:
        session: the secret of a session; None: one that tests share.
        check: False where errors are expected.
        options: of the context, such as `viewport`, `color_scheme`, `locale` and `java_script_enabled`.
    """
    context = browser.new_context(**{"viewport": DESK, "locale": "en-GB"} | options)
    if role is not None:
        secret = session or site.session(role)
        context.add_cookies(
            [{"name": COOKIE, "value": secret, "url": site.url, "sameSite": "Strict", "httpOnly": True}]
        )
    faults = []
    context.on("request", lambda request: faults.append(request.url) if _foreign(request.url, site) else None)
    page = context.new_page()
    _slow(context, page)
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        yield page
        if check:
            assert not faults, faults
    finally:
        context.close()


def arrived(pictures):
    """Wait until every picture of a locator is there, with pixels; each is scrolled to, since it may be a lazy one."""
    for each in pictures.all():
        each.scroll_into_view_if_needed()
        expect(each).to_have_js_property("complete", True)
        assert each.evaluate("picture => picture.naturalWidth") > 0


def violations(page):
    """What axe finds wrong with a page, which must be of a context with `bypass_csp`: each rule with its places."""
    page.add_script_tag(path=AXE)
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return {each["id"]: [node["html"] for node in each["nodes"]] for each in found}


def _slow(context, page):
    """With GONOGO_TEST_SLOW set, the page's processor is that many times slower, and each answer is late as on a busy
    machine: what a test does not wait for then fails every time, and not once in a hundred."""
    factor = float(os.environ.get("GONOGO_TEST_SLOW", "1"))
    if factor > 1:
        devtools = context.new_cdp_session(page)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": factor})
        late = {"offline": False, "latency": 40 * factor, "downloadThroughput": -1, "uploadThroughput": -1}
        devtools.send("Network.emulateNetworkConditions", late)


def _foreign(url, site):
    return not url.startswith((f"{site.url}/", "data:", "blob:"))
