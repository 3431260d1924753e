"""The images that arguments name: files, folders, globs, names on standard input, videos and cameras.

Items are made as they are needed, so that a million files need no more memory than ten; of a folder, its names are
held. An argument that names no image gives an item with an error, so that the others are still judged.
"""

import glob
import hashlib
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gonogo.errors import ChangedError, ImageError, MissingExtraError
from gonogo.images.arrays import NUMPY, rgb_of_file
from gonogo.images.foreign import FOREIGN_SUFFIXES
from gonogo.images.reading import SUFFIXES, decode, read_file
from gonogo.images.unread import SYSTEM_FOLDERS, UNREAD_SUFFIXES, Unread

VIDEOS = frozenset({".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
NAMED_LIKE_IMAGES = SUFFIXES | UNREAD_SUFFIXES
CAMERA = "camera:"
STDIN = "-"


class Stamp(NamedTuple):
    """A file at one moment. Two equal stamps are the same file with the same content.

    ctime_ns changes with the content even if a program sets mtime_ns back, but also when the file is renamed.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """The stamp of a file; of a link, that of the file to which it leads.

        Raises:
            OSError: there is none, or it is out of reach.
        """
        return cls.in_status(os.stat(path))  # noqa: PTH116  a third of the time of Path.stat, for 20,000 files

    @classmethod
    def in_status(cls, status: os.stat_result) -> "Stamp":
        """The stamp that the system's status of a file has."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def but_for_renames(self) -> tuple[int, ...]:
        """What is the same after a rename."""
        return self[:4]


def stamp_of(path: Path | None) -> Stamp | None:
    """The stamp of a file; None if there is no such file, or it is out of reach."""
    try:
        return None if path is None else Stamp.of(path)
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Item:
    """One image to judge.

    name: the value of `file` in its row.
    path: its file; None for a frame of a video or camera, and for what is no file.
    within: its path relative to the folder that was named, or its file's name.
    pixels: (h, w, 3) uint8, for a frame.
    error: why there is no image; None if there may be one.
    stamp: of its file when it was found; by default, of now.
    given: what a list said of it beside its path, for its row.
    sha256: that its file must have, where it is known.
    """

    name: str
    path: Path | None
    within: Path
    pixels: np.ndarray | None = None
    error: str | None = None
    stamp: Stamp | None = None
    given: Mapping[str, Any] | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.stamp is None:
            object.__setattr__(self, "stamp", stamp_of(self.path))

    @cached_property
    def key(self) -> str:
        """32 hex digits of name, size and time of change: a file that is written again has another key."""
        stamp = "" if self.stamp is None else f"{self.stamp.size} {self.stamp.mtime_ns}"
        return hashlib.sha256(f"{self.name}\0{stamp}".encode(errors="surrogateescape")).hexdigest()[:32]

    @property
    def changed(self) -> bool:
        """Whether its file is another one now, has another content or is gone."""
        return stamp_of(self.path) != self.stamp


def items(
    arguments: Sequence[str], *, every: int = 1, without: Sequence[Path] = (), unread: Unread | None = None
) -> Iterator[Item]:
    """The images that the arguments name, in their order.

    Args:
        arguments: files; folders, which give the images at any depth, by name; globs, unless a file has that name;
            `-`, for names on standard input, one a line; video files, and `camera:0`, the first camera.
        every: each how many-th frame of a video or camera is an image.
        without: folders that are left out where they lie below another.
        unread: is told what is not read in the folders, as they are listed.

    Raises:
        MissingExtraError: a video or camera is named, and OpenCV is not installed.
    """
    unread = Unread() if unread is None else unread
    skipped = {os.path.abspath(folder) for folder in without}  # noqa: PTH100  a link stays the path that the user named
    for argument in arguments:
        if argument == STDIN:
            for name in _standard_input():
                yield from _named(name, every, skipped, unread)
        else:
            yield from _named(argument, every, skipped, unread)


@dataclass(frozen=True)
class Listing:
    """What a folder has, by name, without hidden entries and what systems put into it.

    folders: its folders.
    links: its links to folders.
    images: whether each entry of `images_of` is a regular file, or a link to one.
    unread: files that may hold images and are not among these.
    """

    folders: list[str]
    links: list[str]
    images: dict[str, bool]
    unread: list[str]


def list_folder(folder: Path, skipped: set[str]) -> Listing:
    """Look into one folder.

    Args:
        skipped: absolute paths of folders that are left out.

    Raises:
        OSError: it cannot be listed.
    """
    folders, links, files = [], [], {}
    with os.scandir(folder) as found:
        for entry in sorted(found, key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
                continue
            if entry.is_dir(follow_symlinks=False):
                if os.path.abspath(entry.path) not in skipped:  # noqa: PTH100
                    folders.append(entry.name)
            elif is_named_like_image(entry.name):
                files[entry.name] = entry.is_file()
            elif entry.is_symlink() and entry.is_dir():
                links.append(entry.name)
    images = images_of(files)
    return Listing(
        folders,
        links,
        {name: is_file for name, is_file in files.items() if name in images},
        [name for name in files if name not in images],
    )


def images_of(names: Iterable[str]) -> set[str]:
    """Of the files in a folder, those that are judged by their suffix.

    Those of a format that is not read are among them, to be refused by name, unless the same image lies beside them in
    one that is.
    """
    read, foreign = set(), []
    for name in names:
        suffix = _suffix(name)
        if suffix in SUFFIXES:
            read.add(name)
        elif suffix in FOREIGN_SUFFIXES:
            foreign.append(name)
    stems = {_stem(name) for name in read} if foreign else set()
    return read | {name for name in foreign if _stem(name) not in stems}


def is_named_like_image(name: str) -> bool:
    """Whether a file's suffix says that it may hold an image, in a format that is read or not."""
    return _suffix(name) in NAMED_LIKE_IMAGES


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122  faster than a Path


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def no_file(path: Path, within: Path) -> Item:
    """The item of what is called like an image and is no regular file, such as a pipe, a device or a broken link."""
    return Item(str(path), None, within, error=f"{path} cannot be read as an image: it is no regular file")


def not_listed(folder: Path, error: OSError) -> Item:
    """The item of a folder that cannot be listed."""
    return Item(str(folder), None, Path(folder.name), error=f"{folder} cannot be listed: {error.strerror or error}")


def walk(root: Path, skipped: set[str], unread: Unread) -> Iterator[Item]:
    """The images in a folder and below, by name; hidden files and linked folders are left out.

    `unread` is told of each folder, when it is listed, what is not read.

    A folder that cannot be listed is an item with an error, and one that has vanished meanwhile is left out.
    """
    waiting: list[tuple[Path, bool | None]] = [(root, None)]  # whether it is a regular file; None: it is a folder
    while waiting:
        path, is_file = waiting.pop()
        if is_file is None:
            try:
                found = list_folder(path, skipped)
            except (FileNotFoundError, NotADirectoryError) as error:
                if path == root:
                    yield not_listed(path, error)
                continue
            except OSError as error:
                yield not_listed(path, error)
                continue
            unread.add(str(path), found.unread)
            unread.links += [str(path / name) for name in found.links]
            inside: dict[str, bool | None] = {**dict.fromkeys(found.folders), **found.images}
            waiting += [(path / name, inside[name]) for name in sorted(inside, reverse=True)]
        elif is_file:
            yield Item(str(path), path, path.relative_to(root))
        else:
            yield no_file(path, path.relative_to(root))


def _standard_input() -> Iterator[str]:
    """The lines of standard input: names of any bytes but a line end."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape", newline="\n")
    for line in sys.stdin:
        if name := line.removesuffix("\n").removesuffix("\r"):
            yield name


def _named(place: str, every: int, skipped: set[str], unread: Unread) -> Iterator[Item]:
    path = Path(place)
    # Those of os.path say False of names that are too long, have a null character or are out of reach.
    if place.startswith(CAMERA):
        yield from _frames(place, every)
    elif os.path.isdir(place):  # noqa: PTH112
        yield from _in_folder(path, skipped, unread)
    elif path.suffix.lower() in VIDEOS and os.path.isfile(place):  # noqa: PTH113
        yield from _frames(place, every)
    elif glob.has_magic(place) and not os.path.lexists(place):
        matches = sorted(glob.glob(place, recursive=True))  # noqa: PTH207  an absolute pattern, too
        for match in matches:
            if not os.path.isdir(match):  # noqa: PTH112
                yield from _named(match, every, skipped, unread)
        if not matches:
            yield Item(place, None, Path(path.name), error=f"{place} matches no file")
    else:
        yield Item(place, path, Path(path.name))


def _in_folder(folder: Path, skipped: set[str], unread: Unread) -> Iterator[Item]:
    item = None
    for item in walk(folder, skipped, unread):
        yield item
    if item is None:
        expected = ", ".join(sorted(SUFFIXES))
        yield Item(
            str(folder), None, Path(folder.name), error=f"{folder} has no image in it or below; expected {expected}"
        )


def _frames(place: str, every: int) -> Iterator[Item]:
    """RGB frames of a video, or of a camera until the command is stopped."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(f"{place} needs OpenCV ({error}); pip install 'gonogo[video]'") from error
    number = place.removeprefix(CAMERA)
    source: Any = int(number) if place.startswith(CAMERA) and number.isdecimal() else place
    name = place.replace(CAMERA, "camera_") if place.startswith(CAMERA) else Path(place).name
    index = 0
    try:
        capture = cv2.VideoCapture(source)
        try:
            for index in count():
                there, pixels = capture.read()
                if not there:
                    break
                if index % every == 0:
                    rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
                    yield Item(f"{place}#frame={index}", None, Path(f"{name}_frame_{index:08d}"), pixels=rgb)
        finally:
            capture.release()
    except (cv2.error, MemoryError, ValueError) as error:
        yield Item(place, None, Path(name), error=f"{place} cannot be read from frame {index} on: {error!r}")
        return
    if index == 0:
        yield Item(place, None, Path(name), error=f"{place} gives no frame; expected a video or a connected camera")


def pixels_of(item: Item, pixel_format: str | None = None) -> np.ndarray:
    """The pixels (h, w, 3) uint8 of an item; those of an .npy file where `pixel_format` says what its numbers are.

    Raises:
        ChangedError: the file that was read is not the one that was found, or has changed since.
        ImageError: it cannot be read.
    """
    if item.error is not None:
        raise ImageError(item.error)
    if item.pixels is not None:
        return item.pixels
    assert item.path is not None
    data, status = read_file(item.path)
    if Stamp.in_status(status) != item.stamp:
        raise changed_error(item)
    if item.sha256 is not None and hashlib.sha256(data).hexdigest() != item.sha256:
        raise ImageError(f"{item.name} has changed since the prepare stage saw it; run dvc repro")
    if pixel_format is not None and data.startswith(NUMPY):
        return rgb_of_file(data, item.path, pixel_format)
    return decode(data, item.path)[0]


def changed_error(item: Item) -> ChangedError:
    """What an item is that is not the same any more."""
    return ChangedError(f"{item.name} was changed while it was judged; judge it again when it is complete")
