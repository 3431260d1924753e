"""The forecast of a fit: near what it takes, kept or refused with numbers, and nothing is learned by it."""

import copy
import ctypes
import gc
import itertools
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from conftest import EACH, OPTIONS, made
from gonogo.compute.memory import machine_bytes, peak_bytes, resident_bytes
from gonogo.detectors.contract import NO_LIMITS, FitContext
from gonogo.detectors.efficientad.efficientad import EfficientAD
from gonogo.detectors.lof import LocalOutlierFactor
from gonogo.detectors.mean_image import MeanImage
from gonogo.detectors.options import EfficientADOptions, LOFOptions, PaDiMOptions, PatchCoreOptions
from gonogo.detectors.padim import PaDiM
from gonogo.detectors.patchcore import PatchCore
from gonogo.detectors.training import forecast as forecast_module
from gonogo.detectors.training.forecast import MB, Forecast
from gonogo.errors import ConfigError, DataError, NotFittedError
from gonogo.model import fitting
from gonogo.model.fit_images import FitImages
from gonogo.model.fitting import PROCESS_BYTES, forecast_fit, room_in
from gonogo.model.inspector import Inspector

FORGET_PEAK = Path("/proc/self/clear_refs")
TEMPORARIES = 32 << 20  # bytes of a selection's chunks, of a few MiB each, whatever the number of patches
needs_linux = pytest.mark.skipif(not FORGET_PEAK.exists(), reason="only Linux lets a process start its peak anew")


class PixelPatches(nn.Module):
    """Squares of 8 x 8 pixels as patch features (n, gh, gw, 192), which cost nothing to compute."""

    def load(self, weights: str, sha256: str | None) -> None: ...

    def forward(self, pixels: Tensor) -> Tensor:
        n, _, s, _ = pixels.shape
        return pixels.view(n, 3, s // 8, 8, s // 8, 8).permute(0, 2, 4, 1, 3, 5).flatten(3)


class Noise:
    """So many batches (1, 3, s, s), none of which is held."""

    def __init__(self, n: int, side: int) -> None:
        self.n, self.side = n, side

    def __len__(self) -> int:
        return self.n

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        return (255 * torch.rand(1, 3, self.side, self.side, generator=generator) for _ in range(self.n))


def cheap(kind, **options):
    options_of = {PatchCore: PatchCoreOptions, PaDiM: PaDiMOptions}
    detector = kind(options_of[kind](weights="random", image_size=128, **options))
    detector.patch_features = PixelPatches()
    return detector


def growth(detector, batches, context=NO_LIMITS) -> int:
    """Bytes by which a fit raises the peak of a process of its own, which has fitted a few images before.

    In a process that did other things, what an allocator keeps of them, and from what size on it returns memory at
    once, would count too; in one that did nothing, the modules that a first fit imports.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_growth, detector, batches, context).result()


def _growth(detector, batches, context) -> int:
    copy.deepcopy(detector).fit(list(itertools.islice(batches, 3)), seed=0)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the few left in the heap would be used again, and not be seen
    FORGET_PEAK.write_text("5")
    before = resident_bytes()
    detector.fit(batches, seed=0, context=context)
    return peak_bytes() - before


@needs_linux
@pytest.mark.parametrize(
    ("kind", "options", "n_images", "room"),
    [
        (PatchCore, {"bank_patches": 20}, 200, None),
        (PatchCore, {"bank_patches": 20}, 400, None),
        (PatchCore, {"bank_patches": 20}, 800, 160_000_000),
        (PaDiM, {"n_features": 100}, 3, None),
        (PaDiM, {"n_features": 150}, 3, None),
    ],
    ids=["patchcore-200", "patchcore-400", "patchcore-800-in-parts", "padim-100", "padim-150"],
)
def test_the_memory_that_is_forecast_is_that_which_is_taken(kind, options, n_images, room):
    detector, images = cheap(kind, **options), Noise(n_images, 128)
    context = FitContext(room=room)
    expected = detector.forecast(images, context)
    took = growth(detector, images, context)
    assert took - TEMPORARIES < 1.25 * expected.memory
    assert expected.memory < 1.25 * took
    assert room is None or took < 1.3 * room


@needs_linux
def test_a_students_training_takes_no_more_memory_than_forecast_and_each_image_its_pixels():
    detector = EfficientAD(
        EfficientADOptions(teacher="random", size="tiny", image_size=96, steps=2, held_out_share=0.01)
    )
    expected, more = (detector.forecast(Noise(n, 96)).memory for n in (60, 360))
    assert more - expected == 300 * 3 * 96 * 96 * 4
    assert growth(detector, Noise(60, 96)) < 1.5 * expected


@needs_linux
def test_no_table_of_all_distances_is_held_for_the_outlier_factor():
    rows = torch.randn(1500, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    detector = LocalOutlierFactor(LOFOptions(features="pixels", image_size=4))
    assert growth(detector, [rows]) < 30e6  # the table alone has 9 MB, its rows once left 250 MB


@pytest.mark.parametrize("name", EACH)
def test_every_detector_forecasts_without_learning(name, digits, request, monkeypatch):
    ticks = itertools.count()  # a clock on which everything that is timed takes a second
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    if name == "anomalib":
        request.getfixturevalue("anomalib_trained")
    inspector = Inspector(made(name, **OPTIONS[name]))
    few, many = (FitImages(inspector, digits, digits.with_role("fit")[:n]) for n in (10, 80))
    first, second = (forecast_fit(inspector.detector, images, budget_mb=None) for images in (few, many))
    assert 0 < first.memory <= second.memory
    assert 0 < first.seconds < second.seconds
    assert f"forecast {(resident_bytes() + first.passing + first.memory) / MB:,.0f}"[:-2] in first.sentence
    assert first.how in first.sentence
    with pytest.raises(NotFittedError):
        inspector.inspect(digits.pixels_of(digits.records[0])[None])


def test_a_budget_gives_the_detector_what_the_process_leaves_of_it(digits, monkeypatch):
    rooms = []

    def remember(detector, batches, context):
        rooms.append(context.room)
        return MeanImage.forecast(detector, batches, context)

    monkeypatch.setattr(PatchCore, "forecast", remember)
    detector = PatchCore(PatchCoreOptions(**OPTIONS["patchcore"]))
    images = FitImages(Inspector(detector), digits, digits.with_role("fit")[:10])
    for budget_mb in (100_000, None):
        forecast_fit(detector, images, budget_mb=budget_mb)
    assert rooms == [room_in(100_000), room_in(None)] == [100_000_000_000 - PROCESS_BYTES, None]


def test_a_budget_that_the_process_alone_exceeds_is_refused(digits):
    inspector = Inspector(PatchCore(PatchCoreOptions(**OPTIONS["patchcore"])))
    with pytest.raises(ConfigError, match=r"memory_budget_mb is 2; 600 MB are set aside for Python, torch"):
        forecast_fit(inspector.detector, FitImages(inspector, digits, []), budget_mb=2)


def test_what_a_look_at_an_image_takes_for_a_moment_is_part_of_the_forecast(digits, monkeypatch):
    """A wide image's activations are gone when the forecast is made, and the fit has them again beside all it keeps."""
    peak = 500_000_000  # of a process that holds as much, until it looks at an image

    def look(*_):
        nonlocal peak
        peak = max(peak, 700_000_000)
        return Forecast(1_000_000, 1.0, "one row")

    monkeypatch.setattr(MeanImage, "forecast", look)
    for module in (fitting, forecast_module):
        monkeypatch.setattr(module, "resident_bytes", lambda: 500_000_000)
    monkeypatch.setattr(fitting, "peak_bytes", lambda: peak)
    images = FitImages(Inspector(made("mean_image", image_size=8)), digits, digits.with_role("fit")[:3])
    found = forecast_fit(images.inspector.detector, images, budget_mb=None)
    assert (found.passing, found.peak_mb) == (200_000_000, 701_000_000 / MB)
    peak = 500_000_000
    with pytest.raises(ConfigError, match="this fit needs"):
        forecast_fit(images.inspector.detector, images, budget_mb=700_000_000 / MB)
    peak = 800_000_000  # by what came before, which a fit does not do again
    assert forecast_fit(images.inspector.detector, images, budget_mb=None).passing == 0


def test_a_fit_imports_nothing_large_that_its_forecast_did_not_count():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        assert process.submit(_imported_late).result() == {}


def _imported_late() -> dict[str, list[str]]:
    """By detector, modules of scikit-learn and scipy that its fit imports, and its forecast did not."""
    images, late = [torch.rand(1, 3, 8, 8) * 255 for _ in range(8)], {}
    for name in ("mahalanobis", "ocsvm", "pca", "isolation_forest"):
        options = {"features": "pixels"} if name in ("mahalanobis", "ocsvm") else {}
        detector = made(name, image_size=8, **options)
        detector.forecast(images)
        before = set(sys.modules)
        detector.fit(images, seed=0)
        new = sorted(module for module in set(sys.modules) - before if module.startswith(("sklearn", "scipy")))
        late |= {name: new} if new else {}
    return late


def test_a_budget_that_cannot_be_kept_is_refused_with_what_is_needed():
    detector = made("softpatch", weights="random", image_size=128)
    detector.patch_features = PixelPatches()
    with pytest.raises(ConfigError, match=r"is 1,000; this fit needs [\d,]+ MB \(all 5,120,000 patches at once"):
        forecast_fit(detector, Noise(20_000, 128), budget_mb=1000)


def test_gaussians_without_room_are_refused_with_how_many_dimensions_fit():
    detector = cheap(PaDiM, n_features=100)
    context = FitContext(room=10_000_000)
    with pytest.raises(ConfigError, match=r"leaves 10\.0 MB; .*at 256 places need 31\.5 MB.*n_features to 55 at most"):
        detector.fit(Noise(3, 128), seed=0, context=context)
    with pytest.raises(ConfigError, match=r"n_features to 55"):
        detector.forecast(Noise(3, 128), context)
    assert cheap(PaDiM, n_features=55).forecast(Noise(3, 128), context).memory < 10_000_000


def test_without_an_image_there_is_nothing_to_forecast(digits):
    inspector = Inspector(PatchCore(PatchCoreOptions(**OPTIONS["patchcore"])))
    with pytest.raises(DataError, match="there is no fit image"):
        forecast_fit(inspector.detector, FitImages(inspector, digits, []), budget_mb=None)


def test_a_machine_with_less_memory_than_the_forecast_is_named():
    detector = cheap(PatchCore)
    huge = forecast_fit(detector, Noise(10**8, 128), budget_mb=None)
    assert f"this machine has {machine_bytes() / MB:,.0f} MB, so set fit.memory_budget_mb" in huge.sentence
    assert "so set" not in forecast_fit(detector, Noise(10, 128), budget_mb=None).sentence
