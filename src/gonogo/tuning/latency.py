"""How long a verdict would take: the exported graph of a gauge with these options, timed on this machine."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gonogo.calibration.regions import RegionParams
from gonogo.detectors import detector_with
from gonogo.detectors.options import PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.export.graph import ExportParams, export_onnx
from gonogo.images.reading import read_image
from gonogo.inference.scorer import open_session, run_session
from gonogo.model.inspector import Inspector

WARMUP, RUNS = 3, 15
FEW = 256  # random patches; a bank of more has them several times


def verdict_ms(
    options: PatchCoreOptions,
    views: int,
    images: Sequence[Path],
    regions: RegionParams,
    export: ExportParams,
    *,
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Median milliseconds from an encoded file to score and map, one image at a time, as `p50_ms` of the bench stage.

    The graph is that of a gauge fitted on `views` images. Its patches are random numbers, on which no time depends.

    Args:
        options: of the gauge.
        views: images that it would be fitted on, rotations included; the bank grows with them.
        images: encoded files, taken in turn.
        regions: what the gauge inspects.
        export: the section `export`.
        threads: of onnxruntime.
        clock: seconds.

    Raises:
        ConfigError: there is no gauge with such options.
    """
    inspector = Inspector(_with_random_bank(options, views), regions.inside)
    return graph_ms(inspector, images, export, threads=threads, clock=clock)


def graph_ms(
    inspector: Inspector,
    images: Sequence[Path],
    export: ExportParams,
    *,
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The same of a fitted gauge's own graph."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gauge.onnx"
        export_onnx(inspector, path, metadata={}, opset=export.opset)
        session = open_session(path, threads=threads)
    seconds = []
    for image in islice(cycle(images), WARMUP + RUNS):
        started = clock()
        run_session(session, read_image(image)[None])
        seconds.append(clock() - started)
    return float(np.median(seconds[WARMUP:])) * 1e3


def _with_random_bank(options: PatchCoreOptions, views: int) -> PatchCore:
    """A detector whose bank has as many patches as that of a fit, none of which means anything."""
    detector = detector_with("patchcore", options)
    assert isinstance(detector, PatchCore)
    detector.load_weights()
    sight = detector.patch_features
    with torch.inference_mode():
        _, height, width, d = sight(torch.zeros(1, 3, *detector.image_size)).shape
    rows = max(options.n_neighbors, detector.bank_size(views * height * width, options.reduced_dims or d))
    few = max(options.n_neighbors, options.reduced_dims or 0, FEW)
    patches = torch.randn(1, few, 1, d, generator=torch.Generator().manual_seed(0))
    detector.patch_features = nn.Identity()
    detector.options = replace(options, coreset_ratio=1.0, bank_patches=None, bank_mb=None)
    detector.fit([patches], seed=0)
    detector.patch_features, detector.options = sight, options
    place = torch.arange(rows) % few
    detector.set_learned(memory_bank_=detector.memory_bank_[place], bank_places_=detector.bank_places_[place])
    return detector
