"""What is pasted is a piece of the image itself, as large, as thin and as turned as the paper says."""

import math

import pytest
import torch

from gonogo.detectors.training.cut_paste import paste_patch, paste_scar

SIDE = 256
NUMBERED = torch.stack([torch.arange(SIDE**2).float().view(SIDE, SIDE)] * 3)  # each pixel says where it was


def changed_by(paste, seed):
    """Rows and columns of the pixels that changed, and those that they came from, each (k,)."""
    pasted = paste(NUMBERED, torch.Generator().manual_seed(seed))
    assert torch.equal(pasted[0], pasted[1])
    row, column = (pasted[0] != NUMBERED[0]).nonzero(as_tuple=True)
    came_from = pasted[0][row, column].long()
    return row, column, came_from // SIDE, came_from % SIDE


def extent(positions):
    return int(positions.max() - positions.min()) + 1


def test_a_patch_is_a_whole_rectangle_of_the_image_moved_by_one_step():
    shapes = []
    for seed in range(200):
        row, column, from_row, from_column = changed_by(paste_patch, seed)
        assert extent(row) * extent(column) == len(row)
        assert len(set((row - from_row).tolist())) == len(set((column - from_column).tolist())) == 1
        shapes.append((extent(row), extent(column)))
    areas = torch.tensor([height * width / SIDE**2 for height, width in shapes])
    aspects = torch.tensor([height / width for height, width in shapes])
    assert 0.0195 < areas.min() < 0.03
    assert 0.14 < areas.max() < 0.1525
    assert 0.295 < aspects.min() < 0.35
    assert 2.9 < aspects.max() < 3.4
    assert 70 < int((aspects > 1).sum()) < 130


def test_a_scar_is_a_thin_rectangle_of_the_image_turned_by_at_most_45_degrees():
    lengths, widths, angles = [], [], []
    for seed in range(200):
        row, column, from_row, from_column = changed_by(paste_scar, seed)
        length, width = extent(from_row), extent(from_column)
        assert len(row) == pytest.approx(length * width, rel=0.15, abs=6)  # a turn keeps the area
        lengths.append(length)
        widths.append(width)
        if length > 3 * width:  # long enough to measure its turn: the direction in which it spreads most
            spread = torch.linalg.eigh(torch.cov(torch.stack([row, column]).float())).eigenvectors[:, 1]
            angles.append(math.degrees(math.atan(float(spread[1] / spread[0]))))
    assert (min(widths), max(widths)) == (2, 16)
    assert (min(lengths), max(lengths)) == (10, 25)
    assert len(angles) > 20
    assert -47 < min(angles) < -35
    assert 35 < max(angles) < 47


@pytest.mark.parametrize("paste", [paste_patch, paste_scar])
@pytest.mark.parametrize("side", [32, 64])
def test_sizes_scale_with_the_image_and_something_always_changes(paste, side):
    pixels = torch.arange(side**2).float().view(1, side, side)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        pasted = paste(pixels, generator)
        share = float((pasted != pixels).float().mean())
        assert 0 < share < (0.16 if paste is paste_patch else 0.03)


@pytest.mark.parametrize("paste", [paste_patch, paste_scar])
def test_pasting_leaves_its_image_alone_and_draws_from_its_generator_alone(paste):
    pixels = NUMBERED.clone()
    one, same, other = (paste(pixels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(pixels, NUMBERED)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
