"""Which use of so many good parts serves best: split, split with a bank that grows, or each left out in turn?

    python benchmarks/good_parts.py --data FOLDER [--parts NAME ...]

Of each data set, so many good parts are drawn by a seed for each of three seeds; the other good ones are test parts,
beside all defective ones. The gauge is that of params.yaml at the image size below. Rows measured again replace the
old ones in benchmarks/good_parts.json; `make readme` then writes the table of docs/calibration.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import CalibrateParams
from gonogo.compute.progress import no_progress
from gonogo.compute.versions import versions
from gonogo.detectors.options import PatchCoreOptions
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.images.dataset import Dataset, Record, evenly_spaced
from gonogo.model.fit_params import FitParams
from gonogo.model.fitting import Fitting
from gonogo.model.inspection import inspect_records
from gonogo.params import Variant, build, read_yaml
from parts import SOURCES, prepare_part
from results import ROOT, Row, add_row, origin

RESULTS = ROOT / "benchmarks" / "good_parts.json"
SIZES, SEEDS, THREADS = (40, 80, 240), (1, 2, 3), 1
FIT_SHARE = 0.7  # of the good parts, where they are split
LEAST_TEST = 10  # good parts that are left to test
MOST_TEST = 100  # images of each label to test on
MOST_PATCHES = 25_000  # of a bank that keeps every patch, whose choice takes their square
IMAGE_SIZE = 128
PARTS = {name: SOURCES[name] for name in ("hazelnut", "cookie", "brick", "grass", "gravel", "washer", "connector")}
# What is compared: the section calibrate, and the options of the detector.
METHODS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "split": ({}, {}),
    "split, grown": ({"grow_bank": True}, {}),
    "leave one out": ({"method": "leave_one_out"}, {}),
    "leave one out, every patch": ({"method": "leave_one_out"}, {"coreset_ratio": 1.0}),
}


def sizes_of(n_parts: int) -> list[int]:
    """How many good parts are drawn, of so many: those of `SIZES` that leave some to test, or 70 %."""
    return [n for n in SIZES if n <= n_parts - LEAST_TEST] or [round(0.7 * n_parts)]


def drawn(dataset: Dataset, n: int, seed: int, *, split: bool) -> Dataset:
    """The dataset with `n` good parts with the roles fit and calibrate, and all else to test, evenly thinned."""
    good = sorted({record.group_id for record in dataset.records if record.label == 0})
    order = [good[number] for number in np.random.default_rng(seed).permutation(len(good))]
    n_fit = round(FIT_SHARE * n) if split else n
    fit, calibrate = set(order[:n_fit]), set(order[n_fit:n])

    def of_label(records: Sequence[Record], label: int) -> list[Record]:
        return evenly_spaced([record for record in records if record.label == label], MOST_TEST)

    kept = fit | calibrate
    dealt = [
        replace(record, role="fit" if record.group_id in fit else "calibrate")
        for record in dataset.records
        if record.label == 0 and record.group_id in kept
    ]
    rest = [record for record in dataset.records if record.label == 1 or record.group_id not in kept]
    test = [replace(record, role="test") for label in (0, 1) for record in of_label(rest, label)]
    return replace(dataset, records=tuple(sorted([*dealt, *test], key=lambda record: record.path)))


def fitting_of(
    dataset: Dataset, seed: int, folder: Path, *, calibrate: Mapping[str, Any], options: Mapping[str, Any]
) -> Fitting:
    """A PatchCore by params.yaml at IMAGE_SIZE, with other values of the section calibrate and of its own options."""
    params = read_yaml(ROOT / "params.yaml")
    section = params["fit"]
    kept = {name: section[name] for name in ("backbone", "layers", "whitening", "smoothing", "coreset_ratio")}
    chosen = {**kept, "image_size": IMAGE_SIZE, **options}
    values = {name: section[name] for name in FitParams.__dataclass_fields__} | {"device": "cpu", "left_out": 0}
    return Fitting(
        dataset,
        Variant(PatchCoreOptions(**chosen), "patchcore", chosen, build(FitParams, values, where="params.yaml: fit")),
        build(CalibrateParams, {**params["calibrate"], **calibrate}, where="params.yaml: calibrate"),
        build(RegionParams, params["regions"], where="params.yaml: regions"),
        seed,
        folder,
    )


def measured(dataset: Dataset, method: str, seed: int, folder: Path) -> dict[str, float]:
    """Figures of one gauge on its test parts."""
    changes, options = METHODS[method]
    fitting = fitting_of(dataset, seed, folder, calibrate=changes, options=options)
    inspector, images = fitting.start(fitting.records)
    record = fitting.certify(fitting.fit(inspector, images, no_progress), no_progress).threshold
    facts = inspector.detector.fit_facts()
    test = inspect_records(inspector, dataset, dataset.with_role("test"))
    rejected = test.scores.astype(np.float64) >= record.threshold
    stated = record.certified_false_alarm_rate if record.on_average is None else record.on_average.false_alarm_rate
    assert stated is not None
    return {
        "stated": stated,
        "image_auroc": auroc(test.scores, test.labels),
        "recall": float(rejected[test.labels].mean()),
        "false_alarm_rate": float(rejected[~test.labels].mean()),
        "n_good": int((~test.labels).sum()),
        "n_defective": int(test.labels.sum()),
        "bank": float(facts["bank_patches"]),
    }


def row(dataset: Dataset, n: int, method: str, folder: Path) -> Row:
    """The mean of the seeds' figures, with the least and the largest of each."""
    split = METHODS[method][0].get("method") != "leave_one_out"
    found = [measured(drawn(dataset, n, seed, split=split), method, seed, folder) for seed in SEEDS]
    figures: Row = {"n_seeds": len(found)}
    for name in found[0]:
        values = [one[name] for one in found]
        figures |= {name: float(np.mean(values)), f"{name}_low": min(values), f"{name}_high": max(values)}
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every row, print each when it is there, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="NAME")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", help="of those in the table; all")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    about = origin(THREADS, versions("torch", "timm", "numpy"))
    for name in arguments.parts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            dataset = prepare_part(name, PARTS[name], arguments.data, folder, progress=lambda *_: None).dataset
            n_parts = len({record.group_id for record in dataset.records if record.label == 0})
            for n in sizes_of(n_parts):
                if arguments.sizes and n not in arguments.sizes:
                    continue
                images = sum(record.label == 0 for record in dataset.records) / n_parts
                for method in arguments.methods:
                    if METHODS[method][1] and n * images * (IMAGE_SIZE / 8) ** 2 > MOST_PATCHES:
                        continue
                    figures = row(dataset, n, method, folder)
                    add_row(arguments.out, {"part": name, "n": n, "method": method, **figures, **about}, key=KEY)
                    print(name, n, method, {key: figures[key] for key in SHOWN}, flush=True)
    return 0


KEY = ("part", "n", "method")
SHOWN = ("stated", "image_auroc", "recall", "false_alarm_rate", "n_good", "bank")


if __name__ == "__main__":
    sys.exit(main())
