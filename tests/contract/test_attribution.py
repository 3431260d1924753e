"""What every registered detector's score is made of: its grid, by the rule that its bundle states."""

import numpy as np
import torch

from conftest import name_of
from gonogo.export.patch_rule import patch_rule

OF_ANOTHER_PROGRAM = {"anomalib"}  # whose score may come from anywhere


def test_the_score_of_every_detector_that_localises_follows_from_its_grid(inspector, pixels):
    rule = patch_rule(inspector)
    localises = inspector.detector.localises and name_of(inspector) not in OF_ANOTHER_PROGRAM
    assert (rule is not None) == localises
    if rule is None:
        return
    with torch.inference_mode():
        scores, grids = inspector.detector(inspector.resized(torch.from_numpy(pixels)))
    for score, grid in zip(scores.numpy(), grids.numpy(), strict=True):
        np.testing.assert_allclose(rule.score(rule.inner(grid[None])), score, rtol=1e-5)
