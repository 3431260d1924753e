"""PatchCore's options: neighbours, reduction and the size of the bank, each against a plain oracle."""

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from conftest import TINY
from gonogo.detectors.contract import FitContext
from gonogo.detectors.memory_bank.distance import nearest_index, proximity
from gonogo.detectors.options import PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.errors import ConfigError, DataError
from gonogo.export.graph import export_onnx
from gonogo.images.dataset import Dataset
from gonogo.inference.scorer import open_session, run_session
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector


def fitted(digits: Dataset, n_images: int = 6, **options: object) -> PatchCore:
    """A PatchCore of some digits."""
    detector = PatchCore(PatchCoreOptions(image_size=64, **options))
    return detector.fit(FitImages(Inspector(detector), digits, digits.with_role("fit")[:n_images]), seed=3)


def patches_of(detector: PatchCore, pixels: np.ndarray) -> Tensor:
    """(n * p, d) of images (n, h, w, 3)."""
    with torch.inference_mode():
        return detector.patch_features(Inspector(detector).resized(torch.from_numpy(pixels))).flatten(0, 2)


def fit_patches(detector: PatchCore, digits: Dataset, n_images: int = 6) -> Tensor:
    """(n * p, d) of the images that `fitted` fits on."""
    records = digits.with_role("fit")[:n_images]
    return torch.cat([patches_of(detector, digits.pixels_of(record)[None]) for record in records])


def distances(rows: Tensor, others: Tensor) -> np.ndarray:
    """(n, m) l2 in double precision, from differences."""
    a, b = rows.double().numpy(), others.double().numpy()
    return np.stack([np.sqrt(((row - b) ** 2).sum(axis=1)) for row in a])


def test_one_neighbour_is_bit_for_bit_the_distance_to_the_nearest_patch_and_sorts_nothing(digits, pixels, tmp_path):
    detector = fitted(digits, **TINY)
    assert "projection_" not in detector.state_dict()
    with torch.inference_mode():
        features = detector.patch_features(Inspector(detector).resized(torch.from_numpy(pixels)))
        patches = features.flatten(1, 2) - detector.mean_
        nearest = detector.memory_bank_[proximity(patches, detector.memory_bank_).argmax(dim=2)]
        score, grid = detector(Inspector(detector).resized(torch.from_numpy(pixels)))
    expected = (patches - nearest).norm(dim=2)
    assert torch.equal(grid.flatten(1), expected)
    assert torch.equal(score, expected.amax(dim=1))
    export_onnx(Inspector(detector), tmp_path / "gauge.onnx", metadata={}, opset=18)
    assert "TopK" not in {node.op_type for node in onnx.load(tmp_path / "gauge.onnx").graph.node}


@pytest.mark.parametrize("size", [1, 63, 64, 65, 200])
def test_the_nearest_patch_is_that_of_a_plain_search_and_of_equals_the_first_whatever_the_size_of_the_bank(size):
    generator = torch.Generator().manual_seed(size)
    bank = torch.randint(-1, 2, (size, 3), generator=generator).float()  # whole numbers: many equals, no rounding
    rows = torch.randint(-2, 3, (2, 70, 3), generator=generator).float()
    by_distance = np.stack([distances(image, bank) for image in rows])
    np.testing.assert_array_equal(nearest_index(rows, bank).numpy(), by_distance.argmin(axis=2))
    weights = torch.rand(size, generator=generator) + 0.5
    index = nearest_index(rows, bank, weights).numpy()[..., None]
    weighted = by_distance * weights.numpy()
    found = np.take_along_axis(weighted, index, axis=2)[..., 0]
    np.testing.assert_allclose(found, weighted.min(axis=2), atol=1e-3)
    assert size == 1 or len(np.unique(bank.numpy(), axis=0)) < size


def test_with_more_neighbours_a_score_is_the_mean_distance_to_so_many_nearest_patches(digits, pixels):
    detector = fitted(digits, coreset_ratio=0.2, n_neighbors=3)
    to_bank = distances(patches_of(detector, pixels[:1]) - detector.mean_, detector.memory_bank_)
    expected = np.sort(to_bank, axis=1)[:, :3].mean(axis=1)
    score, grid = detector(Inspector(detector).resized(torch.from_numpy(pixels[:1])))
    np.testing.assert_allclose(grid.numpy().ravel(), expected, rtol=1e-4)
    np.testing.assert_allclose(score.numpy(), expected.max(), rtol=1e-4)


def test_a_bank_smaller_than_the_neighbours_asked_for_is_refused(digits):
    with pytest.raises(DataError, match=r"n_neighbors is 5, but the bank keeps 4 of 384 patches"):
        fitted(digits, bank_patches=4, n_neighbors=5)


@pytest.mark.parametrize(
    "options",
    [
        {"coreset_ratio": 0.1, "n_neighbors": 4, "whitening": 0.5},
        {"coreset_ratio": 0.1, "reduction": "pca", "reduced_dims": 12},
        {"bank_patches": 30, "reduction": "random", "reduced_dims": 64, "n_neighbors": 2},
        {"bank_mb": 0.02},
    ],
    ids=lambda options: "-".join(options),
)
def test_each_option_scores_the_same_in_both_runtimes_and_after_a_save(digits, pixels, tmp_path, options):
    options = options | TINY
    detector = fitted(digits, **options)
    inspector = Inspector(detector)
    export_onnx(inspector, tmp_path / "gauge.onnx", metadata={}, opset=18)
    expected = inspector.inspect(pixels)
    session = open_session(tmp_path / "gauge.onnx")
    for batch in (1, 8):
        for ours, theirs in zip(run_session(session, pixels[:batch]), expected, strict=True):
            np.testing.assert_allclose(ours, theirs[:batch], atol=1e-4 * expected[0].max(), rtol=0)
    state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    restored = Inspector(PatchCore(PatchCoreOptions(image_size=64, **options)).restore(state))
    for ours, theirs in zip(restored.inspect(pixels), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_principal_components_as_many_as_dimensions_change_no_score(digits, pixels):
    plain = fitted(digits, coreset_ratio=1.0)
    turned = fitted(digits, coreset_ratio=1.0, reduction="pca", reduced_dims=plain.mean_.numel())
    for ours, theirs in zip(Inspector(turned).inspect(pixels), Inspector(plain).inspect(pixels), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_the_components_are_those_of_scikit_learn_and_keep_the_most_variance(digits):
    from sklearn.decomposition import PCA

    detector = fitted(digits, reduction="pca", reduced_dims=5)
    pca = PCA(n_components=5, svd_solver="full").fit(fit_patches(detector, digits).double().numpy())
    overlap = np.abs(pca.components_ @ detector.projection_.double().numpy())
    np.testing.assert_allclose(overlap, np.eye(5), atol=1e-3)


def test_a_random_projection_keeps_squared_distances_within_its_bound(digits):
    # The ratio of a projected squared distance to the true one is chi-squared with k degrees of freedom over k.
    k = 256
    detector = fitted(digits, reduction="random", reduced_dims=k)
    rows = fit_patches(detector, digits)[::7]
    true = distances(rows, rows)
    apart = true > 0.1 * true.max()
    ratio = (distances(rows @ detector.projection_, rows @ detector.projection_)[apart] / true[apart]) ** 2
    assert abs(ratio.mean() - 1) < 3 * np.sqrt(2 / k)
    assert 0 < np.abs(ratio - 1).max() < 6 * np.sqrt(2 / k)


def test_a_random_projection_is_that_of_its_seed(digits):
    first, again = (fitted(digits, reduction="random", reduced_dims=8).projection_ for _ in range(2))
    assert torch.equal(first, again)
    other = PatchCore(PatchCoreOptions(image_size=64, reduction="random", reduced_dims=8))
    other.fit(FitImages(Inspector(other), digits, digits.with_role("fit")[:6]), seed=4)
    assert not torch.equal(other.projection_, first)


@pytest.mark.parametrize("room", [None, 900_000])
@pytest.mark.parametrize("options", [{}, {"whitening": 0.5}, {"reduction": "pca", "reduced_dims": 8}])
def test_no_seed_changes_a_bank_without_a_random_projection(digits, room, options):
    states = []
    for seed in (3, 4):
        detector = PatchCore(PatchCoreOptions(image_size=64, bank_patches=110, **options))
        images = FitImages(Inspector(detector), digits, digits.with_role("fit")[:30])
        states.append(detector.fit(images, seed=seed, context=FitContext(room=room)).state_dict())
    assert all(torch.equal(states[1][name], tensor) for name, tensor in states[0].items())


def test_the_coreset_is_chosen_in_the_reduced_space(digits):
    detector = fitted(digits, bank_patches=20, reduction="pca", reduced_dims=4)
    assert detector.memory_bank_.shape == (20, 4)
    reduced = (fit_patches(detector, digits) - detector.mean_) @ detector.projection_
    gaps = distances(reduced, detector.memory_bank_).min(axis=1)
    assert gaps.max() == pytest.approx(float(detector.covering_radius_), rel=1e-3)


@pytest.mark.parametrize(
    ("options", "n"), [({}, 4), ({"coreset_ratio": 0.25}, 96), ({"bank_patches": 37}, 37), ({"bank_patches": 999}, 384)]
)
def test_the_bank_has_the_size_asked_for_by_share_or_by_count(digits, options, n):
    assert len(fitted(digits, **options).memory_bank_) == n


@pytest.mark.parametrize("options", [{}, {"reduction": "pca", "reduced_dims": 60}, {"whitening": 0.5}])
def test_a_bank_sized_in_megabytes_is_filled_but_for_less_than_one_patch(digits, options):
    detector = fitted(digits, bank_mb=0.03, **options)
    kept = (detector.memory_bank_, detector.bank_places_)
    taken = sum(buffer.nbytes for buffer in kept)
    assert 30_000 - taken / len(detector.memory_bank_) < taken <= 30_000


def test_megabytes_that_two_patches_exceed_are_refused_with_what_a_patch_takes(digits):
    with pytest.raises(ConfigError, match=r"bank_mb is 0\.001; a patch takes 616 bytes"):
        fitted(digits, bank_mb=0.001)


def test_a_bank_sized_twice_is_refused_and_both_are_named():
    with pytest.raises(ConfigError, match=r"fit\.coreset_ratio and fit\.bank_mb each set the bank's size"):
        PatchCore(PatchCoreOptions(coreset_ratio=0.01, bank_mb=1.0))


@pytest.mark.parametrize("options", [{"reduction": "pca"}, {"reduced_dims": 8}])
def test_a_reduction_without_its_dimensions_or_the_other_way_round_is_refused(options):
    with pytest.raises(ConfigError, match=r"fit\.reduction is .* and fit\.reduced_dims is"):
        PatchCore(PatchCoreOptions(**options))


def test_more_components_than_there_are_dimensions_are_refused(digits):
    with pytest.raises(ConfigError, match=r"reduced_dims is 153; 384 patches of 152 dimensions have 152 components"):
        fitted(digits, reduction="pca", reduced_dims=153)


DINO = {"weights": "random", "layers": [11], "neighbourhood": 1, "top_share": 0.1, "bank_patches": 20}


@pytest.mark.parametrize("backbone", ["vit_small_patch16_dinov3", "vit_xsmall_patch16_clip_224"])
def test_patch_tokens_of_dinov3_and_clip_score_the_same_in_both_runtimes(backbone, digits, pixels, tmp_path):
    """Of the second block: the later ones are of the same operators, and take most of the time of an export."""
    detector = PatchCore(
        PatchCoreOptions(backbone=backbone, image_size=64, **DINO | {"layers": [1]})
    )  # DINOv2: test_foreground.py
    inspector = Inspector(detector)
    detector.fit(FitImages(inspector, digits, digits.with_role("fit")[:6]), seed=3)
    export_onnx(inspector, tmp_path / "gauge.onnx", metadata={}, opset=18)
    session, expected = open_session(tmp_path / "gauge.onnx"), inspector.inspect(pixels)
    assert np.ptp(expected[0]) > 0
    for batch in (1, 8):
        for ours, theirs in zip(run_session(session, pixels[:batch]), expected, strict=True):
            np.testing.assert_allclose(ours, theirs[:batch], atol=1e-4 * expected[0].max(), rtol=0)


@pytest.mark.parametrize(
    ("backbone", "image_size", "n_prefix"), [("vit_small_patch14_dinov2", 56, 1), ("vit_small_patch16_dinov3", 64, 5)]
)
def test_features_of_dino_are_its_patch_tokens_row_by_row_without_class_and_register_tokens(
    pixels, backbone, image_size, n_prefix
):
    detector = PatchCore(PatchCoreOptions(backbone=backbone, image_size=image_size, **DINO))
    features = detector.patch_features.backbone
    resized = Inspector(detector).resized(torch.from_numpy(pixels[:1]))
    seen: list[Tensor] = []
    hook = features.model.blocks[11].register_forward_hook(lambda _module, _given, tokens: seen.append(tokens))
    with torch.inference_mode():
        patches = detector.patch_features(resized)
    hook.remove()
    assert seen[0].shape == (1, n_prefix + 16, 384)
    assert torch.equal(patches.flatten(1, 2), seen[0][:, n_prefix:])


def test_a_share_of_the_worst_patches_gives_their_mean_as_score_and_leaves_the_map(digits, pixels):
    plain, mean = fitted(digits), fitted(digits, top_share=0.1)
    resized = Inspector(plain).resized(torch.from_numpy(pixels))
    score, grid = mean(resized)
    assert torch.equal(grid, plain(resized)[1])
    worst_six = np.sort(grid.flatten(1).numpy(), axis=1)[:, -6:]  # of 64 patches
    np.testing.assert_allclose(score.numpy(), worst_six.mean(axis=1), rtol=1e-6)


def test_whitening_and_a_random_projection_exclude_each_other():
    with pytest.raises(ConfigError, match=r"fit\.reduction is random and fit\.whitening is 0\.5"):
        PatchCoreOptions(reduction="random", reduced_dims=8, whitening=0.5)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_patch_is_the_mean_of_its_neighbourhood_of_cells(pixels, side):
    detector = PatchCore(PatchCoreOptions(image_size=64, layers=[2], neighbourhood=side))
    resized = Inspector(detector).resized(torch.from_numpy(pixels[:1]))
    with torch.inference_mode():
        cells = detector.patch_features.backbone(resized)[0][0]  # (d, 8, 8)
        patch = detector.patch_features(resized)[0, 3, 4]
    reach = side // 2
    around = cells[:, 3 - reach : 4 + reach, 4 - reach : 5 + reach]
    np.testing.assert_allclose(patch, around.mean(dim=(1, 2)), rtol=1e-4, atol=1e-5)


def test_a_budget_that_all_patches_fit_in_changes_no_bit_of_the_bank(digits):
    without = fitted(digits)
    within = PatchCore(PatchCoreOptions(image_size=64))
    within.fit(
        FitImages(Inspector(within), digits, digits.with_role("fit")[:6]), seed=3, context=FitContext(room=600_000)
    )
    assert all(torch.equal(within.state_dict()[name], tensor) for name, tensor in without.state_dict().items())


def in_parts(digits: Dataset, room: int, **options: object) -> PatchCore:
    """A PatchCore of 30 digits, whose 1,920 patches need 2.5 MB at once."""
    detector = PatchCore(PatchCoreOptions(image_size=64, **options))
    images = FitImages(Inspector(detector), digits, digits.with_role("fit")[:30])
    return detector.fit(images, seed=3, context=FitContext(room=room))


@pytest.mark.parametrize(
    "options", [{}, {"reduction": "pca", "reduced_dims": 20}, {"reduction": "random", "reduced_dims": 20}]
)
def test_a_bank_from_parts_has_the_size_asked_for_and_covers_all_patches_as_closely_as_it_says(digits, options):
    detector = in_parts(digits, 900_000, bank_patches=110, **options)
    assert detector.memory_bank_.shape[0] == 110
    patches = fit_patches(detector, digits, 30) - detector.mean_
    reduced = patches @ detector.projection_ if options else patches
    farthest = distances(reduced, detector.memory_bank_).min(axis=1).max()
    facts = detector.fit_facts()
    assert "covering_radius" not in facts
    assert farthest <= facts["covering_radius_at_most"] * (1 + 1e-5) < 4 * farthest
    again = PatchCore(PatchCoreOptions(image_size=64, bank_patches=110, **options)).restore(detector.state_dict())
    assert again.fit_facts() == facts


def test_a_bank_for_which_there_is_no_room_becomes_smaller_and_the_forecast_says_so(digits):
    detector = PatchCore(PatchCoreOptions(image_size=64, coreset_ratio=0.5))
    images = FitImages(Inspector(detector), digits, digits.with_role("fit")[:30])
    expected = detector.forecast(images, FitContext(room=900_000))
    size = len(in_parts(digits, 900_000, coreset_ratio=0.5).memory_bank_)
    assert 100 <= size < 960
    assert (
        f"1,920 patches in 6 parts, of which 117 each are kept, a bank of {size} of those instead of 960"
        in expected.how
    )
    assert expected.memory <= 900_000


def test_a_budget_without_room_for_a_bank_of_use_is_refused_with_numbers(digits):
    with pytest.raises(
        ConfigError, match=r"leaves 0\.1 MB for 1,920 patches of 152 .* bank of 48; the options want 960"
    ):
        in_parts(digits, 100_000, coreset_ratio=0.5)
