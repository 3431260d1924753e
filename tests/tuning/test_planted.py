"""Planted defects: each kind is seen, its mask is what differs, and it depends on the image and the seed alone."""

import numpy as np
import pytest

from gonogo.data.defects import PLAIN, PLAIN_PIXELS
from gonogo.tuning.planted import KINDS, planted

EVERYWHERE = np.ones((90, 120), dtype=bool)


def surface(seed):
    """A blurred texture, (90, 120, 3) uint8, with a dark disc as a part on it."""
    rng = np.random.default_rng(seed)
    grey = np.kron(rng.normal(0, 18, (30, 40)), np.ones((3, 3))) + 150 + rng.normal(0, 4, (90, 120))
    y, x = np.indices(grey.shape)
    grey -= 60 * ((y - 45) ** 2 + (x - 60) ** 2 < 35**2)
    return np.clip(grey[..., None] * [1.0, 0.9, 0.7], 0, 255).astype(np.uint8)


def plant(kind, pixels, *, seed=1, content="a", inspected=EVERYWHERE):
    return planted(kind, pixels, surface(99), inspected, seed=seed, content=content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_can_be_seen_and_its_mask_is_exactly_what_differs(kind):
    found = [
        (pixels, plant(kind, pixels, content=str(number))) for number in range(6) if (pixels := surface(number)).any()
    ]
    made = [(pixels, one) for pixels, one in found if one is not None]
    assert len(made) >= 4
    for pixels, (damaged, mask) in made:
        change = np.abs(damaged.astype(np.int16) - pixels).max(axis=2)
        assert np.array_equal(mask, change > 0)
        assert (change >= PLAIN).sum() >= PLAIN_PIXELS
        assert mask.sum() < 0.4 * mask.size


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_image_and_seed_give_the_same_defect_and_others_another(kind):
    pixels, before = surface(3), surface(3)
    first, again = plant(kind, pixels), plant(kind, pixels)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(pixels, before)
    others = [plant(kind, pixels, seed=2), plant(kind, pixels, content="b")]
    assert not any(np.array_equal(first[0], other[0]) for other in others if other is not None)


def test_a_defect_shows_where_the_gauge_looks_or_there_is_none():
    inspected = np.zeros_like(EVERYWHERE)
    assert plant("stain", surface(1), inspected=inspected) is None
    inspected[:, :30] = True
    for content in "abcdef":
        found = plant("discoloured", surface(1), content=content, inspected=inspected)
        assert found is None or (found[1] & inspected).sum() >= PLAIN_PIXELS


def test_an_image_smaller_than_any_square_takes_a_defect():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    found = [planted(kind, pixels, pixels[::-1], np.ones((8, 8), bool), seed=1, content="a") for kind in KINDS]
    assert sum(one is not None for one in found) >= 5
