"""What the layouts of the field share: folders of images by kind, and masks matched to them by name."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from gonogo.data.names import (
    BAD,
    GOOD,
    IN_MASK_NAMES,
    MASK,
    RECORDINGS,
    UNCLEAR,
    says,
    suggests,
    suggests_good,
)
from gonogo.data.pairing import paired, photographs
from gonogo.data.sample import Mask, Sample
from gonogo.errors import ConfigError, DataError
from gonogo.files import require_raw
from gonogo.images.reading import SUFFIXES
from gonogo.images.roles import TEST, TRAIN, Role
from gonogo.images.unread import SYSTEM_FOLDERS
from gonogo.text import listed as listed

FIT: tuple[Role, ...] = ("fit",)
CALIBRATE: tuple[Role, ...] = ("calibrate",)


def category_folder(raw: Path, folder: str, name: str) -> Path:
    """The folder of category `name` in the data set at `raw`/`folder`.

    Raises:
        ConfigError: there is none; the message lists those that are there.
    """
    root = existing_folder(raw, folder)
    if not (root / name).is_dir():
        there = folders_in(root)
        above = "; it looks like a category itself: name the folder above it" if "train" in there else ""
        raise ConfigError(f"{no_category(root, name, there)}{above}")
    return root / name


def no_category(place: Path, name: str, there: Sequence[str]) -> ConfigError:
    """The error for a category that `place` lacks; it lists those that are `there` and suggests the nearest."""
    return ConfigError(f"{place} has no category {name!r}{_meant(name, there)}; it holds {listed(there)}")


def existing_folder(raw: Path, folder: str) -> Path:
    """The folder `raw`/`folder`.

    Raises:
        ConfigError: it is not there, or does not lie below `raw`, where its files would be nobody's dependency.
    """
    require_raw(raw)
    root = raw / folder
    if not root.is_dir():
        above = next(path for path in root.parents if path.is_dir())
        there = folders_in(above)
        missing = root.relative_to(above).parts[0]
        raise ConfigError(
            f"{root} is no folder{_meant(missing, there)}; {above} holds {listed(there)}. "
            f"`raw` in params.yaml is {raw}, and prepare's folders lie below it"
        )
    if not root.resolve().is_relative_to(raw.resolve()):
        if ".." not in Path(folder).parts and not Path(folder).is_absolute():
            raise ConfigError(
                f"{root} is or lies below a link that leads out of the raw folder, to {root.resolve()}, whose files "
                f"DVC does not watch; put the images below {raw}, or choose a folder above both"
            )
        raise ConfigError(f"{root} lies outside the raw folder {raw}; point `raw` in params.yaml at a folder above it")
    return root


def images_in(folder: Path) -> list[Path]:
    """Whatever in `folder` is named like an image, sorted by name; a directory so named is for prepare to report."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def images_below(folder: Path) -> list[Path]:
    """Whatever below `folder` is named like an image, at any depth, sorted by its path; hidden folders are left out."""
    found = images_in(folder)
    taken = set(found)
    for name in folders_in(folder):
        if folder / name not in taken:
            found += images_below(folder / name)
    return sorted(found)


def kinds_in(folder: Path, good: str = "", *, beside: Collection[Path] = ()) -> dict[str, list[Path]]:
    """The images below each sub-folder of `folder` that holds any, by the sub-folder's name; recordings are left out.

    Args:
        good: what the folder of good parts is called, in any case; it has this name among the kinds.
        beside: folders that are no kinds.

    Raises:
        DataError: a folder's name says that its parts are good, or masks, although it would be a defect type.
    """
    kinds: dict[str, list[Path]] = {}
    for name in folders_in(folder):
        images = [] if folder / name in beside else photographs(images_below(folder / name), folder / name)
        if not images:
            continue
        kind = good if name.casefold() == good.casefold() else name
        if kind in kinds:
            raise DataError(f"{folder} has {good!r} in two spellings, one of them {name!r}; put both into one folder")
        if good:
            _check_kind(folder / name, images, is_good=kind == good, good=good)
        kinds[kind] = images
    return kinds


def _check_kind(folder: Path, images: Sequence[Path], *, is_good: bool, good: str) -> None:
    """Refuse a folder whose name, or that of a folder below, contradicts what its images would be taken for."""
    inner = {part for image in images for part in image.relative_to(folder).parts[:-1]}
    if is_good:
        if wrong := sorted(name for name in inner if says(name, BAD)):
            raise DataError(f"{folder} holds {wrong[0]!r} among good parts; move it beside {good!r}, or rename it")
        return
    if wrong := sorted(name for name in inner if says(name, GOOD)):
        raise DataError(
            f"{folder} would be a defect type, and holds a folder {wrong[0]!r}; name {folder} in prepare.folder if it "
            "is a part of its own, or rename the folder"
        )
    if suggests_good(folder.name):
        raise DataError(
            f"{folder} would be a defect type beside {good!r}, though its name says good; put its images into "
            f"{good!r}, or rename it"
        )
    if suggests(folder.name, IN_MASK_NAMES) and not says(folder.name, MASK):
        raise DataError(
            f"{folder} would be a defect type, though its name says that it holds masks; put them into "
            f"{folder.parent}/ground_truth/<defect type>, or rename it"
        )
    if says(folder.name, RECORDINGS):
        raise DataError(
            f"{folder} would be a defect type, though its name says that it holds other recordings than photographs; "
            "move it away, or rename it if it is one"
        )
    if says(folder.name, UNCLEAR):
        raise DataError(
            f"{folder} would be a defect type, though its name does not say of which defect; rename it, or move it "
            "away if its images are not to be used"
        )


def name_in(raw: Path, path: Path) -> str:
    """The path below `raw`, by which a raw file is known."""
    return path.relative_to(raw).as_posix()


def good_sample(
    raw: Path, path: Path, roles: tuple[Role, ...], group_id: str | None = None, mask: Path | None = None
) -> Sample:
    """A good part in a raw file; its mask, if it has one, should mark nothing."""
    return Sample(
        name=name_in(raw, path), image=path, label=0, defect_type="good", roles=roles, group_id=group_id, mask=mask
    )


def goods(
    raw: Path, images: Sequence[Path], roles: tuple[Role, ...], masks: Mapping[Path, Path] | None = None
) -> Iterator[Sample]:
    """Good parts, and the masks that some data sets have of them."""
    for path in images:
        yield good_sample(raw, path, roles, mask=(masks or {}).get(path))


def train_and_test(
    raw: Path,
    category: Path,
    *,
    good: str = "good",
    train: str = "train",
    validation: str | None = None,
    test: str = "test",
    masks: Path | None = None,
    mask_suffix: str = "_mask",
) -> Iterator[Sample]:
    """`train`/good, `test`/good and `test`/<defect type>, with `masks`/<defect type>/<stem><mask_suffix>.png.

    Every defect must have its mask: the published sets do. Without `masks`, none has one. A layout with `validation`
    has calibrate's good parts there, and all of `train` is fit's.

    Raises:
        DataError: a folder is missing, train or validation holds defects, or a mask matches no image.
    """
    for part in filter(None, (train, validation, test)):
        if not any(name.casefold() == good.casefold() for name in folders_in(category / part)):
            raise DataError(f"{category / part} has no folder {good!r}{_instead(category / part)}")
    tested = kinds_in(category / test, good, beside=() if masks is None else (masks,))
    for part, roles in ({train: TRAIN} if validation is None else {train: FIT, validation: CALIBRATE}).items():
        kinds = kinds_in(category / part, good)
        if surplus := sorted(set(kinds) - {good}):
            swapped = f" (are {part} and {test} swapped?)" if set(tested) <= {good} else ""
            raise DataError(
                f"{category / part} must hold good parts alone, but has {listed(surplus)}{swapped}; "
                f"put defects under {test}, or set prepare.contaminate to study their effect"
            )
        yield from (good_sample(raw, path, roles) for path in kinds.get(good, []))
    if masks is not None:
        check_types(masks, category / test, {*tested, good})
    for kind, images in tested.items():
        place = kind_folder(images, category / test)
        matched: dict[Path, Path] = {}
        if masks is not None:
            matched = matched_masks(images, place, masks / kind, kind, (mask_suffix,))
        if kind == good:
            yield from goods(raw, images, TEST, matched)
        else:
            promised = {image: masks / kind / f"{image.stem}{mask_suffix}.png" for image in images} if masks else {}
            yield from defects(raw, images, kind, promised | matched)


def check_types(masks: Path, images: Path, kinds: Collection[str]) -> None:
    """Masks lie in folders by defect type, each called like one of those in `images`, whose names are `kinds`.

    Raises:
        DataError: they do not, so some would be nobody's.
    """
    if not masks.is_dir():
        return
    if flat := images_in(masks):
        raise DataError(f"{masks}: expected a folder per defect type, got {listed([path.name for path in flat])}")
    if surplus := sorted(set(kinds_in(masks)) - set(kinds)):
        raise DataError(f"{masks} has masks of {listed(surplus)}, but {images} has no images of that name")


def kind_folder(images: Sequence[Path], folder: Path) -> Path:
    """The sub-folder of `folder` in which the images of one kind lie."""
    return folder / images[0].relative_to(folder).parts[0]


def matched_masks(
    images: Sequence[Path], place: Path, masks: Path, kind: str, endings: Sequence[str]
) -> dict[Path, Path]:
    """The masks of images below `place`: files below `masks` called <stem><ending> or <stem>.

    Raises:
        DataError: a mask matches no image, which is how a wrong naming shows, or two match one.
    """
    matched, orphans = paired(images, place, images_below(masks) if masks.is_dir() else [], masks, endings)
    if orphans:
        names = listed(sorted(path.name for path in orphans))
        ending = f", with or without {endings[0]!r}" if any(endings) else ""
        raise DataError(
            f"{masks}: {len(orphans)} masks match no image of {kind!r}: {names}; "
            f"a mask is called like its image{ending}"
        )
    return matched


def defects(
    raw: Path, images: Sequence[Path], kind: str, masks: Mapping[Path, Mask], roles: tuple[Role, ...] = TEST
) -> Iterator[Sample]:
    """Defective parts with the masks that they have."""
    for image in images:
        yield Sample(
            name=name_in(raw, image), image=image, label=1, defect_type=kind, roles=roles, mask=masks.get(image)
        )


def alternatives(name: str, there: Sequence[str]) -> str:
    """How a message about the unknown `name` goes on: what was meant, perhaps, and what there is."""
    return f"{_meant(name, there)}; choose among {listed(there)}"


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in `folder` that are not hidden, sorted; none where it is no folder."""
    if not folder.is_dir():
        return []
    there = (path for path in folder.iterdir() if path.name not in SYSTEM_FOLDERS and not path.name.startswith("."))
    return sorted(path.name for path in there if path.is_dir())


def _instead(folder: Path) -> str:
    if not folder.is_dir():
        return " because it is not there itself"
    return f"; it holds {listed(sorted(path.name for path in folder.iterdir()))}"


def _meant(name: str, there: Sequence[str]) -> str:
    close = get_close_matches(name, there, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
