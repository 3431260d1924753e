"""What is printed on the rendered label, as a raster of ink: text of 5 x 7 dots, a bar code and a matrix code."""

from functools import lru_cache

import numpy as np

WIDE, HIGH = 0.82, 0.60  # half width and half height of the label
PER_PIXEL = 2  # samples of the raster per pixel of the image
FINER = 4  # the raster is drawn so much finer, then averaged

# Five columns of seven dots each; the lowest bit is the uppermost dot.
FONT = {
    " ": "0000000000", "+": "08083e0808", "-": "0808080808", "/": "2010080402", ":": "0036360000",
    "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31", "4": "1814127f10",
    "5": "2745454539", "6": "3c4a494930", "7": "0171090503", "8": "3649494936", "9": "064949291e",
    "A": "7e1111117e", "C": "3e41414122", "D": "7f4141221c", "E": "7f49494941", "G": "3e4149497a",
    "I": "00417f4100", "L": "7f40404040", "M": "7f020c027f", "N": "7f0408107f", "O": "3e4141413e",
    "P": "7f09090906", "R": "7f09192946", "S": "4649494931", "T": "01017f0101", "V": "1f2040201f",
    "Y": "0708700807",
}  # fmt: skip

# Left, top, side of a dot, text.
LINES = (
    (-0.40, -0.50, 0.0245, "GONOGO"),
    (-0.75, -0.185, 0.0128, "TYPE GN-40 24V"),
    (-0.75, -0.075, 0.0128, "PART 4711-08 C"),
    (-0.75, 0.035, 0.0128, "LOT 2231 +70 C"),
    (-0.68, 0.455, 0.0112, "4 711080 315529"),
    (0.40, 0.40, 0.0155, "IP67"),
)
BARS = (-0.74, 0.175, 0.25, 0.425)  # left, top, right, bottom; the matrix likewise
MATRIX = (0.40, -0.18, 0.74, 0.16)
MODULES = 14


def printed_places() -> tuple[tuple[float, float], ...]:
    """Places that carry print, for damage that needs some."""
    words = [
        (left + dot * 6 * at, top + dot * 3.5)
        for left, top, dot, text in LINES
        for at in (1.5, len(text) / 2, len(text) - 2)
    ]
    return (*words, (-0.55, 0.3), (-0.25, 0.3), (0.05, 0.3), (0.5, -0.05), (0.62, 0.05))


def ink_at(x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """(h, w) float32 in [0, 1]: how much ink the label carries at these places, on images of `size` pixels."""
    raster = _raster(size)
    scale = size / 2 * PER_PIXEL
    across = np.clip((x + WIDE) * scale - 0.5, 0.0, raster.shape[1] - 2.0)
    down = np.clip((y + HIGH) * scale - 0.5, 0.0, raster.shape[0] - 2.0)
    left, top = np.floor(across), np.floor(down)
    u, v = across - left, down - top
    at = top.astype(np.intp) * raster.shape[1] + left.astype(np.intp)
    flat = raster.ravel()
    upper = flat[at] + (flat[at + 1] - flat[at]) * u
    at += raster.shape[1]
    lower = flat[at] + (flat[at + 1] - flat[at]) * u
    return np.asarray(upper + (lower - upper) * v)


@lru_cache(maxsize=4)
def _raster(size: int) -> np.ndarray:
    """(h, w) float32, read-only: ink on the label's rectangle, already as soft as the camera's pixels are."""
    scale = size // 2 * PER_PIXEL * FINER
    columns, rows = round(2 * WIDE * size / 2 * PER_PIXEL), round(2 * HIGH * size / 2 * PER_PIXEL)
    fine = np.zeros((rows * FINER, columns * FINER), dtype=np.int32)
    for left, top, dot, text in LINES:
        _print_text(fine, text, round((left + WIDE) * scale), round((top + HIGH) * scale), max(round(dot * scale), 1))
    rng = np.random.default_rng(4711)
    left, top, right, bottom = BARS
    edges = [0]
    for step in rng.integers(1, 4, 61):
        edges.append(edges[-1] + int(step))
    for start, end in zip(edges[::2], edges[1::2], strict=False):
        one, other = (round((left + (right - left) * edge / edges[-1] + WIDE) * scale) for edge in (start, end))
        fine[round((top + HIGH) * scale) : round((bottom + HIGH) * scale), one:other] = 1
    left, top, right, bottom = MATRIX
    modules = rng.integers(0, 2, (MODULES, MODULES))
    modules[:, 0] = modules[-1] = 1
    modules[0] = modules[:, -1] = np.arange(MODULES) % 2 == 0
    modules[-1, :] = modules[:, 0] = 1
    for row, column in np.argwhere(modules).tolist():
        y0, y1 = (round((top + (bottom - top) * edge / MODULES + HIGH) * scale) for edge in (row, row + 1))
        x0, x1 = (round((left + (right - left) * edge / MODULES + WIDE) * scale) for edge in (column, column + 1))
        fine[y0:y1, x0:x1] = 1
    counts = fine.reshape(rows, FINER, columns, FINER).sum(axis=(1, 3))  # whole numbers: no order of summation matters
    ink = counts.astype(np.float32) * (1.0 / (FINER * FINER))
    for axis in (0, 1):
        ink = (np.roll(ink, 1, axis) + ink * 2.0 + np.roll(ink, -1, axis)) * 0.25
    ink.setflags(write=False)
    return np.asarray(ink)


def _print_text(fine: np.ndarray, text: str, left: int, top: int, dot: int) -> None:
    """Print `text` in dots of `dot` samples, with the corners between them filled as ink does."""
    dots = np.zeros((9, 6 * len(text) + 2), dtype=np.int32)
    for place, character in enumerate(text):
        for column, bits in enumerate(bytes.fromhex(FONT[character])):
            dots[1:8, 6 * place + column + 1] = [bits >> row & 1 for row in range(7)]
    large = np.kron(dots, np.ones((dot, dot), dtype=np.int32))
    reach = max(round(dot * 0.7), 1)
    for axis in (0, 1):
        total = np.cumsum(large, axis=axis)
        large = np.roll(total, -reach, axis) - np.roll(total, reach, axis)
    large = large[dot:-dot, dot:-dot]
    target = fine[top : top + large.shape[0], left : left + large.shape[1]]
    target |= large[: target.shape[0], : target.shape[1]] * 5 > 7 * reach * reach
