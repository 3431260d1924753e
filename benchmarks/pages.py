"""The pages of `gonogo serve` with a full store: how long the service takes for each, and Chromium to the first paint.

    python benchmarks/pages.py --bundle bundles/brick --images data/prepared/brick/images

Some images are inspected, and then stand for 100,000 inspections over thirty days; all that waited for a review in the
first 24 of them was reviewed. Each page is asked for in turn, as a person who is signed in asks: `server_ms` is from
the request to the end of the response, and `cpu_ms` the time that the service's process computes for it, which does not
depend on what else the machine does. Where Playwright and Chromium are installed, each page is opened in a new browser
context with an empty cache, too: `first_paint_ms` is the browser's own, from the start of the navigation, and `key_ms`
from a key of the queue to the next part. Writes benchmarks/pages.json.
"""

import argparse
import http.client
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import numpy as np

from gonogo.service.pages.access import COOKIE
from gonogo.store.audit import AuditRule
from gonogo.store.store import NewInspection, Store
from results import Row, add_row, origin
from served import Served

RESULTS = Path(__file__).with_suffix(".json")
PACKAGES = ("fastapi", "jinja2", "sqlalchemy", "uvicorn", "onnxruntime")
PAGES = {
    "inspector": "/",
    "a part, by a key": "/?id={id}",
    "cases": "/cases",
    "cases: uncertain": "/cases?kind=uncertain",
    "cases: reviewed rejects": "/cases?kind=reject&reviewed=yes",
    "cases: a name that none has": "/cases?name=no-such-name",
    "cases: old ones": "/cases?before={old}",
    "a case": "/cases/{id}",
    "review queue": "/review",
    "knowledge": "/knowledge",
    "analytics": "/analytics",
    "arena": "/arena",
    "sign in": "/sign-in",
}
BY_KEY = "a review, by a key"
FIRST_PAINT = """() => new Promise((told) => new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") told(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""
KEY = """() => new Promise((told) => {
  const begun = performance.now();
  const painted = () => requestAnimationFrame(() => setTimeout(() => told(performance.now() - begun)));
  document.addEventListener("htmx:afterSettle", painted, { once: true });
  document.getElementById("main").dispatchEvent(new KeyboardEvent("keydown", { key: "g", bubbles: true }));
})"""
FRAGMENTS = ("a part, by a key",)
TOGETHER = 1000  # inspections in one transaction
DAYS = 30
TYPES = ("scratch", "dent", "burr", "stain", "hole")
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def inspect(served: Served, images: list[Path]) -> list[str]:
    """Inspect images; returns the ids of their inspections."""
    connection = served.connection()
    for path in images:
        query = urlencode({"name": path.name})
        status, body = served.ask(
            connection, "POST", f"/v1/inspect?{query}", path.read_bytes(), Content_Type=MEDIA_TYPES[path.suffix]
        )
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body[:200]!r}")
    store = Store(served.data)
    ids = [row["id"] for row in store.newest({}, before=None, limit=len(images))]
    store.close()
    return ids


def fill(
    data: Path, ids: list[str], count: int, *, days: float = DAYS, reviewed: float = 0.8, second: int = 50
) -> None:
    """Add `count` inspections to a store, each like one of those with `ids`, with a score and a time of its own.

    What waits for a review in the first part of the time was reviewed.

    Args:
        data: the folder of the store.
        ids: inspections to copy.
        count: how many to add.
        days: until now, over which they are spread.
        reviewed: the part of this time in which all that waited was reviewed.
        second: of so many reviews, one is followed by that of a second person who disagrees; 0: none is.
    """
    store, rng = Store(data), np.random.default_rng(11)
    rows = [row for row in (store.inspection(identifier) for identifier in ids) if row is not None]
    files = {row["image_sha256"]: store.images.path_of(row["image_sha256"]).read_bytes() for row in rows}
    begin, audit, to_review = time.time() - days * 86_400, AuditRule(0.01, "benchmark"), list[tuple[str, str]]()
    for first in range(0, count, TOGETHER):
        new = []
        for number in range(first, min(first + TOGETHER, count)):
            row = rows[number % len(rows)]
            own = {name: row[name] for name in row if not name.startswith("image_") and name not in ("reviews", "id")}
            score = float(row["threshold"] * rng.lognormal(-0.35, 0.2))
            verdict = "reject" if score >= row["threshold"] else "pass"
            own |= {"score": score, "verdict": verdict, "uncertain": abs(score / row["threshold"] - 1) < 0.02}
            own |= {"at": begin + days * 86_400 * number / count, "name": f"part {number}.png"}
            image = {name: row[f"image_{name}"] for name in ("sha256", "format", "n_bytes", "width", "height")}
            new.append(NewInspection(own, image, files[image["sha256"]]))
        added = store.add_inspections(new, audit)
        to_review += [
            (identifier, one.row["verdict"])
            for identifier, one in zip(added, new, strict=True)
            if (one.row["verdict"] == "reject" or one.row["uncertain"] or audit.rows([identifier], 0.0))
            and first < reviewed * count
        ]
    for number, (identifier, verdict) in enumerate(to_review):
        for who in ("Ana", "Bo") if second and number % second == 0 else ("Ana",):
            found = verdict if number % 20 else "reject"  # by the first; the second says the opposite
            label = "defect" if (found == "reject") == (who == "Ana") else "good"
            review: Row = {"label": label, "defect_type": None if label == "good" else TYPES[number % len(TYPES)]}
            review |= {"note": None, "at": time.time(), "reviewer": who, "key": who.ljust(16, "0")}
            store.reviews.add(identifier, review)
    store.close()


def sign_in(served: Served) -> str:
    """The secret of a session."""
    connection = served.connection()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    connection.request("POST", "/sign-in", urlencode({"key": served.key}), headers)
    answer = connection.getresponse()
    answer.read()
    return str(answer.headers["Set-Cookie"]).partition("=")[2].partition(";")[0]


def cpu_seconds(process: int) -> float:
    """The time that a process has computed so far, on Linux; 0 elsewhere."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(connection: http.client.HTTPConnection, method: str, path: str, headers: Row, body: str = "") -> str:
    """The text of a response."""
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status not in (200, 303):  # the arena leads to a round
        raise RuntimeError(f"{path}: {answer.status} {text[:300]!r}")
    return text.decode("utf-8", "replace")


def times_of(served: Served, ask: Callable[[], object], repeats: int) -> Row:
    """What a request takes: milliseconds to the end of its response, median and slowest, and of computing."""
    for _ in range(2):
        ask()
    times, computed = [], cpu_seconds(served.process.pid)
    for _ in range(repeats):
        began = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - began))
    computed = 1000 * (cpu_seconds(served.process.pid) - computed) / repeats
    return {
        "server_ms": round(median(times), 1),
        "slowest_ms": round(max(times), 1),
        "cpu_ms": round(computed, 1),
    }


def reviewing(connection: http.client.HTTPConnection, headers: Row) -> Callable[[], object]:
    """A function that reviews the part of the queue that waits, and gets the next one, as a key of the page does."""
    by_script = headers | {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
    shown = [asked(connection, "GET", "/review", by_script)]
    by_form = by_script | {"Content-Type": "application/x-www-form-urlencoded"}

    def review() -> None:
        found = re.search(r'class="part" data-id="(\w+)"', shown[0])
        if found is None:
            raise RuntimeError("the queue is empty")
        shown[0] = asked(connection, "POST", f"/review/{found[1]}/review", by_form, "label=good")

    return review


def seen(served: Served, secret: str, paths: dict[str, str], repeats: int) -> dict[str, Row]:
    """Median milliseconds to the first paint of each page, and from a key to the next part; empty without a browser."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    if chromium is None:
        return {}
    url, found = f"http://127.0.0.1:{served.port}", dict[str, Row]()
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        keys = list[float]()
        for name, path in paths.items():
            times = []
            for _ in range(repeats):
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                if name != "sign in":
                    context.add_cookies([{"name": COOKIE, "value": secret, "url": url}])
                page = context.new_page()
                page.goto(url + path)
                times.append(page.evaluate(FIRST_PAINT))
                if name == "review queue":
                    keys.append(page.evaluate(KEY))
                context.close()
            found[name] = {"first_paint_ms": round(median(times), 1)}
        found[BY_KEY] = {"key_ms": round(median(keys), 1)}
        browser.close()
    return found


def main() -> None:
    """Fill a store, measure, and write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--inspections", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    images = sorted(path for path in arguments.images.iterdir() if path.suffix in MEDIA_TYPES)[:40]
    with tempfile.TemporaryDirectory() as folder:
        with Served(arguments.bundle, Path(folder)) as served:
            ids = inspect(served, images)
        began = time.perf_counter()
        fill(Path(folder), ids, arguments.inspections)
        print(f"{arguments.inspections} inspections added in {time.perf_counter() - began:.0f} s")
        store = Store(Path(folder))
        rows = store.newest({}, before=None, limit=1)
        store.close()
        paths = {name: path.format(id=rows[0]["id"], old=ids[0]) for name, path in PAGES.items()}
        with Served(arguments.bundle, Path(folder), "--rate", "1e9") as served:
            secret = sign_in(served)
            connection, figures = served.connection(), dict[str, Row]()
            for name, path in paths.items():
                headers = {"Accept": "text/html"} | ({} if name == "sign in" else {"Cookie": f"{COOKIE}={secret}"})
                headers |= {"HX-Request": "true"} if name in FRAGMENTS else {}
                ask = partial(asked, connection, "GET", path, headers)
                figures[name] = times_of(served, ask, arguments.repeats)
            review = reviewing(connection, {"Accept": "text/html", "Cookie": f"{COOKIE}={secret}"})
            figures[BY_KEY] = times_of(served, review, arguments.repeats)
            for name, row in seen(served, secret, paths, 3).items():
                figures[name] |= row
    for name, row in figures.items():
        print(f"{name:30}" + "".join(f"{key} {value:8.1f}   " for key, value in row.items()))
    versions = {name: metadata.version(name) for name in PACKAGES}
    told = {"what": "pages", "inspections": arguments.inspections, "pages": figures}
    add_row(RESULTS, told | origin(os.cpu_count() or 1, versions), key=("what", "inspections"))


if __name__ == "__main__":
    main()
