"""Label files of LabelMe: a JSON file for each image, with polygons, rectangles, circles, masks, and flags."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from gonogo.data.annotation import Annotation
from gonogo.data.listing import json_content
from gonogo.data.regions import Region, are_numbers, clipped_box
from gonogo.errors import DataError, ImageError
from gonogo.images.reading import decode, size_of

WITHOUT_AREA = ("line", "linestrip", "point", "points")
CIRCLE_CORNERS = 64  # of the polygon that stands for a circle; its area is 0.2 % less


def read_labelme(path: Path, image: Path) -> Annotation:
    """What LabelMe's file says of its image, whose own size counts where the file does not say it.

    Raises:
        DataError: it is no file of LabelMe, or a shape is wrong; the message names it.
        ImageError: the size is asked of an image that cannot be read.

    Source: labelme 5, labelme/label_file.py, and `shape_to_mask` in labelme/utils/shape.py.
    """
    content = json_content(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DataError(f"{path}: expected LabelMe's object with the list `shapes`; is it of another tool?")
    shapes = [_shape(shape, f"{path}, shape {number}") for number, shape in enumerate(content["shapes"])]
    outlined = [shape for shape in shapes if shape["type"] not in WITHOUT_AREA]
    size = _size(content, path) or (size_of(image) if outlined else None)
    flags = content.get("flags") or {}
    name = content.get("imagePath")
    return Annotation(
        regions=tuple(_region(shape, size) for shape in outlined if size),
        without_area=tuple(shape["label"] for shape in shapes if shape["type"] in WITHOUT_AREA),
        flags=tuple(str(flag) for flag, is_set in flags.items() if is_set) if isinstance(flags, dict) else (),
        size=size,
        image_name=PureWindowsPath(name).name if isinstance(name, str) else None,  # which takes / and \ alike
    )


def _size(content: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    size = [content.get("imageWidth"), content.get("imageHeight")]
    if size == [None, None]:
        return None
    if not are_numbers(size) or min(size) < 1:
        raise DataError(f"{path}: expected imageWidth and imageHeight in pixels, got {size[0]!r} and {size[1]!r}")
    return int(size[0]), int(size[1])


def _shape(shape: Any, where: str) -> dict[str, Any]:
    """Label, type, (n, 2) points and the mask of a shape, checked."""
    label = shape.get("label") if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label.strip():
        raise DataError(f"{where}: expected an object with a label, got {str(shape)[:60]!r}")
    points = shape.get("points")
    if not isinstance(points, list) or not points or not all(are_numbers(one) and len(one) == 2 for one in points):
        raise DataError(f"{where}: expected points as [[x, y], ...], got {str(points)[:60]!r}")
    kind = shape.get("shape_type") or "polygon"
    return {
        "label": label.strip(),
        "type": kind,
        "points": np.array(points, dtype=np.float64),
        "mask": shape.get("mask"),
        "where": where,
    }


def _region(shape: Mapping[str, Any], size: tuple[int, int]) -> Region:
    points, where = shape["points"], shape["where"]
    match shape["type"], len(points):
        case "rectangle", 2:
            outline = None
        case "polygon" | "oriented_rectangle" | "rectangle", n if n > 2:
            outline = points
        case "circle", 2:
            outline = points = _circle(*points)
        case "mask", 2:
            return _drawn(shape, size)
        case kind, n:
            raise DataError(f"{where}: a {kind} of {n} points encloses nothing; correct or remove it")
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    box = clipped_box((x0, y0, x1, y1), size, where)
    return Region(label=shape["label"], box=box, polygons=() if outline is None else (outline,))


def _circle(centre: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """(n, 2) corners around `centre`, the first one at `edge`."""
    angles = np.arange(CIRCLE_CORNERS) * (2 * np.pi / CIRCLE_CORNERS)
    x, y = edge - centre
    cos, sin = np.cos(angles), np.sin(angles)
    return np.asarray(centre + np.stack([x * cos - y * sin, x * sin + y * cos], axis=1))


def _drawn(shape: Mapping[str, Any], size: tuple[int, int]) -> Region:
    """A region by an image in Base64 of its box, first and last pixel included; what is not black counts."""
    where = shape["where"]
    (x0, y0), (x1, y1) = np.rint(shape["points"]).astype(int).tolist()
    try:
        marked = decode(base64.b64decode(shape["mask"], validate=True), f"{where}: its mask")[0].any(axis=2)
    except (TypeError, binascii.Error) as error:
        raise DataError(f"{where}: its mask is no image in Base64") from error
    except ImageError as error:
        raise DataError(str(error)) from error  # which is not of the image itself
    if marked.shape != (y1 - y0 + 1, x1 - x0 + 1) or x0 < 0 or y0 < 0 or x1 >= size[0] or y1 >= size[1]:
        raise DataError(
            f"{where}: its mask of {marked.shape[1]} x {marked.shape[0]} pixels does not fill its box from {x0}, {y0} "
            f"to {x1}, {y1} in the image of {size[0]} x {size[1]}"
        )
    return Region(label=shape["label"], box=(x0, y0, x1 + 1, y1 + 1), bitmap=marked)
