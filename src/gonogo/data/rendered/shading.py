"""Pose, light, materials and camera of rendered parts.

Lengths are in half sides of the image: a part's coordinates run from -1 to 1, x to the right and y down. Edges are
drawn from signed distances (negative inside), so that they are antialiased at any pose without supersampling.
Radiance is linear in [0, 1] and channel first, (3, h, w) float32.

What becomes pixels is computed with +, -, *, / and square roots alone, element by element: IEEE 754 rounds these alike
on every machine, which sin, exp and sums in an unknown order are not. Scalars are Python floats, which leave an array
of float32 what it is.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Tint = tuple[float, float, float]  # linear red, green, blue

NOISE_LEVELS = 1.1  # standard deviation of the sensor's noise, in grey levels
VIGNETTE = 0.13  # share of the light that the lens loses in the corners


@dataclass(frozen=True)
class View:
    """One part before the camera.

    Attributes:
        size: side of the image in pixels.
        x: (h, w) float32, each pixel's place in the part's own coordinates; `y` likewise.
        pixel: side of a pixel in these coordinates.
        light: unit vector towards the lamp, in the part's coordinates; z points to the camera.
        tint: what lamp and exposure make of white.
    """

    size: int
    x: np.ndarray
    y: np.ndarray
    pixel: float
    light: tuple[float, float, float]
    tint: Tint


def view_of(size: int, rng: np.random.Generator) -> View:
    """The pose and the light of one image: shifted, turned, nearer or farther, brighter or darker by a little."""
    shift_x, shift_y = between(rng, -0.04, 0.04), between(rng, -0.04, 0.04)
    half_turn = between(rng, -0.028, 0.028)  # tangent of half the angle: 3.2 degrees either way
    scale = between(rng, 0.985, 1.015)
    cos, sin = _cos_sin(half_turn)
    steps = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0) * scale
    across, down = steps - shift_x, (steps - shift_y)[:, None]
    lamp = _cos_sin(between(rng, -0.03, 0.03))
    east, south = -0.48 * lamp[0] + 0.52 * lamp[1], -0.52 * lamp[0] - 0.48 * lamp[1]  # from the upper left
    height = between(rng, 0.66, 0.76)
    length = _root(east * east + south * south + height * height)
    brightness, warmth = between(rng, 0.93, 1.07), between(rng, -0.012, 0.012)
    return View(
        size=size,
        x=across * cos + down * sin,
        y=down * cos - across * sin,
        pixel=2.0 * scale / size,
        light=((east * cos + south * sin) / length, (south * cos - east * sin) / length, height / length),
        tint=(brightness * (1 + warmth), brightness, brightness * (1 - warmth)),
    )


def expose(radiance: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """(h, w, 3) uint8 RGB that the camera makes of `radiance`: vignetting, a lens that is not quite sharp, noise.

    Grey levels follow the square root of the light, near the usual gamma. It also makes the photons' noise equally
    strong in all of them.
    """
    seen = radiance * (_vignette(view.size) * np.array(view.tint, dtype=np.float32)[:, None, None])
    for axis in (1, 2):
        seen = _soften(seen, axis)
    levels = np.sqrt(np.clip(seen, 0.0, 1.0)) * 255.0
    bytes_ = rng.integers(0, 2**64, (7, view.size, view.size // 8 + 1), dtype=np.uint64).astype("<u8").view(np.uint8)
    counts = bytes_[:, :, : view.size].astype(np.float32) - 127.5  # each with a standard deviation of 73.9
    shared = counts[0] + counts[1] + counts[2]
    own = counts[3:6] + counts[6] * 0.5
    levels += (shared * 0.45 + own) * (NOISE_LEVELS / 101.0)
    return np.ascontiguousarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def lay(
    canvas: np.ndarray, cover: np.ndarray, shade: np.ndarray | float, tint: Tint, gloss: np.ndarray | float = 0.0
) -> None:
    """Put a material on `canvas` (3, h, w) where `cover` (h, w) in [0, 1] says: `tint` under `shade`, white `gloss`."""
    for channel, colour in zip(canvas, tint, strict=True):
        channel += cover * (shade * colour + gloss - channel)


def inside(distance: np.ndarray, width: float) -> np.ndarray:
    """(h, w) in [0, 1]: how much of a pixel lies inside; the edge is `width` wide, a pixel or a soft shadow's rim."""
    return np.clip(0.5 - distance / width, 0.0, 1.0)


def soft(distance: np.ndarray, width: float) -> np.ndarray:
    """Like `inside`, with a smooth start and end."""
    return smoothstep(inside(distance, width))


def lit(slope_x: np.ndarray, slope_y: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of the light's angle, and of the mirrored one with the camera's, for a surface of these slopes.

    Slopes are the height's rise per length to the right and down; both results are (h, w) in [0, 1].
    """
    east, south, height = view.light
    steep = np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
    towards = slope_x * -east - slope_y * south
    half = _root(2 + 2 * height)  # length of light + camera
    return np.maximum((towards + height) / steep, 0.0), np.maximum((towards + (height + 1)) / (steep * half), 0.0)


def box(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float, corner: float) -> np.ndarray:
    """(h, w) signed distance from a rectangle around the origin, with rounded corners of radius `corner`."""
    dx, dy = np.abs(x) - (half_width - corner), np.abs(y) - (half_height - corner)
    outside_x, outside_y = np.maximum(dx, 0.0), np.maximum(dy, 0.0)
    return np.asarray(
        np.sqrt(outside_x * outside_x + outside_y * outside_y) + np.minimum(np.maximum(dx, dy), 0.0) - corner
    )


def circle(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """(h, w) signed distance from a circle around the origin."""
    return np.asarray(np.sqrt(x * x + y * y) - radius)


def turns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(h, w) angle of each place in turns, in [0, 1], from x towards y; right to 2e-6 turns.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 4.4.47, divided by 2 pi.
    """
    wide, high = np.abs(x), np.abs(y)
    ratio = np.minimum(wide, high) / np.maximum(np.maximum(wide, high), 1e-9)
    s = ratio * ratio
    angle = ratio * (0.1591336 + s * (-0.0525688 + s * (0.0286703 + s * (-0.0135494 + s * 0.0033160))))
    angle = np.where(high > wide, 0.25 - angle, angle)
    angle = np.where(x < 0, 0.5 - angle, angle)
    return np.asarray(np.where(y < 0, 1.0 - angle, angle))


def wave(cycles: np.ndarray) -> np.ndarray:
    """Like sin(2 pi cycles), of parabolas."""
    phase = cycles - np.floor(cycles) - 0.5
    return np.asarray(phase * (np.abs(phase) * 16.0 - 8.0))


def lookup(table: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(h, w) values of `table` (n,) float32 at `at`, which runs from 0 at its first to 1 at its last."""
    place = np.clip(at, 0.0, 1.0) * (len(table) - 1.001)
    start = np.floor(place)
    index = start.astype(np.intp)
    below = table[index]
    return np.asarray(below + (table[index + 1] - below) * (place - start))


def power(base: np.ndarray, doublings: int) -> np.ndarray:
    """`base` to the power of 2 ** `doublings`: the width of a highlight."""
    for _ in range(doublings):
        base = base * base
    return base


def smoothstep(t: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and smooth in between."""
    clipped = np.clip(t, 0.0, 1.0)
    return np.asarray(clipped * clipped * (3.0 - 2.0 * clipped))


def grain(size: int, rng: np.random.Generator, passes: int) -> np.ndarray:
    """(size, size) float32 noise around 0, mostly within -1 and 1: a piece of a larger texture, thus another each time.

    Args:
        passes: of a binomial filter; the more, the coarser the grain.
    """
    top, left = (int(start) for start in rng.integers(0, size, 2))
    return _texture(size, passes)[top : top + size, left : left + size]


def clouds(size: int, rng: np.random.Generator, cells: int) -> np.ndarray:
    """(size, size) float32 smooth noise in [-1, 1] with `cells` bumps along each side."""
    knots = rng.random((cells + 1, cells + 1), dtype=np.float32) * 2.0 - 1.0
    place = np.arange(size, dtype=np.float32) * (cells / size)
    start = np.floor(place)
    index = start.astype(np.intp)
    part = smoothstep(place - start)
    columns = knots[:, index] + (knots[:, index + 1] - knots[:, index]) * part  # (cells + 1, size)
    return np.asarray(columns[index] + (columns[index + 1] - columns[index]) * part[:, None])


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number drawn uniformly from [low, high)."""
    return low + (high - low) * float(rng.random())


def direction(rng: np.random.Generator) -> tuple[float, float]:
    """A unit vector in the plane."""
    while True:
        x, y = between(rng, -1, 1), between(rng, -1, 1)
        if 0.01 < x * x + y * y <= 1:
            length = _root(x * x + y * y)
            return x / length, y / length


def _root(value: float) -> float:
    return float(np.sqrt(value))


def _cos_sin(half_tangent: float) -> tuple[float, float]:
    square = half_tangent * half_tangent
    return (1 - square) / (1 + square), 2 * half_tangent / (1 + square)


def _soften(seen: np.ndarray, axis: int) -> np.ndarray:
    """[1 6 1] / 8 along `axis`."""
    after = np.concatenate([seen.take(range(1, seen.shape[axis]), axis), seen.take([-1], axis)], axis)
    before = np.concatenate([seen.take([0], axis), seen.take(range(seen.shape[axis] - 1), axis)], axis)
    return np.asarray(seen * 0.75 + (before + after) * 0.125)


@lru_cache(maxsize=4)
def _vignette(size: int) -> np.ndarray:
    steps = (np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0
    return 1.0 - (steps * steps + (steps * steps)[:, None]) * (VIGNETTE / 2)


@lru_cache(maxsize=16)
def _texture(size: int, passes: int) -> np.ndarray:
    """(2 size, 2 size) float32, read-only."""
    values = np.random.default_rng([size, passes]).random((2 * size, 2 * size), dtype=np.float32) * 2.0 - 1.0
    for _ in range(passes):
        for axis in (0, 1):
            values = (np.roll(values, 1, axis) + values * 2.0 + np.roll(values, -1, axis)) * 0.25
    values = values / float(np.abs(values).max()) * 1.6
    values.setflags(write=False)
    return values
