"""The shapes of damage that several parts share: a scratch's groove and an irregular spot."""

from dataclasses import dataclass

import numpy as np

from gonogo.data.rendered.shading import View, between, clouds, direction


@dataclass(frozen=True)
class Damage:
    """What is wrong with a part.

    Attributes:
        kind: one of the part's types of defect.
        strength: in (0, 1]; 1 is the plainest.
        rng: draws place and shape.
    """

    kind: str
    strength: float
    rng: np.random.Generator


def groove(
    view: View, rng: np.random.Generator, middle: tuple[float, float], half_length: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A slightly bent scratch around `middle` that tapers towards its ends.

    Returns:
        (h, w) how much of a pixel it covers, and the slopes of its walls to the right and down, within -1 and 1.
    """
    along_x, along_y = direction(rng)
    bend = between(rng, -0.1, 0.1)
    half_width = between(rng, 0.007, 0.011)
    x, y = view.x - middle[0], view.y - middle[1]
    t = (x * along_x + y * along_y) / half_length  # -1 at one end, 1 at the other
    taper = np.maximum(1.0 - t * t, 0.0)
    across = x * -along_y + y * along_x - taper * bend * half_length
    reach = np.sqrt(taper) * half_width
    cover = np.clip((reach - np.abs(across)) / view.pixel + 0.5, 0.0, 1.0) * (taper > 0)
    wall = np.clip(across / half_width, -1.0, 1.0) * cover
    return cover, wall * -along_y, wall * along_x


def blob(view: View, rng: np.random.Generator, middle: tuple[float, float], radius: float) -> np.ndarray:
    """(h, w) field of an irregular spot: 1 in its middle, 0 from its edge on."""
    along_x, along_y = direction(rng)
    stretch = between(rng, 1.0, 1.7)
    x, y = view.x - middle[0], view.y - middle[1]
    major, minor = x * along_x + y * along_y, x * -along_y + y * along_x
    ellipse = (major * major / stretch + minor * minor * stretch) / (radius * radius)
    bumps = round(1.6 / radius) + 2
    rough = 1.0 + clouds(view.size, rng, bumps) * 0.65 + clouds(view.size, rng, 3 * bumps) * 0.3
    return np.clip(1.0 - ellipse * rough, 0.0, 1.0)
