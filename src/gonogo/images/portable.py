"""Portable bitmaps, grey maps and pixmaps (PBM, PGM, PPM), in bytes or in plain text.

Pillow decodes plain text, and every number of levels but 256 and 65,536, pixel by pixel in Python: seconds for an image
of a camera with 12 bits.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MAGIC = re.compile(rb"P[1-6]\s")
BLANK = rb"(?:\s|#[^\r\n]{0,1000}[\r\n])"
HEADER = re.compile(rb"P([1-6])" + rb"%(blank)b{1,100}(\d{1,7})" % {b"blank": BLANK} * 2)
LEVELS = re.compile(rb"%(blank)b{1,100}(\d{1,5})" % {b"blank": BLANK})
BLANKS = re.compile(rb"\s")
COMMENT = re.compile(rb"#[^\r\n]*")
MAX_TEXT, SLACK = 32, 65_536  # bytes of plain text for each sample, with its blanks and comments, and for all together
PIECE = 1 << 20  # bytes of plain text that are read at once, during which no other thread goes on


@dataclass(frozen=True)
class Portable:
    """What the header says.

    kind: the digit of its magic number.
    levels: the value of white; 1 of a bitmap, of which 1 is black.
    start: where the samples begin.
    """

    kind: int
    width: int
    height: int
    levels: int
    start: int

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the samples, (h, w) or (h, w, 3)."""
        return (self.height, self.width, 3) if self.kind in (3, 6) else (self.height, self.width)

    @property
    def end(self) -> int | None:
        """Where the samples end; None of plain text."""
        if self.kind < 4:
            return None
        row = -(-self.width // 8) if self.kind == 4 else self.width * (3 if self.kind == 6 else 1)
        return self.start + self.height * row * (2 if self.levels > 255 else 1)


def read_portable(data: bytes) -> Portable:
    """The header.

    Raises:
        ValueError: it is damaged, or far more plain text follows than its pixels need.
    """
    found = HEADER.match(data)
    if found is None:
        raise ValueError("a PPM whose header is damaged")
    kind, width, height = (int(number) for number in found.groups())
    levels, end = 1, found.end()
    if kind not in (1, 4):
        white = LEVELS.match(data, end)
        if white is None or not 0 < int(white[1]) < 65536:
            raise ValueError("a PPM whose largest value is not from 1 to 65535")
        levels, end = int(white[1]), white.end()
    if not data[end : end + 1].isspace():
        raise ValueError("a PPM whose header is damaged")
    header = Portable(kind, width, height, levels, end + 1)
    if header.end is None and len(data) - header.start > MAX_TEXT * math.prod(header.shape) + SLACK:
        raise ValueError("a PPM of more text than its pixels need; save it again")
    return header


def samples_of(data: bytes) -> tuple[np.ndarray, int]:
    """The samples, (h, w) or (h, w, 3) of whole numbers, and the value that is white.

    Raises:
        ValueError: the samples are fewer than the header says, larger, or followed by others.
    """
    header = read_portable(data)
    samples = _plain(data, header) if header.end is None else _packed(data, header)
    n_samples = math.prod(header.shape)
    if samples.size < n_samples:
        raise ValueError("a PPM that ends too early; it is damaged, or still being written")
    if header.end is None and samples.size > n_samples:
        raise ValueError("the PPM has other content after its end; save it again as an image")
    samples = samples.ravel()[:n_samples].reshape(header.shape)
    if not 0 <= samples.min() <= samples.max() <= header.levels:
        found = f"{samples.min()} to {samples.max()}"
        raise ValueError(f"a PPM of values from {found}, whose header allows 0 to {header.levels}")
    return (1 - samples if header.kind in (1, 4) else samples), header.levels


def _packed(data: bytes, header: Portable) -> np.ndarray:
    body = np.frombuffer(data, ">u2" if header.levels > 255 else "u1", offset=header.start)
    if header.kind != 4:
        return body
    row = -(-header.width // 8)
    rows = body[: header.height * row].reshape(-1, row)
    return np.unpackbits(rows, axis=1, count=header.width)


def _plain(data: bytes, header: Portable) -> np.ndarray:
    text = COMMENT.sub(b"", data[header.start :]).rstrip(b"\0")
    if text.translate(None, b"0123456789 \t\n\v\f\r"):
        raise ValueError("a PPM of text that is no numbers, or other content after its end; save it again")
    if header.kind == 1:  # its digits need no blanks between them
        return np.frombuffer(text.translate(None, b" \t\n\v\f\r"), np.uint8) - ord("0")
    return np.concatenate([np.fromstring(piece, np.int32, sep=" ") for piece in _pieces(text)])


def _pieces(text: bytes) -> Iterator[bytes]:
    """The text in pieces that end between two numbers."""
    start = 0
    while start < len(text) or not start:
        gap = BLANKS.search(text, start + PIECE)
        end = len(text) if gap is None else gap.end()
        yield text[start:end]
        start = max(end, 1)
