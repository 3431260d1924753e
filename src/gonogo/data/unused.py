"""Files of images that a source passes over, by folder, so that nothing is left out without a word."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.names import ACCEPTED
from gonogo.data.sample import Sample, Source
from gonogo.data.tree import folders_in, listed
from gonogo.images.reading import SUFFIXES
from gonogo.images.unread import EXAMPLES, FOLDERS, UNREAD_SUFFIXES, Unread
from gonogo.text import in_utf8


@dataclass(frozen=True)
class Unused:
    """Files of one folder that have no use.

    Attributes:
        folder: below the raw folder.
        names: of the files, sorted.
        readable: whether they are named like images that gonogo reads.
    """

    folder: str
    names: tuple[str, ...]
    readable: bool

    def __str__(self) -> str:
        return f"{len(self.names)} in {self.folder} ({listed(self.names, EXAMPLES)})"


def unused_files(source: Source, category: str, raw: Path, samples: Iterable[Sample]) -> list[Unused]:
    """The image files in the source's own folders that no sample uses, those that gonogo reads first."""
    places = source.places(category, raw)
    used = {path for sample in samples for path in (sample.image, sample.mask) if isinstance(path, Path)}
    return unused_below(raw, places.folders, apart_from=used | {raw / ACCEPTED, *places.apart_from})


def unused_below(raw: Path, places: Iterable[Path], *, apart_from: Collection[Path]) -> list[Unused]:
    """The image files below `places`, apart from those given, or in one of the folders given."""
    left: dict[tuple[bool, Path], list[str]] = {}
    for path in sorted({path for place in places for path in _files_below(place, apart_from)}):
        suffix = path.suffix.lower()
        if suffix in SUFFIXES or suffix in UNREAD_SUFFIXES:
            left.setdefault((suffix in SUFFIXES, path.parent), []).append(in_utf8(path.name))
    found = [
        Unused(in_utf8(folder.relative_to(raw).as_posix()), tuple(names), read)
        for (read, folder), names in left.items()
    ]
    return sorted(found, key=lambda one: (not one.readable, one.folder))


def sentences(unused: Iterable[Unused]) -> list[str]:
    """What is said of unused files: those that could be read, and those that could not."""
    said, unread, readable = [], Unread(), []
    for one in unused:
        if one.readable:
            readable.append(one)
        else:
            unread.add(one.folder, one.names)
    if readable:
        said.append(
            f"{sum(len(one.names) for one in readable)} image files without use, in no folder and no list of the "
            f"layout: {listed([str(one) for one in readable], FOLDERS)}"
        )
    return said + unread.sentences()


def _files_below(folder: Path, apart_from: Collection[Path]) -> Iterator[Path]:
    if folder in apart_from or not folder.is_dir():
        return
    yield from (
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".") and path not in apart_from
    )
    for name in folders_in(folder):
        yield from _files_below(folder / name, apart_from)
