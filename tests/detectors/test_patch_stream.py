"""Patches in parts: what is left covers all of them as closely as is said, in no more memory than was given."""

import numpy as np
import pytest
import torch

from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.detectors.memory_bank.patch_stream import (
    BankCandidates,
    PatchStream,
    Plan,
    Reduction,
    merge_parts,
    plan_patches,
    select_from_part,
    selection_bytes,
)
from gonogo.errors import DataError

P, D = 16, 6
PARTS = Plan(n_patches=50 * P, n_select=12, part=130, keep=12, memory=0)  # no whole number of images
WHOLE = Plan(n_patches=50 * P, n_select=12, part=None, keep=12, memory=0)


@pytest.fixture(scope="module")
def features():
    """(50, 16, 6): patches in five clusters far from zero, some lonely."""
    rng = np.random.default_rng(0)
    centres = 40 + rng.normal(0, 6, (5, D))
    rows = centres[rng.integers(0, 5, (50, P))] + rng.normal(0, 1, (50, P, D))
    rows[7, 3] += 30
    return torch.from_numpy(rows.astype(np.float32))


def taken(features, plan, *, kind="none", dims=None, parts=None, whitening=0.0, seed=3) -> BankCandidates:
    reduction = Reduction(kind, dims, seed, whitening=whitening)
    stream = PatchStream(plan, features[:1], reduction, lambda *report: None if parts is None else parts.append(report))
    for start in range(0, len(features), 3):
        stream.add(features[start : start + 3])
    return stream.finish()


def gaps(rows, bank):
    """(n,) l2 distance of each row to the nearest of the bank, in double precision."""
    return np.array([np.sqrt(((row - bank) ** 2).sum(axis=1)).min() for row in rows])


def chosen(left: BankCandidates, n_select: int):
    coreset = greedy_coreset(left.patches, n_select)
    return left.patches[coreset.indices].double().numpy(), coreset.covering_radius


def test_held_all_at_once_patches_are_as_they_came_but_for_their_mean(features):
    left = taken(features, WHOLE)
    flat = features.flatten(0, 1)
    assert left.radius is None
    assert torch.equal(left.patches, flat - flat.mean(dim=0))
    assert left.numbers.tolist() == list(range(50 * P))


def test_more_images_than_were_announced_are_all_held(features):
    few = Plan(n_patches=20 * P, n_select=12, part=None, keep=12, memory=0)
    assert torch.equal(taken(features, few).patches, taken(features, WHOLE).patches)
    assert torch.equal(taken(features, few).numbers, taken(features, WHOLE).numbers)


def test_in_parts_each_leaves_as_many_as_it_should_and_each_knows_its_image(features):
    reports: list[tuple[int, int, float]] = []
    left = taken(features, PARTS, parts=reports)
    assert len(left.patches) == 7 * 12  # of 800 patches in parts of 130
    assert [report[:2] for report in reports] == [(number, 7) for number in range(1, 8)]
    assert left.radius == reports[-1][2] == max(report[2] for report in reports)
    torch.testing.assert_close(left.patches + left.mean, features.flatten(0, 1)[left.numbers])


def test_no_patch_is_farther_from_the_last_choice_than_both_radii_together_nor_four_times_the_least(features):
    left = taken(features, PARTS)
    bank, last = chosen(left, 12)
    farthest = gaps((features.flatten(0, 1) - left.mean).double().numpy(), bank).max()
    at_once = chosen(taken(features, WHOLE), 12)[1]
    assert last < farthest <= left.radius + last + 1e-5
    assert farthest <= 4 * at_once
    assert left.radius + last < gaps(features.flatten(0, 1).double().numpy(), np.zeros((1, D))).max() / 4


@pytest.mark.parametrize("kind", ["pca", "random"])
def test_the_bound_holds_among_reduced_patches_too(features, kind):
    left = taken(features, PARTS, kind=kind, dims=3)
    bank, last = chosen(left, 12)
    reduced = (features.flatten(0, 1) - left.mean) @ left.projection
    assert left.patches.shape == (84, 3)
    assert gaps(reduced.double().numpy(), bank).max() <= left.radius + last + 1e-4


def test_components_of_patches_in_parts_are_those_of_all_patches(features):
    in_parts, at_once = (taken(features, plan, kind="pca", dims=3).projection for plan in (PARTS, WHOLE))
    overlap = (in_parts.T @ at_once).abs()
    torch.testing.assert_close(overlap, torch.eye(3), atol=1e-3, rtol=0)


def test_a_random_projection_in_parts_is_that_of_all_patches(features):
    in_parts, at_once = (taken(features, plan, kind="random", dims=3).projection for plan in (PARTS, WHOLE))
    assert torch.equal(in_parts, at_once)


@pytest.mark.parametrize("seed", [17, 18])
def test_parts_leave_the_same_patches_whatever_the_seed(features, seed):
    assert torch.equal(taken(features, PARTS, seed=seed).patches, taken(features, PARTS).patches)


def together(features, *, kind="none", dims=None, keep=12, size=13):
    """What parts of so many images keep, each chosen for itself, merged; and of how many patches."""
    reduction = Reduction(kind, dims, seed=3)
    numbers = torch.arange(50 * P).view(50, P)
    parts = [slice(start, start + size) for start in range(0, 50, size)]
    looked = [select_from_part(features[p].flatten(0, 1), numbers[p].flatten(), reduction, keep) for p in parts]
    return merge_parts(looked, reduction)


def test_parts_looked_at_each_for_itself_leave_patches_within_the_same_bound(features):
    left, n_patches = together(features)
    bank, last = chosen(left, 12)
    flat = features.flatten(0, 1)
    farthest = gaps((flat - left.mean).double().numpy(), bank).max()
    assert n_patches == len(flat)
    assert len(left.patches) == 4 * 12
    assert last - 1e-5 <= farthest <= left.radius + last + 1e-5
    assert farthest <= 4 * chosen(taken(features, WHOLE), 12)[1]
    torch.testing.assert_close(left.mean, flat.mean(dim=0))
    torch.testing.assert_close(left.patches + left.mean, features.flatten(0, 1)[left.numbers])


@pytest.mark.parametrize("kind", ["pca", "random"])
def test_a_reduction_of_parts_is_that_of_all_patches_and_the_bound_holds_in_it(features, kind):
    left, _ = together(features, kind=kind, dims=3)
    whole = taken(features, WHOLE, kind=kind, dims=3)
    signs = (left.projection * whole.projection).sum(dim=0).sign()  # of a component, either direction will do
    torch.testing.assert_close(left.projection * signs, whole.projection, atol=1e-4, rtol=1e-3)
    bank, last = chosen(left, 12)
    reduced = (features.flatten(0, 1) - left.mean) @ left.projection
    assert gaps(reduced.double().numpy(), bank).max() <= left.radius + last + 1e-4


def test_a_part_with_no_patch_leaves_nothing_and_no_part_with_one_is_an_error(features):
    none, reduction = torch.empty(0, D), Reduction("pca", 3, seed=3)
    empty = select_from_part(none, torch.arange(0), reduction, 12)
    full = select_from_part(features.flatten(0, 1), torch.arange(50 * P), reduction, 12)
    left, n_patches = merge_parts([empty, full, empty], reduction)
    assert (len(left.patches), n_patches) == (12, 50 * P)
    with pytest.raises(DataError, match="no patch of a fit image is left"):
        merge_parts([empty], reduction)


@pytest.mark.parametrize("room", [10_000, 60_000, 300_000, 1_000_000])
@pytest.mark.parametrize("n_select", [5, 400, 20_000])
def test_a_plan_keeps_its_room_and_fills_more_than_a_third_of_it_where_it_must(room, n_select):
    plan = plan_patches(5000, 40, n_select, room, d_in_parts=40)
    if plan is None:
        assert room == 10_000
        return
    assert plan.memory <= room
    assert plan.n_select <= n_select
    if plan.part is None:
        assert selection_bytes(5000, 40) <= room
        return
    assert plan.n_parts * plan.part >= 5000
    assert plan.n_select <= plan.n_left
    if n_select > plan.n_select:
        assert plan.memory > room / 3


def test_without_a_room_or_with_enough_of_it_all_is_held_at_once():
    assert plan_patches(5000, 40, 50, None, d_in_parts=40) == plan_patches(5000, 40, 50, 10**9, d_in_parts=40)
    assert plan_patches(5000, 40, 50, None, d_in_parts=40).part is None


def test_reduced_patches_wait_in_larger_parts():
    full, reduced = (plan_patches(5000, 40, 50, 60_000, d_in_parts=d) for d in (40, 8))
    assert reduced.part > 2 * full.part


@pytest.mark.parametrize("plan", [WHOLE, PARTS], ids=["whole", "parts"])
@pytest.mark.parametrize(("kind", "dims"), [("none", None), ("pca", 4)])
def test_fully_whitened_patches_vary_alike_in_all_directions_and_as_much_in_all_as_before(features, plan, kind, dims):
    plain, white = (taken(features, plan, kind=kind, dims=dims, whitening=power) for power in (0.0, 1.0))
    flat = features.flatten(0, 1).double()
    before = (flat if plain.projection is None else flat @ plain.projection.double()).T.cov()
    after = (flat @ white.projection.double()).T.cov()
    variances = after.diagonal()
    assert (after - torch.diag(variances)).abs().max() < 1e-3 * variances.max()
    assert variances.max() / variances.min() < 1.3  # the shrinkage is all that is left
    assert variances.sum() == pytest.approx(float(before.trace()), rel=0.02)


def test_whitening_is_between_the_features_as_they_are_and_their_mahalanobis_distance(features):
    flat = features.flatten(0, 1).double()
    spreads = []
    for power in (0.25, 0.5, 0.75):
        variances = (flat @ taken(features, WHOLE, whitening=power).projection.double()).T.cov().diagonal()
        spreads.append(float(variances.max() / variances.min()))
    own = torch.linalg.eigvalsh(flat.T.cov())
    assert float(own[-1] / own[0]) > spreads[0] > spreads[1] > spreads[2] > 1


def test_patches_of_parts_are_whitened_as_those_of_one_whole_and_covered_as_closely_as_is_said(features):
    whole, parts = (taken(features, plan, whitening=0.5) for plan in (WHOLE, PARTS))
    assert torch.allclose(whole.projection.abs(), parts.projection.abs(), rtol=1e-2, atol=1e-3)
    bank, last = chosen(parts, 12)
    everything = ((features.flatten(0, 1) - parts.mean) @ parts.projection).double().numpy()
    assert gaps(everything, bank).max() <= parts.radius + last + 1e-4


def test_an_axis_without_any_variance_stays_finite(features):
    flat = features.clone()
    flat[..., 2] = 7.0
    left = taken(flat, WHOLE, whitening=1.0)
    assert torch.isfinite(left.patches).all()
    assert torch.isfinite(taken(torch.full_like(flat, 3.0), WHOLE, whitening=0.5).patches).all()
