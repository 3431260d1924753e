"""A plain folder: `good/` beside one folder per defect type, or `train/`, `test/` and `ground_truth/` below it."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.label_files import require_unannotated
from gonogo.data.labels import masks_by_labels
from gonogo.data.names import ACCEPTED, MASK, MASK_ENDINGS, TEST, TRAIN, VALIDATION, base_of_mask, says
from gonogo.data.pairing import masks_among, paired, require_not_drawn
from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import (
    CALIBRATE,
    FIT,
    check_types,
    defects,
    existing_folder,
    folders_in,
    goods,
    images_below,
    images_in,
    kind_folder,
    kinds_in,
    listed,
    matched_masks,
)
from gonogo.errors import DataError
from gonogo.images import roles
from gonogo.images.roles import Role

MASKS = "ground_truth"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images sorted into folders by a person, at any depth below them. Masks are welcome and may be missing.

    Names are compared without case. A folder called `ground_truth`, `masks`, `gt` or alike holds masks, and so does one
    below a defect type; a file called like an image beside it, with an ending such as `_mask`, is its mask. A defective
    image without one has the mask that a label file of LabelMe, Pascal VOC or YOLO beside it outlines.

    Attributes:
        folder: of the category, below the raw folder.
        good: name of the folder of good parts; every other folder is a defect type.
    """

    folder: str
    good: str = "good"

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Where the folder has train/ and test/, test stays test; otherwise good parts are dealt to all roles.

        Good parts of a folder `val` or `validation` beside train/ are calibrate's, and all of train/ is fit's.

        Raises:
            DataError: there is no folder of good parts, a folder may be two things, or a mask matches no image.
        """
        root = existing_folder(raw, self.folder)
        good = self._one(root, (self.good.casefold(),))
        if (train := self._one(root, TRAIN)) is not None:
            if good is not None:
                raise DataError(
                    f"{root} has both {train.name}/ and {good.name}/; which are the good parts? Remove or rename one"
                )
            return self._split(raw, root, train)
        if good is not None:
            return self._kinds(raw, root, root, roles.ROLES, roles.ROLES)
        there = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise DataError(
            f"{root}: expected a folder {self.good!r}, or `train` with {self.good!r} in it, among {there}; "
            "name the folder of good parts in prepare.good"
        )

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        return Places([raw / self.folder])

    def _one(self, root: Path, words: Collection[str]) -> Path | None:
        """The folder in `root` that is called by one of `words`, in any case.

        Raises:
            DataError: there are several with images.
        """
        named = [root / name for name in folders_in(root) if name.casefold() in words]
        if len(named) > 1 and len(named := [path for path in named if images_below(path)]) > 1:
            raise DataError(f"{root} has both {named[0].name}/ and {named[1].name}/; put both into one folder")
        return named[0] if named else None

    def _masks(self, root: Path) -> Path:
        """The folder of masks in `root`; one that is not there where there is none.

        Raises:
            DataError: there are several.
        """
        named = [root / name for name in folders_in(root) if says(name, MASK) and images_below(root / name)]
        if len(named) > 1:
            raise DataError(f"{root} has {named[0].name}/ and {named[1].name}/; which holds the masks? Remove one")
        return named[0] if named else root / MASKS

    def _split(self, raw: Path, root: Path, train: Path) -> Iterator[Sample]:
        test, validation = self._one(root, TEST), self._one(root, VALIDATION)
        tested = kinds_in(test, self.good) if test is not None else {}
        kept = kinds_in(validation, self.good) if validation is not None else {}
        trained = kinds_in(train, self.good)
        if set(trained) != {self.good}:
            swapped = test is not None and set(tested) <= {self.good}
            flat = images_in(train)
            raise DataError(
                f"{train}: expected the folder {self.good!r} alone, got {sorted(trained)}"
                + (f" and {len(flat)} images that lie in no folder of it; move good ones there" if flat else "")
                + (" (are train and test swapped?)" if swapped else "")
            )
        if surplus := sorted(set(kept) - {self.good}):
            raise DataError(f"{validation} has defects, {listed(surplus)}; put them under {root / 'test'}")
        # Without good parts under test, some of train's are dealt to it.
        dealt = FIT if kept else roles.TRAIN if self.good in tested else roles.ROLES
        yield from self._goods(raw, train, trained[self.good], dealt)
        if validation is not None and kept:
            yield from self._goods(raw, validation, kept[self.good], CALIBRATE)
        if test is not None and tested:
            of_defects = roles.TEST if self.good in tested else roles.ROLES
            yield from self._kinds(raw, root, test, roles.TEST, of_defects)

    def _goods(self, raw: Path, part: Path, images: Sequence[Path], open_roles: tuple[Role, ...]) -> Iterator[Sample]:
        """Good parts of train or validation, with the masks that lie among them."""
        place = kind_folder(images, part)
        own, inner = masks_among(images, place)
        require_not_drawn(own)
        require_unannotated(own)
        return goods(raw, own, open_roles, self._inner_masks(own, place, inner))

    def _kinds(
        self, raw: Path, root: Path, folder: Path, good_roles: tuple[Role, ...], defect_roles: tuple[Role, ...]
    ) -> Iterator[Sample]:
        place = self._masks(root)
        kinds = kinds_in(folder, self.good, beside=(place, raw / ACCEPTED))
        if among := [name for name in kinds if says(name, MASK)]:
            raise DataError(f"{folder / among[0]} holds images; masks belong in {root / MASKS}/<defect type>")
        heap = images_in(place) if place.is_dir() else []
        shared = self._heap_of_masks(folder, place, kinds, heap) if heap else {}
        if not heap:
            check_types(place, folder, {*kinds, self.good})
        for kind, images in kinds.items():
            own_place = kind_folder(images, folder)
            own, inner = masks_among(images, own_place)
            require_not_drawn(own)
            masks = shared or matched_masks(own, own_place, place / kind, kind, MASK_ENDINGS)
            masks = masks | self._inner_masks(own, own_place, inner)
            if kind == self.good:
                require_unannotated(own)
                yield from goods(raw, own, good_roles, masks)
            else:
                outlined = masks_by_labels(image for image in own if image not in masks)
                yield from defects(raw, own, kind, {**outlined, **masks}, defect_roles)

    def _heap_of_masks(
        self, folder: Path, place: Path, kinds: dict[str, list[Path]], heap: list[Path]
    ) -> dict[Path, Path]:
        """The masks of defective parts of all types, which lie in one folder.

        Raises:
            DataError: one matches no defective image, or images of two types have one name.
        """
        images = [image for kind, some in kinds.items() if kind != self.good for image in some]
        matched, orphans = paired(images, folder, heap, place, MASK_ENDINGS)
        if orphans or len({image.stem for image in images}) < len(images):
            raise DataError(
                f"{place}: expected a folder per defect type, got {listed([path.name for path in orphans or heap])}; "
                "masks in one folder must each be called like one defective image, and no two of those share a name"
            )
        return matched

    def _inner_masks(self, images: Sequence[Path], place: Path, masks: Sequence[Path]) -> dict[Path, Path]:
        """The masks that lie among the images of a kind, or in a folder below them.

        Raises:
            DataError: one matches no image of its own, or several.
        """
        by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in images:
            by_stem[path.stem].append(path)
        found: dict[Path, Path] = {}
        for mask in masks:
            fitting = by_stem.get(base_of_mask(mask) or mask.stem) or by_stem.get(mask.stem, [])
            if len(fitting) > 1:  # of several, the one beside the mask, or beside its folder
                fitting = [path for path in fitting if path.parent in (mask.parent, mask.parent.parent)] or fitting
            if len(fitting) > 1:
                both = listed([str(path) for path in fitting], 2)
                raise DataError(f"{mask} is the mask of {both} by their names; rename one image")
            image = fitting[0] if fitting else None
            if image is None or image in found:
                raise DataError(
                    f"{mask} is named like a mask, and matches no image of its own below {place}; rename it"
                )
            found[image] = mask
        return found
