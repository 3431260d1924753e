"""The directories of a TIFF stream, of which TIFF files, EXIF data and the index of a phone's JPEG are made.

Read apart from Pillow, which makes an object for each strip, and a warning for each odd tag, before it tells how many
there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from struct import error as StructError
from struct import unpack_from

import numpy as np

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NUMBERS = {1: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8"}  # numpy's names of types without a sign
SIZES = NUMBERS | {2: "u1", 5: "u8", 6: "i1", 8: "i2", 9: "i4", 10: "i8", 11: "f4", 12: "f8", 17: "i8"}
WIDTH, HEIGHT, COMPRESSION, ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 256, 257, 259, 274, 322, 323
OFFSETS, LENGTHS = (273, 324), (279, 325)  # of strips; of tiles
INSIDE = (34665, 34853, 40965)  # point to directories inside, of EXIF, GPS and interoperability
JPEG = (6, 7)  # values of COMPRESSION
MAX_STRIPS = 65_535
MAX_DIRECTORIES, MAX_ENTRIES = 64, 1_000
TILE_SLACK = 1 << 22  # pixels that a tile may have beyond four times those of the image


@dataclass(frozen=True)
class Directory:
    """The tags of a directory: each one's numpy type, count, and position in the stream; and what comes next.

    n_beyond counts the tags whose values lie beyond the end of the stream; n_bytes is that of all values together.
    """

    data: memoryview
    entries: Mapping[int, tuple[str, int, int]]
    following: int
    n_beyond: int
    n_bytes: int

    def count(self, tag: int) -> int:
        """How many values a tag has; 0 without the tag."""
        return self.entries[tag][1] if tag in self.entries else 0

    def values(self, tag: int) -> np.ndarray:
        """The values of a tag, (n,) float64; none without the tag.

        Raises:
            IndexError: the stream ends before them.
        """
        if tag not in self.entries:
            return np.zeros(0)
        kind, count, position = self.entries[tag]
        if position + count * np.dtype(kind).itemsize > len(self.data):
            raise IndexError
        return np.frombuffer(self.data, kind, count, position).astype(np.float64)

    def value(self, tag: int, default: int = 0) -> int:
        """The first value of a tag."""
        return int(self.values(tag)[0]) if self.count(tag) else default


def first_directory(stream: bytes | memoryview) -> Directory:
    """The first directory of a stream.

    Raises:
        ValueError: it is no TIFF stream, or has more tags than any.
        struct.error: it ends too early.
    """
    data = memoryview(stream)
    order, big = _form(data)
    return _directory(data, unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)[0])


def look_at_tiff(data: bytes, max_scans: int) -> tuple[int, int, int]:
    """Width and height of the first image, and the end of its last strip or tile.

    Raises:
        ValueError: there are more directories, tags, strips or tiles than any image needs; strips overlap; tiles are
            far larger than the image; or JPEGs inside have more scans than baseline JPEGs and `max_scans` together.
        IndexError, struct.error: the file ends too early.
    """
    directory = first_directory(data)
    _require_few_tags(directory)
    width, height = directory.value(WIDTH), directory.value(HEIGHT)
    kinds = [number for number, tag in enumerate(OFFSETS) if directory.count(tag)]
    if not kinds:
        raise ValueError("a TIFF without an image")
    n_strips = directory.count(OFFSETS[kinds[0]])
    if n_strips > MAX_STRIPS:
        raise ValueError(f"a TIFF of {n_strips} strips or tiles; at most {MAX_STRIPS} are read")
    if directory.value(TILE_WIDTH) * directory.value(TILE_HEIGHT) > 4 * width * height + TILE_SLACK:
        raise ValueError("a TIFF whose tiles are far larger than its image")
    if directory.value(COMPRESSION) in JPEG and data.count(b"\xff\xda") > 4 * n_strips + max_scans:
        raise ValueError(f"a TIFF of JPEGs with more scans than {max_scans}")
    starts, sizes = directory.values(OFFSETS[kinds[0]]), directory.values(LENGTHS[kinds[0]])
    if len(sizes) != len(starts):  # without lengths, Pillow takes what it needs
        return width, height, len(data)
    if len(sizes) > 1 and sizes.sum() > len(data):
        raise ValueError("a TIFF whose strips overlap or end beyond the file; it is damaged, or still being written")
    return width, height, int((starts + sizes).max())


def require_few_tags(stream: bytes | memoryview) -> None:
    """Do nothing, or refuse EXIF data with more tags than any. What is no TIFF stream is left to whoever reads it.

    Raises:
        ValueError: there are too many tags.
    """
    if bytes(stream[:4]) in SIGNATURES:
        try:
            directory = first_directory(stream)
        except StructError:
            return
        _require_few_tags(directory)


def _require_few_tags(first: Directory) -> None:
    """Follow the directories from the first one on, those inside included."""
    waiting, seen, n_beyond, n_bytes = [first], {0}, 0, 0
    while waiting:
        directory = waiting.pop()
        n_beyond, n_bytes = n_beyond + directory.n_beyond, n_bytes + directory.n_bytes
        if len(seen) > MAX_DIRECTORIES or n_beyond > MAX_DIRECTORIES or n_bytes > 2 * len(first.data):
            raise ValueError("its directories have more tags than any image, or tags that overlap; save it again")
        for offset in (directory.following, *(directory.value(tag) for tag in INSIDE)):
            if offset not in seen and offset + 2 < len(first.data):
                seen.add(offset)
                waiting.append(_directory(first.data, offset))


def _form(data: memoryview) -> tuple[str, bool]:
    """The order of bytes, as struct names it, and whether it is a BigTIFF."""
    head = bytes(data[:4])
    if head not in SIGNATURES:
        raise ValueError("not a TIFF")
    return "<" if head[:1] == b"I" else ">", b"+" in head


def _directory(data: memoryview, offset: int) -> Directory:
    order, big = _form(data)
    (n_entries,) = unpack_from(order + ("Q" if big else "H"), data, offset)
    if n_entries > MAX_ENTRIES:
        raise ValueError(f"{n_entries} tags in one directory, of a TIFF or of EXIF; at most {MAX_ENTRIES} are read")
    first, size, inline = (offset + 8, 20, 8) if big else (offset + 2, 12, 4)
    entries: dict[int, tuple[str, int, int]] = {}
    n_beyond = n_bytes = 0
    for place in range(first, first + n_entries * size, size):
        tag, kind, count = unpack_from(order + ("HHQ" if big else "HHL"), data, place)
        if kind not in SIZES or tag in entries:
            continue
        dtype, position = order + SIZES[kind], place + size - inline
        length = count * np.dtype(dtype).itemsize
        if length > inline:
            (position,) = unpack_from(order + ("Q" if big else "L"), data, position)
            n_bytes += min(length, len(data))
            n_beyond += position + length > len(data)
        if kind in NUMBERS:
            entries[tag] = (dtype, count, position)
    (following,) = unpack_from(order + ("Q" if big else "L"), data, first + n_entries * size)
    return Directory(data, entries, following, n_beyond, n_bytes)
