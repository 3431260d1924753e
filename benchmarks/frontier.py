"""What accuracy costs: gauges of gonogo and models of anomalib at several image sizes, in turn, and the plots of them.

    python benchmarks/frontier.py --data FOLDER                   what benchmarks/frontier.json does not have yet
    python benchmarks/frontier.py --data FOLDER --parts cookie --sizes 256 --detectors padim
    python benchmarks/frontier.py --data FOLDER --detectors efficientad --teacher FILE --penalty FOLDER --steps 70000
    python benchmarks/frontier.py --draw                          draws the rows that are there, and all detectors

Each point is measured as benchmarks/anomalib_side_by_side.py measures: the same files and masks of so many pixels for
both libraries, processes of their own, in turn. The recipes are gonogo's alone. EfficientAD needs its teacher, in the
format of anomalib's release, and a folder of folders of images for its penalty, since nothing is downloaded. The plots
are docs/images/frontier-PART.svg; `make readme` then writes the table of docs/frontier.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from anomalib_side_by_side import ANOMALIB, PATCHCORE, SURFACES, Gauge, compared, prepared
from frontier_plot import write_plot
from gonogo.detectors.options import PaDiMOptions, PatchCoreOptions
from gonogo.params import read_yaml
from results import ROOT, Row, add_row, is_at, read_rows

HERE = Path(__file__).resolve().parent
RESULTS, PLOTS = HERE / "frontier.json", ROOT / "docs" / "images"
KEY = ("part", "library", "label", "image_size", "n_fit")
SIZES = (128, 192, 256, 320, 384)
RECIPES = ("fast", "accurate")
GAUGES = {
    "patchcore": replace(PATCHCORE, bank=False),
    "padim": Gauge("padim", {"n_features": PaDiMOptions().n_features}),
}
LABELS = {"patchcore": "PatchCore", "padim": "PaDiM", "efficientad": "EfficientAD"}


def recipe(name: str) -> tuple[str, int, Gauge]:
    """The label, the image size and the gauge of a recipe of PatchCore."""
    stated = read_yaml(ROOT / "recipes" / f"{name}.yaml")["fit"]
    options = {key: stated[key] for key in PatchCoreOptions.__dataclass_fields__ if key in stated}
    return f"recipe {name}", options.pop("image_size"), Gauge(stated["detector"], options, ("gonogo",))


def gauges(detectors: Sequence[str], sizes: Sequence[int], teacher: dict[str, Any]) -> list[tuple[str, int, Gauge]]:
    """The label, image size and gauge of each point; the recipes come with PatchCore."""
    known = GAUGES | {"efficientad": Gauge("efficientad", teacher)}
    points = [(LABELS[name], size, known[name]) for name in detectors for size in sizes]
    return points + ([recipe(name) for name in RECIPES] if "patchcore" in detectors else [])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is due, draw, and return the exit status."""
    known = {**read_yaml(HERE / "detectors.yaml")["parts"], **SURFACES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument("--parts", nargs="+", choices=list(known), default=["hazelnut", "cookie"], metavar="NAME")
    parser.add_argument("--detectors", nargs="+", choices=list(LABELS), default=list(GAUGES), metavar="NAME")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="PIXELS")
    parser.add_argument("--only", choices=("gonogo",), help="the points of one library")
    parser.add_argument("--teacher", metavar="FILE", help="of EfficientAD, as anomalib's release has it")
    parser.add_argument("--penalty", metavar="FOLDER", help="folders of images that show something else")
    parser.add_argument("--steps", type=int, default=70_000, help="of EfficientAD's training")
    parser.add_argument("--size", default="small", help="of EfficientAD's teacher: small or medium")
    parser.add_argument("--repeats", type=int, default=1, help="fits of each library")
    parser.add_argument("--rounds", type=int, default=3, help="verdicts of all test images, each way; 0: no times")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure what is there too")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    if "efficientad" in asked.detectors and not (asked.teacher and asked.penalty):
        parser.error("efficientad needs --teacher and --penalty")
    if not asked.draw:
        if not ANOMALIB.exists():
            print("no .venv-anomalib: `make anomalib` makes it", file=sys.stderr)
            return 2
        torch.set_num_threads(asked.threads)
        teacher = {"teacher": asked.teacher, "penalty_folder": asked.penalty, "steps": asked.steps, "size": asked.size}
        for name in asked.parts:
            for label, side, gauge in gauges(asked.detectors, asked.sizes, teacher):
                wanted = replace(gauge, libraries=(asked.only,)) if asked.only else gauge
                measure(name, known[name], label, side, wanted, asked)
    for name in dict.fromkeys(row["part"] for row in read_rows(asked.out)):
        write_plot(PLOTS / f"frontier-{name}.svg", [row for row in read_rows(asked.out) if row["part"] == name])
    for name in ("hazelnut", "cookie"):
        write_plot(PLOTS / f"detectors-{name}.svg", detector_rows(name))
    return 0


def detector_rows(part: str) -> list[Row]:
    """The rows of benchmarks/detectors.json, each with its default options, and that of anomalib's PatchCore."""
    costs = {"p50_ms": "verdict_onnx_ms", "bundle_mb": "onnx_mb"}
    ours = [
        {"library": "gonogo", "label": row["detector"]} | {costs.get(key, key): value for key, value in row.items()}
        for row in read_rows(HERE / "detectors.json")
        if row["part"] == part
    ]
    theirs = [
        {key: value for key, value in row.items() if key != "image_size"} | {"label": "PatchCore"}
        for row in read_rows(HERE / "anomalib_side_by_side.json")
        if (row["part"], row["library"]) == (part, "anomalib")
    ]
    return ours + theirs


def measure(name: str, source: dict[str, Any], label: str, side: int, gauge: Gauge, asked: argparse.Namespace) -> None:
    """Measure a point and write its rows, unless they are there."""
    points = [{"part": name, "library": one, "label": label, "image_size": side} for one in gauge.libraries]
    rows = read_rows(asked.out)
    if not asked.again and all(any(is_at(row, point, tuple(point)) for row in rows) for point in points):
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        part = prepared(name, source, (asked.data or ROOT / "data" / "raw").resolve(), work, side=side, limit=None)
        for row in compared(
            part, work, gauge, side=side, threads=asked.threads, repeats=asked.repeats, rounds=asked.rounds
        ):
            add_row(asked.out, {"label": label, **row}, key=KEY)
            print(name, label, side, row["library"], f"{row['image_auroc']:.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
