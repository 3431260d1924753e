"""The robustness card: known changes of an image, and what one threshold makes of them."""

import numpy as np
import pytest
from scipy import ndimage

from conftest import manifest_of
from gonogo.compute.progress import no_progress
from gonogo.data.sample import Sample
from gonogo.evaluation.metric_table import is_known
from gonogo.evaluation.robustness import corruptions
from gonogo.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from gonogo.evaluation.robustness.robustness import (
    CELL_COLUMNS,
    Cell,
    RobustnessParams,
    cell_rows,
    chosen_images,
    robustness_card,
    robustness_metrics,
)

SEED = [17, 3]


def part(height=64, width=80):
    """Smooth blotches of many sizes and a bright square, away from black and white, (h, w, 3) uint8."""
    noise = np.random.default_rng(2).normal(size=(height, width))
    levels = sum(ndimage.gaussian_filter(noise, share * height) * share for share in (0.01, 0.03, 0.1, 0.3))
    levels = 130 + 25 * (levels - levels.mean()) / levels.std()
    levels[height // 3 : height // 2, width // 3 : width // 2] += 40
    return np.stack([levels, levels * 0.9, levels * 0.8], axis=2).clip(0, 255).astype(np.uint8)


def distance(image, other):
    return float(np.abs(image.astype(float) - other).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_keeps_shape_and_type_and_the_image_that_it_was_given(name):
    image = part()
    kept = image.copy()
    for severity in SEVERITIES:
        changed = corrupted(image, name, severity, seed=SEED)
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_changes_the_image_and_more_than_the_one_before(name):
    image = part(256, 300)
    distances = [distance(image, corrupted(image, name, severity, seed=SEED)) for severity in SEVERITIES]
    assert 0 < distances[0] < 6
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_gives_the_same_image(name):
    image = part()
    first, again = (corrupted(image, name, 3, seed=SEED) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", ["blur", "motion", "shift", "scale", "glare"])
def test_lengths_are_shares_of_the_image_so_that_a_larger_one_is_changed_alike(name):
    small = part(64, 64)
    large = small.repeat(4, axis=0).repeat(4, axis=1)
    changed = corrupted(large, name, 5, seed=SEED)[2::4, 2::4]
    assert distance(corrupted(small, name, 5, seed=SEED), changed) < 0.5 * distance(small, changed)


def test_a_shift_moves_by_its_share_of_the_shorter_side_and_a_turn_keeps_the_centre():
    image = np.zeros((101, 121, 3), dtype=np.uint8)
    image[45:56, 55:66] = 255
    moved = corrupted(image, "shift", 5, seed=SEED)[..., 0].astype(float)
    rows, columns = np.mgrid[:101, :121]
    centre = np.array([(moved * rows).sum(), (moved * columns).sum()]) / moved.sum()
    assert np.hypot(*(centre - (50, 60))) == pytest.approx(0.1 * 101, abs=0.1)
    turned = corrupted(image, "rotation", 5, seed=SEED)[..., 0].astype(float)
    centre = np.array([(turned * rows).sum(), (turned * columns).sum()]) / turned.sum()
    np.testing.assert_allclose(centre, (50, 60), atol=0.1)
    assert distance(image[..., 0], turned) > 0


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_a_blur_is_that_of_a_gaussian(severity):
    """Three box filters come near to it, at the edges of noise too, and are far nearer to it than the image is."""
    image = np.random.default_rng(3).integers(0, 256, (260, 240, 3), dtype=np.uint8)
    image = ndimage.uniform_filter(image, (5, 5, 1))
    sigma = 240 * CORRUPTIONS["blur"].amounts[severity - 1]
    gaussian = ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="nearest")
    blurred = corrupted(image, "blur", severity, seed=SEED)
    assert np.abs(blurred - gaussian).max() < 8
    assert distance(blurred, gaussian) < 0.25 * distance(image, gaussian) + 0.5


def test_a_motion_blur_is_the_mean_along_a_line_whatever_bands_it_is_computed_in(monkeypatch):
    image = part(70, 64)
    expected = corrupted(image, "motion", 5, seed=SEED)
    monkeypatch.setattr(corruptions, "_CACHED_BYTES", 1)
    np.testing.assert_array_equal(corrupted(image, "motion", 5, seed=SEED), expected)
    assert distance(image.mean(axis=(0, 1)), expected.mean(axis=(0, 1))) < 2


@pytest.mark.parametrize("name", ["brightness", "contrast", "white balance"])
def test_either_direction_is_taken(name):
    image = part()
    red = [float(corrupted(image, name, 3, seed=[1, number])[..., 0].std()) for number in range(12)]
    assert min(red) < float(image[..., 0].std()) < max(red)


# The card


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Twelve grey parts, four of them defective: dark ones."""

    def sample(number, role, level, kind="good"):
        pixels = np.full((8, 8, 3), level, dtype=np.uint8)
        pixels[0, 0] = number
        return Sample(
            name=f"{number:03d}",
            image=pixels,
            label=int(kind != "good"),
            defect_type=kind,
            roles=(role,),
            group_id=str(number),
        )

    samples = [sample(number, "test", 150) for number in range(8)]
    samples += [sample(number, "test", 90, "dark") for number in range(8, 12)]
    samples += [sample(40, "fit", 150), sample(41, "calibrate", 150)]
    return manifest_of(samples, tmp_path_factory.mktemp("robustness"))


def darkness(pixels):
    return 255.0 - float(pixels.mean())


def card(manifest, threshold, n=16):
    return robustness_card(darkness, manifest, RobustnessParams(n), threshold=threshold, seed=17, progress=no_progress)


def test_there_is_a_cell_for_each_corruption_and_severity_and_one_for_the_images_as_they_are(manifest):
    cells = card(manifest, 140.0)
    assert (cells[0].corruption, cells[0].severity) == ("none", 0)
    asked = [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    assert [(cell.corruption, cell.severity) for cell in cells[1:]] == asked


def test_the_threshold_is_one_and_rates_are_those_of_the_images_that_it_rejects(manifest):
    cells = {(cell.corruption, cell.severity): cell for cell in card(manifest, 140.0)}
    assert (cells["none", 0].false_alarm_rate, cells["none", 0].recall) == (0.0, 1.0)
    dark = [
        darkness(corrupted(manifest.pixels_of(r), "brightness", 5, seed=[17, n]))
        for n, r in enumerate(chosen_images(manifest, 16))
    ]
    expected = np.array(dark) >= 140.0
    found = cells["brightness", 5]
    assert found.false_alarm_rate == expected[:8].mean() > 0
    assert found.recall == expected[8:].mean()


def test_images_are_evenly_spaced_and_as_many_of_each_label_as_asked_for(manifest):
    chosen = chosen_images(manifest, 3)
    assert [record.group_id for record in chosen] == ["0", "4", "7", "8", "10", "11"]
    assert len(chosen_images(manifest, 100)) == 12
    assert chosen_images(manifest, 0) == []


def test_without_images_there_are_no_rates_and_the_table_says_so(manifest):
    cells = card(manifest, 140.0, n=0)
    assert all(cell.false_alarm_rate is None and cell.recall is None for cell in cells)
    assert robustness_metrics(cells) == {}
    assert cell_rows(cells)[0] == dict(zip(CELL_COLUMNS, ("none", 0, "", ""), strict=True))


def test_the_headline_is_the_worst_corruption_at_severity_3():
    cells = [Cell("none", 0, 0.0, 0.9)]
    cells += [Cell("blur", severity, 0.1 * severity, 0.8) for severity in SEVERITIES]
    cells += [Cell("white balance", severity, 0.2 if severity == 3 else 1.0, 0.7) for severity in SEVERITIES]
    metrics = robustness_metrics(cells)
    assert metrics["worst_false_alarm_rate"] == pytest.approx(0.3)
    assert metrics["worst_false_alarm_rate_corruption"] == "blur"
    assert (metrics["worst_recall"], metrics["worst_recall_corruption"]) == (0.7, "white balance")
    assert metrics["false_alarm_rate.white_balance_5"] == 1.0
    assert all(map(is_known, metrics))
    assert (metrics["false_alarm_rate.none"], metrics["recall.none"]) == (0.0, 0.9)
