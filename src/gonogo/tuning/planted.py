"""Defects planted on good images: what a choice of options may be judged by, since no test image enters.

A planted defect is no real one. Several kinds, over a range of sizes and contrasts, stand for the many that a line may
see: what adds or takes light (scratch, stain, hole), what takes detail (blur, missing), and what puts right material in
a wrong place (cut_paste, foreign). docs/tuning.md states how well the ranks that they give agree with those of real
defects.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from gonogo.data.defects import DEFECTS, PLAIN, PLAIN_PIXELS, Damaged, one_region

EXTENT = (0.1, 0.5)  # side of the square that holds a defect, as a share of the image's shorter side
STRENGTH = (0.5, 2.5)  # as `gonogo.data.defects` takes it; 1 is a plain defect
SMALLEST = 16  # pixels of that square's side, or the whole image where it has fewer
DRAWN = 64  # pixels; a defect in a larger square is drawn at this size and enlarged with it: a line stays a line
PLACES = 8  # squares of which one is chosen, in proportion to how much of the part each shows
TRIES = 20

Planting = Callable[[np.ndarray, np.ndarray, np.random.Generator, float], Damaged]  # of a square, another image, ...


def planted(
    kind: str, pixels: np.ndarray, other: np.ndarray, inspected: np.ndarray, *, seed: int, content: str
) -> Damaged | None:
    """A copy of a good image with a defect of that kind, and the mask (h, w) bool of what differs.

    None where TRIES attempts gave nothing that an inspector could see and that the gauge looks at.

    Args:
        kind: one of KINDS.
        pixels: (h, w, 3) uint8, a good image.
        other: (h2, w2, 3) uint8, another good image, of which `foreign` puts down a piece.
        inspected: (h, w) bool, where the gauge looks.
        seed: of the defect.
        content: the image's hash; what is planted depends on it and on the seed and kind alone.
    """
    digest = hashlib.sha256(f"{seed}:{kind}:{content}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    for _ in range(TRIES):
        strength, place = rng.uniform(*STRENGTH), _square(pixels, rng)
        square = pixels[place]
        damaged, changed = KINDS[kind](square, other, rng, strength)
        change = np.abs(damaged.astype(np.int16) - square).max(axis=2)
        if (inspected[place] & (change >= PLAIN)).sum() >= PLAIN_PIXELS:
            copy, mask = pixels.copy(), np.zeros(pixels.shape[:2], dtype=bool)
            copy[place], mask[place] = damaged, changed
            return copy, mask
    return None


def _square(pixels: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice]:
    """Where a defect goes: more likely where there is something to see, and thus seldom on a plain background."""
    shorter = min(pixels.shape[:2])
    side = max(SMALLEST, round(shorter * float(np.exp(rng.uniform(*np.log(EXTENT))))))
    side = min(side, shorter)
    corners = [rng.integers(0, np.array(pixels.shape[:2]) - side, endpoint=True) for _ in range(PLACES)]
    squares = [(slice(top, top + side), slice(left, left + side)) for top, left in corners]
    seen = np.array([pixels[square].mean(axis=2).std() for square in squares]) + 1e-3
    return squares[int(rng.choice(PLACES, p=seen / seen.sum()))]


def _drawn(kind: str) -> Planting:
    """A defect of `gonogo.data.defects`, drawn small and enlarged."""

    def plant(square: np.ndarray, _: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
        side = len(square)
        if side <= DRAWN:
            return DEFECTS[kind](square, rng, strength)
        small = np.asarray(Image.fromarray(square).resize((DRAWN, DRAWN), Image.Resampling.BOX))
        change = (DEFECTS[kind](small, rng, strength)[0].astype(np.float32) - small).transpose(2, 0, 1)
        enlarged = [Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR) for one in change]
        return one_region(square, square + np.stack([np.asarray(one) for one in enlarged], axis=2))

    return plant


def _cut_paste(square: np.ndarray, _: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    return DEFECTS["cut_paste"](square, rng, min(strength, 1))


def _foreign(square: np.ndarray, other: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """A piece of another good image."""
    return _through(square, _piece(square, other, rng).astype(np.float64), min(0.4 + 0.3 * strength, 1))


def _piece(square: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A piece of another image, (s, s, 3) uint8 as the square, from anywhere in it."""
    side = min(len(square), *other.shape[:2])
    top, left = rng.integers(0, np.array(other.shape[:2]) - side, endpoint=True)
    return np.asarray(Image.fromarray(other[top : top + side, left : left + side]).resize(square.shape[1::-1]))


def _missing(square: np.ndarray, _: np.ndarray, __: np.random.Generator, strength: float) -> Damaged:
    """The surface's detail is gone: the colours of the square's border, run into one another."""
    border = np.concatenate([square[0], square[-1], square[:, 0], square[:, -1]])
    return _through(square, np.broadcast_to(border.mean(axis=0), square.shape), min(0.3 + 0.35 * strength, 1))


def _broken(square: np.ndarray, _: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """One side of a line has slipped along it."""
    y, x, window = _centred(square)
    angle = rng.uniform(0, np.pi)
    slipped = (y * np.cos(angle) > x * np.sin(angle)) * window * 0.15 * strength * rng.choice((-1, 1))
    return _moved(square, slipped * np.sin(angle), slipped * np.cos(angle))


def _bent(square: np.ndarray, _: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """The middle is pushed to one side."""
    _, _, window = _centred(square)
    angle = rng.uniform(0, 2 * np.pi)
    pushed = window * 0.15 * strength
    return _moved(square, pushed * np.sin(angle), pushed * np.cos(angle))


def _centred(square: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates from -1 to 1, and a window (s, s) that falls from 1 in the middle to 0 at the edge of the disc."""
    steps = np.linspace(-1, 1, len(square))
    y, x = steps[:, None], steps[None]
    return y, x, np.clip(1.5 * (1 - np.sqrt(y**2 + x**2)), 0, 1)


def _moved(square: np.ndarray, down: np.ndarray, right: np.ndarray) -> Damaged:
    """Each pixel from where `down` and `right`, shares of the side, say that it was."""
    rows, columns = np.indices(square.shape[:2])
    places = np.array([rows - down * len(square), columns - right * len(square)])
    moved = [
        ndimage.map_coordinates(square[..., c].astype(np.float64), places, order=1, mode="nearest") for c in range(3)
    ]
    return one_region(square, np.stack(moved, axis=2))


def _through(square: np.ndarray, piece: np.ndarray, opacity: float) -> Damaged:
    """`piece` over the square, in a disc with a soft edge."""
    steps = np.linspace(-1, 1, len(square))
    away = np.sqrt(steps[:, None] ** 2 + steps**2)
    soft = np.clip((0.8 - away) / 0.2, 0, 1)[..., None] * opacity
    return one_region(square, square + soft * (piece - square))


def _discoloured(square: np.ndarray, other: np.ndarray, rng: np.random.Generator, strength: float) -> Damaged:
    """A piece of another good image in other colours, of which no part has any."""
    piece = _piece(square, other, rng)
    colours = rng.permutation(3)
    inverted = rng.random(3) < 0.5
    piece = np.where(inverted, 255 - piece[..., colours], piece[..., colours]).astype(np.float64)
    return _through(square, piece, min(0.15 + 0.3 * strength, 1))


KINDS: dict[str, Planting] = {
    **{kind: _drawn(kind) for kind in ("scratch", "stain", "hole", "blur")},
    "cut_paste": _cut_paste,
    "foreign": _foreign,
    "discoloured": _discoloured,
    "missing": _missing,
    "broken": _broken,
    "bent": _bent,
}
