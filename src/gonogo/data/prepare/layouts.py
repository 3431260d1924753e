"""Which layout a folder of images has: the data sources are tried on it, and what they read is counted."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.data import names, source_class
from gonogo.data.coco import KEYS
from gonogo.data.label_files import FORMATS, unread_annotations
from gonogo.data.label_pairs import formats_below
from gonogo.data.labels import Unlabelled
from gonogo.data.listing import read_text
from gonogo.data.manifest_file import read_rows
from gonogo.data.names import ACCEPTED, GOOD, TRAIN, says, words_of
from gonogo.data.pairing import masks_among, require_not_drawn
from gonogo.data.prepare.classes import with_classes
from gonogo.data.prepare.products import product_folders
from gonogo.data.prepare.raw_files import require_watched
from gonogo.data.prepare.shots import Shots, shots_by_name
from gonogo.data.sample import Sample, Shares
from gonogo.data.tree import folders_in, images_below, images_in, listed
from gonogo.data.unused import Unused, unused_below, unused_files
from gonogo.errors import ConfigError, DataError, GonogoError, ImageError
from gonogo.images.reading import SUFFIXES, read_image, size_of
from gonogo.images.roles import TEST
from gonogo.images.unread import UNREAD_SUFFIXES
from gonogo.text import ascii_name

GOOD_FOLDER = "good"  # what the source `folder` calls the folder of good parts, unless an option says otherwise
DEPTH = 3  # folders below the one that is named, in which a category may lie
SPREADSHEETS = (".xlsx", ".xls", ".ods")
LOOKED_FOR = 50  # images of a COCO file, by which their folder is found, and of a category, by which its shape is
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
        sizes: the different ones of good images, each with its number, of at most LOOKED_FOR images.
        n_calibrate: good parts that prepare will deal to calibrate, unless images turn out to be copies.
        unused: image files in its folders that have no use.
        shots: what the names say of several shots of one part; None where they say nothing.
        unreadable: why each image file that is none cannot be read; they are among the images that are counted.
        boxed: the classes of labelled boxes, under one name each, where every defective image has a box.
    """

    name: str
    source: str
    options: dict[str, Any]
    n_good: int
    n_open: int
    defects: dict[str, int]
    n_masks: int
    size: tuple[int, int]
    n_calibrate: int = 0
    unused: tuple[Unused, ...] = ()
    shots: Shots | None = None
    sizes: tuple[tuple[tuple[int, int], int], ...] = ()
    unreadable: tuple[str, ...] = ()
    boxed: tuple[str, ...] = ()

    @property
    def aspect(self) -> float:
        """Width by height of the median good image."""
        aspects = [[width / height] * n for (width, height), n in self.sizes or ((self.size, 1),)]
        return float(np.median(np.concatenate(aspects)))

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


def categories_in(raw: Path, shares: Shares, unlabelled: Unlabelled | None = None) -> list[Category]:
    """The categories below `raw`, by name.

    Folders of images are looked for first, then COCO files, then a table of images, then a label file for each image;
    a folder with images alone is one of good parts.

    Args:
        unlabelled: what images without a label file are, where others have one; None: refused.

    Raises:
        DataError: there is none, or one that no source can read; the message says why.
    """
    if not raw.is_dir():
        raise DataError(f"{raw} is no folder; name one that holds images")
    for candidates in (_folders(raw, raw, DEPTH), _coco(raw), _tables(raw), _labels(raw, unlabelled), _heap(raw)):
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
    raise _nothing(raw)


def outside(raw: Path, found: Sequence[Category]) -> list[Unused]:
    """The image files below `raw` that lie in the folder of no category, where each category has a folder."""
    places = [raw / one.options["folder"] / one.options.get("name", "") for one in found if "folder" in one.options]
    return unused_below(raw, [raw], apart_from=[*places, raw / ACCEPTED]) if len(places) == len(found) else []


Candidate = tuple[str, str, dict[str, Any]]  # name, source, options


def _folders(raw: Path, folder: Path, depth: int) -> Iterator[Candidate]:
    """Folders with good parts in a folder of their own, not looked into further."""
    place = folder.relative_to(raw).as_posix()
    above, name = folder.parent.relative_to(raw).as_posix() if folder != raw else None, folder.resolve().name
    if above is not None and (folder / "test_public").is_dir() and (folder / "train").is_dir():
        yield name, "mvtec_ad_2", {"folder": above, "name": name}
    elif above is not None and (folder / "defects_config.json").is_file():
        yield name, "mvtec_loco", {"folder": above, "name": name}
    elif good := _good_in(folder):
        yield name, "folder", {"folder": place} | ({} if good.casefold() == GOOD_FOLDER else {"good": good})
    elif _is_split(folder):
        yield name, "folder", {"folder": place}  # which says what train lacks
    elif depth:
        for inner in folders_in(folder):
            yield from _folders(raw, folder / inner, depth - 1)


def _is_split(folder: Path) -> bool:
    """Whether the folder has images to train on, and a test with good parts, which is no category by itself."""
    parts = {name.casefold(): folder / name for name in folders_in(folder)}
    train, test = (next((parts[word] for word in words if word in parts), None) for words in (TRAIN, names.TEST))
    return bool(train and test and images_below(train) and _good_in(test))


def _good_in(folder: Path) -> str | None:
    """The name of the folder of good parts in `folder` or in its `train`; one called good before others."""
    places = [folder / name for name in folders_in(folder) if name.casefold() in TRAIN] + [folder]
    for place in places:
        named = [name for name in folders_in(place) if says(name, GOOD) and images_below(place / name)]
        if named:
            return min(named, key=lambda name: (name.casefold() != GOOD_FOLDER, name))
    return None


def _lists(raw: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files that may list images, none of them very large."""
    patterns = ["/".join(["*"] * depth) for depth in range(1, DEPTH + 1)]
    files = (path for pattern in patterns for path in sorted(raw.glob(pattern)) if path.suffix.lower() in suffixes)
    return [path for path in files if path.is_file() and path.stat().st_size <= LIST_BYTES]


def _coco(raw: Path) -> Iterator[Candidate]:
    """All COCO files below, as one category, since parts may be shared between them, or as one for each product.

    Raises:
        DataError: as `product_folders`, or a file lists images that are not there.
    """
    files: dict[Path, list[str]] = {}
    for path in _lists(raw, (".json",)):
        try:
            content = json.loads(read_text(path))
        except (ValueError, DataError):
            continue
        if isinstance(content, dict) and set(KEYS) <= set(content) and content["images"]:
            files[path] = [str(image.get("file_name", "")) for image in content["images"][:LOOKED_FOR]]
    inside = {file.relative_to(raw).parts[0] for file in files if file.parent != raw}
    products = product_folders(raw, sorted(inside)) if all(file.parent != raw for file in files) else []
    for product in products:
        own = {file: names for file, names in files.items() if file.is_relative_to(raw / product)}
        yield product, "coco", _coco_options(raw, own, raw / product)
    if files and not products:
        yield raw.resolve().name, "coco", _coco_options(raw, files, raw)


def _coco_options(raw: Path, files: dict[Path, list[str]], root: Path) -> dict[str, Any]:
    """The options that read these files, whose images lie below `root`."""
    images = [_images_folder(root, path, names) for path, names in files.items()]
    options: dict[str, Any] = {"annotations": [file.relative_to(raw).as_posix() for file in files]}
    if set(images) != {"."}:
        options["images"] = images[0] if len(set(images)) == 1 else images
    return options


def _images_folder(raw: Path, path: Path, names: Sequence[str]) -> str:
    """The folder with the images of a COCO file, relative to the file's own: the nearest that has most of them.

    Raises:
        DataError: no folder below `raw` has more than half of them.
    """
    beside = [path.parent, *_all_folders(path.parent), *_all_folders(raw), raw]
    found = {folder: sum((folder / name).is_file() for name in names) for folder in beside}
    nearest = max(beside, key=lambda folder: found[folder])
    if found[nearest] * 2 > len(names):  # prepare reports those that are missing
        return Path(os.path.relpath(nearest, path.parent)).as_posix()
    raise DataError(
        f"{path} lists {names[0]!r} and others, which lie in no folder below {raw}; put the images beside the "
        "file, or into a folder `images` beside that of the file"
    )


def _all_folders(folder: Path, depth: int = DEPTH) -> list[Path]:
    """The folders below `folder`, those near it first."""
    inner = [folder / name for name in folders_in(folder)]
    return inner + [below for one in inner if depth > 1 for below in _all_folders(one, depth - 1)]


def _tables(raw: Path) -> Iterator[Candidate]:
    """Each table of images, with a category for each that it names; without one, the table's name or its folder's.

    Raises:
        DataError: a table names images, and cannot be read.
    """
    tables: dict[Path, list[str]] = {}
    for path in _lists(raw, (".csv", ".tsv", ".jsonl")):
        try:
            rows = [row for _, row in read_rows(path)]
        except (ConfigError, DataError) as error:
            if _names_images(path):
                raise DataError(f"{path} looks like a table of images, but cannot be read as one: {error}") from error
            continue
        tables[path] = sorted({row["category"] for row in rows if row.get("category")})
    stems = Counter(words_of(path.stem) for path, named in tables.items() if not named)
    for path, named in tables.items():
        own = path.stem if stems[words_of(path.stem)] == 1 or path.parent == raw else path.parent.name
        for name in named or [own]:
            yield name, "manifest", {"file": path.relative_to(raw).as_posix(), "name": name}


def _names_images(path: Path) -> bool:
    """Whether one of the first lines has the name of an image in it."""
    with path.open("rb") as file:
        head = file.read(4096).replace(b"\0", b"").decode("utf-8", "replace").lower()  # UTF-16 too
    return any(re.search(rf"\w{re.escape(suffix)}\b", head) for suffix in SUFFIXES)


def _labels(raw: Path, unlabelled: Unlabelled | None) -> Iterator[Candidate]:
    """All images below as one category, or those of each product, where label files have objects.

    Raises:
        DataError: as `product_folders`, or files of two formats have some.
    """
    products = product_folders(raw, [name for name in folders_in(raw) if formats_below(raw / name)])
    for root in [raw / product for product in products] or [raw]:
        found = formats_below(root)
        if len(found) > 1:
            named = " and ".join(f"{path} ({FORMATS[format_].title})" for format_, path in found.items())
            raise DataError(f"{root} has label files of {len(found)} formats: {named}; remove those that do not count")
        for format_ in found:
            options: dict[str, Any] = {"format": format_} | ({"folder": root.name} if products else {})
            yield root.resolve().name, "labels", options | ({"unlabelled": unlabelled} if unlabelled else {})


def _heap(raw: Path) -> Iterator[Candidate]:
    """A folder of images without a folder of good parts, nor any other in it: all are good.

    Raises:
        DataError: the names of some say that they are masks, defective, drawn of others, or not good as others are.
    """
    images = images_in(raw)
    if images and not folders_in(raw):
        own, masks = masks_among(images, raw)
        require_not_drawn(own)
        defective = [path for path in own if names.suggests(path.stem, names.BAD)]
        named_good = [path for path in own if names.suggests(path.stem, names.IN_GOOD_NAMES)]
        unlike = [path for path in own if path not in named_good] if named_good else []
        for some, what in (
            (masks, "named like masks of others"),
            (defective, "named like defective parts"),
            (unlike, f"not named like good parts, as {listed([one.name for one in named_good], 1)} are"),
        ):
            if some:
                raise DataError(
                    f"{len(some)} of {len(images)} images are {what}, the first {some[0].name}, so that not all may be "
                    "good; put good parts into a folder 'good', beside one folder per defect type"
                )
        yield raw.resolve().name, "anomalib", {"normal_dir": "."}


def _nothing(raw: Path) -> DataError:
    """The error for a folder without a layout: what is there, and what to do."""
    folders = [raw, *_all_folders(raw)]
    counts = [(folder, len(images_in(folder))) for folder in folders]
    there = [f"{count} in {folder.relative_to(raw).as_posix()}" for folder, count in counts if count]
    found = f"images are there ({listed(there, 5)})" if there else "no image is there"
    unread = sum(path.suffix.lower() in UNREAD_SUFFIXES for folder in folders for path in folder.iterdir())
    other = f", and {unread} files of formats that are not read" if unread else ""
    sheets = [path.name for path in raw.iterdir() if path.suffix.lower() in SPREADSHEETS]
    other += (
        f", and the table {sheets[0]}, which is to be saved as CSV with the columns path and label" if sheets else ""
    )
    unread_labels = unread_annotations(raw, folders)
    said = (
        f"; {listed(unread_labels)} annotate images in a format that is not read, export them as COCO"
        if unread_labels
        else ""
    )
    return DataError(
        f"{raw}: no layout that gonogo knows; {found}{other}{said}. Put good parts into a folder 'good', beside one "
        "folder per defect type if there are any, or name the folder that holds good parts alone; docs/data.md "
        "lists the other layouts"
    )


def _counted(name: str, source: str, options: dict[str, Any], raw: Path, shares: Shares) -> Category:
    """What the source reads.

    Raises:
        GonogoError: it cannot read what is there.
    """
    reader = source_class(source)(**options)
    samples = list(reader.samples(name, raw, shares))
    require_watched(samples, raw)
    good = [sample for sample in samples if sample.label == 0]
    if not good:
        expected = ", ".join(sorted(SUFFIXES))
        raise DataError(f"no good image; expected files that end in {expected}")
    defective = [sample for sample in samples if sample.label == 1]
    unreadable = _unreadable(samples)
    readable = [sample for sample in good if sample.image not in unreadable]
    if not readable:
        raise DataError(f"none of the {len(good)} good images can be read; {next(iter(unreadable.values()))}")
    return Category(
        name,
        source,
        options,
        n_good=len(good),
        n_open=sum(sample.roles != TEST for sample in good),
        defects=dict(Counter(sample.defect_type for sample in defective).most_common()),
        n_masks=sum(sample.mask is not None for sample in defective),
        size=_size(readable[0]),
        n_calibrate=_n_calibrate(good, shares),
        unused=tuple(unused_files(reader, name, raw, samples)),
        shots=shots_by_name(samples),
        sizes=tuple(_sizes(readable).most_common()),
        unreadable=tuple(unreadable.values()),
        boxed=_boxed(defective),
    )


def _boxed(defective: Sequence[Sample]) -> tuple[str, ...]:
    if not all(sample.boxes for sample in defective):
        return ()
    return tuple(sorted({str(box["label"]) for sample in with_classes(defective, {}) for box in sample.boxes}))


def _unreadable(samples: Sequence[Sample]) -> dict[Path, str]:
    """The image files whose first bytes are those of no image, with the reason; prepare reads them whole."""
    found = {}
    for sample in samples:
        if isinstance(sample.image, Path):
            try:
                size_of(sample.image)
            except ImageError as error:
                found[sample.image] = str(error)
    return found


def _n_calibrate(good: Sequence[Sample], shares: Shares) -> int:
    open_roles = {sample.group_id or sample.name: sample.roles for sample in good}
    return list(shares.split(open_roles).values()).count("calibrate")


def _size(sample: Sample) -> tuple[int, int]:
    pixels = read_image(sample.image) if isinstance(sample.image, Path) else sample.image
    return pixels.shape[1], pixels.shape[0]


def _sizes(good: Sequence[Sample]) -> Counter[tuple[int, int]]:
    """How many of at most LOOKED_FOR good images have each size; prepare will report those that cannot be read."""
    found: Counter[tuple[int, int]] = Counter()
    for sample in good[:: -(-len(good) // LOOKED_FOR)]:
        with suppress(ImageError):
            found[size_of(sample.image) if isinstance(sample.image, Path) else _size(sample)] += 1
    return found


def _named_apart(found: list[Category]) -> list[Category]:
    """The categories by name; of several with one name, each has its folder's place for a name.

    Raises:
        DataError: two have one name even so, since a name keeps only letters of ASCII, digits, _ and -.
    """
    names = Counter(_plain(one.name).casefold() for one in found)
    apart: dict[str, Category] = {}
    for one in found:
        own = one.name if names[_plain(one.name).casefold()] == 1 else str(one.options.get("folder", one.name))
        name = _plain(own)
        if (other := apart.get(name.casefold())) is not None:
            raise DataError(
                f"two categories would be called {name!r}: {other.name!r} and {own!r}; a name keeps ASCII letters, "
                "digits, _ and - alone, and case does not tell names apart: rename one"
            )
        apart[name.casefold()] = replace(one, name=own)
    return sorted((replace(one, name=_plain(one.name)) for one in apart.values()), key=lambda one: one.name)


def _plain(name: str) -> str:
    return ascii_name(name, "_") or "parts"
