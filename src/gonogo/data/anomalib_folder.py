"""A folder as anomalib's `Folder` datamodule takes it: directories of normal and abnormal images, and of masks."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from gonogo.data.label_files import require_unannotated
from gonogo.data.pairing import photographs
from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import existing_folder, good_sample, images_below, name_in
from gonogo.errors import ConfigError, DataError
from gonogo.images.roles import ROLES, TEST, TRAIN

Directories = str | list[str]
ImagesByFolder = dict[Path, list[Path]]


@dataclass(frozen=True, kw_only=True)
class AnomalibFolder:
    """The directories of anomalib's `Folder`, by its names. Images count at any depth below them, as they do there.

    anomalib lays the sorted masks beside the sorted abnormal images and lets any mask pass whose name contains the
    image's; here a mask is called like its image. With `mask_dir`, every abnormal image must have its mask.

    Attributes:
        normal_dir: good parts. Each of the four is one directory or a list of them, relative to `folder`.
        abnormal_dir: defective parts; the folder that an image lies in names its defect type.
        normal_test_dir: good parts kept for test; None: those of `normal_dir` are dealt to all roles.
        mask_dir: masks called <stem> or <stem><mask_suffix>: as many folders as the abnormal images have, laid beside
            those in the order of their names, or else one heap, in which no two images may share a stem.
        folder: anomalib's `root`, below the raw folder.
        mask_suffix: what a mask's stem may have more than its image's.

    Source: anomalib 2, src/anomalib/data/datasets/image/folder.py, `make_folder_dataset`.
    """

    normal_dir: Directories
    abnormal_dir: Directories | None = None
    normal_test_dir: Directories | None = None
    mask_dir: Directories | None = None
    folder: str = "."
    mask_suffix: str = "_mask"

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Good parts, those kept for test, then defective ones, all of which are for test, as in anomalib."""
        named = {
            "normal_dir": self.normal_dir,
            "normal_test_dir": self.normal_test_dir,
            "abnormal_dir": self.abnormal_dir,
            "mask_dir": self.mask_dir,
        }
        folders = {
            option: [existing_folder(raw, str(Path(self.folder) / name)) for name in _as_list(names)]
            for option, names in named.items()
        }
        _check(folders)
        images = {option: _images_by_folder(option, places) for option, places in folders.items()}
        require_unannotated([*_flat(images["normal_dir"]), *_flat(images["normal_test_dir"])])
        for path in _flat(images["normal_dir"]):
            yield good_sample(raw, path, TRAIN if folders["normal_test_dir"] else ROLES)
        for path in _flat(images["normal_test_dir"]):
            yield good_sample(raw, path, TEST)
        masks = self._masks(images["abnormal_dir"], images["mask_dir"])
        for path in _flat(images["abnormal_dir"]):
            yield Sample(
                name=name_in(raw, path),
                image=path,
                label=1,
                defect_type=path.parent.name,
                roles=TEST,
                mask=masks.get(path),
            )

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        named = (self.normal_dir, self.normal_test_dir, self.abnormal_dir, self.mask_dir)
        return Places([raw / self.folder / name for names in named for name in _as_list(names)])

    def _masks(self, images: ImagesByFolder, masks: ImagesByFolder) -> dict[Path, Path]:
        """The mask of each image; where it is missing, the one that it should have, so that prepare reports it."""
        matched: dict[Path, Path] = {}
        for some_images, some_masks in _beside(images, masks) if masks else []:
            _check_stems(some_images)
            _check_stems(some_masks)
            there = {path.stem: path for path in some_masks}
            for image in some_images:
                mask = there.pop(image.stem + self.mask_suffix, None) or there.pop(image.stem, None)
                matched[image] = mask or some_masks[0].with_name(f"{image.stem}{self.mask_suffix}.png")
            if there:
                surplus = next(iter(there.values()))
                raise DataError(
                    f"{len(there)} masks match no abnormal image, the first {surplus}; a mask is called like its "
                    f"image, with or without {self.mask_suffix!r}, which is prepare.mask_suffix"
                )
        return matched


def _as_list(directories: Directories | None) -> list[str]:
    if directories is None:
        return []
    return [directories] if isinstance(directories, str) else directories


def _flat(images: ImagesByFolder) -> list[Path]:
    return [path for paths in images.values() for path in paths]


def _check(folders: dict[str, list[Path]]) -> None:
    if not folders["normal_dir"]:
        raise ConfigError("prepare.normal_dir is empty; name the folder of good parts")
    if folders["mask_dir"] and not folders["abnormal_dir"]:
        raise ConfigError(
            "prepare.mask_dir is given without prepare.abnormal_dir; name the folder that the masks are of"
        )
    places = [(option, place) for option, some in folders.items() for place in some]
    for (option, place), (other_option, other) in combinations(places, 2):
        here, there = place.resolve(), other.resolve()
        if here.is_relative_to(there) or there.is_relative_to(here):
            raise ConfigError(
                f"prepare.{option} {place} and prepare.{other_option} {other} overlap, so that an image would be "
                "read as both; name folders none of which holds another"
            )


def _images_by_folder(option: str, places: list[Path]) -> ImagesByFolder:
    """The images at any depth below `places`, by the folder that holds them, sorted by its name."""
    found: ImagesByFolder = {}
    for place in places:
        seen = [path for path in photographs(images_below(place), place) if not path.is_dir()]
        if not seen:
            raise DataError(f"{place}, named in prepare.{option}, holds no image at any depth")
        for path in seen:
            found.setdefault(path.parent, []).append(path)
    if option == "abnormal_dir" and (good := [folder for folder in found if folder.name in ("good", "normal")]):
        raise DataError(f"{good[0]} lies in prepare.abnormal_dir; name there the folders of defective parts alone")
    return dict(sorted(found.items(), key=lambda item: (item[0].name, item[0])))


def _beside(images: ImagesByFolder, masks: ImagesByFolder) -> list[tuple[list[Path], list[Path]]]:
    """Images and the masks among which theirs are: folder by folder where both have as many, else all with all."""
    if len(images) != len(masks):
        return [(_flat(images), _flat(masks))]
    image_names, mask_names = {folder.name for folder in images}, {folder.name for folder in masks}
    for folder, of_masks in zip(images, masks, strict=True):
        if folder.name != of_masks.name and (folder.name in mask_names or of_masks.name in image_names):
            raise DataError(
                f"{of_masks} would hold the masks of {folder} in the order of their names, but folders of the same "
                "name exist; call the folders of masks like those of their images"
            )
    return list(zip(images.values(), masks.values(), strict=True))


def _check_stems(paths: list[Path]) -> None:
    for stem, count in Counter(path.stem for path in paths).items():
        if count > 1:
            same = [str(path) for path in paths if path.stem == stem]
            raise DataError(
                f"{same[0]} and {same[1]} share a stem, so that masks cannot be told apart; "
                "give each folder of abnormal images its own folder of masks"
            )
