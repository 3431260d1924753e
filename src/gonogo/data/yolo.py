"""Label files of YOLO: a text file for each image, a line for each object, and the names of the classes apart."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from gonogo.data.annotation import Annotation
from gonogo.data.listing import read_text
from gonogo.data.regions import Region, clipped_box
from gonogo.data.tree import folders_in
from gonogo.errors import DataError
from gonogo.images.reading import size_of
from gonogo.params import read_yaml

NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels")  # a name in each line
OUTSIDE = 0.01  # by which a coordinate may leave the image, as rounding and augmentation make it
BOX, TRIANGLE = 4, 6  # numbers of a box, and of the smallest polygon


def is_name_list(path: Path) -> bool:
    """Whether a file so called names the classes."""
    return path.name in NAME_LISTS or path.suffix == ".names"


def class_names(root: Path) -> dict[int, str]:
    """The names of the classes by their number, from all files below `root` that have them; none where there is none.

    They stand in a .yaml under `names`, or a line each in classes.txt, obj.names or _darknet.labels.

    Raises:
        DataError: two files contradict each other, one cannot be read, or it says that labels are of key points.
    """
    found: dict[int, str] = {}
    first: Path | None = None
    for path in _name_files(root):
        names = _from_yaml(path) if path.suffix in (".yaml", ".yml") else dict(enumerate(read_text(path).split("\n")))
        names = {number: name.strip() for number, name in names.items() if name.strip()}
        if names and first is not None and names != found:
            raise DataError(f"{first} and {path} name the classes differently; keep one")
        if names and first is None:
            found, first = names, path
    return found


def _name_files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.iterdir() if is_name_list(path) or path.suffix in (".yaml", ".yml"))
    for name in folders_in(folder):
        yield from _name_files(folder / name)


def _from_yaml(path: Path) -> dict[int, str]:
    content = read_yaml(path)
    names = content.get("names")
    if names is not None and "kpt_shape" in content:
        raise DataError(f"{path}: kpt_shape says that the labels are key points, which outline nothing")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if names is None:
        return {}
    if not isinstance(names, Mapping) or not all(isinstance(number, int) for number in names):
        raise DataError(f"{path}: expected names as a list, or by number, got {names!r}")
    return {number: str(name) for number, name in names.items()}


def read_yolo(path: Path, image: Path, names: Mapping[int, str] | None = None) -> Annotation:
    """What YOLO's file says of its image: nothing, or a line for each object: its class, and a box or polygon.

    A box is centre and size; all numbers are shares of the upright image's width and height.

    Args:
        names: of the classes; None: they do not matter, and each is called by its number.

    Raises:
        DataError: a line is wrong, or its class has no name; the message names it.
        ImageError: the image cannot be read.

    Source: https://docs.ultralytics.com/datasets/detect/ and /segment/.
    """
    objects = _objects(path, names)
    if not objects:
        return Annotation()
    size = size_of(image)
    return Annotation(regions=tuple(_region(label, values, size, where) for label, values, where in objects), size=size)


def is_yolo(path: Path) -> bool:
    """Whether a file has objects in YOLO's form, as a table of other numbers has not."""
    try:
        return bool(_objects(path, None))
    except DataError:
        return False


def _objects(path: Path, names: Mapping[int, str] | None) -> list[tuple[str, np.ndarray, str]]:
    lines = [(number, line.split()) for number, line in enumerate(read_text(path).split("\n"), start=1)]
    return [_object(words, f"{path}, line {number}", names) for number, words in lines if words]


def _object(words: list[str], where: str, names: Mapping[int, str] | None) -> tuple[str, np.ndarray, str]:
    """Label and numbers of a line, checked."""
    try:
        number, values = int(words[0]), np.array([float(word) for word in words[1:]])
    except ValueError as error:
        raise DataError(f"{where}: expected the number of a class and coordinates, got {' '.join(words)!r}") from error
    if len(values) != BOX and (len(values) < TRIANGLE or len(values) % 2):
        raise DataError(
            f"{where}: expected a class and 4 numbers of a box, or pairs for 3 corners or more of a polygon, got "
            f"{len(values)} numbers (a prediction's confidence is not read)"
        )
    if not all(map(math.isfinite, values)) or values.min() < -OUTSIDE or values.max() > 1 + OUTSIDE:
        raise DataError(f"{where}: coordinates are shares of the image from 0 to 1, got {' '.join(words[1:])}")
    if names is None:
        return str(number), values, where
    if not names:
        raise DataError(
            f"{where}: nothing says what class {number} is; put the names into a file classes.txt, one in each line, "
            "or into data.yaml under `names`"
        )
    if number not in names:
        known = ", ".join(f"{key} {name}" for key, name in sorted(names.items()))
        raise DataError(f"{where}: class {number} is not among the names: {known}")
    return names[number], values, where


def _region(label: str, values: np.ndarray, size: tuple[int, int], where: str) -> Region:
    if len(values) == BOX:
        centre, half = values[:2] * size, values[2:] * size / 2
        corners = np.stack([centre - half, centre + half])
    else:
        corners = values.reshape(-1, 2) * size
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    polygons = (corners,) if len(corners) > 2 else ()
    return Region(label=label, box=clipped_box((x0, y0, x1, y1), size, where), polygons=polygons)
