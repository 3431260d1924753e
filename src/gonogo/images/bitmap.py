"""BMP files with a palette of greys and fewer colours than their bits could tell, which Pillow misreads.

Where such a palette is black and white, or each colour is as bright as its number, Pillow takes the numbers themselves
for 1 bit or 8 bits, whatever the file has: the image is torn to pieces, without a word.
"""

import struct

import numpy as np
from PIL.ImageFile import ImageFile

CORE_HEADER = 12  # bytes
BITS_OF_MODE = {"1": 1, "L": 8}
NOT_COMPRESSED = 0


def greys_of(image: ImageFile, data: bytes) -> np.ndarray | None:
    """(h, w) uint8 of an image, opened and not decoded, that Pillow would misread; None of all others.

    Raises:
        ValueError: it has other than 4 or 8 bits, or a pixel has a number beyond the palette.
    """
    if image.format != "BMP" or image.mode not in BITS_OF_MODE:
        return None
    start, size = struct.unpack_from("<II", data, 10)
    (bits,) = struct.unpack_from("<H", data, 24 if size == CORE_HEADER else 28)
    compression, n_used = (0, 0) if size == CORE_HEADER else struct.unpack_from("<I12xI", data, 30)
    if bits == BITS_OF_MODE[image.mode] or compression != NOT_COMPRESSED:  # of runs, Pillow reads the numbers
        return None
    if bits not in (4, 8):
        raise ValueError(f"a BMP of {bits} bits with a palette of greys; save it as PNG")
    n_colours, (width, height) = n_used or 1 << bits, image.size
    stride = (width * bits + 31) // 32 * 4
    rows = np.frombuffer(data, np.uint8, stride * height, start).reshape(height, stride)
    if bits == 4:
        rows = np.stack([rows >> 4, rows & 15], axis=2).reshape(height, -1)
    from_the_top = size != CORE_HEADER and struct.unpack_from("<i", data, 22)[0] < 0
    numbers = rows[:, :width] if from_the_top else rows[::-1, :width]
    if int(numbers.max()) >= n_colours:
        raise ValueError(f"a BMP whose palette has {n_colours} colours, and a pixel the number {numbers.max()}")
    return np.asarray(numbers * 255 if n_colours == 2 else numbers, dtype=np.uint8)
