"""Scores of real parts, each by a gauge that was fitted on other ones, for benchmarks/drift.py to draw from.

    python benchmarks/real_scores.py --data FOLDER [--parts NAME ...]

The good parts of a data set are dealt into two halves by a seed; a gauge is fitted on each, by params.yaml at the image
size of benchmarks/good_parts.py, and scores the other half, and all defective parts. Rows replace those in
benchmarks/real_scores.json.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gonogo.compute.progress import no_progress
from gonogo.compute.versions import versions
from gonogo.images.dataset import Dataset
from gonogo.model.inspection import inspect_records
from good_parts import PARTS, THREADS, fitting_of
from parts import prepare_part
from results import ROOT, add_row, origin

RESULTS = ROOT / "benchmarks" / "real_scores.json"
REAL = ("hazelnut", "cookie")


def scores_of(dataset: Dataset, fitted_on: set[str], seed: int, folder: Path) -> tuple[list[float], list[float]]:
    """Scores of the good parts that a gauge was not fitted on, and of the defective ones."""
    records = [replace(one, role="fit" if one.group_id in fitted_on else "test") for one in dataset.records]
    dealt = replace(dataset, records=tuple(records))
    fitting = fitting_of(dealt, seed, folder, calibrate={}, options={})
    inspector, images = fitting.start(fitting.records)
    fitting.fit(inspector, images, no_progress)
    told = inspect_records(inspector, dealt, dealt.with_role("test"))
    scores = told.scores.astype(np.float64)
    return scores[~told.labels].tolist(), scores[told.labels].tolist()


def main(argv: Sequence[str] | None = None) -> int:
    """Score every data set, print how many scores it has, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument("--parts", nargs="+", choices=REAL, default=list(REAL), metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    about = origin(THREADS, versions("torch", "timm", "numpy"))
    for name in arguments.parts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            prepared = prepare_part(name, PARTS[name], arguments.data, folder / "prepared", progress=lambda *_: None)
            dataset = prepared.dataset
            groups = sorted({record.group_id for record in dataset.records if record.label == 0})
            halves = np.array_split(np.random.default_rng(1).permutation(groups), 2)
            scored = [scores_of(dataset, set(half.tolist()), 1, folder / f"{n}") for n, half in enumerate(halves)]
        row = {
            "part": name,
            "good": [score for good, _ in scored for score in good],
            "defective": scored[0][1],
            **about,
        }
        add_row(arguments.out, row, key=("part",))
        print({"part": name, "good": len(row["good"]), "defective": len(row["defective"])}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
