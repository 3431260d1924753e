"""Pictures of every page of `gonogo serve` for docs/pages.md: light and dark, at a desk and on a phone.

    python tools/screenshots.py --bundle bundles/washer --images data/prepared/washer/images

Needs Playwright and Chromium. A service inspects some of the images, which stand for those of a week; then it
inspects more of them, and a few of these get reviews. Writes WebP files into
docs/images/pages.
"""

import argparse
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

# ruff: noqa: E402
from playwright.sync_api import sync_playwright

from gonogo.knowledge.graph import Given
from gonogo.knowledge.stored import load_knowledge
from gonogo.knowledge.tables import Loaded
from gonogo.service.pages.access import COOKIE
from gonogo.service.security import new_key
from gonogo.store.store import Store
from pages import fill, sign_in
from served import Served
from visiting import CHROMIUM, DESK, OFFLINE, PAGES, PHONE  # type: ignore[import-not-found]  # of the tests

SHOTS = ROOT / "docs/images/pages"
SIZES = {"desk": DESK, "phone": PHONE}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# Pictures and maps are there, and no script asks for more; the live feed never rests, and lazy pictures may never come.
RESTS = """() => !document.querySelector(".htmx-request, .why noscript")
  && [...document.images].every((image) => image.complete || image.getBoundingClientRect().top > innerHeight)"""
QUALITY, N_PARTS, SHOWN, WEEK = 70, 24, 20, 5000  # SHOWN is the part of the case
REVIEWS: dict[int, tuple[str, str | None]] = {
    2: ("defect", "burr"),
    5: ("defect", "dent"),
    6: ("good", None),
}  # of the inspections, oldest first
# What people might know of washers: kind, id, name, and what else is known.
KNOWN: list[tuple[str, str, str, dict[str, str | int]]] = [
    ("mode", "burr", "Burr at the inner edge", {"category": "washer", "defect_type": "burr"}),
    ("mode", "dent", "Dent", {"category": "washer", "defect_type": "dent"}),
    ("mode", "scratch", "Scratch on the sealing face", {"category": "washer", "defect_type": "scratch"}),
    ("effect", "leak", "The seal leaks within warranty", {"severity": 9}),
    ("effect", "mount", "Cannot be mounted", {"severity": 6}),
    ("effect", "look", "The customer complains of its look", {"severity": 3}),
    ("cause", "punch", "Blunt punch", {"occurrence": 5, "group": "machine"}),
    ("cause", "belt", "Parts fall onto the belt", {"occurrence": 2, "group": "machine"}),
    ("cause", "jaw", "Worn gripper jaw", {"occurrence": 4, "group": "machine"}),
    ("cause", "plan", "No plan of maintenance for grippers", {"occurrence": 3, "group": "method"}),
    ("control", "gauge", "gonogo at station 4", {"type": "detection", "detection": 2}),
    ("control", "feeler", "Feeler gauge each hour", {"type": "detection", "detection": 6}),
    ("control", "change", "Jaws are changed each month", {"type": "prevention"}),
    ("action", "new-jaws", "Fit new jaws", {"step": "corrective", "status": "open", "due": "2026-12-01"}),
]
LINKS = (
    *(("punch", "burr"), ("belt", "dent"), ("belt", "scratch"), ("jaw", "scratch"), ("plan", "jaw")),
    *(("burr", "mount"), ("burr", "leak"), ("dent", "look"), ("scratch", "leak")),
    *(("gauge", "burr"), ("gauge", "dent"), ("gauge", "scratch"), ("feeler", "burr"), ("change", "jaw")),
    ("new-jaws", "jaw"),
)


def chosen(images: list[Path]) -> list[Path]:
    """Two good parts and a defective one, N_PARTS in all; the last one is a defect."""
    good = [path for path in images if "good" in path.name][::7]
    defective = [path for path in images if "good" not in path.name][::2]
    parts = [
        path for number in range(N_PARTS // 3) for path in (good[2 * number], good[2 * number + 1], defective[number])
    ]
    return parts[:N_PARTS]


def inspect(served: Served, images: list[Path], *, reviews: dict[int, tuple[str, str | None]]) -> list[str]:
    """Inspect images, and review some of them by their numbers; returns the ids of the inspections, oldest first."""
    connection = served.connection()
    for path in images:
        query = urlencode({"name": path.name})
        served.ask(connection, "POST", f"/v1/inspect?{query}", path.read_bytes(), Content_Type="image/png")
    store = Store(served.data)
    ids = [row["id"] for row in store.newest({}, before=None, limit=len(images))][::-1]
    key = new_key(store, "Ben", "review")[0]
    for number, (label, defect_type) in reviews.items():
        review = {"label": label, "defect_type": defect_type, "note": None, "reviewer": "Ben", "at": time.time()}
        store.reviews.add(ids[number], review | {"key": key.id})
    store.close()
    return ids


def know(store: Store, seen: str) -> None:
    """Tell the store what people might know of the defects of washers; `seen` is an inspection."""
    given = [
        Given("the tool", kind, {"id": identifier, "name": name, **values}) for kind, identifier, name, values in KNOWN
    ]
    link = {"evidence": [seen], "by": "Ben", "at": "2026-11-29"}
    given += [Given("the tool", "link", link | {"source": source, "target": target}) for source, target in LINKS]
    load_knowledge(store, Loaded(given, None), by="Ben")


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, help="default: both")
    parser.add_argument("--page", choices=[place.name for place in PAGES], help="default: all of them")
    parser.add_argument("--scheme", choices=SCHEMES, help="default: both")
    arguments = parser.parse_args()
    sizes = [arguments.size] if arguments.size else list(SIZES)
    schemes = [arguments.scheme] if arguments.scheme else SCHEMES
    images = chosen(sorted(arguments.images.glob("*.png")))
    SHOTS.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        Served(arguments.bundle, Path(data), name="camera 1") as served,
        sync_playwright() as play,
    ):
        fill(Path(data), inspect(served, images[:3], reviews={}), WEEK, days=7, reviewed=1, second=0)
        ids = inspect(served, images, reviews=REVIEWS)
        store = Store(Path(data))
        know(store, ids[2])
        served.key = new_key(store, "Ana", "admin")[1]
        store.close()
        secret, url = sign_in(served), f"http://127.0.0.1:{served.port}"
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *OFFLINE])
        for size in sizes:
            for scheme in schemes:
                context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, locale="en-GB")
                for place in [place for place in PAGES if arguments.page in (None, place.name)]:
                    context.clear_cookies()
                    if place.role is not None:
                        context.add_cookies([{"name": COOKIE, "value": secret, "url": url}])
                    page = context.new_page()
                    page.goto(url + place.path.format(id=ids[SHOWN]))
                    page.wait_for_function(RESTS)
                    page.wait_for_timeout(300)  # for the paint
                    picture = Image.open(io.BytesIO(page.screenshot()))
                    picture.save(SHOTS / f"{place.name}-{size}-{scheme}.webp", quality=QUALITY, method=6)
                    page.close()
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
