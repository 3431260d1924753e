"""MVTec AD 2: train/good, validation/good, test_public/good and /bad, test_public/ground_truth/bad/<stem>_mask.png."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import category_folder, train_and_test

PRIVATE = ("test_private", "test_private_mixed")


@dataclass(frozen=True, kw_only=True)
class MVTecAD2:
    """The public part of MVTec AD 2; test_private and test_private_mixed come without truth and are not used.

    Attributes:
        folder: of the data set, below the raw folder; it holds one folder per category.
        name: the category's name in the data set; None: the gauge's own.

    Source: Heckler-Kram et al. 2025, "The MVTec AD 2 Dataset: Advanced Scenarios for Unsupervised Anomaly Detection".
    """

    folder: str = "."
    name: str | None = None

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Train is fit, validation is calibrate, test_public is test. Every defect is "bad" and has a mask.

        Files are called <scene>_<lighting>: a scene under several lights is one group.
        """
        place = category_folder(raw, self.folder, self.name or category)
        masks = place / "test_public" / "ground_truth"
        for sample in train_and_test(raw, place, validation="validation", test="test_public", masks=masks):
            yield replace(sample, group_id=_scene(PurePosixPath(sample.name)))

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use, apart from the private tests."""
        place = category_folder(raw, self.folder, self.name or category)
        return Places([place], apart_from=[place / name for name in PRIVATE])


def _scene(name: PurePosixPath) -> str:
    """The folder and number of the scene, since good and bad parts are numbered apart."""
    return f"{name.parent.as_posix()}/{name.stem.partition('_')[0]}"
