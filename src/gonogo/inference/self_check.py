"""Does a bundle's network run on this machine, and behave as a gauge must?"""

import numpy as np

from gonogo.errors import IntegrityError
from gonogo.inference.gauges import Gauges
from gonogo.inference.good_patches import GoodPatches
from gonogo.inference.scorer import NO_NETWORK, Scorer

SIZES = ((48, 64), (131, 97))  # (height, width) in pixels of the random images that a network is tried with
SEED = 20


def check_router(gauges: Gauges) -> None:
    """Do nothing if the router of a set of bundles runs here.

    Raises:
        IntegrityError: it fails, or gives no finite distances.
    """
    generator = np.random.default_rng(SEED)
    for height, width in SIZES:
        gauges.select(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def check_network(scorer: Scorer) -> None:
    """Do nothing if the network of a bundle runs here and behaves as a gauge must.

    Raises:
        IntegrityError: it fails on random pixels, gives other shapes than expected, values that are not finite, scores
            that depend on the other images of a batch, or numbers of good patches that the bundle does not have.
    """
    generator = np.random.default_rng(SEED)
    for height, width in SIZES:
        pixels = generator.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        try:
            scores, maps, nearest = scorer.run_matched(pixels)
            alone, _ = scorer.run(pixels[:1])
        except NO_NETWORK as error:
            raise IntegrityError(
                f"{scorer.category}: the network fails on {width} x {height} pixels: {error}"
            ) from error
        if scores.shape != (2,) or maps.shape != (2, height, width):
            raise IntegrityError(
                f"{scorer.category}: for 2 images of {width} x {height} pixels the network gave {scores.shape} scores "
                f"and maps of {maps.shape}; expected (2,) and (2, {height}, {width})"
            )
        if not (np.isfinite(scores).all() and np.isfinite(maps).all()):
            raise IntegrityError(f"{scorer.category}: the network gave a score or a map value that is not a number")
        if nearest is not None and scorer.good_patches is not None:
            _check_nearest(nearest, scorer.good_patches, scorer.category)
        if not np.isclose(alone[0], scores[0], rtol=1e-4):
            raise IntegrityError(
                f"{scorer.category}: an image alone scores {alone[0]:.6g}, in a batch with another {scores[0]:.6g}"
            )


def _check_nearest(nearest: np.ndarray, good_patches: GoodPatches, category: str) -> None:
    if nearest.shape != (2, *good_patches.cells) or nearest.min() < 0 or nearest.max() >= len(good_patches):
        raise IntegrityError(
            f"{category}: for 2 images the network gave {nearest.shape} numbers of good patches from {nearest.min()} "
            f"to {nearest.max()}; expected (2, {good_patches.cells[0]}, {good_patches.cells[1]}) numbers from 0 to "
            f"{len(good_patches) - 1}"
        )
