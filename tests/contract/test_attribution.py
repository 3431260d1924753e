"""What every registered detector's score is made of: its grid, by the rule that its bundle states."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from conftest import name_of
from gonogo.export.graph import export_onnx
from gonogo.export.patch_rule import patch_rule
from gonogo.inference.scorer import open_session, run_session
from gonogo.model.attribution.features import attribute_features
from gonogo.model.inspector import Inspector

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


@pytest.mark.parametrize("top_share", [0.0, 0.2, 1.0])
def test_every_detector_that_localises_offers_the_same_three_scores_of_its_grid(inspector, pixels, top_share):
    """Its highest cell, the mean of a share of them, the mean of all; the terms of the score follow."""
    detector = copy.copy(inspector.detector)
    if not detector.localises:
        assert not hasattr(detector.options, "top_share")
        return
    detector.options = dataclasses.replace(detector.options, top_share=top_share)
    chosen = Inspector(detector)
    rule = patch_rule(chosen)
    with torch.inference_mode():
        scores, grids = detector(chosen.resized(torch.from_numpy(pixels[:2])))
    for score, grid in zip(scores.numpy(), grids.numpy(), strict=True):
        highest = np.sort(rule.inner(grid[None]).flatten())[::-1]
        expected = highest[: max(1, int(top_share * len(highest)))].astype(np.float64).mean()
        np.testing.assert_allclose(score, expected, rtol=1e-5)
        np.testing.assert_allclose(rule.score(rule.inner(grid[None])), expected, rtol=1e-6)
    found = attribute_features(chosen, pixels[0])
    if found is not None:
        assert abs(found.error) <= 3e-6 * found.score + 2e-7


def test_the_mean_of_a_share_is_in_the_graph(fitted_once, pixels, tmp_path):
    detector = copy.copy(fitted_once("pca").detector)
    detector.options = dataclasses.replace(detector.options, top_share=0.1)
    chosen = Inspector(detector)
    export_onnx(chosen, tmp_path / "gauge.onnx", metadata={}, opset=18)
    score, _ = run_session(open_session(tmp_path / "gauge.onnx"), pixels)
    np.testing.assert_allclose(score, chosen.inspect(pixels)[0], rtol=1e-5)
    assert (score > fitted_once("pca").inspect(pixels)[0]).all()  # whose score is the root mean square of all
