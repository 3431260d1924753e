"""Annotations of other tools beside images, which gonogo does not read: found, so that no defect is taken for good."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gonogo.data.names import LABEL_FOLDERS, says
from gonogo.data.tree import folders_in
from gonogo.errors import DataError

LABEL_BYTES = 500_000_000  # of a file that is looked into; LabelMe's may hold the image
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
CORNERS = 4  # numbers at least, in a line for one object
CVAT_OBJECT = re.compile(r"<annotations[\s>](?s:.*)<(?:box|polygon|polyline|points|mask|ellipse)[\s>]")
JSON_OBJECTS = re.compile(
    r'"(?:regions|annotations|shapes|objects|items|result|bbox|boundingBox|segmentation|polygon)"\s*:\s*[\[{]\s*[^\]}\s]'
)
XML = (("annotation", "object"), ("annotations", "box|polygon|polyline|points|mask|ellipse"))
WHAT_TO_DO = (
    "gonogo does not read these files, and an image with an annotation may show a defect. Move such images into a "
    "folder for their defect type beside good/, or export the annotations as COCO"
)


def annotated_images(images: Iterable[Path]) -> dict[str, list[Path]]:
    """The images that a file of the same name annotates with at least one object, by the format of that file.

    The file lies beside the image, or in a folder such as `labels` below or beside that of the image. A file without an
    object, which is how the tools mark a background, says that its image is good.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    by_folder: dict[Path, list[tuple[Path, set[str]]]] = {}
    for image in images:
        places = by_folder.get(image.parent)
        if places is None:
            places = [(place, {path.name for path in place.iterdir()}) for place in _places(image.parent)]
            by_folder[image.parent] = places
        for format_, names, has_objects in FORMATS:
            called = [name.format(stem=image.stem, name=image.name) for name in names]
            if any(name in there and has_objects(place / name) for place, there in places for name in called):
                found[format_].append(image)
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
        first = some[0]
        count = f"{len(some)} images" if len(some) > 1 else "1 image"
        raise DataError(f"{format_} files annotate {count} among the good ones, the first {first}; {WHAT_TO_DO}")


def _annotates_many(path: Path, names: Sequence[str]) -> bool:
    """Whether a file, as of CVAT, VIA or Label Studio, names one of the images and has an object of any image."""
    if path.suffix.lower() not in (".json", ".xml") or not (text := _text(path)):
        return False
    objects = CVAT_OBJECT if path.suffix.lower() == ".xml" else JSON_OBJECTS
    return objects.search(text) is not None and any(name in text for name in names)


def label_folders(raw: Path, folders: Iterable[Path]) -> list[str]:
    """What a person is told of annotations that lie in folders or files of their own, as "labels/ (YOLO)"."""
    found = []
    for folder in folders:
        for format_, _, has_objects in FORMATS:
            suffix = SUFFIXES[format_]
            files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() == suffix and path.is_file()]
            if any(has_objects(path) for path in files[:50]):
                found.append(f"{folder.relative_to(raw).as_posix()}/ ({format_})")
                break
    return found


def _labelme(path: Path) -> bool:
    content = _json(path)
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and bool(content["shapes"])


def _supervisely(path: Path) -> bool:
    content = _json(path)
    return isinstance(content, dict) and isinstance(content.get("objects"), list) and bool(content["objects"])


def _voc(path: Path) -> bool:
    """Pascal VOC's <annotation> with an <object>, or CVAT's <annotations> with a shape."""
    text = _text(path)
    return any(re.search(rf"<{root}[\s>]", text) and re.search(rf"<(?:{shapes})[\s>]", text) for root, shapes in XML)


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


FORMATS: tuple[tuple[str, tuple[str, ...], Callable[[Path], bool]], ...] = (
    ("LabelMe", ("{stem}.json",), _labelme),
    ("Supervisely", ("{name}.json",), _supervisely),
    ("Pascal VOC", ("{stem}.xml",), _voc),
    ("YOLO", ("{stem}.txt",), _yolo),
)
SUFFIXES = {"LabelMe": ".json", "Supervisely": ".json", "Pascal VOC": ".xml", "YOLO": ".txt"}
