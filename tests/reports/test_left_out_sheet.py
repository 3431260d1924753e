"""The sheet of the fit images that are least like the others."""

import numpy as np
import pytest
from PIL import Image

from gonogo.images.colours import PASS, REJECT
from gonogo.model.left_out import LeftOutScores
from gonogo.reports.left_out_sheet import write_left_out_sheet


@pytest.fixture(scope="module")
def left_out(digits):
    """Rising scores of eight digits, of which the four highest are shown with their maps."""
    images = [record.path for record in digits.with_role("fit")[:8]]
    maps = [np.full((8, 8), 10.0 * score, dtype=np.float32) for score in (8, 7, 6, 5)]
    return LeftOutScores(images, 10 * np.arange(1, 9, dtype=np.float32), [7, 6, 5, 4], maps)


def colours_in(path):
    return {tuple(colour) for colour in np.asarray(Image.open(path)).reshape(-1, 3).tolist()}


def drawn(path, left_out, digits, threshold):
    write_left_out_sheet(path, left_out, digits, category="digit_0", threshold=threshold)
    return path


@pytest.mark.parametrize("threshold", [200.0, 1.0])
def test_the_sheet_gives_no_verdict_on_an_image_that_the_fit_has_seen(threshold, left_out, digits, tmp_path):
    colours = colours_in(drawn(tmp_path / "sheet.png", left_out, digits, threshold))
    assert not {PASS, REJECT} & colours


def test_the_same_scores_are_drawn_to_the_same_bytes(left_out, digits, tmp_path):
    first, second = (drawn(tmp_path / name, left_out, digits, 20.0).read_bytes() for name in ("a.png", "b.png"))
    assert first == second


def test_images_of_a_detector_that_does_not_localise_stand_without_maps(left_out, digits, tmp_path):
    without = LeftOutScores(left_out.images, left_out.scores, left_out.shown, [])
    saturated = [c for c in colours_in(drawn(tmp_path / "sheet.png", without, digits, 50.0)) if max(c) - min(c) > 60]
    assert not saturated  # captions alone, in black: no colour of a map


def test_where_no_image_was_scored_the_sheet_is_a_title_alone(digits, tmp_path):
    nothing = LeftOutScores([], np.zeros(0, dtype=np.float32), [], [])
    with Image.open(drawn(tmp_path / "sheet.png", nothing, digits, 1.0)) as sheet:
        assert sheet.height < 60
