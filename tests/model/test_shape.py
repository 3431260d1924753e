"""Parts that are not square, seen in their own shape: nothing anywhere takes their height for their width."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import MEASURED, OPTIONS, REGIONS, made, manifest_of, modelled
from gonogo.data.sample import Sample
from gonogo.export.graph import export_onnx
from gonogo.export.parity import ParityParams, check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.images.dataset import Dataset
from gonogo.images.roles import ROLES
from gonogo.inference.scorer import Scorer
from gonogo.line.explain import explain
from gonogo.model.fit_images import FitImages, rotated
from gonogo.model.fit_params import Tiling
from gonogo.model.inspector import Inspector
from gonogo.model.saved import bundle_facts

HEIGHT, WIDTH = 40, 120
DEFECT = (104, 26, 8, 8)  # x, y, width, height: far right, where an image of exchanged sides has nothing
SEEN = {
    "mean_image": [20, 60],
    "pca": [8, 24],
    "padim": [32, 96],
    "patchcore": [64, 192],
    "softpatch": [64, 192],
    "supersimplenet": [32, 96],
    "efficientad": [48, 144],
}


def drawn(number: int, *, defect: bool = False) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8: grey that grows to the right, with noise, and a white square if it is defective."""
    noise = np.random.default_rng(number).normal(0, 3, (HEIGHT, WIDTH, 3))
    pixels = np.linspace(60, 120, WIDTH)[None, :, None] + noise
    if defect:
        x, y, width, height = DEFECT
        pixels[y : y + height, x : x + width] = 250
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Dataset:
    about = {"label": 0, "defect_type": "good", "roles": ROLES}
    good = [Sample(name=f"good_{number}", image=drawn(number), **about) for number in range(50)]
    bad = Sample(name="spot", image=drawn(99, defect=True), label=1, defect_type="spot", roles=("test",))
    return manifest_of([*good, bad], tmp_path_factory.mktemp("wide"))


def fitted_wide(name: str, wide: Dataset, inside: np.ndarray | None = None, tiling: Tiling | None = None) -> Inspector:
    detector = made(name, **OPTIONS[name])
    inspector = Inspector(detector, inside, tiling=tiling)
    detector.fit(FitImages(inspector, wide, wide.with_role("fit")[:12]), seed=17)
    return inspector


@pytest.fixture(autouse=True, scope="module")
def _in_their_shape():
    with pytest.MonkeyPatch.context() as patch:
        for name, size in SEEN.items():
            patch.setitem(OPTIONS, name, OPTIONS[name] | {"image_size": size})
        yield


def is_at_the_defect(x: float, y: float, *, slack: int) -> bool:
    left, top, width, height = DEFECT
    return left - slack <= x < left + width + slack and top - slack <= y < top + height + slack


@pytest.mark.parametrize("name", SEEN)
def test_the_map_is_highest_where_the_defect_is(name, wide):
    _, (good, bad) = fitted_wide(name, wide).inspect(np.stack([drawn(98), drawn(99, defect=True)]))
    assert bad.shape == (HEIGHT, WIDTH)
    y, x = np.unravel_index((bad - good).argmax(), bad.shape)
    assert is_at_the_defect(x, y, slack=8)


def test_what_lies_outside_of_a_roi_at_the_left_does_not_count(wide):
    left = replace(REGIONS, roi=[[0, 0], [0.8, 0], [0.8, 1], [0, 1]])
    pixels = np.stack([drawn(98), drawn(98, defect=True)])
    scores, maps = fitted_wide("patchcore", wide, left.inside).inspect(pixels)
    assert scores[0] == scores[1]
    assert maps[1][:, 100:].max() == 0
    above = replace(REGIONS, roi=[[0, 0], [1, 0], [1, 0.8], [0, 0.8]])
    scores, _ = fitted_wide("patchcore", wide, above.inside).inspect(pixels)
    assert scores[1] > scores[0]


def test_a_quarter_turn_of_a_wide_view_leaves_a_parts_form_and_its_distance_from_the_middle():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    spot = 255 * ((np.abs(x - 74.5) <= 3) & (np.abs(y - 19.5) <= 1))  # 15 pixels to the right of the middle
    view = torch.nn.functional.interpolate(torch.from_numpy(spot).float()[None, None], (80, 240))  # twice the size
    turned = rotated(view, 1, 4, aspect=WIDTH / HEIGHT)[0, 0, :, 80:160].numpy()  # beside it, mirror images
    rows, columns = np.nonzero(turned > 127)
    assert (rows.mean(), columns.mean()) == pytest.approx((39.5 - 30, 39.5), abs=1)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == pytest.approx((14, 4), abs=2)


@pytest.fixture(scope="module", params=[None, Tiling(64, 192, 16)], ids=["whole", "in tiles"])
def bundled(request, wide, tmp_path_factory):
    """An inspector and a bundle of it, of wide images seen as they are and in tiles that are higher than wide."""
    folder = tmp_path_factory.mktemp("shape")
    with pytest.MonkeyPatch.context() as patch:
        size = SEEN["patchcore"] if request.param is None else [64, 48]
        patch.setitem(OPTIONS, "patchcore", OPTIONS["patchcore"] | {"image_size": size})
        model = modelled(fitted_wide("patchcore", wide, tiling=request.param), wide, folder / "model")
    export_onnx(model.inspector, folder / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    params = ParityParams(1e-4, [1, 3], [[HEIGHT, WIDTH], [90, 31]], 4, 0.01, 0.02)
    parity = check_parity(model, folder / "gauge.onnx", wide, params)
    write_bundle(folder / "bundle", folder / "gauge.onnx", model, parity, wide, MEASURED)
    return Scorer(folder / "bundle"), size


def test_the_exported_gauge_marks_the_defect_and_explains_it(bundled):
    scorer, size = bundled
    assert scorer.manifest["preprocessing"]["image_size"] == size
    (verdict,) = scorer.score_pixels(drawn(99, defect=True)[None])
    assert verdict.anomalous
    assert any(is_at_the_defect(*region.centroid, slack=6) for region in verdict.regions)
    first = explain(scorer, drawn(99, defect=True), n_cells=16, top=1)
    assert is_at_the_defect(*first.cells[0].at, slack=8)
    x, y, width, height = first.places[0].box
    assert is_at_the_defect(x + width / 2, y + height / 2, slack=10)


def test_the_good_patch_beside_a_place_is_one_of_the_same_grey(bundled):
    scorer, _ = bundled
    pixels = drawn(97)
    for place in explain(scorer, pixels, n_cells=24, top=20).places:
        own, theirs = (picture.mean() for picture in (place.picture, place.good.picture))
        assert own == pytest.approx(theirs, abs=20)
