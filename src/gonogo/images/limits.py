"""What an image may cost, known from its size before anything of it is decoded. One place for every door.

Three limits hold everywhere: pixels, side and aspect. They bound memory, since everything that works on an image needs
a number of bytes for each pixel, and the resize in a gauge's graph a number of bytes for each row.
"""

import io
import math
import time
from collections.abc import Callable
from pathlib import Path

from gonogo.errors import ImageError

MAX_PIXELS = 80_000_000  # a header that claims more is damaged or hostile; Pillow itself grows wary at 89 million
MAX_SIDE = 65_535  # the longest that a JPEG can have
MAX_ASPECT = 250  # resized to a few hundred pixels, nothing would be left of the shorter side
MAX_BYTES = (
    512_000_000  # of an encoded image; 80 million pixels of three times 16 bits, not compressed, have 480 million
)
DECODING_BYTES = 30  # for each pixel, at the peak of decoding: a WebP, which needs the most, takes 27
SECONDS, SECONDS_PER_MEGAPIXEL = 1.0, 0.2  # of decoding; honest images of 80 megapixels take a third of it

Clock = Callable[[], float]


def require_size(width: int, height: int, where: Path | str, *, max_pixels: int = MAX_PIXELS) -> None:
    """Do nothing, or refuse an image by its size.

    Args:
        width, height: in pixels, as the file's header says.
        where: the image, for the message.
        max_pixels: where fewer are allowed than MAX_PIXELS.

    Raises:
        ImageError: the image has no pixel, more than `max_pixels`, a side of more than MAX_SIDE, or a longer side that
            is more than MAX_ASPECT times the shorter one.
    """
    longer, shorter = max(width, height), min(width, height)
    if shorter < 1:
        reason = "each side needs a pixel at least"
    elif width * height > max_pixels:
        reason = f"at most {max_pixels} are read"
    elif longer > MAX_SIDE:
        reason = f"a side may have at most {MAX_SIDE}"
    elif longer > MAX_ASPECT * shorter:
        reason = f"the longer side may be at most {MAX_ASPECT} times the shorter one"
    else:
        return
    raise ImageError(f"{where} cannot be read as an image: {width} x {height} pixels, {reason}")


def decoding_bytes(height: int, width: int) -> int:
    """Upper estimate of the memory, in bytes, that decoding an image takes, beside the file itself."""
    return DECODING_BYTES * height * width


def decoding_seconds(height: int, width: int) -> float:
    """The seconds of CPU after which decoding an image is given up."""
    return SECONDS + SECONDS_PER_MEGAPIXEL * height * width / 1e6


class TimeIsOverError(RuntimeError):
    """An image was read for longer than it may be. A TimeoutError is an OSError, which Pillow takes for its end."""


class TimedReader(io.BytesIO):
    """The bytes of an encoded image, for as long as its decoding may take.

    Pillow's parsers, and most of its decoders, read piece by piece; they end at the first piece that they ask for too
    late. A decoder of TIFF or WebP gets all bytes at once, and is bounded by the size of the image alone.
    """

    def __init__(self, data: bytes, clock: Clock = time.thread_time, most_seconds: float = math.inf) -> None:
        """Begin with the time that any image may take.

        Args:
            data: the whole file.
            clock: seconds, from any beginning. Those that the thread has computed leave out what other work on a busy
                machine takes.
            most_seconds: that are allowed to an image of any size.
        """
        super().__init__(data)
        self._clock, self._began, self._most = clock, clock(), most_seconds
        self._seconds = min(SECONDS, most_seconds)

    def allow(self, width: int, height: int) -> None:
        """Give an image of this size its time, from the beginning on."""
        self._seconds = min(decoding_seconds(height, width), self._most)

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes.

        Raises:
            TimeIsOverError: the time is over.
        """
        if self._clock() - self._began > self._seconds:
            raise TimeIsOverError(
                f"decoding takes more than {self._seconds:.3g} s of computing, which no honest image of this size "
                "does; save it again, as PNG"
            )
        return super().read(size)
