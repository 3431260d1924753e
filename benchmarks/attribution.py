"""What each map finds of masked defects: the gradient methods beside the detector's own map, and the sums' errors.

    python benchmarks/attribution.py --data FOLDER        the parts of FOLDER, and windows of photographs
    python benchmarks/attribution.py                      windows of photographs alone

FOLDER holds the parts' folders. Each detector is fitted on a part, and each of the part's test images with a mask is
explained: how many times as much of a map lies in the mask as if it were spread evenly, and whether its highest value
lies there. `make readme` writes the table of docs/attribution.md from benchmarks/attribution.json.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from gonogo.calibration.threshold import CalibrateParams
from gonogo.compute.versions import versions
from gonogo.data.folder import Folder
from gonogo.data.mvtec_ad import MVTecAD
from gonogo.data.prepare.params import PrepareParams
from gonogo.data.prepare.prepare import prepare, shares_of
from gonogo.data.sample import Sample, Shares
from gonogo.data.surfaces import Surfaces
from gonogo.detectors import detector_with
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.images.dataset import Dataset
from gonogo.model.attribution.cams import METHODS, cam, mass_over_chance, points_at
from gonogo.model.attribution.features import attribute_features
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from gonogo.params import Params, read_yaml
from results import ROOT, Row, add_row, origin

RESULTS = ROOT / "benchmarks" / "attribution.json"
OWN = "own map"
DETECTORS = ("patchcore", "padim", "knn")
SEED, SAMPLES, SHARE = 17, 2000, 0.95  # draws of the bootstrap, and its interval's share
Source = Callable[[Shares], Iterator[Sample]]


def sources(data: Path | None) -> dict[str, tuple[Source, Path]]:
    """The parts by name: what makes their samples, and the folder that they lie in."""
    nowhere = Path("no raw folder")

    def window(name: str) -> Source:
        return lambda shares: Surfaces(photograph=name, window=64, fit_stride=32).samples(name, nowhere, shares)

    found: dict[str, tuple[Source, Path]] = {name: (window(name), nowhere) for name in ("brick", "gravel")}
    if data is not None:
        hazelnut, cookie = MVTecAD(folder="hazelnut_toy"), Folder(folder="cookie/cookie")
        found["hazelnut"] = (lambda shares: hazelnut.samples("hazelnut", data, shares), data)
        found["cookie"] = (lambda shares: cookie.samples("cookie", data, shares), data)
    return found


def rows_of(part: str, detector: str, dataset: Dataset) -> Iterator[Row]:
    """A row for each method and the detector's own map, where the detector has one."""
    inspector = Inspector(detector_with(detector, DETECTOR_OPTIONS[detector]()))
    inspector.detector.fit(FitImages(inspector, dataset, dataset.with_role("fit")), seed=SEED)
    mass: dict[str, list[float]] = {}
    hits: dict[str, list[bool]] = {}
    errors = []
    for record in dataset.with_role("test"):
        mask = dataset.mask_of(record)
        if record.label == 0 or mask is None or not mask.any():
            continue
        pixels = dataset.pixels_of(record)
        maps = {name: cam(inspector, pixels, name) for name in METHODS}
        own = {OWN: inspector.inspect(pixels[None])[1][0]} if inspector.detector.localises else {}
        for name, found in (own | maps).items():
            mass.setdefault(name, []).append(mass_over_chance(found, mask))
            hits.setdefault(name, []).append(points_at(found, mask))
        terms = attribute_features(inspector, pixels)
        if terms is not None:
            errors.append(abs(terms.error) / terms.score)
    for name, values in mass.items():
        low, high = interval(np.array(values))
        yield {
            "part": part,
            "detector": detector,
            "method": name,
            "n": len(values),
            "mass_over_chance": float(np.mean(values)),
            "mass_low": low,
            "mass_high": high,
            "points": float(np.mean(hits[name])),
            "largest_sum_error_e9": 1e9 * max(errors),
        }


def unseen(n_done: int, n_total: int) -> None:
    """Progress that nobody looks at."""


def interval(values: np.ndarray) -> tuple[float, float]:
    """The percentile bootstrap's interval of the mean of values (n,), over images."""
    drawn = np.random.default_rng(SEED).choice(values, (SAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--parts", nargs="+", metavar="PART")
    arguments = parser.parse_args(argv)
    section = read_yaml(ROOT / "params.yaml")["prepare"]
    values = PrepareParams(**{each.name: section[each.name] for each in fields(PrepareParams)})
    calibrate = Params(ROOT / "params.yaml").values("calibrate", CalibrateParams)
    known: Mapping[str, tuple[Source, Path]] = sources(arguments.data)
    for part in arguments.parts or known:
        samples, raw = known[part]
        with tempfile.TemporaryDirectory() as folder:
            made = prepare(
                samples(shares_of(values, SEED)), values, calibrate, category=part, folder=Path(folder), raw=raw,
                seed=SEED, progress=unseen,
            )  # fmt: skip
            for detector in DETECTORS:
                for row in rows_of(part, detector, made.dataset):
                    print(row, flush=True)
                    row |= origin(torch.get_num_threads(), versions("torch", "timm", "numpy"))
                    add_row(RESULTS, row, key=("part", "detector", "method"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
