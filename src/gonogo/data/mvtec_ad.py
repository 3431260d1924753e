"""MVTec AD: <category>/train/good, test/good, test/<defect type>, ground_truth/<defect type>/<stem>_mask.png."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import category_folder, train_and_test


@dataclass(frozen=True, kw_only=True)
class MVTecAD:
    """The layout of MVTec AD, which many later sets copy.

    Attributes:
        folder: of the data set, below the raw folder; it holds one folder per category.
        name: the category's name in the data set; None: the gauge's own.

    Source: Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset" (IJCV).
    """

    folder: str = "."
    name: str | None = None

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        return Places([category_folder(raw, self.folder, self.name or category)])

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Train is dealt to fit and calibrate; test is as published. Every defect has a mask."""
        place = category_folder(raw, self.folder, self.name or category)
        return train_and_test(raw, place, masks=place / "ground_truth")
