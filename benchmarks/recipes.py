"""What the recipes that tune the backbone change: beside the plain one, under an even light and under one that varies.

    python benchmarks/recipes.py                                      what benchmarks/recipes.json does not have yet
    python benchmarks/recipes.py --parts brick --seeds 17 --lights varying

Built-in parts, prepared anew with each seed, which thus deals the roles too. Under the light that varies, each image of
each role is darker, shaded from one side and tinted by chance. The gauges are those of recipes/ but for the image size
and the smoothing below. `make readme` then writes the table of docs/preprocessing.md.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import CalibrateParams
from gonogo.compute.progress import no_progress
from gonogo.compute.versions import versions
from gonogo.data.sample import Sample, draw
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.evaluation.accuracy.pixel_metrics import aupro
from gonogo.images.dataset import Dataset
from gonogo.images.reading import read_image
from gonogo.model.fit_params import fit_section
from gonogo.model.fitting import Fitting
from gonogo.model.inspection import inspect_records
from gonogo.params import Params, Section, build, read_yaml
from parts import SOURCES, prepare_part
from results import ROOT, Row, add_row, is_at, origin, read_rows

RESULTS = ROOT / "benchmarks" / "recipes.json"
KEY = ("light", "part", "seed", "recipe")
PLAIN = "plain"
RECIPES = (PLAIN, "finetuned", "industrial-adapt")
PARTS, SEEDS, LIGHTS, THREADS = ("brick", "grass", "washer"), (17, 18, 19), ("varying", "even"), 1
SMALLER = {"image_size": 128, "smoothing": 2.0}  # than in the recipes, for the sake of time
DARKEST, LIGHTEST, SHADE, TINT = 0.65, 0.95, 0.6, 0.08


def relit(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels (h, w, 3) uint8 under another light: darker, falling off towards a side by SHADE at most, and tinted."""
    height, width = pixels.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    down, right = np.linspace(-0.5, 0.5, height)[:, None], np.linspace(-0.5, 0.5, width)[None]
    along = (down * np.sin(angle) + right * np.cos(angle)) / (abs(np.sin(angle)) + abs(np.cos(angle))) + 0.5  # 0 to 1
    light = rng.uniform(DARKEST, LIGHTEST) * (1 - rng.uniform(0, SHADE) * along)
    tinted = light[..., None] * rng.uniform(1 - TINT, 1 + TINT, 3)
    return np.asarray((pixels * tinted).clip(0, 255).round().astype(np.uint8))


def in_varying_light(sample: Sample, seed: int) -> Sample:
    """The sample with its image relit; how depends on its name and the seed alone."""
    pixels = read_image(sample.image) if isinstance(sample.image, Path) else sample.image
    return replace(sample, image=relit(pixels, np.random.default_rng(draw(seed, "light", sample.name))))


def fit_of(content: Section, recipe: str) -> Section:
    """The section `fit` of a recipe, but SMALLER; the plain one is the tuned one without what it adds."""
    added: Mapping[str, Any] = read_yaml(ROOT / "recipes" / f"{'finetuned' if recipe == PLAIN else recipe}.yaml")["fit"]
    fit: Section = content["fit"] | added | SMALLER | {"device": "cpu", "left_out": 0}
    return fit | {"finetune": None} if recipe == PLAIN else fit


def measured(dataset: Dataset, fit: Section, content: Section, seed: int, folder: Path) -> Row:
    """Figures of one gauge on its test parts."""
    params = Params(ROOT / "params.yaml", content={**content, "fit": fit, "overrides": {}})
    fitting = Fitting(
        dataset,
        fit_section(params),
        build(CalibrateParams, content["calibrate"], where="calibrate"),
        build(RegionParams, content["regions"], where="regions"),
        seed,
        folder,
    )
    began = time.perf_counter()
    inspector, images = fitting.start(fitting.records)
    calibration = fitting.certify(fitting.fit(inspector, images, no_progress), no_progress)
    seconds, threshold = time.perf_counter() - began, calibration.threshold.threshold
    maps: list[np.ndarray] = []
    test = dataset.with_role("test")
    found = inspect_records(
        inspector, dataset, test, rule=calibration.rule, look=lambda _, anomaly_map, __: maps.append(anomaly_map)
    )
    masks = [mask for mask in map(dataset.mask_of, test) if mask is not None]
    rejected, defective = found.scores.astype(np.float64) >= threshold, found.labels
    return {
        "image_auroc": auroc(found.scores, defective),
        "aupro_30": aupro(maps, masks, fpr_limit=0.3),
        "recall": float(rejected[defective].mean()),
        "false_alarm_rate": float(rejected[~defective].mean()),
        "n_good": int((~defective).sum()),
        "n_defective": int(defective.sum()),
        "fit_s": seconds,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is due, print each row when it is there, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(SOURCES), default=PARTS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="N")
    parser.add_argument("--lights", nargs="+", choices=LIGHTS, default=LIGHTS, metavar="NAME", help=", ".join(LIGHTS))
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "raw", help="of parts that are not built in")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    torch.set_num_threads(THREADS)
    content, about = read_yaml(ROOT / "params.yaml"), origin(THREADS, versions("torch", "timm", "numpy"))
    for light, part, seed in ((a, b, c) for a in asked.lights for b in asked.parts for c in asked.seeds):
        points = [dict(zip(KEY, (light, part, seed, recipe), strict=True)) for recipe in RECIPES]
        rows = read_rows(asked.out)
        due = [point for point in points if not any(is_at(row, point, KEY) for row in rows)]
        if not due:
            continue
        with tempfile.TemporaryDirectory() as place:
            dataset = prepare_part(
                part,
                SOURCES[part],
                asked.data,
                Path(place),
                seed=seed,
                changed=partial(in_varying_light, seed=seed) if light == "varying" else None,
                progress=lambda *_: None,
            ).dataset
            for point in due:
                figures = measured(dataset, fit_of(content, point["recipe"]), content, seed, Path(place, "checkpoints"))
                add_row(asked.out, point | figures | about, key=KEY)
                print(point, {name: round(value, 3) for name, value in figures.items()}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
