"""Portable bitmaps, grey maps and pixmaps (PBM, PGM, PPM), in bytes or in plain text.

Pillow decodes plain text, and every number of levels but 256 and 65,536, pixel by pixel in Python: seconds for an image
of a camera with 12 bits.
"""

import re
from dataclasses import dataclass

import numpy as np

MAGIC = re.compile(rb"P[1-6]\s")
BLANK = rb"(?:\s|#[^\r\n]{0,1000}[\r\n])"
HEADER = re.compile(rb"P([1-6])" + rb"%(blank)b{1,100}(\d{1,7})" % {b"blank": BLANK} * 2)
LEVELS = re.compile(rb"%(blank)b{1,100}(\d{1,5})" % {b"blank": BLANK})
COMMENT = re.compile(rb"#[^\r\n]*")


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
        ValueError: it is damaged.
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
    return Portable(kind, width, height, levels, end + 1)


def samples_of(data: bytes) -> tuple[np.ndarray, int]:
    """The samples, (h, w) or (h, w, 3) of whole numbers, and the value that is white.

    Raises:
        ValueError: the samples are fewer than the header says, or larger.
    """
    header = read_portable(data)
    samples = _plain(data, header) if header.end is None else _packed(data, header)
    if samples.size < np.prod(header.shape):
        raise ValueError("a PPM that ends too early; it is damaged, or still being written")
    samples = samples.ravel()[: np.prod(header.shape)].reshape(header.shape)
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
    text = COMMENT.sub(b"", data[header.start :])
    if header.kind == 1:  # its digits need no blanks between them
        return np.frombuffer(text.translate(None, b" \t\n\v\f\r"), np.uint8) - ord("0")
    return np.fromstring(text, dtype=np.int32, sep=" ")
