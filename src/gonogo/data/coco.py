"""COCO annotations: images without any are good parts, the others show what polygons, runs or boxes cover."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.data.listing import existing_file, json_content, listed_path
from gonogo.data.regions import (
    Box,
    Region,
    all_of,
    annotated_sample,
    are_numbers,
    clipped_box,
    counts_as_defect,
    require_classes,
)
from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import existing_folder, images_in, name_in
from gonogo.errors import ConfigError, DataError

KEYS = ("images", "annotations", "categories")
Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Coco:
    """One or more annotation files, such as those of train, valid and test, pooled.

    The published splits are dropped and every role is open to every image, because parts are grouped across them.
    An image that no file lists is left out: nobody said that it is good.

    Attributes:
        annotations: JSON files below `folder`.
        folder: below the raw folder.
        images: the folder of the images, relative to that of each annotation file, or a list with one for each file;
            file_name is relative to it.
        classes: those that count as defects; annotations of others are as if absent. None: all but those whose names
            say good, such as "ok".

    Source: Lin et al. 2014, "Microsoft COCO"; cocodataset.org/#format-data.
    """

    annotations: list[str]
    folder: str = "."
    images: str | list[str] = "."
    classes: list[str] | None = None

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Images in the order of the files. The class whose boxes have the largest area names the defect type.

        A crowd (iscrowd 1) is part of the mask but no object, thus not among the boxes.

        Raises:
            DataError: a file is no COCO file, contradicts itself or another, or none lists a good part.
        """
        root = existing_folder(raw, self.folder)
        if not self.annotations:
            raise ConfigError("prepare.annotations is empty; name the annotation files")
        paths = [existing_file(raw, root, file) for file in self.annotations]
        contents = [read_coco(path) for path in paths]
        require_classes(self.classes, {name for content in contents for name in content["categories"].values()})
        seen: dict[str, tuple[Path, Sample]] = {}
        folders: set[Path] = set()
        for path, content, images in zip(paths, contents, self._images(), strict=True):
            folder = existing_folder(raw, Path(os.path.relpath(path.parent / images, raw)).as_posix())
            folders.add(folder)
            for sample in self._samples(raw, path, folder, content):
                if sample.name in seen:
                    raise DataError(f"{path}: {sample.name} is listed already in {seen[sample.name][0]}; list it once")
                seen[sample.name] = path, sample
        if all(sample.label == 1 for _, sample in seen.values()):
            unlisted = sum(name_in(raw, image) not in seen for folder in folders for image in images_in(folder))
            raise DataError(
                f"{', '.join(map(str, paths))}: every image is annotated, so that none is good; {unlisted} image files "
                "beside them are in no list and do not count as good: list good parts under `images`"
            )
        return (sample for _, sample in seen.values())

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        pairs = zip(self.annotations, self._images(), strict=True)
        return Places(
            [raw / os.path.relpath((raw / self.folder / file).parent / images, raw) for file, images in pairs]
        )

    def _images(self) -> list[str]:
        """The folder of the images for each annotation file.

        Raises:
            ConfigError: a list has another length than `annotations`.
        """
        folders = [self.images] * len(self.annotations) if isinstance(self.images, str) else self.images
        if len(folders) != len(self.annotations):
            raise ConfigError(
                f"prepare.images names {len(folders)} folders for {len(self.annotations)} annotation files; "
                "name one for each, in their order"
            )
        return folders

    def _samples(self, raw: Path, path: Path, folder: Path, content: Entry) -> Iterator[Sample]:
        regions = defaultdict(list)
        problems: list[DataError] = []
        for entry in content["annotations"]:
            try:
                if (region := self._defect(path, content, entry)) is not None:
                    regions[entry["image_id"]].append(region)
            except DataError as problem:
                problems.append(problem)
        if problems:
            raise all_of(problems)
        for number, entry in content["images"].items():
            where = f"{path}, image {number!r}"
            image_path = listed_path(raw, folder, _value(entry, "file_name", str, where), where)
            yield annotated_sample(name_in(raw, image_path), image_path, regions[number], _size(entry, path), where)

    def _defect(self, path: Path, content: Entry, entry: Entry) -> Region | None:
        """What an annotation marks; None where its category does not count."""
        where = f"{path}, annotation {entry.get('id')!r}"
        image = content["images"].get(_value(entry, "image_id", int | str, where))
        if image is None:
            raise DataError(f"{where}: image_id {entry['image_id']!r} is not among `images`")
        category = content["categories"].get(_value(entry, "category_id", int | str, where))
        if category is None:
            raise DataError(f"{where}: category_id {entry['category_id']!r} is not among `categories`")
        return _region(entry, category, _size(image, path), where) if counts_as_defect(category, self.classes) else None


def decoded_runs(text: str) -> list[int]:
    """The runs in COCO's compressed string: 5 bits a character, from the third on relative to the run before the last.

    Source: cocoapi, common/maskApi.c, `rleFrString`; checked against strings that pycocotools wrote.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def read_coco(path: Path) -> Entry:
    """The file's annotations, images by id and names of categories by id.

    Raises:
        DataError: it is no COCO file, or contradicts itself.
    """
    content = json_content(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in KEYS):
        there = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: expected an object with the lists {', '.join(KEYS)}, got {there}")
    for key in KEYS:
        if not all(isinstance(entry, dict) for entry in content[key]):
            raise DataError(f"{path}: every entry of {key!r} must be an object")
    categories = _by_id(path, content, "categories")
    names = {number: _value(entry, "name", str, f"{path}, category {number!r}") for number, entry in categories.items()}
    return {
        "images": _by_id(path, content, "images"),
        "annotations": content["annotations"],
        "categories": names,
    }


def _by_id(path: Path, content: Entry, key: str) -> dict[int | str, Entry]:
    entries: dict[int | str, Entry] = {}
    for entry in content[key]:
        number = _value(entry, "id", int | str, f"{path}, {key}")
        if number in entries:
            raise DataError(f"{path}: two of {key!r} have the id {number!r}")
        entries[number] = entry
    return entries


def _value(entry: Entry, key: str, kind: Any, where: str) -> Any:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, kind):
        raise DataError(f"{where}: {key} is {value!r}; expected {getattr(kind, '__name__', kind)}")
    return value


def _size(image: Entry, path: Path) -> tuple[int, int]:
    """(width, height)."""
    where = f"{path}, image {image['id']!r}"
    width, height = _value(image, "width", int, where), _value(image, "height", int, where)
    if width < 1 or height < 1:
        raise DataError(f"{where}: expected a size in pixels, got {width} x {height}")
    return width, height


def _region(entry: Entry, label: str, size: tuple[int, int], where: str) -> Region:
    shape = entry.get("segmentation")
    polygons = _polygons(shape, where) if isinstance(shape, list) else ()
    runs = _runs(shape, size, where) if isinstance(shape, dict) and shape else ()
    return Region(
        label=label,
        box=clipped_box(_box(entry.get("bbox"), polygons, runs, size[1], where), size, where),
        polygons=polygons,
        runs=runs,
        crowd=entry.get("iscrowd", 0) == 1,
    )


def _box(given: Any, polygons: Sequence[np.ndarray], runs: Sequence[int], height: int, where: str) -> Box:
    """The box of an annotation: what encloses its segmentation where a file gives none, as some tools write polygons.

    Raises:
        DataError: it is wrong, or there is nothing that it could enclose.
    """
    if given in (None, []) and polygons:
        corners = np.concatenate(polygons)
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return x0, y0, x1, y1
    if given in (None, []) and any(runs[1::2]):
        columns, rows = np.divmod(np.flatnonzero(np.repeat(np.arange(len(runs)) % 2, runs)), height)
        return float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1
    if not are_numbers(given) or len(given) != 4:
        raise DataError(f"{where}: expected bbox as [x, y, width, height], got {given!r}")
    x, y, wide, high = map(float, given)
    return x, y, x + wide, y + high


def _polygons(shape: list[Any], where: str) -> tuple[np.ndarray, ...]:
    for polygon in shape:
        if not are_numbers(polygon) or len(polygon) % 2:
            raise DataError(f"{where}: expected each polygon as [x, y, x, y, x, y, ...], got {polygon!r}")
    # Exports hold outlines of two points, one or none. They enclose nothing, which leaves the box.
    return tuple(np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in shape if polygon)


def _runs(shape: Entry, size: tuple[int, int], where: str) -> tuple[int, ...]:
    width, height = size
    counts = shape.get("counts")
    runs = decoded_runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        raise DataError(f"{where}: expected the counts of a run-length segmentation, got {str(counts)[:60]!r}")
    if shape.get("size") != [height, width] or sum(runs) != height * width:
        raise DataError(
            f"{where}: runs of {sum(runs)} pixels at size {shape.get('size')} do not fill the image, "
            f"whose [height, width] is [{height}, {width}]"
        )
    return tuple(runs)
