"""The images that arguments name: files, folders, globs, names on standard input, videos and cameras.

Items are made as they are needed, so that a million files need no more memory than ten; of a folder, its names are
held. An argument that names no image gives an item with an error, so that the others are still judged.
"""

import glob
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.errors import ImageError, MissingExtraError
from gonogo.images.reading import SUFFIXES, read_image

VIDEOS = frozenset({".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
CAMERA = "camera:"
STDIN = "-"


@dataclass(frozen=True)
class Item:
    """One image to judge.

    name: the value of `file` in its row.
    path: its file; None for a frame of a video or camera.
    within: its path relative to the folder that was named, or its file's name.
    pixels: (h, w, 3) uint8, for a frame.
    error: why there is no image; None if there may be one.
    """

    name: str
    path: Path | None
    within: Path
    pixels: np.ndarray | None = None
    error: str | None = None

    @cached_property
    def key(self) -> str:
        """32 hex digits of name, size and time of change: a file that is written again has another key."""
        try:
            stat = None if self.path is None else self.path.stat()
        except (OSError, ValueError):
            stat = None
        stamp = "" if stat is None else f"{stat.st_size} {stat.st_mtime_ns}"
        return hashlib.sha256(f"{self.name}\0{stamp}".encode(errors="surrogateescape")).hexdigest()[:32]


def items(arguments: Sequence[str], *, every: int = 1, without: Sequence[Path] = ()) -> Iterator[Item]:
    """The images that the arguments name, in their order.

    Args:
        arguments: files; folders, which give the images at any depth, by name; globs, unless a file has that name;
            `-`, for names on standard input, one a line; video files, and `camera:0`, the first camera.
        every: each how many-th frame of a video or camera is an image.
        without: folders that are left out where they lie below another.

    Raises:
        MissingExtraError: a video or camera is named, and OpenCV is not installed.
    """
    skipped = {os.path.abspath(folder) for folder in without}  # noqa: PTH100  a link stays the path that the user named
    for argument in arguments:
        if argument == STDIN:
            for line in sys.stdin:
                if name := line.rstrip("\r\n"):
                    yield from _named(name, every, skipped)
        else:
            yield from _named(argument, every, skipped)


def walk(folder: Path, skipped: set[str]) -> Iterator[Path]:
    """Files with the suffix of an image in a folder and below, by name; hidden files and linked folders are left out.

    Raises:
        OSError: a folder cannot be listed.
    """
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if os.path.abspath(entry.path) not in skipped:  # noqa: PTH100
                yield from walk(Path(entry.path), skipped)
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            yield Path(entry.path)


def _named(place: str, every: int, skipped: set[str]) -> Iterator[Item]:
    path = Path(place)
    if place.startswith(CAMERA):
        yield from _frames(place, every)
    elif path.is_dir():
        yield from _in_folder(path, skipped)
    elif path.suffix.lower() in VIDEOS and path.is_file():
        yield from _frames(place, every)
    elif glob.has_magic(place) and not path.exists():
        matches = sorted(glob.glob(place, recursive=True))  # noqa: PTH207  an absolute pattern, too
        for match in matches:
            if not Path(match).is_dir():
                yield from _named(match, every, skipped)
        if not matches:
            yield Item(place, None, Path(path.name), error=f"{place} matches no file")
    else:
        yield Item(place, path, Path(path.name))


def _in_folder(folder: Path, skipped: set[str]) -> Iterator[Item]:
    path = None
    try:
        for path in walk(folder, skipped):
            yield Item(str(path), path, path.relative_to(folder))
    except OSError as error:
        yield Item(str(folder), None, Path(folder.name), error=f"{folder} cannot be listed: {error.strerror or error}")
        return
    if path is None:
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
    if index == 0:
        yield Item(place, None, Path(name), error=f"{place} gives no frame; expected a video or a connected camera")


def pixels_of(item: Item) -> np.ndarray:
    """The pixels (h, w, 3) uint8 of an item.

    Raises:
        ImageError: it cannot be read.
    """
    if item.error is not None:
        raise ImageError(item.error)
    if item.pixels is not None:
        return item.pixels
    assert item.path is not None
    return read_image(item.path)
