"""A few shots and their rotations: drawn by seed, read once, and turned as the part would turn."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.options import MeanImageOptions, PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.errors import DataError
from gonogo.images.dataset import Dataset
from gonogo.model.fit_images import FitImages, rotated
from gonogo.model.fitting import draw_shots
from gonogo.model.inspector import Inspector


@pytest.mark.parametrize("seed", [0, 17])
def test_shots_are_fit_images_in_order_and_more_of_them_add_to_fewer(digits, seed):
    fit = digits.with_role("fit")
    draws = [draw_shots(fit, shots, seed=seed) for shots in (1, 2, 4, 8, len(fit))]
    for fewer, more in pairwise(draws):
        assert {record.path for record in fewer} < {record.path for record in more}
        assert [record for record in fit if record in more] == more
    assert draws[-1] == draw_shots(fit, None, seed=seed) == fit
    assert not {r.sha256 for r in draws[-1]} & {r.sha256 for r in digits.with_role("calibrate", "test")}


def test_shots_are_those_of_their_seed(digits):
    fit = digits.with_role("fit")
    assert draw_shots(fit, 8, seed=1) == draw_shots(fit, 8, seed=1) != draw_shots(fit, 8, seed=2)


def test_more_shots_than_fit_images_are_refused_with_both_numbers(digits):
    fit = digits.with_role("fit")[:5]
    with pytest.raises(DataError, match=r"fit\.shots is 6, but there are 5 fit images"):
        draw_shots(fit, 6, seed=17)


def test_each_image_is_read_once_for_all_its_rotations(digits, monkeypatch):
    reads = []
    decode = Dataset.pixels_of
    monkeypatch.setattr(Dataset, "pixels_of", lambda dataset, record: reads.append(record) or decode(dataset, record))
    records = digits.with_role("fit")[:3]
    images = FitImages(Inspector(MeanImage(MeanImageOptions(image_size=8))), digits, records, rotations=8)
    views = list(images)
    assert reads == records
    assert len(views) == len(images) == 24
    upright = list(FitImages(Inspector(MeanImage(MeanImageOptions(image_size=8))), digits, records))
    for number in range(3):
        assert torch.equal(views[8 * number], upright[number])
        assert torch.equal(views[8 * number + 2], upright[number].rot90(dims=(2, 3)))


def test_four_rotations_of_a_turned_image_are_those_of_the_image():
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    turned = pixels.rot90(dims=(2, 3))
    ours, theirs = ([rotated(image, step, 4, aspect=1) for step in range(4)] for image in (pixels, turned))
    for step in range(4):
        assert torch.equal(theirs[step], ours[(step + 1) % 4])


@pytest.mark.parametrize(("step", "steps"), [(1, 8), (3, 8), (1, 3), (5, 12)])
def test_a_rotation_is_that_of_scipy_with_the_image_mirrored_at_its_border(step, steps):
    image = torch.rand(1, 1, 33, 33, generator=torch.Generator().manual_seed(0))
    expected = ndimage.rotate(image[0, 0].numpy(), 360 * step / steps, reshape=False, order=1, mode="mirror")
    np.testing.assert_allclose(rotated(image, step, steps, aspect=1)[0, 0], expected, atol=1e-4)


def test_a_part_keeps_its_form_as_it_turns_in_an_image_that_is_not_square():
    wide = np.zeros((64, 128), dtype=np.float32)
    wide[10:18, 60:68] = 1  # 18 pixels above the centre
    square = torch.from_numpy(wide).view(1, 1, 64, 64, 2).mean(dim=4)
    turned = rotated(square, 1, 4, aspect=2)[0, 0].numpy()
    rows, columns = np.nonzero(turned[:, 16:] > 0.5)  # without the reflection of what a quarter turn leaves empty
    assert (rows.min(), rows.max() + 1) == (28, 36)
    assert (32 + 2 * columns.min(), 32 + 2 * (columns.max() + 1)) == (42, 50)  # now left of the centre, no wider


def test_patchcore_knows_a_turned_fit_image_by_its_rotations_alone(digits):
    records = digits.with_role("fit")[:2]
    turned = np.stack([np.rot90(digits.pixels_of(record), turns) for record in records for turns in (1, 2, 3)])
    scores = {}
    for rotations in (1, 4):
        inspector = Inspector(PatchCore(PatchCoreOptions(image_size=64, coreset_ratio=1.0)))
        inspector.detector.fit(FitImages(inspector, digits, records, rotations=rotations), seed=0)
        scores[rotations], _ = inspector.inspect(turned)
    assert scores[4].max() < 1e-3 * scores[1].min()
