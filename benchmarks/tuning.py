"""How far the criterion of `gonogo tune` can be trusted, and what its choices are worth: docs/tuning.md.

    python benchmarks/tuning.py ranks --data FOLDER       criterion against the truth, over configurations of a gauge
    python benchmarks/tuning.py gains --data FOLDER       the options of params.yaml against those that a search chooses

Of `ranks`, each configuration is judged by planted defects on the fit images, and by the calibrate and test images,
which no search sees. Of `gains`, a search is followed by two gauges, fitted on all fit images, certified on the
calibrate images and measured on the test images. Rows that are measured again replace the old ones in
benchmarks/tuning.json. FOLDER holds the parts' folders; parts without one are built in.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import CalibrateParams
from gonogo.compute.progress import ProgressLine
from gonogo.compute.versions import versions
from gonogo.detectors.anomaly_map import upsample
from gonogo.detectors.options import PatchCoreOptions
from gonogo.evaluation.accuracy.evaluate import EvaluateParams, evaluate
from gonogo.evaluation.accuracy.metrics import auroc, average_precision
from gonogo.export.graph import ExportParams
from gonogo.images.dataset import Dataset, evenly_spaced
from gonogo.images.size import ImageSize
from gonogo.model.fit_params import fit_section
from gonogo.model.fitting import Fitting
from gonogo.model.saved import load_model
from gonogo.params import Params, Section, read_yaml
from gonogo.tuning.criterion import criterion
from gonogo.tuning.good_parts import FOLDS, Gauges, GoodParts
from gonogo.tuning.latency import graph_ms
from gonogo.tuning.search import Budget
from gonogo.tuning.space import by_sight, changed
from gonogo.tuning.tune import Tuning
from parts import SOURCES, prepare_part
from results import ROOT, Row, add_row, origin, read_rows

RESULTS = Path(__file__).with_name("tuning.json")
PARTS = SOURCES
SIDES, WHITENING, BANKS = (96, 160, 224), (0.0, 0.5, 1.0), (0.002, 0.01)
SHALLOW = ((2,), (1, 2))  # layers that a search does not choose
MOST_FITTED, MOST_TESTED = 80, 60  # images of a gauge, and of each label, whose true figures are compared
THREADS = 2


def configurations(base: PatchCoreOptions) -> list[PatchCoreOptions]:
    """What is compared: sizes, whitening and banks, and at the middle size other layers."""
    grid = [
        replace(base, image_size=side, whitening=power, coreset_ratio=ratio)
        for side, power, ratio in product(SIDES, WHITENING, BANKS)
    ]
    middle = [replace(base, image_size=SIDES[1], layers=list(layers)) for layers in ((3,), (1, 2, 3), *SHALLOW)]
    return [*grid, *middle]


def true_figures(
    parts: GoodParts, dataset: Dataset, group: Sequence[PatchCoreOptions]
) -> Iterator[tuple[float, float | None]]:
    """Image AUROC and pixel AP, at the image size, on images that no search sees, by gauges fitted on fit images.

    They are the test images, and the calibrate images as further good ones: no gauge is certified here.
    """
    gauges = Gauges(parts, evenly_spaced(list(parts.dataset.records), MOST_FITTED), group)
    test = dataset.with_role("test", "calibrate")
    some = [record for label in (0, 1) for record in evenly_spaced([r for r in test if r.label == label], MOST_TESTED)]
    labels = np.array([record.label == 1 for record in some])
    masks = [dataset.mask_of(record) for record in some]
    results = [gauges.results(gauges.features_of(dataset.pixels_of(record))) for record in some]
    for place, options in enumerate(group):
        size = ImageSize.of(options.image_size)
        scores = np.array([float(result[place][0]) for result in results])
        precision = None
        if all(mask is not None for mask in masks):
            maps = [upsample(result[place][1], size, options.smoothing, *size)[0].numpy() for result in results]
            seen = [_resized(mask, size) for mask in masks if mask is not None]
            precision = average_precision(np.concatenate(maps).ravel(), np.concatenate(seen).ravel())
        yield auroc(scores, labels), precision


def _resized(mask: np.ndarray, size: ImageSize) -> np.ndarray:
    rows, columns = (np.arange(to) * of // to for to, of in zip(size, mask.shape, strict=True))
    return np.asarray(mask[rows][:, columns])


def ranks(name: str, params: Params, dataset: Dataset, seed: int) -> Row:
    """The rank correlation of the criterion with the truth over the configurations, and all that it comes from."""
    base, values = Tuning(name, params, dataset, seed).options()
    parts = GoodParts.of(dataset, params.values("regions", RegionParams), rotations=values.rotations, seed=seed)
    rows: list[Row] = []
    for group in by_sight(configurations(base)):
        folds = [parts.scores(fold, group) for fold in range(FOLDS)]
        truth = true_figures(parts, dataset, group)
        for options, scores, (image_auroc, pixel_ap) in zip(group, zip(*folds, strict=True), truth, strict=True):
            judged = criterion(scores, seed=seed)
            rows.append(
                {
                    "changes": changed(options, base),
                    "layers": list(options.layers),
                    "criterion": judged.value,
                    "error": judged.error,
                    "image_auroc": image_auroc,
                    "pixel_ap": pixel_ap,
                }
            )
            print(f"{name} {rows[-1]}", flush=True)
    chosen_from = [row for row in rows if max(row["layers"]) >= max(base.layers)]
    best = max(chosen_from, key=lambda row: row["criterion"])
    return {
        "what": "ranks",
        "part": name,
        "n_parts": len({record.group_id for record in parts.dataset.records}),
        "n": len(chosen_from),
        **_correlations(chosen_from, ""),
        **_correlations(rows, "_all_layers"),
        "image_auroc_range": [min(r["image_auroc"] for r in chosen_from), max(r["image_auroc"] for r in chosen_from)],
        "image_auroc_of_best": best["image_auroc"],
        "pixel_ap_of_best": best["pixel_ap"],
        "median_error": float(np.median([row["error"] for row in rows])),
        "configurations": rows,
    }


def _correlations(rows: Sequence[Row], suffix: str) -> dict[str, float | None]:
    """Spearman's, with image AUROC and with pixel AP; None where all have one value or there is none."""
    found: dict[str, float | None] = {}
    for key in ("image_auroc", "pixel_ap"):
        truth = [row[key] for row in rows]
        same = any(value is None for value in truth) or len(set(truth)) == 1
        found[f"rank_{key}{suffix}"] = None if same else float(spearmanr([r["criterion"] for r in rows], truth)[0])
    return found


def gains(
    name: str, params: Params, content: Section, dataset: Dataset, folder: Path, *, seed: int, budget: Budget
) -> Row:
    """The figures of the gauge with the options in force, and of the one that a search chooses."""
    tuning = Tuning(name, params, dataset, seed)
    found = tuning.run(folder, budget, brief=budget.seconds < 240, progress=ProgressLine())
    before = gauge_figures(name, params, dataset, folder / "before")
    override = {"fit": {**params.section("fit"), **found["chosen"]["changes"]}}
    tuned = Params(params.path, name, content={**content, "overrides": {name: override}})
    after = gauge_figures(name, tuned, dataset, folder / "after")
    return {
        "what": "gains",
        "part": name,
        "verdict_ms": budget.verdict_ms,
        "search_s": found["seconds"],
        "complete": found["complete"],
        "n_tried": len(found["tried"]),
        "changes": found["chosen"]["changes"],
        "criterion_before": found["value"]["value"],
        "criterion_after": found["chosen"]["value"],
        "criterion_error": found["chosen"]["error"],
        "before": before,
        "after": after,
    }


def gauge_figures(name: str, params: Params, dataset: Dataset, folder: Path) -> Row:
    """What the pipeline would measure of a gauge: accuracy on the test images, and the time of a verdict."""
    chosen = fit_section(params)
    calibrate, regions = params.values("calibrate", CalibrateParams), params.values("regions", RegionParams)
    fitting = Fitting(dataset, chosen, calibrate, regions, params.seed, folder / "checkpoints")
    inspector = fitting.fit(*fitting.start(fitting.records), ProgressLine())
    fitting.save(folder / "model", inspector, fitting.certify(inspector, ProgressLine()), category=name)
    model = load_model(folder / "model")
    metrics = evaluate(model, dataset, params.values("evaluate", EvaluateParams), seed=params.seed).metrics
    images = [dataset.path_of(record) for record in dataset.with_role("test")]
    export = params.values("export", ExportParams)
    kept = ("image_auroc", "image_auroc_low", "image_auroc_high", "pixel_ap", "recall", "false_alarm_rate")
    figures = {key: metrics[key] for key in kept if key in metrics}
    return figures | {"verdict_ms": graph_ms(model.inspector, images, export, threads=THREADS)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ranks", "gains"])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="NAME")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each search; 10")
    parser.add_argument("--verdict-ms", type=float, default=20.0, help="of a verdict; 20")
    arguments = parser.parse_args(argv)
    standing = read_yaml(ROOT / "params.yaml")
    for name in arguments.parts:
        content = {**standing, "categories": [name], "overrides": {}}
        params = Params(ROOT / "params.yaml", name, content=content)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            dataset = _dataset(name, PARTS[name], arguments.data, folder / "data")
            if arguments.what == "ranks":
                row = ranks(name, params, dataset, params.seed)
            else:
                budget = Budget(arguments.verdict_ms, 60 * arguments.minutes)
                row = gains(name, params, content, dataset, folder, seed=params.seed, budget=budget)
        add_row(RESULTS, row | origin(THREADS, versions("torch", "timm", "onnxruntime")), key=("what", "part"))
        print({key: value for key, value in row.items() if key != "configurations"}, flush=True)
    print(f"{len(read_rows(RESULTS))} rows in {RESULTS}")
    return 0


def _dataset(name: str, source: Mapping[str, Any], data: Path, folder: Path) -> Dataset:
    return prepare_part(name, source, data, folder, progress=lambda _, __: None).dataset


if __name__ == "__main__":
    sys.exit(main())
