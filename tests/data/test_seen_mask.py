"""What prepare makes of the masks of a category: turned with their images, one side the defect, and said by name."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import CALIBRATE, PREPARE, unseen
from gonogo.data.folder import Folder
from gonogo.data.prepare.prepare import prepare
from gonogo.data.sample import Shares
from gonogo.images.reading import write_png

HEIGHT, WIDTH = 12, 10
DEFECT = np.zeros((HEIGHT, WIDTH), bool)
DEFECT[2:4, 3:6] = True
LARGE = np.zeros((HEIGHT, WIDTH), bool)
LARGE[:9] = True


def images(raw, n_bad=2, *, size=(HEIGHT, WIDTH), orientation=1):
    rng = np.random.default_rng(5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number in range(30 + n_bad):
        path = raw / ("good" if number < 30 else "dent") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, exif=exif if number >= 30 else Image.Exif())


def mask(raw, number, marked, kind="dent"):
    write_png(raw / "ground_truth" / kind / f"{number:02d}_mask.png", marked)


def prepared(raw, folder):
    samples = Folder(folder=".").samples("parts", raw, Shares(seed=0, test=0.2, calibrate=0.4))
    values = replace(PREPARE, calibrate_share=0.4)
    return prepare(samples, values, CALIBRATE, category="parts", folder=folder, raw=raw, seed=0, progress=unseen)


def marked(found, name):
    (record,) = (record for record in found.dataset.records if record.path == f"raw/{name}")
    return found.dataset.mask_of(record)


def said(found, level):
    return "\n".join(str(problem) for problem in found.problems if problem.level == level)


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


def test_plain_masks_stay_where_they_are_and_nothing_is_said(raw, tmp_path):
    images(raw)
    for number in (30, 31):
        mask(raw, number, DEFECT)
    found = prepared(raw, tmp_path / "out")
    assert not (tmp_path / "out" / "masks").exists()
    np.testing.assert_array_equal(marked(found, "dent/30.png"), DEFECT)
    assert "mask" not in said(found, "error") + said(found, "warning")


def test_where_all_masks_are_white_around_the_defect_black_is_the_defect_and_it_is_said(raw, tmp_path):
    images(raw)
    for number in (30, 31):
        mask(raw, number, ~DEFECT)
    found = prepared(raw, tmp_path / "out")
    np.testing.assert_array_equal(marked(found, "dent/31.png"), DEFECT)
    assert "2 masks white along the whole border, so that black was taken as the defect: raw/dent/30" in said(
        found, "warning"
    )


def test_masks_that_contradict_each_other_are_an_error_that_names_the_fewer(raw, tmp_path):
    images(raw, 3)
    for number, drawn in ((30, DEFECT), (31, DEFECT), (32, ~DEFECT)):
        mask(raw, number, drawn)
    text = said(prepared(raw, tmp_path / "out"), "error")
    assert "1 mask of which it cannot be told whether black or white is the defect" in text
    assert "raw/dent/32.png (its background is white, that of most others black)" in text


def test_a_mask_of_more_than_half_the_image_is_read_as_the_others_are(raw, tmp_path):
    images(raw)
    mask(raw, 30, DEFECT)
    mask(raw, 31, LARGE)
    found = prepared(raw, tmp_path / "out")
    np.testing.assert_array_equal(marked(found, "dent/31.png"), LARGE)
    assert "1 mask marking more than half of the image; black was taken as good" in said(found, "warning")


def test_where_no_mask_tells_which_side_is_good_they_are_refused(raw, tmp_path):
    images(raw)
    for number in (30, 31):
        mask(raw, number, LARGE)
    assert "2 masks of which it cannot be told" in said(prepared(raw, tmp_path / "out"), "error")


def test_a_mask_turns_with_its_image_where_only_that_fits(raw, tmp_path):
    images(raw, orientation=6)
    for number in (30, 31):
        mask(raw, number, DEFECT)
    found = prepared(raw, tmp_path / "out")
    np.testing.assert_array_equal(marked(found, "dent/30.png"), np.rot90(DEFECT, -1))
    assert "2 masks turned as the image is by its EXIF: raw/dent/30.png" in said(found, "warning")


def test_a_mask_of_the_upright_images_size_stays_as_it_is(raw, tmp_path):
    images(raw, orientation=8)
    upright = np.zeros((WIDTH, HEIGHT), bool)
    upright[1, 2:5] = True
    for number in (30, 31):
        mask(raw, number, upright)
    found = prepared(raw, tmp_path / "out")
    np.testing.assert_array_equal(marked(found, "dent/30.png"), upright)
    assert "EXIF" not in said(found, "warning")


@pytest.mark.parametrize(("orientation", "size"), [(3, (HEIGHT, WIDTH)), (6, (11, 11))])
def test_where_both_sides_fit_the_mask_is_taken_for_upright_and_it_is_said(raw, tmp_path, orientation, size):
    images(raw, size=size, orientation=orientation)
    drawn = np.zeros(size, bool)
    drawn[1, 2:5] = True
    for number in (30, 31):
        mask(raw, number, drawn)
    found = prepared(raw, tmp_path / "out")
    np.testing.assert_array_equal(marked(found, "dent/30.png"), drawn)
    assert "2 masks of an image that its EXIF turns or mirrors, where both ways fit" in said(found, "warning")


def test_a_mask_of_a_good_image_may_be_black_and_is_named_where_it_is_not(raw, tmp_path):
    images(raw)
    for number in (30, 31):
        mask(raw, number, DEFECT)
    mask(raw, 3, DEFECT & False, kind="good")
    mask(raw, 4, DEFECT, kind="good")
    found = prepared(raw, tmp_path / "out")
    text = said(found, "warning")
    assert "1 mask marking a defect on a good image, whose mask is not used: raw/good/04.png" in text
    assert all(record.mask is None for record in found.dataset.records if record.label == 0)


def test_a_mask_that_is_a_picture_is_an_error_with_its_name(raw, tmp_path):
    images(raw)
    mask(raw, 30, DEFECT)
    mask(raw, 31, np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8))
    text = said(prepared(raw, tmp_path / "out"), "error")
    assert "1 mask that cannot be read: raw/dent/31.png" in text
    assert "31_mask.png cannot be read as an image: a picture with grey levels" in text


def test_an_image_of_the_longest_name_has_its_mask_written_all_the_same(raw, tmp_path):
    images(raw)
    for number, stem in ((30, "x" * 251), (31, "y" * 251)):
        (raw / "dent" / f"{number}.png").rename(raw / "dent" / f"{stem}.png")
        write_png(raw / "ground_truth" / "dent" / f"{stem}.png", ~DEFECT)
    found = prepared(raw, tmp_path / "out")
    np.testing.assert_array_equal(marked(found, f"dent/{'x' * 251}.png"), DEFECT)
