"""VisA: as published, with its split in split_csv/1cls.csv, or sorted into the folders of MVTec AD."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import category_folder, existing_folder, good_sample, name_in, no_category, train_and_test
from gonogo.errors import ConfigError, DataError
from gonogo.images.roles import TEST, TRAIN

CSV = Path("split_csv", "1cls.csv")
COLUMNS = ("object", "split", "label", "image", "mask")
BAD = "bad"  # the published script's name of the one defect type


@dataclass(frozen=True, kw_only=True)
class VisA:
    """Twelve objects with pixel masks, whose values are the ids of defects.

    Attributes:
        folder: of the data set, below the raw folder.
        name: the category's name in the data set; None: the gauge's own.
        split: "1cls", the published files and their one-class split; "folders", what the published prepare_data.py
            makes of them: train/good, test/good, test/bad and ground_truth/bad.

    Source: Zou et al. 2022, "SPot-the-Difference Self-Supervised Pre-training for Anomaly Detection and Segmentation"
    (ECCV); https://github.com/amazon-science/spot-diff.
    """

    folder: str = "."
    name: str | None = None
    split: Literal["1cls", "folders"] = "1cls"

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Train is dealt to fit and calibrate; test is as published. Both splits call a defect "bad".

        A file that the CSV names and that is not there is yielded, so that prepare reports it.

        Raises:
            ConfigError: the files are of the other split.
        """
        name = self.name or category
        if self.split == "1cls":
            return _rows(raw, existing_folder(raw, self.folder), name)
        place = category_folder(raw, self.folder, name)
        if (place / "Data").is_dir():
            raise ConfigError(f"{place} holds Data/, so it is VisA as published; set prepare.split to 1cls")
        return train_and_test(raw, place, masks=place / "ground_truth", mask_suffix="")

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        return Places([category_folder(raw, self.folder, self.name or category)])


def _rows(raw: Path, root: Path, name: str) -> Iterator[Sample]:
    """The samples of the CSV in its order, whose paths are relative to the data set's folder."""
    if not (root / CSV).is_file():
        raise ConfigError(
            f"{root / CSV} is missing; name VisA's own folder in prepare.folder, or set prepare.split to folders if "
            "it was sorted into train/ and test/"
        )
    objects: set[str] = set()
    with (root / CSV).open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise DataError(f"{root / CSV}: expected columns {', '.join(COLUMNS)}, got {rows.fieldnames}")
        for row in rows:
            objects.add(row["object"])
            if row["object"] == name:
                yield _sample(raw, root, row, f"{root / CSV}, line {rows.line_num}")
    if name not in objects:
        raise no_category(root / CSV, name, sorted(objects))


def _sample(raw: Path, root: Path, row: dict[str, str], where: str) -> Sample:
    image = root / row["image"]
    match row["split"], row["label"]:
        case "train", "normal":
            return good_sample(raw, image, TRAIN)
        case "test", "normal":
            return good_sample(raw, image, TEST)
        case "test", "anomaly" if row["mask"]:
            return Sample(
                name=name_in(raw, image), image=image, label=1, defect_type=BAD, roles=TEST, mask=root / row["mask"]
            )
    raise DataError(f"{where}: expected train,normal or test,normal or test,anomaly with a mask, got {row}")
