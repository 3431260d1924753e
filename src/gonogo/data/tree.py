"""What the layouts of the field share: folders of images by kind, and masks matched to them by name."""

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from gonogo.data.sample import Sample
from gonogo.errors import ConfigError, DataError
from gonogo.images.reading import SUFFIXES
from gonogo.images.roles import TEST, TRAIN, Role

FIT: tuple[Role, ...] = ("fit",)
CALIBRATE: tuple[Role, ...] = ("calibrate",)


def category_folder(raw: Path, folder: str, name: str) -> Path:
    """The folder of category `name` in the data set at `raw`/`folder`.

    Raises:
        ConfigError: there is none; the message lists those that are there.
    """
    root = existing_folder(raw, folder)
    if not (root / name).is_dir():
        there = _folders(root)
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
    root = raw / folder
    if not root.is_dir():
        above = next(path for path in root.parents if path.is_dir())
        there = _folders(above)
        missing = root.relative_to(above).parts[0]
        raise ConfigError(
            f"{root} is no folder{_meant(missing, there)}; {above} holds {listed(there)}. "
            f"`raw` in params.yaml is {raw}, and prepare's folders lie below it"
        )
    if not root.resolve().is_relative_to(raw.resolve()):
        raise ConfigError(f"{root} lies outside the raw folder {raw}; point `raw` in params.yaml at a folder above it")
    return root


def images_in(folder: Path) -> list[Path]:
    """Whatever in `folder` is named like an image, sorted by name; a directory so named is for prepare to report."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def kinds_in(folder: Path) -> dict[str, list[Path]]:
    """The images of each sub-folder of `folder` that holds any, by the sub-folder's name."""
    return {name: images for name in _folders(folder) if (images := images_in(folder / name))}


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


def masks_by_stem(folder: Path | None) -> dict[str, Path]:
    """The masks in `folder` by what their names have before the last dot; none where there is no such folder."""
    return {path.stem: path for path in images_in(folder)} if folder is not None and folder.is_dir() else {}


def goods(
    raw: Path, images: Sequence[Path], roles: tuple[Role, ...], masks: Path | None, *, mask_suffix: str = "_mask"
) -> Iterator[Sample]:
    """Good parts, and the masks that some data sets have of them."""
    there = masks_by_stem(masks)
    for path in images:
        yield good_sample(raw, path, roles, mask=there.get(path.stem + mask_suffix) or there.get(path.stem))


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
        if not (category / part / good).is_dir():
            raise DataError(f"{category / part} has no folder {good!r}{_instead(category / part)}")
    tested = kinds_in(category / test)
    for part, roles in ({train: TRAIN} if validation is None else {train: FIT, validation: CALIBRATE}).items():
        kinds = kinds_in(category / part)
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
        if kind == good:
            yield from goods(raw, images, TEST, masks and masks / kind, mask_suffix=mask_suffix)
        elif masks is None:
            yield from defects(raw, images, kind)
        else:
            yield from defects(raw, images, kind, masks / kind, mask_suffix=mask_suffix, complete=True)


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


def defects(
    raw: Path,
    images: Sequence[Path],
    kind: str,
    masks: Path | None = None,
    *,
    mask_suffix: str = "_mask",
    complete: bool = False,
    roles: tuple[Role, ...] = TEST,
) -> Iterator[Sample]:
    """Defective parts and their masks, files in the folder `masks` called <stem><mask_suffix> or <stem>.

    With `complete`, an image without a mask is given the one that it should have, so that prepare reports it.

    Raises:
        DataError: a mask matches no image, which is how a wrong naming shows.
    """
    there = masks_by_stem(masks)
    for image in images:
        mask = there.pop(image.stem + mask_suffix, None) or there.pop(image.stem, None)
        if mask is None and masks is not None and complete:
            mask = masks / f"{image.stem}{mask_suffix}.png"
        yield Sample(name=name_in(raw, image), image=image, label=1, defect_type=kind, roles=roles, mask=mask)
    if there:
        orphans = listed(sorted(path.name for path in there.values()))
        suffix = f", with or without {mask_suffix!r}" if mask_suffix else ""
        raise DataError(
            f"{masks}: {len(there)} masks match no image of {kind!r}: {orphans}; "
            f"a mask is called like its image{suffix}"
        )


def alternatives(name: str, there: Sequence[str]) -> str:
    """How a message about the unknown `name` goes on: what was meant, perhaps, and what there is."""
    return f"{_meant(name, there)}; choose among {listed(there)}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """The first names, and how many more there are."""
    if not names:
        return "nothing"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _instead(folder: Path) -> str:
    if not folder.is_dir():
        return " because it is not there itself"
    return f"; it holds {listed(sorted(path.name for path in folder.iterdir()))}"


def _meant(name: str, there: Sequence[str]) -> str:
    close = get_close_matches(name, there, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
