"""MVTec LOCO AD: logical and structural anomalies, one mask per defect in ground_truth/<type>/<stem>/NNN.png."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import category_folder, images_in, listed, name_in, train_and_test
from gonogo.errors import DataError, ImageError
from gonogo.images.masks import read_mask
from gonogo.images.reading import read_image

CONFIG = "defects_config.json"
Defects = Mapping[int, Mapping[str, Any]]  # entries of the config by pixel value


@dataclass(frozen=True, kw_only=True)
class MVTecLOCO:
    """The layout of MVTec LOCO AD.

    Attributes:
        folder: of the data set, below the raw folder; it holds one folder per category.
        name: the category's name in the data set; None: the gauge's own.

    Source: Bergmann et al. 2022, "Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection
    and Localization" (IJCV).
    """

    folder: str = "."
    name: str | None = None

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Train is fit, validation is calibrate, test is as published.

        A mask is the union of the image's defects. Each defect's own mask is read here already, since its one pixel
        value says how much of it must be found: `saturation`, for sPRO.

        Raises:
            DataError: defects_config.json is missing or has no entry for a mask, or masks match no image.
        """
        place = category_folder(raw, self.folder, self.name or category)
        config = read_config(place / CONFIG)
        expected: set[Path] = set()
        for sample in train_and_test(raw, place, validation="validation"):
            if sample.label == 0:
                yield sample
                continue
            masks = place / "ground_truth" / sample.defect_type / Path(sample.name).stem
            expected.add(masks)
            yield _with_truth(sample, raw, masks, config)
        there = (path for kind in _sub_folders(place / "ground_truth") for path in _sub_folders(kind))
        if orphans := sorted(name_in(place, path) for path in set(there) - expected):
            raise DataError(f"{place}: {len(orphans)} folders of masks match no image of test: {listed(orphans)}")

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use; of masks without an image, `samples` tells."""
        place = category_folder(raw, self.folder, self.name or category)
        return Places([place], apart_from=[place / "ground_truth"])


def read_config(path: Path) -> Defects:
    """The entries of defects_config.json by the pixel value that marks them.

    Raises:
        DataError: the file is missing or has another form.
    """
    fields = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")
    try:
        return {
            entry["pixel_value"]: {field: entry[field] for field in fields} for entry in json.loads(path.read_bytes())
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected a list of entries with {', '.join(fields)}, got {error!r}") from error


def union(masks: Sequence[Path], height: int, width: int) -> np.ndarray:
    """(height, width) bool, True wherever one of `masks` is.

    Raises:
        ImageError: a mask cannot be read.
        DataError: a mask has another size.
    """
    drawn = np.zeros((height, width), dtype=bool)
    for path in masks:
        part = read_mask(path).marked
        if part.shape != drawn.shape:
            raise DataError(f"{path}: expected a mask of (h, w) {drawn.shape} like its image, got {part.shape}")
        drawn |= part
    return drawn


def _with_truth(sample: Sample, raw: Path, masks: Path, config: Defects) -> Sample:
    parts = images_in(masks) if masks.is_dir() else []
    try:
        saturation = [_saturation(raw, part, config) for part in parts]
    except ImageError:
        saturation = []  # the mask, drawn from the same files, is for prepare to report
    # Where no mask is there, prepare reports the one that should be.
    return replace(sample, mask=partial(union, parts) if parts else masks / "000.png", saturation=saturation)


def _saturation(raw: Path, mask: Path, config: Defects) -> dict[str, Any]:
    counts = np.bincount(read_image(mask)[..., 0].ravel(), minlength=256)
    values = [int(value) for value in np.flatnonzero(counts) if value]
    if len(values) != 1 or values[0] not in config:
        raise DataError(f"{mask}: expected one pixel value besides 0, of {sorted(config)} in {CONFIG}, got {values}")
    entry = config[values[0]]
    return {
        "mask": name_in(raw, mask),
        "threshold": entry["saturation_threshold"],
        "relative": entry["relative_saturation"],
        "defect": entry["defect_name"],
    }


def _sub_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
