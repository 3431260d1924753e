"""Tiles: every pixel is seen, each file is read once, no seam shows, and both runtimes do it alike."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from skimage import data

from checkout import ROOT
from conftest import MEASURED, OPTIONS, REGIONS, fitted, modelled
from gonogo.detectors.anomaly_map import resize
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.options import MeanImageOptions, PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.errors import ConfigError
from gonogo.export.graph import export_onnx
from gonogo.export.parity import ParityParams, check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.images.size import ImageSize
from gonogo.inference.scorer import open_session, run_session
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import FitParams, Tiling
from gonogo.model.inspector import Inspector
from gonogo.model.saved import bundle_facts
from gonogo.model.tiling import Tiles
from gonogo.params import Params, build

SMALL = Tiling(height=20, width=24, overlap=2)  # of tiles of 8 pixels
TILINGS = {"pca": SMALL, "isolation_forest": SMALL, "patchcore": Tiling(height=70, width=130, overlap=16)}


@pytest.fixture(scope="module", params=list(TILINGS))
def tiled(request, digits):
    """An inspector of tiles around a fitted detector that works on pixels, on an image as a whole, on patches."""
    with pytest.MonkeyPatch.context() as patch:  # fewer layers, so that the export takes a second
        patch.setitem(OPTIONS, "patchcore", {"image_size": 64, "layers": [1], "coreset_ratio": 0.002})
        yield fitted(request.param, digits, tiling=TILINGS[request.param])


# Where tiles lie


@pytest.mark.parametrize("length", [64, 65, 100, 159, 1000])
@pytest.mark.parametrize(("overlap", "stride"), [(0, 1), (7, 1), (16, 16), (40, 8), (48, 16)])
def test_tiles_cover_the_canvas_overlap_enough_and_begin_on_the_backbones_grid(length, overlap, stride):
    tiles = Tiles(Tiling(length, 64, overlap), image_size=ImageSize(64, 64), stride=stride, smoothing=0.0)
    assert tiles.column_starts == (0,)
    starts = np.array(tiles.row_starts)
    assert (starts % stride == 0).all()
    assert (np.diff(starts) <= 64 - overlap).all()
    assert length <= starts[-1] + 64 < length + stride
    assert len(starts) == 1 or length > starts[-2] + 64
    seen = tiles.tile(torch.arange(length).view(1, 1, -1, 1).expand(1, 1, length, 64), len(tiles) - 1)[
        0, 0, :, 0
    ].numpy()
    mirrored = np.pad(np.arange(length), (0, stride), mode="reflect")
    np.testing.assert_array_equal(seen, mirrored[starts[-1] : starts[-1] + 64])


def test_tiles_are_counted_row_by_row():
    tiles = Tiles(Tiling(20, 24, 0), image_size=ImageSize(8, 8), stride=1, smoothing=0.0)
    canvas = torch.arange(20 * 24).view(1, 1, 20, 24)
    assert len(tiles) == 9
    assert [int(tiles.tile(canvas, number)[0, 0, 0, 0]) for number in (0, 1, 3)] == [0, 8, 6 * 24]


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        (Tiling(255, 512, 0), r"fit\.tiling\.height is 255; .* fit\.image_size, 256 pixels: choose at least 256"),
        (Tiling(512, 100, 0), r"fit\.tiling\.width is 100"),
        (Tiling(512, 512, 241), r"fit\.tiling\.overlap is 241; .* at multiples of 16: at most 240 would do"),
    ],
)
def test_a_tiling_that_does_not_go_with_the_tiles_size_is_refused_with_what_would_do(tiling, message):
    with pytest.raises(ConfigError, match=message):
        Inspector(PatchCore(PatchCoreOptions(image_size=256)), tiling=tiling)
    Inspector(PatchCore(PatchCoreOptions(image_size=256)), tiling=Tiling(256, 512, 240))


def test_params_name_a_tiling_and_a_misspelt_key_of_it():
    section = Params(ROOT / "params.yaml").section("fit")
    values = {field.name: section[field.name] for field in fields(FitParams)}
    assert build(FitParams, values, where="fit").tiling is None
    values["tiling"] = {"height": 30, "width": 40, "overlap": 5}
    assert build(FitParams, values, where="fit").tiling == Tiling(30, 40, 5)
    values["tiling"] = {"hight": 30, "width": 40, "overlap": 5}
    with pytest.raises(ConfigError, match=r"fit\.tiling: .*unknown key 'hight'.*allowed: height, width, overlap"):
        build(FitParams, values, where="fit")


def test_a_fit_sees_every_tile_of_every_image_and_reads_each_file_once(digits):
    reads = Counter()

    class Counting(type(digits)):
        def pixels_of(self, record):
            reads[record.path] += 1
            return super().pixels_of(record)

    inspector = Inspector(MeanImage(MeanImageOptions(image_size=8)), tiling=SMALL)
    records = digits.with_role("fit")[:3]
    images = FitImages(inspector, Counting(**vars(digits)), records)
    seen = list(images)
    assert len(images) == len(seen) == 3 * len(inspector.tiles) == 36
    assert reads == {record.path: 1 for record in records}
    canvas = inspector.resized(torch.from_numpy(digits.pixels_of(records[1]))[None])
    assert canvas.shape == (1, 3, 20, 24)
    for number in range(12):
        np.testing.assert_array_equal(seen[12 + number], inspector.tiles.tile(canvas, number))


# One map of many


@pytest.mark.parametrize("cells", [(1, 1), (8, 8), (16, 16), (7, 5)])
@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_blended_maps_are_the_weighted_mean_of_the_tiles_own_and_then_a_gaussian(cells, sigma):
    tiles = Tiles(Tiling(40, 27, 4), image_size=ImageSize(16, 16), stride=2, smoothing=sigma)
    grids = torch.from_numpy(np.random.default_rng(0).gamma(2, size=(len(tiles), 2, *cells)).astype(np.float32))
    total, weights = np.zeros((2, 40, 28)), np.zeros((40, 28))
    number = 0
    for row in tiles.row_starts:
        for column in tiles.column_starts:
            whole = resize(grids[number][:, None], 16, 16)[:, 0].numpy()
            for y in range(16):
                for x in range(16):
                    weight = depth_weight(y, tiles.row_starts) * depth_weight(x, tiles.column_starts)
                    total[:, row + y, column + x] += weight * whole[:, y, x]
                    weights[row + y, column + x] += weight
            number += 1
    expected = total / weights
    for axis in (1, 2) if sigma else ():
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=int(np.ceil(4 * sigma)))
    np.testing.assert_allclose(tiles.blended(grids), expected[:, :40, :27], rtol=1e-5)


def depth_weight(place, starts):
    """0 (almost) in the outer quarter of the overlap, 1 from the inner quarter on."""
    overlap = 16 - max(np.diff(starts))
    depth = min(place, 15 - place) + 0.5
    return min(max((depth - overlap / 4) / (overlap / 2), 1e-6), 1)


@pytest.mark.parametrize("overlap", [0, 3, 5])
def test_a_detector_that_looks_at_single_pixels_gives_the_map_of_the_untiled_image(overlap):
    detector = MeanImage(MeanImageOptions(image_size=12, smoothing=1.5)).fit(
        [torch.full((1, 3, 12, 12), 127.5)], seed=0
    )
    pixels = np.random.default_rng(1).integers(0, 256, (2, 31, 43, 3), dtype=np.uint8)
    _, maps = Inspector(detector, tiling=Tiling(31, 43, overlap)).inspect(pixels)
    expected = np.sqrt(np.square(pixels - 127.5).mean(axis=3))
    for axis in (1, 2):
        expected = gaussian_filter1d(expected, 1.5, axis=axis, mode="nearest", radius=6)
    np.testing.assert_allclose(maps, expected, rtol=1e-4)


@pytest.mark.parametrize(("overlap", "bound"), [(64, 0.2), (128, 0.05)])
def test_the_map_of_tiles_is_that_of_the_whole_image_within_the_stated_bound(overlap, bound):
    """The bound of docs/tiling.md, in shares of the largest good score, at the default backbone and layers."""
    size, margin = 256, 80
    side = 2 * size - overlap
    texture = np.stack([data.gravel()[:side, :side]] * 3, axis=-1)
    good, test = texture, texture[::-1, ::-1].copy()
    test[150:162, 200:212] = [220, 40, 40]
    detector = PatchCore(PatchCoreOptions(image_size=size, coreset_ratio=0.01))
    inspector = Inspector(detector, tiling=Tiling(side, side, overlap))
    with torch.inference_mode():
        canvas = inspector.resized(torch.from_numpy(good[None]))
        detector.fit([inspector.tiles.tile(canvas, number) for number in range(4)], seed=0)
        _, grid = detector(inspector.resized(torch.from_numpy(test[None])))  # convolutions take any size
    whole = resize(grid[:, None], side, side)[0, 0].numpy()
    whole = gaussian_filter(whole.astype(float), 4.0, mode="nearest", radius=16)
    _, maps = inspector.inspect(test[None])
    largest_good, _ = inspector.inspect(np.ascontiguousarray(good[None, :, ::-1]))
    difference = np.abs(maps[0] - whole)[margin:-margin, margin:-margin] / largest_good[0]
    assert difference.max() < bound
    assert whole[150:162, 200:212].max() > whole[margin:140, margin:-margin].max()


# The contract, tile by tile


def test_the_score_is_that_of_the_most_anomalous_tile_and_only_tiles_are_seen(tiled, pixels):
    shapes, scores = [], []

    def note(_, given, result):
        shapes.append(given[0].shape)
        scores.append(result[0])

    handle = tiled.detector.register_forward_hook(note)
    try:
        score, _ = tiled.inspect(pixels)
    finally:
        handle.remove()
    assert shapes == [(12, 3, *tiled.detector.image_size)] * len(tiled.tiles)
    np.testing.assert_array_equal(score, torch.stack(scores).numpy().max(axis=0))


def test_score_of_a_batch_equals_scores_of_its_images(tiled, pixels):
    scores, maps = tiled.inspect(pixels)
    for position in (0, 5):
        score, anomaly_map = tiled.inspect(pixels[position : position + 1])
        np.testing.assert_allclose(score[0], scores[position], rtol=1e-5)
        np.testing.assert_allclose(anomaly_map[0], maps[position], rtol=1e-4, atol=1e-4 * scores.max())


def test_a_saved_model_tiles_as_before_and_its_file_agrees_at_every_size_and_batch(tiled, digits, pixels, tmp_path):
    looked_at = [record for record in digits.records if record.role != "fit"][::24]
    some = replace(digits, records=(*digits.with_role("fit"), *looked_at))
    model = modelled(tiled, some, tmp_path / "model")
    assert model.inspector.tiles.tiling == tiled.tiles.tiling
    for ours, theirs in zip(model.inspector.inspect(pixels), tiled.inspect(pixels), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    onnx_path = tmp_path / "gauge.onnx"
    export_onnx(model.inspector, onnx_path, metadata=bundle_facts(model), opset=18)
    parity = check_parity(model, onnx_path, some, ParityParams(1e-4, [1, 8], [[37, 21], [90, 64]], 64, 0.01, 0.02))
    assert {c.batch_size for c in parity.comparisons} == {1, 8}
    write_bundle(tmp_path / "bundle", onnx_path, model, parity, digits, MEASURED)


def test_what_lies_outside_the_roi_changes_nothing_with_tiles_either(digits, tmp_path):
    roi = replace(REGIONS, roi=[[0.1, 0.2], [0.9, 0.1], [0.8, 0.95], [0.2, 0.7]])
    inspector = fitted("pca", digits, regions=roi, tiling=SMALL)
    export_onnx(inspector, tmp_path / "gauge.onnx", metadata={}, opset=18)
    session = open_session(tmp_path / "gauge.onnx")
    rng = np.random.default_rng(0)
    given, other = rng.integers(0, 256, (2, 3, 33, 51, 3), dtype=np.uint8)
    inspected = roi.roi_mask(33, 51)
    changed = np.where(inspected[..., None], given, other)
    for run in (inspector.inspect, lambda images: run_session(session, images)):
        for ours, theirs in zip(run(given), run(changed), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        maps = run(given)[1]
        assert (maps[:, ~inspected] == 0).all()
        assert (maps[:, inspected] > 0).mean() > 0.99


# What it is for


def plate(seed):
    """A rough surface of 3,000 x 4,096 pixels."""
    rng = np.random.default_rng(seed)
    grain = gaussian_filter(rng.normal(size=(3000, 4096)).astype(np.float32), 1.2)
    clouds = np.kron(gaussian_filter(rng.normal(size=(375, 512)).astype(np.float32), 2), np.ones((8, 8), np.float32))
    grey = 128 + 40 * grain + 60 * gaussian_filter(clouds, 3)
    return np.clip(np.stack([grey] * 3, axis=-1), 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_a_defect_of_12_pixels_is_found_in_an_image_of_4096_x_3000(tmp_path):
    detector = PatchCore(PatchCoreOptions(image_size=512, bank_patches=100, layers=[2]))
    inspector = Inspector(detector, tiling=Tiling(3000, 4096, 64))
    with torch.inference_mode():
        canvas = inspector.resized(torch.from_numpy(plate(0)[None]))
        detector.fit([inspector.tiles.tile(canvas, number) for number in range(0, len(inspector.tiles), 3)], seed=0)
    export_onnx(inspector, tmp_path / "gauge.onnx", metadata={}, opset=18)
    session = open_session(tmp_path / "gauge.onnx")
    image = plate(1)
    good, _ = run_session(session, image[None])
    rows, columns = np.ogrid[-5.5:6, -5.5:6]
    image[1507:1519, 2203:2215][rows**2 + columns**2 <= 36] -= 50
    score, maps = run_session(session, image[None])
    assert maps.shape == (1, 3000, 4096)
    assert score[0] > 1.1 * good[0]
    row, column = np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert 1507 <= row < 1519
    assert 2203 <= column < 2215
