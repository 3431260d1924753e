"""Annotations of other tools beside images, found by their names, so that no defect is taken for good."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.names import GOOD, LABEL_FOLDERS, says
from gonogo.data.tree import folders_in
from gonogo.errors import DataError

LABEL_BYTES = 500_000_000  # of a file that is looked into; LabelMe's may hold the image
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
CORNERS = 4  # numbers at least, in a line for one object
CVAT_OBJECT = re.compile(r"<annotations[\s>](?s:.*)<(?:box|polygon|polyline|points|mask|ellipse)[\s>]")
VOC_OBJECT = re.compile(r"<object>(?s:.*?)</object>")
VOC_NAME = re.compile(r"<name>([^<]*)</name>")
JSON_OBJECTS = re.compile(
    r'"(?:regions|annotations|shapes|objects|items|result|bbox|boundingBox|segmentation|polygon|labels?|\w+labels)"'
    r'\s*:\s*[\[{]\s*[^\]}\s]|"(?:label|class|category|tag|verdict|result|target|defect)"\s*:\s*["\d]'
)
SHARED_SUFFIXES = (
    ".json",
    ".jsonl",
    ".ndjson",
    ".xml",
)  # of files that annotate many images, or one under a longer name
LISTS = (".txt", ".lst", ".list")  # of files with a line for each image
WHAT_TO_DO = (
    "An image with an annotation may show a defect. Move such images into a folder for their defect type beside good/; "
    "or let the annotations decide, with prepare.source: labels for LabelMe, Pascal VOC and YOLO and an export as COCO "
    "for others"
)


@dataclass(frozen=True)
class LabelFormat:
    """A format with a label file for each image.

    Attributes:
        title: its name.
        suffix: of its files.
        name: of the file for an image of this `stem` and `name`.
        annotates: whether a file has an object that is not called good, as far as can be told whatever its encoding.
    """

    title: str
    suffix: str
    name: str
    annotates: Callable[[Path], bool]


def annotated_images(images: Iterable[Path]) -> dict[str, dict[Path, Path]]:
    """By format, the images that a file of the same name annotates with at least one object, and that file.

    The file lies beside the image, or in a folder such as `labels` below or beside that of the image. A file without an
    object, which is how the tools mark a background, says that its image is good.
    """
    found: dict[str, dict[Path, Path]] = defaultdict(dict)
    by_folder: dict[Path, list[tuple[Path, set[str]]]] = {}
    for image in images:
        places = by_folder.get(image.parent)
        if places is None:
            places = [(place, {path.name for path in place.iterdir()}) for place in _places(image.parent)]
            by_folder[image.parent] = places
        for key, one in FORMATS.items():
            name = one.name.format(stem=image.stem, name=image.name)
            files = (place / name for place, there in places if name in there)
            if file := next((path for path in files if one.annotates(path)), None):
                found[key][image] = file
                break
    return dict(found)


def _places(folder: Path) -> list[Path]:
    """The folder of some images, and the others that may hold their annotations."""
    readable = [place for place in (folder, folder.parent) if os.access(place, os.R_OK)]
    named = [place / name for place in readable for name in folders_in(place) if says(name, LABEL_FOLDERS)]
    return [folder, *named, *(inner for one in named if (inner := one / folder.name).is_dir())]


def require_unannotated(images: Sequence[Path]) -> None:
    """Do nothing, or refuse to take images for good that files beside them annotate.

    Raises:
        DataError: a LabelMe, Pascal VOC, YOLO or Supervisely file annotates one of the images, or one file many.
    """
    by_folder: dict[Path, list[str]] = defaultdict(list)
    for image in images:
        by_folder[image.parent].append(image.name)
    for folder, names in sorted(by_folder.items()):
        if shared := [path for path in sorted(folder.iterdir()) if _annotates_many(path, names)]:
            raise DataError(f"{shared[0]} annotates images among the good ones; {WHAT_TO_DO}")
    for format_, some in annotated_images(images).items():
        first = next(iter(some))
        count = f"{len(some)} images" if len(some) > 1 else "1 image"
        raise DataError(
            f"{FORMATS[format_].title} files annotate {count} among the good ones, the first {first}; {WHAT_TO_DO}"
        )


def _annotates_many(path: Path, names: Sequence[str]) -> bool:
    """Whether a file, as of CVAT, VIA or Label Studio, is of one of the images by name, and has an object of any image.

    So does a list of some of the images, or of all with a word about each.
    """
    suffix = path.suffix.lower()
    if suffix not in (*SHARED_SUFFIXES, *LISTS) or not (text := _text(path)):
        return False
    if suffix in LISTS:
        return _lists_some(text, set(names))
    objects = CVAT_OBJECT if suffix == ".xml" else JSON_OBJECTS
    if objects.search(text) is not None and any(name in text for name in names):
        return True
    stems = {Path(name).stem for name in names}
    longer = any(path.stem[: found.start()] in stems for found in re.finditer(r"[._\-]", path.stem))
    return longer and (objects.search(text) or VOC_OBJECT.search(text)) is not None


def _lists_some(text: str, names: set[str]) -> bool:
    """Whether lines that begin with images name some of them only, or say more of one."""
    listed_names: set[str] = set()
    for line in text.splitlines():
        first, *more = re.split(r"[\s,;|]+", line.strip(), maxsplit=1)
        name = re.split(r"[/\\]", first.strip('"'))[-1]
        if name in names:
            listed_names.add(name)
            if more and more[0].strip():
                return True
    return 0 < len(listed_names) < len(names)


def unread_annotations(raw: Path, folders: Iterable[Path]) -> list[str]:
    """What a person is told of annotations in formats that no source reads, as "ann/ (Supervisely)"."""
    found = []
    for folder in folders:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        place = folder.relative_to(raw).as_posix()
        if any(path.suffix.lower() == ".json" and _supervisely(path) for path in files[:50]):
            found.append(f"{place}/ (Supervisely)")
        found += [
            f"{place}/{path.name} (CVAT)"
            for path in files
            if path.suffix.lower() == ".xml" and CVAT_OBJECT.search(_text(path))
        ]
    return found


def _labelme(path: Path) -> bool:
    content = _json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    return isinstance(shapes, list) and any(
        not isinstance(shape, dict) or not says(str(shape.get("label")), GOOD) for shape in shapes
    )


def _supervisely(path: Path) -> bool:
    content = _json(path)
    return isinstance(content, dict) and isinstance(content.get("objects"), list) and bool(content["objects"])


def _voc(path: Path) -> bool:
    text = _text(path)
    objects = VOC_OBJECT.findall(text) if re.search(r"<annotation[\s>]", text) else []
    names = [name[1] if (name := VOC_NAME.search(one)) else "" for one in objects]
    return any(not says(name, GOOD) for name in names)


def _yolo(path: Path) -> bool:
    """A line for each object: its class and the numbers of a box or polygon, in an order that tools differ in."""
    lines = [line.split() for line in _text(path).splitlines() if line.strip()]
    return bool(lines) and all(sum(NUMBER.fullmatch(word) is not None for word in line) >= CORNERS for line in lines)


def _json(path: Path) -> object:
    try:
        return json.loads(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    """The text of a file, whose structure is ASCII in any encoding; nothing where it is very large."""
    if not path.is_file() or path.stat().st_size > LABEL_BYTES:
        return ""
    return path.read_text(encoding="utf-8-sig", errors="replace")


FORMATS: dict[str, LabelFormat] = {
    "labelme": LabelFormat("LabelMe", ".json", "{stem}.json", _labelme),
    "supervisely": LabelFormat("Supervisely", ".json", "{name}.json", _supervisely),
    "voc": LabelFormat("Pascal VOC", ".xml", "{stem}.xml", _voc),
    "yolo": LabelFormat("YOLO", ".txt", "{stem}.txt", _yolo),
}
