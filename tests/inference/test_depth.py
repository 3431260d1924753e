"""Depth of one image by a network of the user's: statistics that no scale and no offset of the network changes."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="no onnx, which the scoring install leaves out")

from given_networks import depth_file, depth_half, image_half, listed
from gonogo.errors import ConfigError, ImageError, IntegrityError
from gonogo.inference.depth import DepthNetwork, relative_nearness, statistics_of, view_of

ROOT = Path(__file__).parents[2]
ROWS, COLUMNS = np.indices((40, 60)).astype(float)
PLANE = 0.3 * ROWS + 0.7 * COLUMNS
STEP = np.where(COLUMNS < 30, 0.0, 1.0)


def told(values):
    return statistics_of(relative_nearness(np.asarray(values, dtype=float)))


def test_a_plane_a_step_and_what_is_flat_have_the_statistics_that_they_must_have():
    plane = told(PLANE)
    assert plane.plane > 0.998  # what is nearer and farther than the ends is cut off
    assert plane.roughness < 0.02
    assert plane.median == pytest.approx(0.5, abs=0.01)
    step = told(STEP)
    assert (step.step, step.spread) == (1.0, 1.0)
    slope = np.polyfit(COLUMNS.ravel(), STEP.ravel(), 1)  # as the plane: the step does not depend on the row
    left = STEP.ravel() - np.polyval(slope, COLUMNS.ravel())
    assert step.roughness == pytest.approx(np.sqrt((left**2).mean()))
    assert step.plane == pytest.approx(1 - (left**2).mean() / STEP.var())
    for flat in (np.zeros((9, 9)), np.full((9, 9), 1e6), np.full((9, 9), -3e-20)):
        assert told(flat).__dict__ == {"median": 0.0, "spread": 0.0, "plane": 1.0, "roughness": 0.0, "step": 0.0}


def test_scale_and_offset_of_a_network_change_nothing_and_the_other_direction_turns_it(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 30)).cumsum(axis=0)
    assert told(values * 37 - 1e3).__dict__ == pytest.approx(told(values).__dict__, abs=1e-6)
    turned = told(-values)
    assert turned.median == pytest.approx(1 - told(values).median)
    assert turned.roughness == pytest.approx(told(values).roughness)
    pixels = np.zeros((80, 120, 3), dtype=np.uint8)
    pixels[:, 60:] = 200
    for name, left, right in (("nearer", 0, 255), ("farther", 255, 0)):
        statistics, view = DepthNetwork(depth_file(tmp_path, higher=name), threads=1).look(pixels, "x")
        shown = np.asarray(Image.open(io.BytesIO(view)))
        assert shown.shape == (256, 384)
        assert abs(int(shown[:, 0].mean()) - left) < 9  # the resizing goes beyond at an edge
        assert abs(int(shown[:, -1].mean()) - right) < 9
        assert statistics.step > 0.4


def test_a_view_has_the_proportions_of_the_image_however_long_it_is():
    for height, width in ((1, 5000), (5000, 1), (7, 7)):
        shown = Image.open(io.BytesIO(view_of(np.zeros((4, 4)), height, width)))
        assert max(shown.size) == 384
        assert min(shown.size) == max(1, round(384 * min(height, width) / max(height, width)))


def test_a_network_that_is_another_or_gives_no_map_is_refused_with_a_reason(tmp_path):
    count = 0
    for changes, error, message in (
        ({"sha256": "0" * 64}, IntegrityError, "another file"),
        ({"file": "none.onnx"}, IntegrityError, "cannot be read"),
        ({"file": ""}, ConfigError, "path of a file"),
        ({"higher": "up"}, ConfigError, "nearer or farther"),
        ({"std": [1, 1, True]}, ConfigError, "three numbers"),
        ({"size": [32, 32]}, ConfigError, "the network sees"),
        (listed(image_half(tmp_path / "vector.onnx")), ConfigError, "expected a map"),
        (listed(depth_half(tmp_path / "two.onnx", channels=2)), ConfigError, "expected a map"),
        (listed(depth_half(tmp_path / "huge.onnx", scale=3e38)) | {"mean": [-9, 0, 0]}, ConfigError, "not finite"),
    ):
        with pytest.raises(error, match=message):
            DepthNetwork(depth_file(tmp_path, **changes), threads=1)
        count += 1
    assert count == 9
    one = listed(depth_half(tmp_path / "one.onnx", channels=1))
    assert DepthNetwork(depth_file(tmp_path, **one), threads=1).look(
        np.eye(9, dtype=np.uint8)[..., None].repeat(3, 2), "x"
    )


def test_the_description_in_the_documentation_is_one(tmp_path):
    shown = re.search(r"```json\n(\{.*?\n\})\n```", (ROOT / "docs/service.md").read_text(), re.DOTALL)
    described = json.loads(shown[1]) | listed(depth_half(tmp_path / "own.onnx", side=256))
    (tmp_path / "depth.json").write_text(json.dumps(described))
    assert DepthNetwork(tmp_path / "depth.json", threads=1).working_bytes > 256**2


def test_numbers_that_are_not_finite_are_the_error_of_one_image(tmp_path):
    bright = listed(depth_half(tmp_path / "bright.onnx", scale=3e38)) | {"mean": [0.45] * 3, "std": [0.1] * 3}
    network = DepthNetwork(depth_file(tmp_path, **bright), threads=1)
    with pytest.raises(ImageError, match="not finite for a white part"):
        network.look(np.full((9, 9, 3), 255, dtype=np.uint8), "a white part")
    assert network.look(np.full((9, 9, 3), 128, dtype=np.uint8), "a grey part")
