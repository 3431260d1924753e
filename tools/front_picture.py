"""The picture at the top of README.md: test images of the built-in categories, each with map, regions and verdict.

    python tools/readme.py picture                      write docs/images/front.png from what the pipeline wrote
    python tools/readme.py picture washer brick     of these categories only

The bundle of each category judges the images through onnxruntime, as it would beside the line. Which images are shown
follows from the scores in plots/records alone, so that nobody picks the flattering ones: see `choose`.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from gonogo.errors import ConfigError
from gonogo.images.colours import FAINT, INK, OUTLINE, PAPER, PASS, REJECT, map_colours
from gonogo.images.reading import read_image
from gonogo.inference.scorer import Scorer, Verdict
from gonogo.params import read_yaml

BUILT_IN = ("rendered", "surfaces", "digits")  # values of prepare.source whose images belong to nobody else
COLUMNS = 8  # parts in the picture, over all categories
SIDE, GAP, LABEL, LINE = 150, 8, 62, 20  # pixels
ROWS = ("image", "map", "regions")

Row = Mapping[str, str]  # of plots/records/CATEGORY.csv


@dataclass(frozen=True)
class Part:
    """One column: an image (h, w, 3) uint8, the title above it, its label, and the verdict of the category's bundle."""

    title: str
    defective: bool
    pixels: np.ndarray
    verdict: Verdict


def choose(rows: Sequence[Row], n: int) -> list[Row]:
    """`n` test images that stand for the others: the middle ones by score, of the good parts and of defect types.

    A third of them, and at least one, are good: those whose scores divide the good test images into equal parts. The
    others are the defective image of median score of one defect type each, beginning with the type whose median is
    highest. A type whose median image is passed is shown as passed.
    """
    tested = [row for row in rows if row["role"] == "test"]
    by_type: dict[str, list[Row]] = {}
    for row in sorted(tested, key=lambda row: float(row["score"])):
        by_type.setdefault(row["defect_type"], []).append(row)
    good = by_type.pop("good", [])
    n_good = min(len(good), max(1, n // 3))
    shown = [good[(2 * number + 1) * len(good) // (2 * n_good)] for number in range(n_good)]
    medians = [ordered[len(ordered) // 2] for ordered in by_type.values()]
    medians.sort(key=lambda row: -float(row["score"]))
    return shown + medians[: n - n_good]


def built_in(root: Path) -> list[str]:
    """The categories of params.yaml whose images come from an installed package or are rendered.

    Images that lie in a folder belong to somebody, who has not agreed to be in the README.
    """
    params = read_yaml(root / "params.yaml")
    sources = {
        category: ((params["overrides"].get(category) or {}).get("prepare") or {}).get(
            "source", params["prepare"]["source"]
        )
        for category in params["categories"]
    }
    return [name for name, source in sources.items() if source in BUILT_IN]


def read_parts(root: Path, categories: Sequence[str]) -> list[Part]:
    """The parts to show, judged by the bundles in `root`; categories whose gauge has no map are left out.

    Raises:
        ConfigError: a category is not built in, or no bundle in `root` has a map.
    """
    known = built_in(root)
    foreign = [category for category in categories if category not in known]
    if foreign:
        raise ConfigError(f"the picture shows built-in categories alone ({', '.join(known)}), not {', '.join(foreign)}")
    scorers = {name: Scorer(root / "bundles" / name) for name in categories or known}
    scorers = {name: scorer for name, scorer in scorers.items() if scorer.manifest["localises"]}
    if not scorers:
        raise ConfigError(f"no bundle of {', '.join(categories or known)} has a map to show")
    parts = []
    for name, scorer in scorers.items():
        with (root / f"plots/records/{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = choose(list(csv.DictReader(file)), max(2, COLUMNS // len(scorers)))
        for row in rows:
            path = root / "data/prepared" / name / row["image"]
            title = f"{name}, {row['defect_type'].replace('_', ' ')}"
            parts.append(Part(title, row["label"] == "1", read_image(path), scorer.score_image(path)))
    return parts


def draw(parts: Sequence[Part]) -> Image.Image:
    """One column for each part: title, image, map, regions drawn on the image, and the verdict with its score."""
    size = (LABEL + len(parts) * (SIDE + GAP), LINE + len(ROWS) * (SIDE + GAP) + 3 * LINE + GAP)
    canvas = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(canvas)
    small, bold = ImageFont.load_default(13), ImageFont.load_default(16)
    for number, name in enumerate(ROWS):
        pen.text((GAP // 2, LINE + number * (SIDE + GAP) + SIDE // 2 - 8), name, fill=FAINT, font=small)
    for number, part in enumerate(parts):
        left = LABEL + number * (SIDE + GAP)
        pen.text((left, 2), part.title, fill=INK, font=small)
        image = _scaled(part.pixels)
        colours = _scaled(map_colours(part.verdict.anomaly_map, part.verdict.threshold))
        for row, tile in enumerate((image, colours, _outlined(image, part.verdict.defect_mask))):
            canvas.paste(tile, (left, LINE + row * (SIDE + GAP)))
        word, colour = ("REJECT", REJECT) if part.verdict.anomalous else ("PASS", PASS)
        if part.defective != part.verdict.anomalous:
            word += ", missed" if part.defective else ", false alarm"
        top = LINE + len(ROWS) * (SIDE + GAP)
        pen.text((left, top), word, fill=colour, font=bold)
        pen.text((left, top + LINE), f"score {part.verdict.score:.3g}", fill=INK, font=small)
        pen.text((left, top + 2 * LINE), f"threshold {part.verdict.threshold:.3g}", fill=FAINT, font=small)
    return canvas


def write(root: Path, categories: Sequence[str]) -> Path:
    """Write docs/images/front.png and return its path."""
    path = root / "docs/images/front.png"
    draw(read_parts(root, categories)).save(path, optimize=True)
    return path


def _scaled(pixels: np.ndarray) -> Image.Image:
    """The pixels (h, w, 3) on a square of SIDE pixels, in their own proportions."""
    image = Image.fromarray(pixels)
    factor = SIDE / max(image.size)
    method = Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.LANCZOS
    return _on_square(image.resize(_size(image, factor), method))


def _outlined(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """The scaled image with a line of two pixels around each region of the mask (h, w) bool."""
    regions = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    regions = _on_square(regions.resize(_size(regions, SIDE / max(regions.size)), Image.Resampling.NEAREST))
    line = np.asarray(regions.filter(ImageFilter.MaxFilter(5))) > np.asarray(regions)
    pixels = np.array(image)
    pixels[line] = OUTLINE
    return Image.fromarray(pixels)


def _size(image: Image.Image, factor: float) -> tuple[int, int]:
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


def _on_square(image: Image.Image) -> Image.Image:
    square = Image.new(image.mode, (SIDE, SIDE), PAPER if image.mode == "RGB" else 0)
    square.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return square
