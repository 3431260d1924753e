"""MPDD: metal parts under changing light and pose, in the layout of MVTec AD."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import category_folder, train_and_test


@dataclass(frozen=True, kw_only=True)
class MPDD:
    """bracket_black, bracket_brown, bracket_white, connector, metal_plate and tubes.

    Attributes:
        folder: of the data set, below the raw folder; it holds one folder per category.
        name: the category's name in the data set; None: the gauge's own.

    Source: Jezek et al. 2021, "Deep learning-based defect detection of metal parts: evaluating current methods in
    complex conditions" (ICUMT).
    """

    folder: str = "."
    name: str | None = None

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        return Places([category_folder(raw, self.folder, self.name or category)])

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Train is dealt to fit and calibrate; test is as published. Every defect has a mask, <stem>_mask.png."""
        place = category_folder(raw, self.folder, self.name or category)
        return train_and_test(raw, place, masks=place / "ground_truth")
