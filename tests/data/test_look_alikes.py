"""Nearly the same image is found at any size, and different parts of one kind are not taken for each other."""

import io

import numpy as np
import pytest
from PIL import Image

from gonogo.data import source_class
from gonogo.data.prepare.look_alikes import look_alikes, look_of, usual_look
from gonogo.data.sample import Shares


def parts(n, side, *, noise, gain, structure):
    """Parts on a jig: one scene, the camera's noise, light that varies, and blotches of each part's own."""
    rng = np.random.default_rng(side)
    y, x = np.mgrid[:side, :side] / side
    scene = np.where((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.12, 170, 90) + 20 * np.sin(6 * x) + 8 * y
    images = []
    for _ in range(n):
        own = Image.fromarray(rng.standard_normal((9, 9)).astype(np.float32)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        light = 1 + gain * rng.standard_normal()
        pixels = scene * light + structure * np.asarray(own) + noise * rng.standard_normal((side, side))
        images.append(np.repeat(np.clip(pixels, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2))
    return images


def jpeg(pixels, quality):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(stream.getvalue())).convert("RGB"))


def looks_of(images):
    return np.stack([look_of(image) for image in images])


@pytest.mark.parametrize("side", [64, 96, 200, 480])
@pytest.mark.parametrize("quality", [75, 90])
def test_an_image_saved_again_as_jpeg_is_found_at_any_size(side, quality):
    images = parts(40, side, noise=2, gain=0.01, structure=6)
    looks = looks_of(images)
    copies = looks_of([jpeg(image, quality) for image in images])
    np.testing.assert_array_equal(look_alikes(copies, looks, usual_look(looks)), np.arange(40))


@pytest.mark.parametrize("side", [64, 96, 480])
@pytest.mark.parametrize(("noise", "gain", "structure"), [(2, 0, 0), (5, 0.03, 0), (1, 0.002, 1), (3, 0.01, 6)])
def test_parts_that_differ_by_light_and_noise_alone_are_no_copies_of_each_other(side, noise, gain, structure):
    looks = looks_of(parts(60, side, noise=noise, gain=gain, structure=structure))
    assert (look_alikes(looks, looks, usual_look(looks)) == -1).all()


@pytest.mark.parametrize("part", ["washer", "connector", "label"])
def test_no_two_rendered_parts_look_alike_and_each_copy_is_found(part):
    source = source_class("rendered")(part=part, n_good=24, defects_per_type=1, size=128)
    samples = source.samples(part, None, Shares(seed=5, test=0.2, calibrate=0.4))
    images = [sample.image for sample in samples if sample.label == 0]
    looks = looks_of(images)
    assert (look_alikes(looks, looks, usual_look(looks)) == -1).all()
    copies = looks_of([jpeg(image, 75) for image in images])
    np.testing.assert_array_equal(look_alikes(copies, looks, usual_look(looks)), np.arange(len(images)))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_few_parts_are_no_copies_of_each_other_and_a_copy_of_one_is_found(n):
    images = parts(n, 96, noise=2, gain=0.01, structure=12)
    looks = looks_of(images)
    assert (look_alikes(looks, looks, usual_look(looks)) == -1).all()
    copies = looks_of([jpeg(image, 90) for image in images])
    np.testing.assert_array_equal(look_alikes(copies, looks, usual_look(looks)), np.arange(n))
