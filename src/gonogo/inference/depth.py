"""What a network of the user's says of the depth in one image: five statistics and a view.

A network that sees one image knows no scale: its numbers say what is nearer and what is farther, within this image, and
under one light a flat part's shading looks like depth. So all is said of relative nearness, which has no unit: 0 is
what 2 % of the image are farther than, and 1 what 2 % are nearer than. It is a way to look at a part, no measurement.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from gonogo.errors import ConfigError
from gonogo.inference.given import ImageNetwork, read_description

LABEL: Literal["monocular, relative, not metrology"] = "monocular, relative, not metrology"
HIGHER = ("nearer", "farther")  # what a higher number of a network means
FAR, NEAR = 2.0, 98.0  # percentiles that are 0 and 1
VIEW_SIDE = 384  # pixels of the longer side


@dataclass(frozen=True)
class DepthStatistics:
    """Of the relative nearness, within 0 and 1, of all places of an image.

    Attributes:
        median: half of the image is nearer.
        spread: between the quarter that is farthest and the quarter that is nearest.
        plane: share of the variance that a tilted plane explains; 1 where all is equally far.
        roughness: root mean square of what the plane leaves.
        step: the largest difference between two places beside each other, or below.
    """

    median: float
    spread: float
    plane: float
    roughness: float
    step: float


class DepthNetwork:
    """A network that tells depth, as its JSON file describes it.

    Attributes:
        identity: hex SHA-256 of all that its numbers depend on.
        working_bytes: upper estimate of the memory that one run takes.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Load it: a description of an `ImageNetwork`, with `higher`, one of HIGHER.

        Raises:
            ConfigError: the description is wrong, or the network takes or gives something else.
            IntegrityError: the file is another one, or cannot be loaded.
        """
        keys = [*ImageNetwork.KEYS, "higher"]
        described = read_description(path, required=keys, optional=ImageNetwork.OPTIONAL)
        higher = described.pop("higher")
        if higher not in HIGHER:
            raise ConfigError(f"{path}: higher is {higher!r}; say what a higher number means: {' or '.join(HIGHER)}")
        self._sign = 1.0 if higher == "nearer" else -1.0
        self._network = ImageNetwork(described, path.parent, str(path), threads=threads)
        self.identity, self.working_bytes = self._network.identity, self._network.working_bytes
        shape = self._network.probe.shape
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 1) or min(shape[-2:]) < 2:
            raise ConfigError(f"{path}: expected a map (n, h, w) or (n, 1, h, w) of depth; got {shape} for an image")

    def look(self, pixels: np.ndarray, name: str) -> tuple[DepthStatistics, bytes]:
        """The statistics of an image (h, w, 3) uint8 RGB, and its view, a grey PNG in which the nearest is brightest.

        Raises:
            ImageError: the network fails on it, or gives numbers that are not finite.
        """
        given = self._network.run(pixels, name)
        nearness = relative_nearness(self._sign * given.reshape(given.shape[-2:]).astype(np.float64))
        return statistics_of(nearness), view_of(nearness, pixels.shape[0], pixels.shape[1])


def relative_nearness(nearness: np.ndarray) -> np.ndarray:
    """(h, w) float64 within 0 and 1, of numbers (h, w) that are higher where it is nearer; all 0 where all is the same.

    Numbers that differ by less than single precision can tell are the same.
    """
    far, near = np.percentile(nearness, (FAR, NEAR))
    if near - far <= np.finfo(np.float32).eps * max(abs(far), abs(near)):
        return np.zeros_like(nearness)
    return np.asarray(np.clip((nearness - far) / (near - far), 0, 1))


def statistics_of(nearness: np.ndarray) -> DepthStatistics:
    """The statistics of relative nearness (h, w)."""
    rows, columns = np.indices(nearness.shape)
    plane = np.stack([np.ones(nearness.size), rows.ravel(), columns.ravel()], axis=1)
    left = nearness.ravel() - plane @ np.linalg.lstsq(plane, nearness.ravel(), rcond=None)[0]
    variance, unexplained = float(nearness.var()), float((left**2).mean())
    low, median, high = np.percentile(nearness, (25, 50, 75))
    step = max(float(np.abs(np.diff(nearness, axis=axis)).max()) for axis in (0, 1))
    explained = 1.0 if variance == 0 else max(0.0, 1 - unexplained / variance)
    return DepthStatistics(float(median), float(high - low), explained, unexplained**0.5, step)


def view_of(nearness: np.ndarray, height: int, width: int) -> bytes:
    """Relative nearness as a grey PNG in the proportions of an image, at most VIEW_SIDE pixels wide and high."""
    scale = VIEW_SIDE / max(height, width)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    grey, file = Image.fromarray((255 * nearness).round().astype(np.uint8)), io.BytesIO()
    grey.resize(size, Image.Resampling.BILINEAR).save(file, format="PNG")
    return file.getvalue()
