"""Scores of parts, each by a gauge that was fitted on other ones, for benchmarks/drift.py to draw from.

    python benchmarks/real_scores.py --data FOLDER [--parts NAME ...]

The good parts of a data set are dealt into two halves by a seed; a gauge is fitted on each, or on MOST_FIT of it, by
params.yaml at the image size of benchmarks/good_parts.py, and scores the other half; a defective part is scored by one
that was not fitted on its good self. The parts of a photographed surface are its windows that do not overlap; of a
rendered part N_RENDERED are drawn. Rows replace those in benchmarks/real_scores.json.
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
from gonogo.data.surfaces import Surfaces
from gonogo.images.dataset import Dataset
from gonogo.model.inspection import inspect_records
from good_parts import THREADS, fitting_of
from parts import SOURCES, prepare_part
from results import ROOT, add_row, origin

RESULTS = ROOT / "benchmarks" / "real_scores.json"
MOST_FIT, N_RENDERED = 150, 1200
APART = {"surfaces": {"fit_stride": Surfaces.window}, "rendered": {"n_good": N_RENDERED}}  # options of a layout
SETS = {
    name: SOURCES[name] | APART.get(SOURCES[name]["source"], {})
    for name in ("hazelnut", "cookie", "brick", "grass", "gravel", "washer", "connector", "label")
}


def dealt_in_two(dataset: Dataset) -> list[Dataset]:
    """The dataset twice: one half of the good parts to fit, MOST_FIT at most, and all that are not in it to test.

    A group is in test once: one of neither half, as a defective part may be, in that of the first.
    """
    groups = sorted({record.group_id for record in dataset.records if record.label == 0})
    first, second = (half.tolist() for half in np.array_split(np.random.default_rng(1).permutation(groups), 2))
    dealt = []
    for half, others in ((first, {one.group_id for one in dataset.records} - set(first)), (second, set(first))):
        fit, records = set(half[:MOST_FIT]), dataset.records
        of_fit = [replace(one, role="fit") for one in records if one.group_id in fit and one.label == 0]
        of_test = [replace(one, role="test") for one in records if one.group_id in others]
        dealt.append(replace(dataset, records=tuple(sorted(of_fit + of_test, key=lambda one: one.path))))
    return dealt


def scores_of(dealt: Dataset, seed: int, folder: Path) -> tuple[list[float], list[float]]:
    """Scores of the good parts that a gauge was not fitted on, and of the defective ones."""
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
    parser.add_argument("--parts", nargs="+", choices=list(SETS), default=list(SETS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    about = origin(THREADS, versions("torch", "timm", "numpy"))
    for name in arguments.parts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            prepared = prepare_part(name, SETS[name], arguments.data, folder / "prepared", progress=lambda *_: None)
            dealt = dealt_in_two(prepared.dataset)
            scored = [scores_of(one, 1, folder / f"{number}") for number, one in enumerate(dealt)]
        row = {
            "part": name,
            "good": [score for good, _ in scored for score in good],
            "defective": [score for _, defective in scored for score in defective],
            **about,
        }
        add_row(arguments.out, row, key=("part",))
        print({"part": name, "good": len(row["good"]), "defective": len(row["defective"])}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
