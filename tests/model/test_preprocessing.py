"""Illumination and contrast are evened out as each option says, alike in the model, its saved form and its graph."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import CALIBRATE, OPTIONS, REGIONS, made
from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import threshold_of
from gonogo.detectors.frame import Frame
from gonogo.detectors.options import MeanImageOptions
from gonogo.errors import ConfigError, DataError, WeightsError
from gonogo.export.graph import export_onnx
from gonogo.files import sha256_of
from gonogo.images.size import ImageSize
from gonogo.inference.scorer import open_session, run_session
from gonogo.inference.working_memory import GraphSize
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import FitParams, Preprocess, Tiling
from gonogo.model.fitting import Fitting
from gonogo.model.inspection import inspect_calibrate
from gonogo.model.inspector import Inspector
from gonogo.model.preprocessing import MIDDLE, SPREAD, Preprocessing
from gonogo.model.refit import refitted
from gonogo.model.saved import bundle_facts, load_model, save_model
from gonogo.params import Variant

SIZE = ImageSize(96, 128)


@pytest.fixture(scope="module")
def shading():
    """(h, w, 1): a light that falls to half towards one corner."""
    down, across = np.linspace(0, 1, SIZE.height)[:, None], np.linspace(0, 1, SIZE.width)
    return (1 - 0.25 * down - 0.25 * across)[..., None]


@pytest.fixture(scope="module")
def flat_field(shading, tmp_path_factory):
    """Two noisy photographs of a blank surface under that light, with their hashes."""
    folder, generator = tmp_path_factory.mktemp("flat"), np.random.default_rng(3)
    for number in range(2):
        noisy = 200 * shading * np.array([1.0, 0.9, 0.8]) + generator.normal(0, 3, (*SIZE, 3))
        Image.fromarray(noisy.clip(0, 255).round().astype(np.uint8)).save(folder / f"{number}.png")
    return {str(path): sha256_of(path) for path in sorted(folder.glob("*.png"))}


def levelled(pixels, **options):
    """What the detector sees of float pixels (h, w, 3), and the step that made it."""
    step = Preprocessing(Preprocess(**options), SIZE)
    step.load()
    return step(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()


def test_a_flat_field_takes_the_light_out_of_an_image(shading, flat_field):
    part = np.full((*SIZE, 3), 120.0)
    part[30:50, 40:90] = (60, 90, 150)
    seen = levelled(part * shading, flat_field=flat_field)
    expected = part * shading.mean()
    assert abs(seen - expected)[1:-1, 1:-1].max() < 3  # noise of the flat field, and its coarse grid
    assert np.ptp(part[:20] * shading[:20]) > 30


def test_grey_world_removes_the_colour_of_the_light_and_keeps_the_brightness():
    part = np.random.default_rng(5).uniform(40, 160, (*SIZE, 1)) * np.ones(3)
    tinted = part * np.array([1.2, 1.0, 0.7])
    seen = levelled(tinted, grey_world=True)
    np.testing.assert_allclose(seen, part * (2.9 / 3), atol=0.1)
    black = levelled(np.zeros((*SIZE, 3)), grey_world=True)
    assert black.max() == 0


@pytest.mark.parametrize("roi", [None, [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]], ids=["all", "roi"])
@pytest.mark.parametrize("frame", [None, Frame(False, 114)], ids=["fills", "bars"])
def test_only_what_is_inspected_of_an_image_decides_how_it_is_levelled(roi, frame):
    """Grey outside a region of interest and bars beside the image have no part in the means of colours and cells."""
    detector = made("mean_image", image_size=64)
    detector.frame = frame
    inside = RegionParams(**dataclasses.asdict(REGIONS) | {"roi": roi}).inside
    inspector = Inspector(detector, inside, preprocess=Preprocess(grey_world=True, contrast_cells=4))
    part = np.random.default_rng(8).uniform(40, 160, (64, 64 if frame is None else 48, 1)) * np.ones(3)

    def seen(tint):
        pixels = (part * np.array(tint)).clip(0, 255).round().astype(np.uint8)
        return inspector.resized(torch.from_numpy(pixels)[None])[0, :, 20:44, 20:34]

    plain, tinted = seen((1, 1, 1)), seen((1.2, 1.0, 0.7))
    assert abs(tinted - plain).mean() < 1, tinted.mean(dim=(1, 2))
    assert float(plain.std()) == pytest.approx(SPREAD, rel=0.2)


def test_local_contrast_is_the_same_in_a_dim_corner_as_in_a_bright_one(shading):
    texture = np.random.default_rng(6).normal(0, 12, (*SIZE, 1)) * np.ones(3)
    image = (120 + texture) * shading**2
    seen = levelled(image, contrast_cells=8, contrast_limit=20.0)
    corners = seen[:24, :24], seen[-24:, -24:]
    assert image[:24, :24].mean() > 2.5 * image[-24:, -24:].mean()
    assert image[:24, :24].std() > 2 * image[-24:, -24:].std()
    assert [abs(corner.mean() - MIDDLE) < 12 for corner in corners] == [True, True], [c.mean() for c in corners]
    assert [abs(corner.std() - SPREAD) < 8 for corner in corners] == [True, True], [c.std() for c in corners]


def test_the_limit_keeps_the_noise_of_an_even_area_down():
    even = 100 + np.random.default_rng(7).normal(0, 1, (*SIZE, 1)) * np.ones(3)
    assert levelled(even, contrast_cells=4, contrast_limit=3.0).std() == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize(
    ("tiling", "border"),
    [(None, 0.0), (Tiling(height=80, width=112, overlap=16), 0.0), (None, 0.2)],
    ids=["whole", "tiles", "border"],
)
def test_model_saved_model_and_graph_see_the_same(tiling, border, flat_field, digits, tmp_path):
    """A score with it is another one than without, and both runtimes and the loaded model agree on it."""
    preprocess = Preprocess(flat_field=flat_field, grey_world=True, contrast_cells=4)
    regions = dataclasses.replace(REGIONS, border=border)
    detector = made("pca", **OPTIONS["pca"] | {"image_size": 32})
    inspector = Inspector(detector, regions.inside, tiling=tiling, preprocess=preprocess)
    inspector.preprocessing.load()
    records = digits.with_role("fit")[:20]
    inspector.detector.fit(FitImages(inspector, digits, records), seed=17)
    good, rule = inspect_calibrate(inspector, digits, regions)
    save_model(
        tmp_path / "model",
        inspector,
        threshold_of(good.scores, good.groups, CALIBRATE, seed=17),
        rule,
        category="digit_0",
        detector_name="pca",
        options=OPTIONS["pca"] | {"image_size": 32},
        data_fingerprint=digits.fingerprint,
        fitted_on=[record.path for record in records],
        calibrated_on=good.score_rows(),
    )
    model = load_model(tmp_path / "model")
    export_onnx(model.inspector, tmp_path / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    session, generator = open_session(tmp_path / "gauge.onnx"), np.random.default_rng(1)
    for size in ((8, 8), (90, 70)):
        pixels = generator.integers(0, 256, (3, *size, 3), dtype=np.uint8)
        score, anomaly_map = inspector.inspect(pixels)
        for other in (model.inspector.inspect(pixels), refitted(model, digits, seed=17).inspect(pixels)):
            np.testing.assert_array_equal(other[0], score)
            np.testing.assert_array_equal(other[1], anomaly_map)
        onnx_score, onnx_map = run_session(session, pixels)
        np.testing.assert_allclose(onnx_score, score, rtol=1e-4)
        np.testing.assert_allclose(onnx_map, anomaly_map, atol=1e-4 * score.max())
        plain = Inspector(inspector.detector, regions.inside, tiling=tiling).inspect(pixels)[0]
        assert (abs(plain - score) > 0.01 * score).all()
    manifest = bundle_facts(model)
    assert manifest["preprocessing"]["preprocess"] == dataclasses.asdict(preprocess)
    without = manifest | {"preprocessing": manifest["preprocessing"] | {"preprocess": None}}
    assert GraphSize.from_dict(manifest).working_bytes(90, 70) > GraphSize.from_dict(without).working_bytes(90, 70)


def test_a_flat_field_of_another_shape_than_the_fit_images_is_refused(flat_field, digits, tmp_path):
    """Stretched over them, its shading would lie elsewhere; another size in the same shape is fine."""
    values = FitParams("cpu", None, None, None, 0, None, 1, None, Preprocess(flat_field=flat_field))
    chosen = Variant(MeanImageOptions(image_size=8), "mean_image", {"image_size": 8}, values)
    fitting = Fitting(digits, chosen, CALIBRATE, REGIONS, 17, tmp_path)
    fitting.start([dataclasses.replace(record, width=256, height=192) for record in digits.with_role("fit")])
    with pytest.raises(DataError, match=r"\.png has 96 x 128 pixels .* fit images are 1 times as wide as high"):
        fitting.start(digits.with_role("fit"))


def test_a_flat_field_that_is_not_the_one_meant_or_is_too_dark_is_refused(tmp_path):
    black = np.full((*SIZE, 3), 200, dtype=np.uint8)
    black[40:60, 40:60] = 2
    path = tmp_path / "flat.png"
    Image.fromarray(black).save(path)

    def load(flat_field):
        Preprocessing(Preprocess(flat_field=flat_field), SIZE).load()

    with pytest.raises(WeightsError, match=rf"set its entry '.*flat\.png' under .* to .*{sha256_of(path)}"):
        load({str(path): None})
    with pytest.raises(WeightsError, match="do not use this file"):
        load({str(path): "0" * 64})
    with pytest.raises(DataError, match=r"darkest place has 1\.0% of the mean"):
        load({str(path): sha256_of(path).upper()})  # as some systems print it
    Image.fromarray(np.full((*SIZE, 3), 255, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match=r"flat\.png is overexposed"):
        load({str(path): sha256_of(path)})
    framed = made("mean_image", image_size=8)
    framed.frame = Frame(True, 114)
    with pytest.raises(ConfigError, match=r"fit\.fitting puts bars beside"):
        Inspector(framed, preprocess=Preprocess(flat_field={str(path): None}))
    with pytest.raises(ConfigError, match="asks for nothing"):
        Preprocess(contrast_limit=2.0)
