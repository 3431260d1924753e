"""Simulated disturbances by light, lens and handling, in five severities, of which 1 is an ordinary day on a line.

Lengths are shares of the image's shorter side, so that a severity means the same at any resolution. Where a change has
two directions (brighter or darker, left or right) `rng` picks one. Pixels that a shift, a rotation or a smaller scale
brings into the image are its reflection at the border.

Source of the kinds: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR), with those of an inspection line (glare, white balance, shift, turn, scale) for its weather. The
severities are ours: the paper's are made for photographs of objects, and its lowest would already fail a part.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

SEVERITIES = range(1, 6)
_CACHED_BYTES = 1 << 18  # of a band of rows that is summed up

PixelChange = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """One kind of disturbance.

    change: of pixels (h, w, 3) uint8, by an amount, with a generator; gives pixels of the same shape and type.
    amounts: one for each severity, ascending in effect.
    """

    change: PixelChange
    amounts: tuple[float, float, float, float, float]

    def __call__(self, pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
        """The image (h, w, 3) uint8 at a severity from 1 to 5."""
        return self.change(pixels, self.amounts[severity - 1], rng)


def _sign(rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1)))


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(np.clip(pixels, 0, 255)), dtype=np.uint8)


def _enhanced(kind: type[ImageEnhance.Brightness | ImageEnhance.Contrast]) -> PixelChange:
    def change(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
        return np.array(kind(Image.fromarray(pixels)).enhance(1 + _sign(rng) * amount))

    return change


def _gamma(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    levels = _bytes(255 * (np.arange(256) / 255) ** ((1 + amount) ** _sign(rng)))
    return np.asarray(levels[pixels])


def _white_balance(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    warm = _sign(rng) * amount
    return _bytes(pixels * np.array([1 + warm, 1.0, 1 - warm]))


def _blur(pixels: np.ndarray, amount: float, _: np.random.Generator) -> np.ndarray:
    """By three box filters, whose time does not grow with their width as that of a Gaussian does."""
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(amount * min(pixels.shape[:2]))))


def _motion(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    length = max(2, round(amount * min(pixels.shape[:2])))
    angle = rng.uniform(0, np.pi)
    along = np.linspace(-length / 2, length / 2, 4 * length + 1)
    places = np.rint(length + along[:, None] * (np.sin(angle), np.cos(angle))).astype(int)
    steps, weights = np.unique(places, axis=0, return_counts=True)
    height, width = pixels.shape[:2]
    padded = np.pad(pixels.astype(np.float32), ((length, length), (length, length), (0, 0)), mode="symmetric")
    total = np.zeros(pixels.shape, dtype=np.float32)
    rows = max(1, _CACHED_BYTES // (4 * 3 * width))
    for top in range(0, height, rows):  # a band at a time stays in the cache while all steps are added to it
        band = total[top : top + rows]
        for (down, right), weight in zip(steps.tolist(), weights.tolist(), strict=True):
            band += np.float32(weight) * padded[down + top : down + top + len(band), right : right + width]
    return _bytes(total / weights.sum())


def _noise(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    return _bytes(pixels + 255 * np.float32(amount) * rng.standard_normal(pixels.shape, dtype=np.float32))


def _jpeg(pixels: np.ndarray, amount: float, _: np.random.Generator) -> np.ndarray:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="JPEG", quality=int(amount))
    return np.array(Image.open(encoded))


def _moved(
    pixels: np.ndarray, *, turn: float = 0.0, scale: float = 1.0, step: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Turned by radians and scaled about the centre, then moved by (x, y) pixels; cubic, so that it blurs little."""
    height, width = pixels.shape[:2]
    # From a place (x, y) in the result to the place in the image that it comes from; a pixel's centre is at one half.
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    middle = np.array([width, height]) / 2
    offset = middle - back @ (middle + np.array(step))
    corners = np.array([(x, y) for x in (0, width) for y in (0, height)]) @ back.T + offset
    outside = max(-corners.min(), (corners - (width, height)).max())
    margin = math.ceil(max(outside, 0)) + 2  # what the cubic looks at around a place
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    (a, b), (d, e) = back
    x, y = offset + margin
    affine = Image.Transform.AFFINE
    return np.array(
        Image.fromarray(padded).transform((width, height), affine, (a, b, x, d, e, y), Image.Resampling.BICUBIC)
    )


def _shift(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    angle, length = rng.uniform(0, 2 * np.pi), amount * min(pixels.shape[:2])
    return _moved(pixels, step=(length * np.cos(angle), length * np.sin(angle)))


def _rotation(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    return _moved(pixels, turn=np.deg2rad(_sign(rng) * amount))


def _scale(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    return _moved(pixels, scale=(1 + amount) ** _sign(rng))


def _glare(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    centre = rng.uniform(0.1, 0.9, 2) * (height, width)
    spread = min(height, width) / 8
    down, across = (
        np.exp(-((np.arange(length, dtype=np.float32) - place) ** 2) / (2 * spread**2))
        for length, place in zip((height, width), centre.astype(np.float32), strict=True)
    )
    light = np.float32(amount) * np.outer(down, across)
    return _bytes(pixels + light[..., None] * (255 - pixels))


CORRUPTIONS: Mapping[str, Corruption] = {
    "brightness": Corruption(_enhanced(ImageEnhance.Brightness), (0.03, 0.06, 0.12, 0.25, 0.4)),
    "contrast": Corruption(_enhanced(ImageEnhance.Contrast), (0.03, 0.06, 0.12, 0.25, 0.4)),
    "gamma": Corruption(_gamma, (0.03, 0.06, 0.12, 0.25, 0.5)),
    "white balance": Corruption(_white_balance, (0.01, 0.02, 0.05, 0.1, 0.2)),
    "blur": Corruption(_blur, (0.002, 0.003, 0.005, 0.01, 0.02)),
    "motion": Corruption(_motion, (0.01, 0.02, 0.03, 0.05, 0.08)),
    "noise": Corruption(_noise, (0.005, 0.01, 0.02, 0.04, 0.08)),
    "JPEG": Corruption(_jpeg, (90, 75, 60, 40, 20)),
    "shift": Corruption(_shift, (0.005, 0.01, 0.02, 0.05, 0.1)),
    "rotation": Corruption(_rotation, (0.5, 1, 2, 5, 10)),
    "scale": Corruption(_scale, (0.005, 0.01, 0.02, 0.05, 0.1)),
    "glare": Corruption(_glare, (0.05, 0.1, 0.2, 0.4, 0.7)),
}


def corrupted(pixels: np.ndarray, name: str, severity: int, *, seed: Sequence[int]) -> np.ndarray:
    """The image (h, w, 3) uint8 after the corruption `name`; the same for the same seed."""
    return CORRUPTIONS[name](pixels, severity, np.random.default_rng(seed))
