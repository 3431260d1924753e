"""Label files of Pascal VOC: an XML file for each image, with boxes and, of some tools, polygons or turned boxes."""

import math
import xml.etree.ElementTree as ET  # nosec B405
from pathlib import Path, PureWindowsPath

import numpy as np

from gonogo.data.annotation import Annotation
from gonogo.data.listing import read_text
from gonogo.data.regions import Region, clipped_box
from gonogo.errors import DataError
from gonogo.images.reading import size_of

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, image: Path) -> Annotation:
    """What Pascal VOC's file says of its image, whose own size counts where the file does not say it.

    Boxes run along the edges of pixels, as tools write them today. VOC's own files count pixels from 1 and include the
    last: of them, the first row and column of a box is left out.

    Raises:
        DataError: it is no such file, or an object is wrong; the message names it.
        ImageError: the size is asked of an image that cannot be read.

    Source: Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge"; its development kit.
    """
    root = parsed(path)
    if root.tag != "annotation":
        raise DataError(f"{path}: expected Pascal VOC's <annotation>, got <{root.tag}>; is it of another tool?")
    objects = [(one, f"{path}, object {number}") for number, one in enumerate(root.iter("object"), start=1)]
    boxed = [(one, where) for one, where in objects if _has_box(one)]
    size = _size(root, path) or (size_of(image) if boxed else None)
    name = (root.findtext("filename") or "").strip()
    return Annotation(
        regions=tuple(_region(one, size, where) for one, where in boxed if size),
        without_area=tuple(_label(one, where) for one, where in objects if not _has_box(one)),
        size=size,
        image_name=PureWindowsPath(name).name or None,
    )


def parsed(path: Path) -> ET.Element:
    """The root of an XML file without a document type, which no label file has, and which could expand without end.

    Raises:
        DataError: it has one, is not UTF-8, or no XML.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path} declares a document type or entities, which no label file needs; remove the lines")
    try:  # no entity can be declared in it
        return ET.fromstring(text)  # noqa: S314  # nosec B314
    except ET.ParseError as error:
        raise DataError(f"{path} is no XML: {error}") from error


def _size(root: ET.Element, path: Path) -> tuple[int, int] | None:
    """(width, height); None where they are absent or, as some tools write, 0."""
    if root.find("size/width") is None and root.find("size/height") is None:
        return None
    width, height = (_number(root, f"size/{side}", str(path)) for side in ("width", "height"))
    return (int(width), int(height)) if width >= 1 and height >= 1 else None


def _has_box(one: ET.Element) -> bool:
    return one.find("bndbox") is not None or one.find("robndbox") is not None


def _region(one: ET.Element, size: tuple[int, int], where: str) -> Region:
    if (turned := one.find("robndbox")) is not None:
        corners = _turned(turned, where)
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return Region(label=_label(one, where), box=clipped_box((x0, y0, x1, y1), size, where), polygons=(corners,))
    x0, y0, x1, y1 = (_number(one, f"bndbox/{corner}", where) for corner in CORNERS)
    polygon = one.find("polygon")
    return Region(
        label=_label(one, where),
        box=clipped_box((x0, y0, x1, y1), size, where),
        polygons=() if polygon is None else (_polygon(polygon, where),),
    )


def _turned(box: ET.Element, where: str) -> np.ndarray:
    """(4, 2) corners of roLabelImg's turned box: its centre, width and height, and the angle in radians, clockwise."""
    x, y, width, height, angle = (_number(box, name, where) for name in ("cx", "cy", "w", "h", "angle"))
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    return np.asarray(corners @ np.array([[cos, sin], [-sin, cos]]) + [x, y])


def _label(one: ET.Element, where: str) -> str:
    label = (one.findtext("name") or "").strip()
    if not label:
        raise DataError(f"{where}: expected a <name>, got none")
    return label


def _polygon(polygon: ET.Element, where: str) -> np.ndarray:
    """(n, 2) corners of <x1>, <y1>, <x2>, <y2>, ..., or of <pt>s with <x> and <y>."""
    points = polygon.findall("pt")
    if points:
        corners = [[_number(point, "x", where), _number(point, "y", where)] for point in points]
    else:
        count = len(polygon) // 2
        corners = [[_number(polygon, f"{axis}{i}", where) for axis in "xy"] for i in range(1, count + 1)]
    if len(corners) < 3:
        raise DataError(f"{where}: a polygon of {len(corners)} points encloses nothing; correct or remove it")
    return np.array(corners)


def _number(element: ET.Element, name: str, where: str) -> float:
    text = element.findtext(name)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: expected a number as {name}, got {text!r}")
    return value
