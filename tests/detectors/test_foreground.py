"""The foreground mask: what shows the part counts, the rest does not, and without a part to be told all of it does."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gonogo.detectors.memory_bank.foreground import learn_foreground, otsu
from gonogo.detectors.options import PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.export.graph import export_onnx
from gonogo.inference.scorer import open_session, run_session
from gonogo.model.inspector import Inspector

SIDE = 16  # cells


def disc(radius: float, *, row: float = 7.5, column: float = 7.5) -> np.ndarray:
    """(SIDE, SIDE) bool."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def features_of(*parts: np.ndarray, seed: int = 0, offset: float = 12.0) -> Tensor:
    """(n, SIDE, SIDE, 6): noise, and an offset in three of its six dimensions where the part is."""
    noise = np.random.default_rng(seed).normal(size=(len(parts), SIDE, SIDE, 6))
    noise[..., 0] += 30  # common to all patches
    noise[..., :3] += offset * np.stack(parts)[..., None] * [-1, 1, -1]
    return torch.from_numpy(noise).float()


def dilated(part: np.ndarray) -> np.ndarray:
    padded = np.pad(part, 1)
    return np.array([[padded[r : r + 3, c : c + 3].any() for c in range(SIDE)] for r in range(SIDE)])


@pytest.fixture(scope="module")
def good() -> Tensor:
    """Six good images: a disc, somewhat shifted."""
    return features_of(*(disc(5, row=7.5 + shift, column=7.5 - shift) for shift in (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5)))


def test_the_foreground_is_the_part_grown_by_one_cell_wherever_it_lies(good):
    foreground = learn_foreground([good])
    moved = disc(4, row=4, column=11)
    weights = foreground.weights(features_of(disc(5), moved, seed=1))
    np.testing.assert_array_equal(weights[0], dilated(disc(5)))
    np.testing.assert_array_equal(weights[1], dilated(moved))
    assert foreground.fit_facts()["foreground"] == "pca"


def test_images_in_one_batch_or_in_many_teach_the_same(good):
    for one, many in zip(learn_foreground([good]), learn_foreground(list(good.split(1))), strict=True):
        assert torch.equal(one, many)


def test_a_hole_in_the_part_counts_and_a_gap_that_the_border_reaches_does_not(good):
    ring = disc(6) & ~disc(3)
    slit = ring.copy()
    slit[:, 6:10] &= np.arange(SIDE)[:, None] > 7
    closed, opened = learn_foreground([good]).weights(features_of(ring, slit, seed=2)).numpy()
    assert closed[7, 7] == 1
    assert opened[7, 7] == 0


def test_a_background_unlike_the_part_on_either_side_of_the_axis_is_background(good):
    for sign in (-1, 1):
        weights = learn_foreground([sign * good]).weights(sign * good)
        assert weights[:, 0].max() == 0
        assert weights[:, 7:9, 7:9].min() == 1


def test_a_mask_changes_by_little_where_features_change_by_little(good):
    foreground = learn_foreground([good])
    path = torch.linspace(0, 1, 2001)[:, None, None, None] * (good[:1, :1, :1] - good[:1, 7:8, 7:8])
    scene = good[:1].repeat(2001, 1, 1, 1)
    scene[:, 7:8, 1:2] = good[:1, 7:8, 7:8] + path  # one cell passes from the part to the background
    weights = foreground.weights(scene)
    assert weights[0, 7, 1] == 1
    assert weights[-1, 7, 1] == 0
    assert weights.diff(dim=0).abs().max() < 0.01


def test_an_image_without_the_part_counts_as_a_whole(good):
    foreground = learn_foreground([good])
    empty, speck = disc(0, row=99), disc(1, row=4, column=4)
    assert foreground.weights(features_of(empty, speck, seed=3)).min() == 1


@pytest.mark.parametrize(
    "parts",
    [
        [disc(0, row=99)] * 6,  # a texture: nothing but noise
        [np.arange(SIDE)[:, None] % 8 + np.zeros((SIDE, SIDE)) < 4] * 6,  # a texture of two kinds
        [disc(3, row=0, column=shift) for shift in range(6)],  # something at the border alone
        [disc(1, row=6 + shift, column=8) for shift in range(4)],  # too little of the centre
        [1 - ((np.mgrid[:SIDE, :SIDE] - 7.5) ** 2).sum(axis=0) / 112.5] * 6,  # a texture in light that falls off
    ],
    ids=["noise", "stripes", "corner", "speck", "vignette"],
)
def test_the_masking_test_leaves_the_mask_off_where_no_part_stands_out(parts):
    features = features_of(*parts)
    foreground = learn_foreground([features])
    assert foreground.weights(features).min() == 1
    assert foreground.fit_facts()["foreground"] == "off, since the masking test failed"


def test_the_threshold_is_otsus_by_brute_force():
    values = np.concatenate([np.random.default_rng(0).normal(0, 1, 60), np.random.default_rng(1).normal(6, 2, 90)])
    ordered = np.sort(values)
    between = [
        k * (150 - k) / 150**2 * (ordered[:k].mean() - ordered[k:].mean()) ** 2 / values.var() for k in range(1, 150)
    ]
    best = int(np.argmax(between))
    threshold, separability = otsu(torch.from_numpy(values))
    assert float(threshold) == pytest.approx((ordered[best] + ordered[best + 1]) / 2, rel=1e-5)
    assert float(separability) == pytest.approx(between[best], rel=1e-5)


def photographs(n: int) -> np.ndarray:
    """(n, 128, 128, 3) uint8: a mottled orange disc on grey, shifted from image to image."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:128, :128]
    images = rng.normal(90, 2, (n, 128, 128, 3))
    for image, (row, column) in zip(images, rng.integers(-6, 7, (n, 2)), strict=True):
        part = (rows - 64 - row) ** 2 + (columns - 64 - column) ** 2 < 30**2
        image[part] = rng.normal([220, 140, 40], 6, (part.sum(), 3))
    return images.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Inspector]:
    """With and without the mask, on the same photographs."""
    inspectors = {}
    for foreground in ("none", "pca"):
        inspector = Inspector(PatchCore(PatchCoreOptions(image_size=128, coreset_ratio=0.3, foreground=foreground)))
        pixels = torch.from_numpy(photographs(6))
        inspector.detector.fit([inspector.resized(pixels)], seed=0)
        inspectors[foreground] = inspector
    return inspectors


@pytest.fixture(scope="module")
def scenes() -> np.ndarray:
    """(4, 128, 128, 3) uint8: a good part; a stain beside it; the stain on it; no part."""
    good = photographs(9)[-1:]
    beside, on, empty = good.copy(), good.copy(), good.copy()
    for image, row, column in ((beside, 4, 4), (on, 60, 60)):
        image[0, row : row + 10, column : column + 10] = [70, 80, 100]
    empty[0] = np.tile(good[0, :16, :16], (8, 8, 1))
    return np.concatenate([good, beside, on, empty])


def test_a_stain_counts_on_the_part_and_not_beside_it(fitted, scenes):
    plain, masked = (fitted[name].inspect(scenes)[0] for name in ("none", "pca"))
    assert plain[1] > 1.5 * plain[0]
    assert masked[1] == pytest.approx(masked[0], rel=0.05)  # patches of the part see a little of what is beside it
    assert masked[2] > 1.5 * masked[0]
    assert masked[3] > 1.5 * masked[0]
    corner = [fitted[name].inspect(scenes)[1][1, :16, :16].max() for name in ("none", "pca")]
    assert corner[1] < 0.01 * corner[0]


def test_the_bank_leaves_the_background_out(fitted):
    assert (
        fitted["pca"].detector.fit_facts()["bank_patches"] < 0.75 * fitted["none"].detector.fit_facts()["bank_patches"]
    )


def test_patch_tokens_of_dino_and_their_mask_score_the_same_in_both_runtimes_and_after_a_save(scenes, tmp_path):
    options = {
        "backbone": "vit_small_patch14_dinov2",
        "weights": "random",
        "layers": [1],  # the later blocks are of the same operators, and take most of the time of an export
        "image_size": 112,
        "neighbourhood": 1,
        "top_share": 0.1,
        "coreset_ratio": 0.3,
        "foreground": "pca",
    }
    detector = PatchCore(PatchCoreOptions(**options))
    inspector = Inspector(detector)
    detector.fit([inspector.resized(torch.from_numpy(photographs(6)))], seed=0)
    assert detector.fit_facts()["foreground"] == "pca"
    export_onnx(inspector, tmp_path / "gauge.onnx", metadata={}, opset=18)
    session, pixels = open_session(tmp_path / "gauge.onnx"), np.concatenate([scenes, photographs(4)])
    expected = inspector.inspect(pixels)
    assert np.ptp(expected[0]) > 0
    for batch in (1, 8):
        for ours, theirs in zip(run_session(session, pixels[:batch]), expected, strict=True):
            np.testing.assert_allclose(ours, theirs[:batch], atol=1e-4 * expected[0].max(), rtol=0)
    again = PatchCore(PatchCoreOptions(**options)).restore(
        {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    )
    for ours, theirs in zip(Inspector(again).inspect(pixels), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.fit_facts() == detector.fit_facts()
