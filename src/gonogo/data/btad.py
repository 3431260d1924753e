"""BTAD: <category>/train/ok, test/ok, test/ko and ground_truth/ko/<stem>, masks as PNG or BMP."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import category_folder, train_and_test


@dataclass(frozen=True, kw_only=True)
class BTAD:
    """Three industrial products, 01, 02 and 03; YAML takes the bare names for numbers, so quote them.

    Attributes:
        folder: of the data set (published as BTech_Dataset_transformed), below the raw folder.
        name: the category's name in the data set; None: the gauge's own.

    Source: Mishra et al. 2021, "VT-ADL: A Vision Transformer Network for Image Anomaly Detection and Localization"
    (ISIE).
    """

    folder: str = "."
    name: str | None = None

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        return Places([category_folder(raw, self.folder, self.name or category)])

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Train is dealt to fit and calibrate; test is as published. The one defect type is "ko"."""
        place = category_folder(raw, self.folder, self.name or category)
        return train_and_test(raw, place, good="ok", masks=place / "ground_truth", mask_suffix="")
