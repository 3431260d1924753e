"""A plain folder: `good/` beside one folder per defect type, or `train/`, `test/` and `ground_truth/` below it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.sample import Sample, Shares
from gonogo.data.tree import check_types, defects, existing_folder, good_sample, goods, kinds_in
from gonogo.errors import DataError
from gonogo.images.roles import ROLES, TEST, TRAIN, Role

MASKS = "ground_truth"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images sorted into folders by a person. Masks are welcome and may be missing.

    Attributes:
        folder: of the category, below the raw folder.
        good: name of the folder of good parts; every other folder is a defect type.
    """

    folder: str
    good: str = "good"

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Where the folder has train/ and test/, test stays test; otherwise good parts are dealt to all roles.

        Masks are ground_truth/<defect type>/<stem>.png, with or without `_mask`.
        """
        root = existing_folder(raw, self.folder)
        parts = {name for name in ("train", "test", self.good) if (root / name).is_dir()}
        if "train" in parts:
            return self._split(raw, root, parts)
        if self.good in parts:
            return self._kinds(raw, root, root, ROLES, ROLES)
        there = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise DataError(
            f"{root}: expected a folder {self.good!r}, or `train` with {self.good!r} in it, among {there}; "
            "name the folder of good parts in prepare.good"
        )

    def _split(self, raw: Path, root: Path, parts: set[str]) -> Iterator[Sample]:
        if self.good in parts:
            raise DataError(f"{root} has both train/ and {self.good}/; which are the good parts? Remove or rename one")
        trained = kinds_in(root / "train")
        if set(trained) != {self.good}:
            swapped = "test" in parts and set(kinds_in(root / "test")) <= {self.good}
            raise DataError(
                f"{root / 'train'}: expected the folder {self.good!r} alone, got {sorted(trained)}"
                + (" (are train and test swapped?)" if swapped else "")
            )
        tested = kinds_in(root / "test") if "test" in parts else {}
        # Without good parts under test, some of train's are dealt to it.
        roles = TRAIN if self.good in tested else ROLES
        yield from (good_sample(raw, path, roles) for path in trained[self.good])
        if tested:
            yield from self._kinds(raw, root, root / "test", TEST, TEST if self.good in tested else ROLES)

    def _kinds(
        self, raw: Path, root: Path, folder: Path, roles: tuple[Role, ...], defect_roles: tuple[Role, ...]
    ) -> Iterator[Sample]:
        kinds = kinds_in(folder)
        check_types(root / MASKS, folder, {*kinds, self.good})
        if MASKS in kinds:
            raise DataError(f"{folder / MASKS} holds images; masks belong in {root / MASKS}/<defect type>")
        for kind, images in kinds.items():
            if kind == self.good:
                yield from goods(raw, images, roles, root / MASKS / kind)
            else:
                yield from defects(raw, images, kind, root / MASKS / kind, roles=defect_roles)
