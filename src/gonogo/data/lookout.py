"""Manifests of Amazon Lookout for Vision and SageMaker Ground Truth: a JSON object per image, masks by colour."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.data.listing import existing_file, json_lines, listed_path
from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import existing_folder, name_in
from gonogo.errors import DataError, ImageError
from gonogo.images.reading import read_image
from gonogo.images.roles import ROLES, TEST, TRAIN, Role

CLASSIFICATION = "groundtruth/image-classification"
SEGMENTATION = "groundtruth/semantic-segmentation"
LABELS = {"normal": 0, "anomaly": 1}


@dataclass(frozen=True, kw_only=True)
class Lookout:
    """A training manifest, and the test manifest where there is one.

    As in Lookout, `class-name` alone decides the label, the number beside it is not used, and a normal image has no
    mask. Lookout trains on anomalies too; gonogo learns good parts alone, so those of `train` go to test.

    Attributes:
        train: manifest below `folder`.
        prefix: what the references begin with, such as s3://bucket/circuitboard; it stands for `folder`.
        test: manifest below `folder`; None: normal images of `train` are dealt to all roles.
        folder: below the raw folder; it holds what lay in the bucket below `prefix`.

    Source: Amazon Lookout for Vision Developer Guide, "Defining JSON lines for image classification" and
        "... for image segmentation".
    """

    train: str
    prefix: str
    test: str | None = None
    folder: str = "."

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """The lines of both manifests in order; the mask class with most pixels names the defect type."""
        root = existing_folder(raw, self.folder)
        manifests: list[tuple[str, tuple[Role, ...]]] = [(self.train, ROLES if self.test is None else TRAIN)]
        if self.test is not None:
            manifests.append((self.test, TEST))
        seen: dict[str, str] = {}
        for file, roles in manifests:
            path = existing_file(raw, root, file)
            for where, entry in json_lines(path):
                sample = self._sample(raw, root, roles, where, entry)
                if sample.name in seen:
                    raise DataError(f"{where}: {sample.name} stands already in {seen[sample.name]}; keep one line")
                seen[sample.name] = where
                yield sample
            if not any(where.startswith(f"{path}, ") for where in seen.values()):
                raise DataError(f"{path} lists no image")

    def places(self, category: str, raw: Path) -> Places:
        """The folders of the listed images, all of which should be listed, apart from masks."""
        root = existing_folder(raw, self.folder)
        images, masks = [], []
        for file in filter(None, (self.train, self.test)):
            for where, entry in json_lines(existing_file(raw, root, file)):
                images.append(self._path(raw, root, where, entry, "source-ref"))
                if key := _key_of_type(where, entry, SEGMENTATION):
                    masks.append(self._path(raw, root, where, entry, key))
        return Places(sorted({image.parent for image in images}), apart_from=masks)

    def _sample(self, raw: Path, root: Path, roles: tuple[Role, ...], where: str, entry: Mapping[str, Any]) -> Sample:
        image = self._path(raw, root, where, entry, "source-ref")
        label = _label(where, entry)
        mask = None
        if label == 1 and (key := _key_of_type(where, entry, SEGMENTATION)):
            colours = _colours(where, entry[f"{key}-metadata"])
            mask = ColourMask(path=self._path(raw, root, where, entry, key), colours=colours)
        return Sample(
            name=name_in(raw, image),
            image=image,
            label=label,
            defect_type="good" if label == 0 else mask.largest_class() if mask else "anomaly",
            roles=TEST if label == 1 else roles,
            mask=mask,
        )

    def _path(self, raw: Path, root: Path, where: str, entry: Mapping[str, Any], key: str) -> Path:
        reference, prefix = entry.get(key), self.prefix.rstrip("/") + "/"
        if not isinstance(reference, str):
            raise DataError(f"{where}: expected an S3 location as {key!r}, got {reference!r}")
        if not reference.startswith(prefix):
            raise DataError(f"{where}: {key} {reference!r} does not begin with prepare.prefix {prefix!r}")
        return listed_path(raw, root, reference.removeprefix(prefix).lstrip("/"), where)


@dataclass(frozen=True, kw_only=True)
class ColourMask:
    """A colour image whose pixels are anomalous where they have the colour of a class other than the background.

    Alpha is dropped and a palette resolved before colours are compared. A colour that is not in the map is an error,
    as it is in Lookout: it may be a defect, and an edge that was smoothed or compressed has no true outline.

    Attributes:
        path: of the mask.
        colours: class name by colour 0xRRGGBB; None for the background.
    """

    path: Path
    colours: Mapping[int, str | None]

    def __call__(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool.

        Raises:
            ImageError: the mask cannot be read.
            DataError: it has another size, or a colour that is not in the map.
        """
        pixels = _packed(self.path)
        if pixels.shape != (height, width):
            raise DataError(
                f"{self.path} is {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {width} x {height}; "
                "export the mask at the size of the image"
            )
        foreign = [colour for colour in np.unique(pixels).tolist() if colour not in self.colours]
        if foreign:
            raise DataError(
                f"{self.path}: colour {_hex(foreign[0])} of {np.count_nonzero(np.isin(pixels, foreign))} pixels in "
                f"{len(foreign)} unknown colours; internal-color-map has {', '.join(map(_hex, self.colours))}"
            )
        return np.isin(pixels, [colour for colour, name in self.colours.items() if name is not None])

    def largest_class(self) -> str:
        """The class with most pixels, the first of the map among equals; "anomaly" where the mask cannot tell."""
        classes = {colour: name for colour, name in self.colours.items() if name is not None}
        try:
            pixels = _packed(self.path)
        except ImageError:
            return "anomaly"  # prepare reports the file
        areas = {colour: int(np.count_nonzero(pixels == colour)) for colour in classes}
        largest = max(areas, key=lambda colour: areas[colour], default=None)
        return "anomaly" if largest is None or areas[largest] == 0 else classes[largest]


def _packed(path: Path) -> np.ndarray:
    """(h, w) int64, 0xRRGGBB."""
    return np.asarray(read_image(path).astype(np.int64) @ (1 << 16, 1 << 8, 1))


def _hex(colour: int) -> str:
    return f"#{colour:06x}"


def _key_of_type(where: str, entry: Mapping[str, Any], kind: str) -> str | None:
    """The attribute whose metadata is of type `kind`; its name is the user's to choose."""
    keys = [
        key.removesuffix("-metadata")
        for key, value in entry.items()
        if key.endswith("-metadata") and isinstance(value, dict) and value.get("type") == kind
    ]
    if len(keys) > 1:
        raise DataError(f"{where}: {' and '.join(keys)} are both of type {kind}; keep one")
    return keys[0] if keys else None


def _label(where: str, entry: Mapping[str, Any]) -> int:
    key = _key_of_type(where, entry, CLASSIFICATION)
    if key is None:
        raise DataError(f"{where}: no key ending in -metadata has the type {CLASSIFICATION}; got {', '.join(entry)}")
    name = entry[f"{key}-metadata"].get("class-name")
    if name not in LABELS:
        raise DataError(
            f"{where}: class-name {name!r} in {key}-metadata; expected normal or anomaly. Lookout takes the image as "
            "unlabelled: label it or remove the line"
        )
    return LABELS[name]


def _colours(where: str, metadata: Mapping[str, Any]) -> dict[int, str | None]:
    """Class name by colour, None for the background."""
    entries = metadata.get("internal-color-map")
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise DataError(f"{where}: internal-color-map must be an object of objects, got {entries!r}")
    if entries.get("0", {}).get("class-name") != "BACKGROUND":
        raise DataError(f"{where}: entry 0 of internal-color-map must have the class-name BACKGROUND")
    colours: dict[int, str | None] = {}
    for number, entry in entries.items():
        text, name = entry.get("hex-color"), entry.get("class-name")
        if not isinstance(text, str) or not re.fullmatch("#[0-9a-fA-F]{6}", text):
            raise DataError(f"{where}: hex-color {text!r} of entry {number}; write it as #2ca02c")
        if not isinstance(name, str) or not name:
            raise DataError(f"{where}: entry {number} of internal-color-map has no class-name")
        colour = int(text[1:], 16)
        if colour in colours:
            raise DataError(f"{where}: two entries of internal-color-map have the colour {text}")
        colours[colour] = None if number == "0" else name
    return colours
