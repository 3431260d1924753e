"""Masks matched to their images by name."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from gonogo.data.names import MASK, RECORDINGS, base_of_drawn, base_of_mask, says, words_of
from gonogo.errors import DataError


def masks_among(images: Iterable[Path], folder: Path) -> tuple[list[Path], list[Path]]:
    """The images below `folder`, and those files among them that are masks.

    A mask lies in a folder that says so, or is called like an image beside it with an ending such as `_mask`, or a
    beginning such as `mask_`.
    """
    paths = list(images)
    there = {(path.parent, path.stem) for path in paths}
    masks = [
        path
        for path in paths
        if any(says(part, MASK) for part in path.relative_to(folder).parts[:-1])
        or (path.parent, base_of_mask(path)) in there
    ]
    return [path for path in paths if path not in set(masks)], masks


def photographs(images: Iterable[Path], folder: Path) -> list[Path]:
    """The images below `folder` without the depth or infrared recordings of the same parts.

    A folder that says so, such as `depth`, `xyz` or `ir`, holds them where each of its files is called like an image
    outside of such folders. Where a folder of recordings is all there is, its images are the parts.

    Raises:
        DataError: only some recordings are called so, or there are two of each part and no photograph.
    """
    paths = list(images)
    apart: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        inner = path.relative_to(folder).parts[:-1]
        if kind := next((words_of(part) for part in inner if says(part, RECORDINGS)), ""):
            apart[kind].append(path)
    if not apart:
        return paths
    recordings = {path for some in apart.values() for path in some}
    kept = [path for path in paths if path not in recordings]
    if not kept and len(apart) == 1:
        return paths
    names = {path.stem.casefold() for path in kept}
    for kind, some in apart.items():
        strangers = [path for path in some if names.isdisjoint(_stems(path, kind))]
        if strangers:
            raise DataError(
                f"{strangers[0].parent} holds {len(strangers)} images that are called like no image outside of it, "
                f"the first {strangers[0].name}, though by its name they are other recordings of the same parts; "
                "move it away, or rename it if they are parts of their own"
            )
    return kept


def _stems(recording: Path, kind: str) -> set[str]:
    """What a photograph of the same part may be called."""
    stem = recording.stem.casefold()
    return {stem, *(stem.removesuffix(f"{separator}{kind}") for separator in "_-.")}


def require_not_drawn(images: Iterable[Path]) -> None:
    """Do nothing, or refuse pictures that a program drew of the images beside them.

    Raises:
        DataError: one is called like another image, with an ending such as `_overlay`.
    """
    paths = list(images)
    there = {(path.parent, path.stem) for path in paths}
    if drawn := [path for path in paths if (path.parent, base_of_drawn(path)) in there]:
        raise DataError(
            f"{len(drawn)} images are named like pictures that were drawn of others, the first {drawn[0]}; move them "
            "away, or rename them if they are images to use"
        )


def paired(
    images: Sequence[Path], folder: Path, masks: Sequence[Path], masks_folder: Path, endings: Sequence[str]
) -> tuple[dict[Path, Path], list[Path]]:
    """The mask of each image that has one, and the masks that match no image.

    A mask is called like its image, or so with one of `endings`; where two images or two masks share a stem, the
    folders between must be the same too.

    Raises:
        DataError: two masks are for one image, or one for two images.
    """
    stems, mask_stems = Counter(path.stem for path in images), Counter(path.stem for path in masks)
    by_path = max(*stems.values(), *mask_stems.values(), 0, 0) > 1

    def key(path: Path, root: Path) -> str:
        return path.relative_to(root).with_suffix("").as_posix() if by_path else path.stem

    there: dict[str, Path] = {}
    for mask in masks:
        if (other := there.setdefault(key(mask, masks_folder), mask)) != mask:
            raise DataError(f"{other} and {mask} are masks of one image by their names; keep one")
    found: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    for image in images:
        name = key(image, folder)
        fitting = [there[name + ending] for ending in dict.fromkeys((*endings, "")) if name + ending in there]
        if len(fitting) > 1:
            raise DataError(f"{fitting[0]} and {fitting[1]} are masks of one image by their names; keep one")
        if fitting:
            found[image] = fitting[0]
            if (other := owners.setdefault(fitting[0], image)) != image:
                raise DataError(f"{fitting[0]} is the mask of {other} and of {image} by their names; rename one image")
    used = set(found.values())
    return found, [mask for mask in masks if mask not in used]
