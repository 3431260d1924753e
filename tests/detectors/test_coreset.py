import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gonogo.detectors.memory_bank import coreset
from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.errors import ConfigError, DataError, ShapeError

BLOCKS = [1, 2, 7, 64, 100_000]


def one_at_a_time(features: Tensor, n_select: int, first: int | None = None) -> tuple[list[int], float]:
    """The definition: again and again the patch farthest from all chosen ones, the lowest index among equals.

    Without a first one it starts at the patch nearest to the mean.
    """
    patches = features.double().numpy()
    if first is None:
        first = int(((patches - patches.mean(axis=0)) ** 2).sum(axis=1).argmin())
    nearest = np.full(len(patches), np.inf)  # squared_l2 to the nearest chosen patch
    chosen: list[int] = []
    index = first
    while True:
        chosen.append(index)
        nearest = np.minimum(nearest, ((patches - patches[index]) ** 2).sum(axis=1))
        index = int(nearest.argmax())
        if len(chosen) == n_select or nearest[index] == 0:
            return chosen, math.sqrt(nearest[index])


def clusters(n: int, d: int, seed: int, *, n_clusters: int = 50, rank: int = 8) -> Tensor:
    """Patches like real ones: clusters, each nearly in a subspace of its own."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(n_clusters, d, generator=generator)
    directions = 0.5 * torch.randn(n_clusters, rank, d, generator=generator)
    which = torch.randint(n_clusters, (n,), generator=generator)
    patches = 0.05 * torch.randn(n, d, generator=generator)
    for cluster in range(n_clusters):
        inside = which == cluster
        steps = torch.randn(int(inside.sum()), rank, generator=generator)
        patches[inside] += centres[cluster] + steps @ directions[cluster]
    return patches


def isotropic(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def integers(n: int, d: int, high: int) -> Tensor:
    return torch.randint(high, (n, d), generator=torch.Generator().manual_seed(5)).float()


def with_far_outlier(patches: Tensor) -> Tensor:
    patches = patches.clone()
    patches[len(patches) // 2] += 1000
    return patches


TIED = {
    "grid in order": torch.cartesian_prod(torch.arange(12), torch.arange(12)).float(),
    "grid, shuffled, with duplicates": integers(400, 2, 12),
    "corners of a cube": integers(300, 6, 2),
    "one cluster": integers(300, 4, 3) + 50,
    "collinear": torch.outer(integers(200, 1, 150)[:, 0], torch.tensor([1.0, 2.0, -3.0])),
    "evenly spaced": torch.arange(100.0)[:, None],
    "far outlier": with_far_outlier(integers(300, 3, 6)),
    "all duplicates": torch.ones(50, 3),
}
ROUNDED = {
    "far outlier": with_far_outlier(isotropic(300, 8, 0)),
    "far from the origin": isotropic(300, 8, 1) * 0.01 + 1000,
    "two clusters, much farther apart than wide": isotropic(300, 8, 2) + 1e4 * (torch.arange(300) % 2)[:, None],
    "duplicates": isotropic(60, 37, 3)[torch.arange(300) * 7 % 60],
    "squares overflow in float32": isotropic(300, 8, 4) * 1e37,
    "squares underflow in float32": isotropic(300, 8, 5) * 1e-37,
    "one patch dwarfs the others": torch.cat([isotropic(200, 8, 6), torch.full((1, 8), 1e30)]),
    "two opposite patches dwarf the others": torch.cat(
        [isotropic(200, 8, 6), torch.tensor([[1e30], [-1e30]]).expand(2, 8)]
    ),
    "mirror images": torch.cat([isotropic(100, 5, 7), -isotropic(100, 5, 7)]),
}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("d", [1, 3, 40, 152])
@pytest.mark.parametrize("make", [isotropic, clusters])
def test_blocks_choose_what_one_at_a_time_chooses(make, d, block):
    for seed in range(3):
        patches = make(400, d, seed)
        chosen = greedy_coreset(patches, 90, first=seed, block=block)
        indices, radius = one_at_a_time(patches, 90, first=seed)
        assert chosen.indices.tolist() == indices
        assert chosen.covering_radius == pytest.approx(radius, rel=1e-12)


def test_the_default_block_chooses_what_one_at_a_time_chooses_among_many_patches():
    patches = clusters(20_000, 64, 0)
    assert greedy_coreset(patches, 600).indices.tolist() == one_at_a_time(patches, 600)[0]


def test_where_it_starts_depends_on_the_patches_alone():
    patches = clusters(900, 40, 0)
    chosen = patches[greedy_coreset(patches, 50).indices]
    shuffled = patches[torch.randperm(900, generator=torch.Generator().manual_seed(1))]
    assert torch.equal(shuffled[greedy_coreset(shuffled, 50).indices], chosen)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        assert torch.equal(patches[greedy_coreset(patches, 50).indices], chosen)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", TIED)
def test_ties_go_to_the_lowest_index_whatever_the_block(name, block):
    patches = TIED[name]
    for n_select in (1, 2, 30, len(patches)):
        chosen = greedy_coreset(patches, n_select, first=7, block=block)
        assert (chosen.indices.tolist(), chosen.covering_radius) == one_at_a_time(patches, n_select, first=7)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_of_the_matrix_product_never_changes_the_choice(name, block):
    patches = ROUNDED[name]
    chosen = greedy_coreset(patches, 150, first=3, block=block)
    indices, radius = one_at_a_time(patches, 150, first=3)
    assert chosen.indices.tolist() == indices
    assert chosen.covering_radius == pytest.approx(radius, rel=1e-12, abs=0)


def test_bounds_stay_above_the_distances_and_are_zero_for_selected_patches():
    for patches in (*ROUNDED.values(), isotropic(500, 1500, 8), clusters(500, 152, 9)):
        cover = coreset._Cover(patches, 0)
        cover.add([5, 9, 40])
        difference = patches.double()[:, None] - patches.double()[[0, 5, 9, 40]]
        assert (cover.bounds >= difference.square().sum(dim=2).amin(dim=1)).all()
        assert cover.bounds[[0, 5, 9, 40]].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("block", BLOCKS)
def test_selection_stops_early_when_only_duplicates_of_chosen_patches_remain(block):
    distinct = isotropic(23, 37, 0)
    patches = distinct[torch.arange(200) % 23]
    chosen = greedy_coreset(patches, 150, block=block)
    assert sorted(chosen.indices.tolist()) == list(range(23))
    assert chosen.covering_radius == 0.0


def test_selecting_every_distinct_patch_takes_each_once():
    patches = isotropic(150, 6, 0)
    chosen = greedy_coreset(patches, 150, block=16)
    assert sorted(chosen.indices.tolist()) == list(range(150))
    assert chosen.covering_radius == 0.0


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 1 << 30])
def test_the_chunk_that_bounds_the_memory_does_not_change_the_choice(monkeypatch, chunk_bytes):
    expected = {name: one_at_a_time(patches, 40)[0] for name, patches in TIED.items()}
    monkeypatch.setattr(coreset, "_CHUNK_BYTES", chunk_bytes)
    assert {name: greedy_coreset(p, 40, block=16).indices.tolist() for name, p in TIED.items()} == expected


def test_covering_radius_is_the_largest_distance_to_the_nearest_selected_patch():
    for n_select in (1, 10, 100):
        patches = clusters(500, 24, n_select)
        chosen = greedy_coreset(patches, n_select, block=32)
        nearest = [min(math.dist(patch, patches[i].tolist()) for i in chosen.indices) for patch in patches.tolist()]
        assert chosen.covering_radius == pytest.approx(max(nearest), rel=1e-12)


@pytest.mark.parametrize("block", BLOCKS)
def test_progress_reports_the_covering_radius_after_each_count_and_ends_at_the_last(block):
    patches = clusters(400, 12, 0)
    steps: list[tuple[int, int, float]] = []
    chosen = greedy_coreset(patches, 60, block=block, on_step=lambda *step: steps.append(step))
    counts, totals, radii = zip(*steps, strict=True)
    assert set(totals) == {60}
    assert list(counts) == sorted(set(counts))
    assert counts[-1] == 60
    assert list(radii) == sorted(radii, reverse=True)
    assert radii[-1] == chosen.covering_radius
    assert list(radii) == pytest.approx([one_at_a_time(patches, count)[1] for count in counts], rel=1e-12)


def test_progress_ends_at_radius_zero_when_selection_stops_early():
    steps: list[tuple[int, int, float]] = []
    greedy_coreset(TIED["all duplicates"], 10, on_step=lambda *step: steps.append(step))
    assert steps == [(1, 10, 0.0)]


def test_features_are_left_as_they_were():
    patches = clusters(100, 12, 0)
    before = patches.clone()
    indices = greedy_coreset(patches, 10).indices
    assert torch.equal(patches, before)
    assert indices.dtype == torch.int64


@pytest.mark.parametrize(
    "features", [torch.zeros(5), torch.zeros(5, 2, 2), torch.zeros(5, 0), torch.zeros(5, 2).double()]
)
def test_features_of_another_shape_or_dtype_are_refused(features):
    with pytest.raises(ShapeError, match=r"expected \(n, d\) float32"):
        greedy_coreset(features, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_select": 0}, "n_select is 0"),
        ({"n_select": 6}, "n_select is 6"),
        ({"first": -1}, "first is -1"),
        ({"first": 5}, "first is 5"),
        ({"block": 0}, "block is 0"),
    ],
)
def test_a_parameter_out_of_range_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        greedy_coreset(isotropic(5, 2, 0), **{"n_select": 2, **wrong})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_feature_that_is_not_finite_is_refused(value):
    patches = isotropic(50, 3, 0)
    patches[30, 1] = value
    with pytest.raises(DataError, match="finite"):
        greedy_coreset(patches, 2)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_choice_continues_from_the_patches_that_are_chosen_already(block):
    patches = clusters(400, 12, 3)
    found = greedy_coreset(patches, 40, chosen=15, block=block)
    chosen = list(range(15))
    for _ in range(25):
        distance = torch.cdist(patches.double(), patches[chosen].double()).amin(dim=1)
        chosen.append(int(distance.argmax()))
    assert found.indices.tolist() == chosen
    distance = torch.cdist(patches.double(), patches[chosen].double()).amin(dim=1)
    assert found.covering_radius == pytest.approx(float(distance.max()), rel=1e-6)


@pytest.mark.parametrize(("chosen", "first"), [(-1, None), (5, None), (2, 0)])
def test_patches_that_cannot_be_chosen_already_are_refused(chosen, first):
    with pytest.raises(ConfigError, match=f"chosen is {chosen}"):
        greedy_coreset(isotropic(10, 3, 1), 4, chosen=chosen, first=first)
