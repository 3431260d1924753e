"""The picture sheet: which parts are on it and where, on one colour scale that no image can bend."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import REGIONS, manifest_of
from gonogo.calibration.regions import PixelThreshold, RegionRule
from gonogo.data.sample import Sample
from gonogo.images.colours import COLOURS, OUTLINE, PAPER, map_colours
from gonogo.inference.scorer import Verdict
from gonogo.reports.drawing import REGION_LINE
from gonogo.reports.parts import Part, PartImages
from gonogo.reports.sheet import LABEL, SIDE, write_sheet
from gonogo.reports.sheet_layout import GAP, HEADER, LINE

THRESHOLD = 4.0
REGION_FROM = 6.0
IMAGE, MASK, MAP = range(3)
# Grey level of the image, which tells it apart on the sheet: (defect type, score, has a mask).
TEST_IMAGES = {
    20: ("good", 1.0, False),
    40: ("good", 4.0, False),
    60: ("good", 3.0, False),
    80: ("good", 6.0, False),
    100: ("good", 2.0, False),
    120: ("bent", 9.0, True),
    140: ("bent", 3.0, True),
    160: ("bent", 6.0, True),
    180: ("cut", 5.0, False),
}


CELL_WIDTH, CELL_HEIGHT = 3 * (SIDE + GAP) + GAP, SIDE + LINE + 2 * GAP


def drawn(folder, *, cases=2, threshold=THRESHOLD, unit=1.0, side=30):
    """(h, w, 3) int16: the sheet of TEST_IMAGES; each map is constant at its image's score, all in `unit`.

    In maps from REGION_FROM upwards one region is found, above and to the right of the centre.
    """

    def sample(level, role, kind="good", mask=None):
        return Sample(
            name=f"{level:03d}",
            image=np.full((side, side, 3), level, dtype=np.uint8),
            label=int(kind != "good"),
            defect_type=kind,
            roles=(role,),
            group_id=str(level),
            mask=mask,
        )

    mask = np.zeros((side, side), dtype=bool)
    mask[side // 6 : side * 5 // 6, side // 6 : side * 5 // 6] = True
    samples = [
        sample(level, "test", kind, mask if masked else None) for level, (kind, _, masked) in TEST_IMAGES.items()
    ]
    manifest = manifest_of([*samples, sample(1, "fit"), sample(2, "calibrate")], folder / "data")
    parts = [
        Part(
            image=record.path,
            defective=record.label == 1,
            defect_type=record.defect_type,
            score=TEST_IMAGES[int(record.group_id)][1] * unit,
            threshold=threshold * unit,
        )
        for record in manifest.with_role("test")
    ]
    inside = [[0.6, 0.2], [0.8, 0.2], [0.8, 1 / 3], [0.6, 1 / 3]]
    params = replace(REGIONS, roi=inside, closing=1)  # which keeps what is found within the ROI
    rule = RegionRule(params, PixelThreshold(REGION_FROM * unit, "sigma", 3.0, 0.0, 1, 1))
    images = PartImages(manifest, FlatGauge(unit, threshold * unit, rule))
    write_sheet(folder / "sheet.png", parts, images, category="parts", cases=cases)
    with Image.open(folder / "sheet.png") as image:
        assert image.mode == "RGB"
        return np.array(image, dtype=np.int16)


class FlatGauge:
    """A gauge whose maps have the value of the image's score everywhere."""

    def __init__(self, unit, threshold, rule):
        self.unit, self.threshold, self.rule = unit, threshold, rule

    def score_pixels(self, pixels):
        score = TEST_IMAGES[int(pixels[0, 0, 0, 0])][1] * self.unit
        anomaly_map = np.full(pixels.shape[1:3], score, dtype=np.float32)
        return [Verdict(score, self.threshold, score >= self.threshold, 0.5, None, False, anomaly_map, self.rule)]


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("sheet"))


def tile(sheet, row, case, which):
    """The square of one of IMAGE, MASK and MAP of a case, columns counted from 0."""
    top = HEADER + row * CELL_HEIGHT
    left = LABEL + GAP + case * CELL_WIDTH + which * (SIDE + GAP)
    return sheet[top : top + SIDE, left : left + SIDE]


def caption(sheet, row, case):
    top = HEADER + row * CELL_HEIGHT + SIDE
    left = LABEL + GAP + case * CELL_WIDTH
    return sheet[top : top + LINE, left : left + 3 * SIDE]


def centre(square):
    return tuple(square[SIDE // 2, SIDE // 2].tolist())


def levels_in(sheet, row, cases):
    """Grey levels of the images drawn in a row; None where there is only paper."""
    found = []
    for case in range(cases):
        square = tile(sheet, row, case, IMAGE)
        found.append(None if (square == PAPER).all() else centre(square)[0])
    return found


def test_each_row_shows_the_worst_judged_and_then_the_best_judged_parts_of_its_type(sheet):
    assert levels_in(sheet, 0, 4) == [80, 40, 20, 100]  # good: those that score highest are judged worst
    assert levels_in(sheet, 1, 4) == [140, 160, 120, None]  # bent: those that score lowest; none is shown twice
    assert levels_in(sheet, 2, 4) == [180, None, None, None]  # cut


def test_one_case_shows_the_very_worst_and_the_very_best(tmp_path):
    sheet = drawn(tmp_path, cases=1)
    assert [levels_in(sheet, row, 2) for row in range(3)] == [[80, 20], [140, 120], [180, None]]


def test_there_is_one_row_for_good_parts_and_one_for_each_defect_type(sheet):
    assert sheet.shape[0] == HEADER + 3 * CELL_HEIGHT + GAP
    assert sheet.shape[1] == LABEL + 4 * CELL_WIDTH + GAP


def test_the_same_score_has_the_same_colour_in_every_row(sheet):
    good_6, bent_6 = centre(tile(sheet, 0, 0, MAP)), centre(tile(sheet, 1, 1, MAP))
    assert good_6 == bent_6 == tuple(map_colours(np.full((1, 1), 6.0), THRESHOLD)[0, 0].tolist())
    good_1, cut_5 = centre(tile(sheet, 0, 2, MAP)), centre(tile(sheet, 2, 0, MAP))
    assert len({good_1, cut_5, good_6}) == 3


def test_the_unit_of_the_scores_changes_no_map_on_the_sheet(sheet, tmp_path):
    other = drawn(tmp_path, unit=250.0)
    for row, case in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (2, 0)]:
        assert np.array_equal(tile(other, row, case, MAP), tile(sheet, row, case, MAP))


def test_a_higher_threshold_makes_every_map_bluer(sheet, tmp_path):
    other = drawn(tmp_path, threshold=8.0)
    red, _, blue = centre(tile(sheet, 0, 0, MAP))  # score 6
    red_now, _, blue_now = centre(tile(other, 0, 0, MAP))
    assert red > blue
    assert red_now < blue_now


def test_the_scale_is_dark_blue_at_zero_pale_at_the_threshold_and_red_from_twice_the_threshold():
    anomaly_map = np.array([[0.0, 2.0, 4.0, 8.0, 1e6, -3.0]])
    colours = map_colours(anomaly_map, 4.0)[0].tolist()
    assert colours == [COLOURS[i].tolist() for i in (0, 1, 2, 3, 3, 0)]
    values = np.linspace(0, 8, 81)
    red_minus_blue = np.diff(map_colours(values[None], 4.0)[0].astype(int)[:, [2, 0]], axis=1).ravel()
    assert (red_minus_blue[values < 3.9] < 0).all()
    assert (red_minus_blue[values > 4.1] > 0).all()
    brightest = map_colours(values[None], 4.0)[0].sum(axis=1, dtype=int).argmax()
    assert values[brightest] == pytest.approx(4.0)


def test_the_colour_of_a_pixel_does_not_depend_on_the_rest_of_its_map():
    rng = np.random.default_rng(0)
    anomaly_map = rng.exponential(3, (12, 9)).astype(np.float32)
    alone = [[map_colours(np.array([[value]]), 4.0)[0, 0] for value in row] for row in anomaly_map]
    assert np.array_equal(map_colours(anomaly_map, 4.0), alone)


def test_the_scale_on_the_sheet_is_the_scale_of_the_maps(sheet):
    bar = sheet[10, -200:-40]
    expected = map_colours(np.linspace(0, 2 * THRESHOLD, 160)[None], THRESHOLD)[0]
    assert np.array_equal(bar, expected)


def test_a_mask_is_outlined_and_a_defect_without_one_is_left_blank(sheet):
    def outlined(row, case):
        return np.argwhere((tile(sheet, row, case, MASK) == OUTLINE).all(axis=2))

    assert len(outlined(0, 0)) == 0
    assert np.unique(tile(sheet, 2, 0, MASK)).tolist() == [240]
    found = outlined(1, 0)
    expected = [SIDE * 5 // 30, SIDE * 25 // 30]  # the mask's edges at the tile's size
    assert found.min(axis=0) == pytest.approx([expected[0]] * 2, abs=1)
    assert found.max(axis=0) == pytest.approx([expected[1]] * 2, abs=1)
    assert tuple(centre(tile(sheet, 1, 0, MASK))) != OUTLINE


def assert_enclosed(square, side):
    """A line of one pixel runs around the region of `drawn`, and nothing else on the tile is black."""
    black = (square == REGION_LINE).all(axis=2)
    unit = SIDE / side
    top, bottom = side // 5 * unit, side // 3 * unit
    left, right = side * 3 // 5 * unit, side * 4 // 5 * unit
    rows, columns = np.nonzero(black)
    assert (rows.min() + 1, rows.max()) == pytest.approx((top, bottom), abs=1.5)
    assert (columns.min() + 1, columns.max()) == pytest.approx((left, right), abs=1.5)
    inside = black[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()]
    assert not inside.any()
    assert black.sum() == 2 * sum(inside.shape)  # no corners: the line is as thin as a line can be


def test_a_thin_line_encloses_each_region_on_its_map_and_leaves_its_colours_alone(sheet):
    for row, case in [(0, 0), (1, 1), (1, 2)]:  # 6, 6, 9
        assert_enclosed(tile(sheet, row, case, MAP), 30)
    for row, case in [(0, 1), (0, 2), (0, 3), (1, 0), (2, 0)]:  # below REGION_FROM
        assert not (tile(sheet, row, case, MAP) == REGION_LINE).all(axis=2).any()
    for which in (IMAGE, MASK):
        assert not (tile(sheet, 1, 2, which) == REGION_LINE).all(axis=2).any()


def test_the_line_is_as_thin_where_the_image_is_larger_than_its_tile(tmp_path):
    assert_enclosed(tile(drawn(tmp_path, side=700), 1, 1, MAP), 700)


def test_the_caption_is_red_for_a_reject_and_green_for_a_pass(sheet):
    def is_red(row, case):
        red, green, _ = np.moveaxis(caption(sheet, row, case), 2, 0)
        reddish, greenish = bool((red - green > 60).any()), bool((green - red > 40).any())
        assert reddish != greenish
        return reddish

    assert [is_red(0, case) for case in range(4)] == [True, True, False, False]  # 6, 4 on the threshold, 1, 2
    assert [is_red(1, case) for case in range(3)] == [False, True, True]  # 3, 6, 9
    assert (caption(sheet, 2, 1) == PAPER).all()


def test_the_sheet_is_the_same_bytes_each_time(sheet, tmp_path):
    assert np.array_equal(drawn(tmp_path / "one"), sheet)
    drawn(tmp_path / "two")
    assert (tmp_path / "one" / "sheet.png").read_bytes() == (tmp_path / "two" / "sheet.png").read_bytes()
