"""KolektorSDD and KolektorSDD2: every image has a label beside it, black where the part is good."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import existing_folder, good_sample, images_in, kinds_in, listed, name_in
from gonogo.errors import DataError, ImageError
from gonogo.images.masks import read_mask
from gonogo.images.roles import ROLES, TEST, TRAIN, Role

DEFECT = "defect"


@dataclass(frozen=True, kw_only=True)
class KolektorSDD:
    """Electrical commutators: kosNN/PartM.jpg with PartM_label.bmp. It has one category, whatever the gauge's name.

    Attributes:
        folder: that holds kos01, kos02, ..., below the raw folder.

    Source: Tabernik et al. 2020, "Segmentation-based deep-learning approach for surface-defect detection" (Journal of
    Intelligent Manufacturing).
    """

    folder: str = "."

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Parts open to all roles, since no one-class split is published; those of one commutator are a group.

        Raises:
            DataError: no folder is called kos*, or a label matches no image.
        """
        root = existing_folder(raw, self.folder)
        items = kinds_in(root)
        if not any(item.startswith("kos") for item in items):
            there = sorted(path.name for path in root.iterdir())
            raise DataError(f"{root}: expected folders kos01, kos02, ... with images, got {listed(there)}")
        for item in items:
            for image, label in labelled(root / item, "_label", ".bmp"):
                yield _sample(raw, image, label, shows_defect(label), ROLES, group_id=item)

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use; a good part's label is not its mask."""
        root = existing_folder(raw, self.folder)
        pairs = (pair for item in kinds_in(root) for pair in labelled(root / item, "_label", ".bmp"))
        return Places([root], apart_from=[label for _, label in pairs])


@dataclass(frozen=True, kw_only=True)
class KolektorSDD2:
    """Production surfaces: train/ and test/ with NNNNN.png and NNNNN_GT.png. One category, whatever the gauge's name.

    Attributes:
        folder: that holds train and test, below the raw folder.

    Source: Božič et al. 2021, "Mixed supervision for surface-defect detection: from weakly to fully supervised
    learning" (Computers in Industry).
    """

    folder: str = "."

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Train's good parts are dealt to fit and calibrate; test is as published.

        Train's 246 defects, meant for supervised learning, are left out: a detector fits good parts alone, and test
        stays what others report on. So is the archive's stray pair `10301 (copy).png` and `10301_GT (copy).png`.

        Raises:
            DataError: train or test is missing, or a label matches no image.
        """
        root = existing_folder(raw, self.folder)
        for part in ("train", "test"):
            if not (root / part).is_dir():
                there = sorted(path.name for path in root.iterdir())
                raise DataError(f"{root}: expected folders train and test, got {listed(there)}")
        for image, label in labelled(root / "train", "_GT", ".png"):
            if not (defect := shows_defect(label)):
                yield _sample(raw, image, label, defect, TRAIN)
        for image, label in labelled(root / "test", "_GT", ".png"):
            yield _sample(raw, image, label, shows_defect(label), TEST)

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use, apart from what `samples` leaves out of train."""
        root = existing_folder(raw, self.folder)
        labels = [label for _, label in labelled(root / "test", "_GT", ".png")]
        return Places([root], apart_from=[*images_in(root / "train"), *labels])


def labelled(folder: Path, ending: str, suffix: str) -> list[tuple[Path, Path]]:
    """Each image of `folder` with its label <stem><ending><suffix>, which prepare reports where it is missing.

    Raises:
        DataError: a label matches no image.
    """
    paths = [path for path in images_in(folder) if not path.stem.endswith(" (copy)")]
    labels = {path.stem: path for path in paths if path.stem.endswith(ending)}
    images = [path for path in paths if path.stem not in labels]
    pairs = [(path, labels.pop(path.stem + ending, folder / f"{path.stem}{ending}{suffix}")) for path in images]
    if labels:
        orphans = listed(sorted(path.name for path in labels.values()))
        raise DataError(f"{folder}: {len(labels)} labels match no image: {orphans}; a label is <image>{ending}{suffix}")
    return pairs


def shows_defect(label: Path) -> bool | None:
    """Whether any pixel is anomalous; None where the label cannot be read."""
    try:
        return bool(read_mask(label).marked.any())
    except ImageError:
        return None


def _sample(
    raw: Path, image: Path, label: Path, defect: bool | None, roles: tuple[Role, ...], group_id: str | None = None
) -> Sample:
    if defect is False:
        return good_sample(raw, image, roles, group_id)
    # With an unreadable label, too: prepare reports a defect's mask, and nobody takes the part for a good one.
    return Sample(
        name=name_in(raw, image), image=image, label=1, defect_type=DEFECT, roles=roles, group_id=group_id, mask=label
    )
