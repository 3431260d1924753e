"""Synthetic surface defects: each takes a good image and returns it damaged, with the exact mask of the damage.

All take `pixels` (h, w, 3) uint8, a generator and a strength in (0, 1], leave `pixels` as it is, and return new
pixels and a mask (h, w) bool that is True exactly where they differ, one 8-connected region. Contrasts follow the
image's own, since what stands out on a brick drowns in gravel.

Arithmetic is +, -, *, / and square roots alone, which IEEE 754 rounds alike on every machine; sin and exp it does not.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

Damaged = tuple[np.ndarray, np.ndarray]

FAINTEST = 2  # grey levels; a smaller change of a pixel is not made, since a mask that shows it would mislead
PLAIN = 8  # grey levels that an inspector sees
PLAIN_PIXELS = 12  # a visible defect changes at least so many pixels by PLAIN or more
ATTEMPTS = 20


def scratch(pixels: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """A thin, slightly bent line, bright or dark, that tapers towards its ends."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    middle = np.array([height, width]) * (0.3 + 0.4 * rng.random(2))
    along = _direction(rng)
    half = along * side * _between(rng, 0.2, 0.4)
    bend = np.array([-along[1], along[0]]) * side * _between(rng, -0.15, 0.15)
    t = (np.arange(4 * side) + 0.5) / (4 * side)
    steps = t[:, None]
    curve = middle + half * (2 * steps - 1) + bend * 4 * steps * (1 - steps)  # (n, 2) a parabola
    half_width = _between(rng, 0.4, 1.0) * 4 * t * (1 - t)
    y, x = np.ogrid[:height, :width]
    distance = np.sqrt((y[..., None] - curve[:, 0]) ** 2 + (x[..., None] - curve[:, 1]) ** 2)  # (h, w, n)
    coverage = np.clip(half_width + 0.5 - distance, 0, 1).max(axis=2)
    return one_region(pixels, pixels + (_sign(rng) * strength * _contrast(pixels) * coverage)[..., None])


def stain(pixels: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """A soft-edged spot, darker or brighter, through which the surface still shows."""
    spot = _smoothstep(1.5 * _blob(pixels, rng, _between(rng, 0.2, 0.38))) * (1 + 0.4 * _noise(pixels, rng, 6))
    tone = _sign(rng) * strength * 0.55 * _contrast(pixels)
    return one_region(pixels, pixels + (tone * spot)[..., None])


def hole(pixels: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """A small dark pit with an irregular edge and a brighter rim."""
    field = _blob(pixels, rng, _between(rng, 0.08, 0.16))
    pit = _smoothstep((field - 0.3) / 0.4)
    rim = _smoothstep(field / 0.3) * (1 - pit)
    shade = strength * _contrast(pixels) * (0.4 * rim - pit)
    return one_region(pixels, pixels + shade[..., None])


def cut_paste(pixels: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """A piece of the image turned, a little brighter or darker, and put down elsewhere in it.

    Source: Li et al. 2021, "CutPaste" (CVPR), with an irregular outline and a soft edge in place of a rectangle.
    """
    side = min(pixels.shape[:2])
    size = int(side * _between(rng, 0.3, 0.5))
    (top, left), (to_top, to_left) = (
        rng.integers(0, np.array(pixels.shape[:2]) - size, 2, endpoint=True) for _ in range(2)
    )
    piece = np.rot90(pixels[top : top + size, left : left + size].astype(np.float64), int(rng.integers(1, 4)))
    piece = piece + _sign(rng) * strength * 0.4 * _contrast(pixels)
    opacity = (0.3 + 0.7 * strength) * _smoothstep(4 * _blob(piece, rng, 0.45))[..., None]
    altered = pixels.astype(np.float64)
    target = altered[to_top : to_top + size, to_left : to_left + size]
    target += opacity * (piece - target)
    return one_region(pixels, altered)


def blur(pixels: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """A spot out of focus: a Gaussian of sigma 1 to 1.6 pixels, as repeated binomial filters."""
    soft = pixels.astype(np.float64)
    for _ in range(2 + int(3 * strength)):  # each pass adds a variance of 1/2
        padded = np.pad(soft, ((1, 1), (1, 1), (0, 0)), mode="edge")
        rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
        soft = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16
    spot = _smoothstep(3 * _blob(pixels, rng, _between(rng, 0.15, 0.3)))[..., None]
    return one_region(pixels, pixels + spot * (soft - pixels))


DEFECTS: dict[str, Callable[[np.ndarray, np.random.Generator, float], Damaged]] = {
    "scratch": scratch,
    "stain": stain,
    "hole": hole,
    "cut_paste": cut_paste,
    "blur": blur,
}


def visible_defect(defect_type: str, pixels: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged | None:
    """The first attempt at the defect that an inspector could see; None where the surface hides them all.

    A blur, for one, leaves no trace on a plain surface.
    """
    for _ in range(ATTEMPTS):
        damaged, mask = DEFECTS[defect_type](pixels, rng, strength)
        change = np.abs(damaged.astype(np.int16) - pixels).max(axis=2)
        if (change >= PLAIN).sum() >= PLAIN_PIXELS:
            return damaged, mask
    return None


def one_region(pixels: np.ndarray, altered: np.ndarray) -> Damaged:
    """Round `altered` and keep its largest region alone: a stray pixel would count as a defect of its own in AUPRO."""
    rounded = np.clip(np.rint(altered), 0, 255).astype(np.uint8)
    change = np.abs(rounded.astype(np.int16) - pixels).max(axis=2)
    regions, _ = ndimage.label(change >= FAINTEST, structure=np.ones((3, 3)))
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    mask = (regions > 0) & (regions == sizes.argmax())
    return np.where(mask[..., None], rounded, pixels), mask


def _contrast(pixels: np.ndarray) -> float:
    """Grey levels that stand out: in proportion to how much neighbouring pixels differ, above a floor."""
    grey = pixels.astype(np.int64).sum(axis=2)  # whole numbers, so that no order of summation matters
    steps = np.abs(np.diff(grey, axis=0)).sum() + np.abs(np.diff(grey, axis=1)).sum()
    return 16.0 + 1.3 * float(steps / grey.size)


def _blob(pixels: np.ndarray, rng: np.random.Generator, radius: float) -> np.ndarray:
    """(h, w): 1 in the middle of an irregular ellipse, 0 from its edge on; `radius` is a share of the side."""
    height, width = pixels.shape[:2]
    radius *= min(height, width)
    middle = radius + (np.array([height, width]) - 2 * radius) * rng.random(2)
    along = _direction(rng)
    stretch = _between(rng, 1.0, 1.8)
    y, x = np.ogrid[:height, :width]
    y, x = y - middle[0], x - middle[1]
    major, minor = y * along[0] + x * along[1], y * along[1] - x * along[0]
    bumps = round(min(height, width) / radius) + 1
    ellipse = (major * major / stretch + minor * minor * stretch) / (radius * radius)
    return np.asarray(np.clip(1 - ellipse * (1 + 0.7 * _noise(pixels, rng, bumps)), 0, 1))


def _noise(pixels: np.ndarray, rng: np.random.Generator, cells: int) -> np.ndarray:
    """(h, w) smooth value noise in [-1, 1] with `cells` bumps along each side."""
    knots = 2 * rng.random((cells + 1, cells + 1)) - 1
    y, x = (np.arange(length) * (cells / length) for length in pixels.shape[:2])
    i, j = y.astype(int), x.astype(int)
    v, u = _smoothstep(y - i)[:, None], _smoothstep(x - j)
    upper = knots[i][:, j] * (1 - u) + knots[i][:, j + 1] * u
    lower = knots[i + 1][:, j] * (1 - u) + knots[i + 1][:, j + 1] * u
    return np.asarray(upper * (1 - v) + lower * v)


def _smoothstep(t: np.ndarray) -> np.ndarray:
    clipped = np.clip(t, 0.0, 1.0)
    return np.asarray(clipped * clipped * (3 - 2 * clipped))


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = 2 * rng.random(2) - 1
    return np.asarray(vector / np.sqrt(vector[0] * vector[0] + vector[1] * vector[1]))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1
