"""What `benchmarks/boxes.py` compares: FCOS learns from the same crops, and each second is counted once."""

import math
import time

import numpy as np
import pytest
import torch

from boxes import Clock, Pause
from conftest import TINY
from fcos_peer import fcos, found_by, greedy, targets_of
from gonogo.calibration.boxes import overlaps
from gonogo.detectors.backbones.backbone import Backbone


def test_the_suppression_keeps_what_no_better_kept_box_overlaps():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (50, 2))
    boxes, scores = np.hstack([corner, corner + rng.uniform(10, 40, (50, 2))]), rng.uniform(size=50)
    kept: list[int] = []
    for number in np.argsort(-scores).tolist():
        if all(overlaps(boxes[number][None], boxes[other][None])[0, 0] <= 0.5 for other in kept):
            kept.append(number)
    assert greedy(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5).tolist() == kept
    assert 5 < len(kept) < 50


def test_fcos_is_given_the_boxes_whose_centre_a_crop_shows_cut_at_its_border():
    boxes = torch.tensor([[-4.0, 2, 10, 8], [-9, 2, 3, 8], [20, 20, 40, 30]])
    given = targets_of(boxes, torch.tensor([1, 0, 2]), 32, 36)
    assert given["boxes"].tolist() == [[0, 2, 10, 8], [20, 20, 36, 30]]
    assert given["labels"].tolist() == [1, 2]


def test_fcos_behind_a_backbone_learns_from_a_square_and_gives_boxes_of_the_image():
    backbone = Backbone(TINY["backbone"], [0, 1, 2], 64)
    network = fcos(backbone, 1, seed=3)
    pixels = torch.zeros(3, 64, 64)
    pixels[:, 20:36, 28:44] = 255.0
    targets = targets_of(torch.tensor([[28.0, 20, 44, 36]]), torch.tensor([0]), 64, 64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(8):
        network.train()
        backbone.eval()
        loss = sum(network([pixels], [targets]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    (found,) = found_by(network, [pixels[None]])
    assert [tuple(shown.shape[-2:]) for shown in network.transform([pixels])[0].tensors] == [(64, 64)]
    assert len(found) > 0
    assert (np.diff(found.scores) <= 0).all()
    assert found.corners.min() >= 0
    assert found.corners.max() <= 64


def test_the_seconds_of_an_epoch_are_counted_by_the_piece_that_trained_it(tmp_path):
    first = Clock(tmp_path / "seconds.json", math.inf)
    for number in (1, 2):
        sum(range(200_000))
        first.epoch("ours", number)
    second = Clock(tmp_path / "seconds.json", time.perf_counter())
    assert second.spent == first.spent
    with pytest.raises(Pause):
        second.epoch("ours", 2)  # told again, as a training that resumes does
    assert second.spent == first.spent
    with pytest.raises(Pause):
        second.epoch("ours", 3)
    assert len(Clock(tmp_path / "seconds.json", math.inf).spent["ours"]) == 3
