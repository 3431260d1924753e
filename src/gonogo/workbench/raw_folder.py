"""The raw folder as a tree: one folder at a time, never one outside of it."""

import os
from dataclasses import dataclass
from pathlib import Path

from gonogo.errors import DataError
from gonogo.images.reading import SUFFIXES

MOST_LISTED = 5_000  # entries of a folder that are looked at
SHOWN = 12  # images of a folder


@dataclass(frozen=True)
class Folder:
    """A folder of the tree.

    Attributes:
        path: below the raw folder; empty for that itself.
        folders: its folders by name, each with the number of images directly in it.
        images: the names of its images, sorted.
        others: the number of other files in it.
        cut: whether it has more entries than were looked at.
    """

    path: str
    folders: dict[str, int]
    images: tuple[str, ...]
    others: int
    cut: bool

    @property
    def parents(self) -> list[tuple[str, str]]:
        """Path and name of each folder above it and of itself, the topmost first, without the raw folder."""
        parts = [part for part in self.path.split("/") if part]
        return [("/".join(parts[: number + 1]), part) for number, part in enumerate(parts)]


def folder_in(raw: Path, path: str) -> Folder:
    """What a folder below `raw` holds.

    Raises:
        DataError: there is no such folder, or it lies outside, also by a link.
    """
    names, cut = _listed(place_in(raw, path))
    folders = {name: len(_images(place_in(raw, path) / name)) for name, is_folder in names if is_folder}
    files = [name for name, is_folder in names if not is_folder]
    images = tuple(sorted(name for name in files if _is_image(name)))
    return Folder(path, dict(sorted(folders.items())), images, len(files) - len(images), cut)


def place_in(raw: Path, path: str) -> Path:
    """The folder or file at `path` below `raw`.

    Raises:
        DataError: there is none, or it lies outside, also by a link.
    """
    root = raw.resolve()
    try:
        place = (root / path).resolve()
        if not place.is_relative_to(root) or not place.exists():
            raise DataError(f"the folder of the images has no {path!r}")
    except (ValueError, OSError) as error:  # a name that no file can have
        raise DataError(f"the folder of the images has no {path!r}") from error
    return place


def _listed(folder: Path) -> tuple[list[tuple[str, bool]], bool]:
    found: list[tuple[str, bool]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(found) == MOST_LISTED:
                return found, True
            if not entry.name.startswith("."):
                found.append((entry.name, entry.is_dir()))
    return found, False


def _images(folder: Path) -> list[str]:
    try:
        return [name for name, is_folder in _listed(folder)[0] if not is_folder and _is_image(name)]
    except OSError:
        return []


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES
