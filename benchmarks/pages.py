"""The pages of `gonogo serve` with a full store: how long the service takes for each, and Chromium to the first paint.

    python benchmarks/pages.py --bundle bundles/brick --images data/prepared/brick/images

Some images are inspected, and then stand for 100,000 inspections over thirty days, of which one in 200 is reviewed.
Each page is asked for in turn, as a person who is signed in asks; the time is that from the request to the end of the
response. Where Playwright and Chromium are installed, each is opened in a new browser context with an empty cache, too:
`first_paint` is the browser's own, from the start of the navigation. Writes benchmarks/pages.json.
"""

import argparse
import http.client
import shutil
import tempfile
import time
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
    "analytics": "/analytics",
    "arena": "/arena",
    "sign in": "/sign-in",
}
FRAGMENTS = ("a part, by a key",)
TOGETHER = 1000  # inspections in one transaction
DAYS, REVIEWED_SHARE = 30, 0.8
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


def fill(data: Path, ids: list[str], count: int) -> None:
    """Add `count` inspections to a store, each like one of those with `ids`, with a score and a time of its own.

    All that waited for a review in the first days was reviewed, some of it by a second person who disagrees.
    """
    store, rng = Store(data), np.random.default_rng(11)
    rows = [row for row in (store.inspection(identifier) for identifier in ids) if row is not None]
    files = {row["image_sha256"]: store.images.path_of(row["image_sha256"]).read_bytes() for row in rows}
    begin, audit, to_review = time.time() - DAYS * 86_400, AuditRule(0.01, "benchmark"), list[str]()
    for first in range(0, count, TOGETHER):
        new = []
        for number in range(first, min(first + TOGETHER, count)):
            row = rows[number % len(rows)]
            own = {name: row[name] for name in row if not name.startswith("image_") and name not in ("reviews", "id")}
            score = float(row["threshold"] * rng.lognormal(-0.35, 0.2))
            verdict = "reject" if score >= row["threshold"] else "pass"
            own |= {"score": score, "verdict": verdict, "uncertain": abs(score / row["threshold"] - 1) < 0.02}
            own |= {"at": begin + DAYS * 86_400 * number / count, "name": f"part {number}.png"}
            image = {name: row[f"image_{name}"] for name in ("sha256", "format", "n_bytes", "width", "height")}
            new.append(NewInspection(own, image, files[image["sha256"]]))
        added = store.add_inspections(new, audit)
        to_review += [
            identifier
            for identifier, one in zip(added, new, strict=True)
            if (one.row["verdict"] == "reject" or one.row["uncertain"] or audit.rows([identifier], 0.0))
            and first < REVIEWED_SHARE * count
        ]
    for number, identifier in enumerate(to_review):
        for who in ("Ana", "Bo") if number % 50 == 0 else ("Ana",):
            label = "defect" if (number % 3 == 0) == (who == "Ana") else "good"
            review = {"label": label, "defect_type": None if label == "good" else TYPES[number % len(TYPES)]}
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


def times_of(connection: http.client.HTTPConnection, path: str, headers: dict[str, str], repeats: int) -> list[float]:
    """Milliseconds from a request to the end of its response."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        times.append(1000 * (time.perf_counter() - began))
        if answer.status not in (200, 303):  # the arena leads to a round
            raise RuntimeError(f"{path}: {answer.status}")
    return times


def first_paints(served: Served, secret: str, paths: dict[str, str], repeats: int) -> dict[str, float]:
    """Median milliseconds to the first paint of each page; empty where there is no browser."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    if chromium is None:
        return {}
    url, found = f"http://127.0.0.1:{served.port}", dict[str, float]()
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        for name, path in paths.items():
            times = []
            for _ in range(repeats):
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                if name != "sign in":
                    context.add_cookies([{"name": COOKIE, "value": secret, "url": url}])
                page = context.new_page()
                page.goto(url + path)
                page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
                times.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
                context.close()
            found[name] = median(times)
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
                headers = {"Accept": "text/html", "Accept-Encoding": "gzip"}
                headers |= {} if name == "sign in" else {"Cookie": f"{COOKIE}={secret}"}
                headers |= {"HX-Request": "true"} if name in FRAGMENTS else {}
                times = times_of(connection, path, headers, arguments.repeats + 2)[2:]
                figures[name] = {"server_ms": round(median(times), 1), "slowest_ms": round(max(times), 1)}
            for name, paint in first_paints(served, secret, paths, 5).items():
                figures[name]["first_paint_ms"] = round(paint, 1)
    for name, row in figures.items():
        print(f"{name:30}" + "".join(f"{key} {value:8.1f}   " for key, value in row.items()))
    versions = {name: metadata.version(name) for name in PACKAGES}
    told = {"what": "pages", "inspections": arguments.inspections, "pages": figures}
    add_row(RESULTS, told | origin(0, versions), key=("what", "inspections"))


if __name__ == "__main__":
    main()
