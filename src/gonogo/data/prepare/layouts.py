"""Which layout a folder of images has: the data sources are tried on it, and what they read is counted."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gonogo.data import source_class
from gonogo.data.coco import KEYS
from gonogo.data.sample import Sample, Shares
from gonogo.data.tree import images_in
from gonogo.errors import DataError, GonogoError
from gonogo.images.reading import SUFFIXES, read_image
from gonogo.images.roles import TEST

GOOD = ("good", "ok", "normal", "nominal", "pass", "normals", "goods")  # what folders of good parts are called
DEPTH = 3  # folders below the one that is named, in which a category may lie
LIST_BYTES = 100_000_000  # of a .json, .csv or .jsonl that is looked into


@dataclass(frozen=True)
class Category:
    """A category that was found: its name, how `prepare` reads it, and what there is.

    Attributes:
        options: of the source, as params.yaml takes them.
        n_good: good images, in all roles.
        n_open: those of them that the layout does not keep for test.
        defects: images by defect type.
        n_masks: defective images with a mask.
        size: width and height of the first image.
    """

    name: str
    source: str
    options: dict[str, Any]
    n_good: int
    n_open: int
    defects: dict[str, int]
    n_masks: int
    size: tuple[int, int]

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.defects.items())
        n_defects = sum(self.defects.values())
        masks = f", {self.n_masks} with a mask" if n_defects else ""
        return (
            f"{self.name}: layout {self.source}, {self.n_good} good and {n_defects} defective images"
            f"{f' ({kinds})' if kinds else ''}{masks}; the first has {self.size[0]} x {self.size[1]} pixels"
        )


def categories_in(raw: Path, shares: Shares) -> list[Category]:
    """The categories below `raw`, by name.

    Folders of images are looked for first, then COCO files, then a table of images; a folder with images alone is one
    of good parts.

    Raises:
        DataError: there is none, or one that no source can read; the message says why.
    """
    if not raw.is_dir():
        raise DataError(f"{raw} is no folder; name one that holds images")
    for candidates in (_folders(raw, raw, DEPTH), _coco(raw), _tables(raw), _heap(raw)):
        found, reasons = [], []
        for name, source, options in candidates:
            try:
                found.append(_counted(name, source, options, raw, shares))
            except GonogoError as error:
                reasons.append(f"{source}: {error}")
        if reasons:
            raise DataError(f"{raw}: an image folder that cannot be read as it is: {'; '.join(reasons)}")
        if found:
            return _named_apart(found)
    raise DataError(
        f"{raw}: no layout that gonogo knows. Put good parts into a folder {GOOD[0]!r}, beside one folder per defect "
        "type if there are any; docs/data.md lists the other layouts"
    )


Candidate = tuple[str, str, dict[str, Any]]  # name, source, options


def _folders(raw: Path, folder: Path, depth: int) -> Iterator[Candidate]:
    """Folders with good parts in a folder of their own, not looked into further."""
    place = folder.relative_to(raw).as_posix()
    above, name = folder.parent.relative_to(raw).as_posix() if folder != raw else None, folder.resolve().name
    if above is not None and (folder / "test_public").is_dir() and (folder / "train").is_dir():
        yield name, "mvtec_ad_2", {"folder": above, "name": name}
    elif above is not None and (folder / "defects_config.json").is_file():
        yield name, "mvtec_loco", {"folder": above, "name": name}
    elif good := _good_in(folder / "train") or _good_in(folder):
        yield name, "folder", {"folder": place} | ({} if good == GOOD[0] else {"good": good})
    elif depth:
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith("."):
                yield from _folders(raw, inner, depth - 1)


def _good_in(folder: Path) -> str | None:
    """The name of the folder of good parts in `folder`."""
    if not folder.is_dir():
        return None
    there = {path.name.lower(): path.name for path in sorted(folder.iterdir()) if path.is_dir() and images_in(path)}
    return next((there[name] for name in GOOD if name in there), None)


def _lists(raw: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files that may list images, none of them very large."""
    patterns = ["/".join(["*"] * depth) for depth in range(1, DEPTH + 1)]
    files = (path for pattern in patterns for path in sorted(raw.glob(pattern)) if path.suffix.lower() in suffixes)
    return [path for path in files if path.is_file() and path.stat().st_size <= LIST_BYTES]


def _coco(raw: Path) -> Iterator[Candidate]:
    """All COCO files below, as one category; parts may be shared between them."""
    files = []
    for path in _lists(raw, (".json",)):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(content, dict) and set(KEYS) <= set(content) and content["images"]:
            files.append((path, str(content["images"][0].get("file_name", ""))))
    if files:
        path, first = files[0]
        beside = [inner for inner in sorted(path.parent.iterdir()) if inner.is_dir()]
        images = next((inner.name for inner in beside if (inner / first).is_file()), ".")
        options: dict[str, Any] = {"annotations": [file.relative_to(raw).as_posix() for file, _ in files]}
        yield raw.resolve().name, "coco", options | ({} if (path.parent / first).is_file() else {"images": images})


def _tables(raw: Path) -> Iterator[Candidate]:
    """Each table of images, with a category for each that it names."""
    for path in _lists(raw, (".csv", ".jsonl")):
        with path.open(encoding="utf-8", newline="") as file:
            try:
                rows = list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]
            except (ValueError, csv.Error):
                continue
        if rows and all(isinstance(row, dict) and {"path", "label"} <= set(row) for row in rows):
            for name in sorted({str(row["category"]) for row in rows if row.get("category")}) or [path.stem]:
                yield name, "manifest", {"file": path.relative_to(raw).as_posix(), "name": name}


def _heap(raw: Path) -> Iterator[Candidate]:
    """A folder of images without a folder of good parts, nor any other in it: all are good."""
    if images_in(raw) and not any(path.is_dir() and not path.name.startswith(".") for path in raw.iterdir()):
        yield raw.resolve().name, "anomalib", {"normal_dir": "."}


def _counted(name: str, source: str, options: dict[str, Any], raw: Path, shares: Shares) -> Category:
    """What the source reads.

    Raises:
        GonogoError: it cannot read what is there.
    """
    samples = list(source_class(source)(**options).samples(name, raw, shares))
    good = [sample for sample in samples if sample.label == 0]
    if not good:
        expected = ", ".join(sorted(SUFFIXES))
        raise DataError(f"no good image; expected files that end in {expected}")
    defective = [sample for sample in samples if sample.label == 1]
    return Category(
        _plain(name),
        source,
        options,
        n_good=len(good),
        n_open=sum(sample.roles != TEST for sample in good),
        defects=dict(Counter(sample.defect_type for sample in defective).most_common()),
        n_masks=sum(sample.mask is not None for sample in defective),
        size=_size(good[0]),
    )


def _size(sample: Sample) -> tuple[int, int]:
    pixels = read_image(sample.image) if isinstance(sample.image, Path) else sample.image
    return pixels.shape[1], pixels.shape[0]


def _named_apart(found: list[Category]) -> list[Category]:
    """The categories by name; of several with one name, each has its folder's place for a name."""
    names = Counter(one.name for one in found)
    apart = [one if names[one.name] == 1 else replace(one, name=_plain(str(one.options["folder"]))) for one in found]
    return sorted(apart, key=lambda one: one.name)


def _plain(name: str) -> str:
    """The name as a category may be called."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "parts"
