"""Images and the label files of LabelMe, Pascal VOC or YOLO that are called like them."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from gonogo.data.label_files import FORMATS
from gonogo.data.names import ACCEPTED, IMAGE_FOLDERS, LABEL_FOLDERS, says
from gonogo.data.pairing import masks_among
from gonogo.data.tree import folders_in, images_below, listed
from gonogo.data.yolo import is_name_list, is_yolo
from gonogo.errors import DataError

Format = Literal["labelme", "voc", "yolo"]
Key = tuple[str, ...]


@dataclass(frozen=True)
class Pairs:
    """The label file of each image that has one, and the other images, without what is named like a mask."""

    labelled: Mapping[Path, Path]
    unlabelled: Sequence[Path]


def paired_with_labels(raw: Path, root: Path, format_: Format) -> Pairs:
    """The images below `root`, with label files of one name beside them or in folders such as `images` and `labels`.

    Raises:
        DataError: a label file is of two images or of none, or an image has two.
    """
    images = _by_key(root, (path for path in images_below(root) if not path.is_relative_to(raw / ACCEPTED)))
    files = _label_files(root, format_)
    labelled: dict[Path, Path] = {}
    for key in images.keys() & files.keys():
        if len(images[key]) > 1:
            both = listed(list(map(str, images[key])))
            raise DataError(f"{files[key][0]} is the label file of {both} by their names; rename one image")
        if len(files[key]) > 1:
            both = " and ".join(map(str, files[key]))
            raise DataError(f"{both} are label files of one image by their names; keep one")
        labelled[images[key][0]] = files[key][0]
    others = [path for key, paths in files.items() if key not in images for path in paths]
    orphans = [str(path) for path in others if _annotates(path, format_, of_image=False)]
    if orphans:
        raise DataError(
            f"{len(orphans)} label files match no image: {listed(sorted(orphans), 3)}; a label file is called like its "
            "image, and lies beside it or in a folder `labels` or `Annotations` beside that of the images. Add the "
            "images, or remove the files"
        )
    without = [path for paths in images.values() for path in paths if path not in labelled]
    masks = set(masks_among([*labelled, *without], root)[1])
    return Pairs(labelled, sorted(path for path in without if path not in masks))


def formats_below(root: Path) -> dict[Format, Path]:
    """The formats of the label files below `root` that have an object, each with the first of its files."""
    images = _by_key(root, images_below(root))
    found: dict[Format, Path] = {}
    for format_ in get_args(Format):
        files = [(path, key in images) for key, paths in _label_files(root, format_).items() for path in paths]
        annotating = (path for path, of_image in files if _annotates(path, format_, of_image=of_image))
        if first := next(annotating, None):
            found[format_] = first
    return found


def _annotates(path: Path, format_: Format, *, of_image: bool) -> bool:
    """Whether a label file has an object; one of no image must have YOLO's form to be no table of other numbers."""
    return FORMATS[format_].annotates(path) and (of_image or format_ != "yolo" or is_yolo(path))


def _label_files(root: Path, format_: Format) -> dict[Key, list[Path]]:
    paths = _files_below(root, FORMATS[format_].suffix)
    return _by_key(root, (path for path in paths if not is_name_list(path)))


def _files_below(folder: Path, suffix: str) -> Iterator[Path]:
    yield from sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix and path.is_file())
    for name in folders_in(folder):
        yield from _files_below(folder / name, suffix)


def _by_key(root: Path, paths: Iterable[Path]) -> dict[Key, list[Path]]:
    """Paths by what image and label file share: the stem, and the folders apart from those that say what is in them."""
    found: dict[Key, list[Path]] = defaultdict(list)
    for path in paths:
        folders = [part for part in path.relative_to(root).parts[:-1] if not says(part, LABEL_FOLDERS | IMAGE_FOLDERS)]
        found[tuple(unicodedata.normalize("NFC", part) for part in (*folders, path.stem))].append(path)
    return dict(found)
