"""How long exact pixel metrics take, in how much memory, beside scikit-learn and anomalib.

    python benchmarks/metrics.py                          100 images of 1,024 x 1,024, three times in turn
    python benchmarks/metrics.py --images 8 --side 256    a few seconds

gonogo computes pixel AUROC, pixel AP and AUPRO in one call; scikit-learn has no AUPRO; anomalib's AP is another metric,
the trapezoid's, so only its AUROC and AUPRO are measured. Each library is measured in processes of its own, anomalib's
in the environment that `make anomalib` makes. All read the same files, one map and one mask of an image each, and the
time of reading counts for all. `peak_mb` is the largest resident size, in megabytes of 1e6 bytes, `before_mb` that with
the library imported. The maps are synthetic, made by seed, and lie in [0, 1], since torchmetrics squashes any others.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from gonogo.compute.memory import peak_bytes, resident_bytes
from results import ROOT, Row, add_row, origin

RESULTS = Path(__file__).with_suffix(".json")
ANOMALIB = ROOT / ".venv-anomalib" / "bin" / "python"
KEY = ("library", "n_images", "side")
SEED = 17

Maps = Sequence[np.ndarray]


class Saved(Sequence[np.ndarray]):
    """Arrays in .npy files, each read when it is used."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # only an int: nobody slices it
        return np.load(self.paths[index])


def write_images(folder: Path, n: int, side: int) -> None:
    """n maps (side, side) float32 in [0, 1] and masks bool: every other image has up to five round defects."""
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    for number in range(n):
        rng = np.random.default_rng([SEED, number])
        values = rng.normal(0, 1, (side, side)).astype(np.float32)
        mask = np.zeros((side, side), dtype=bool)
        for _ in range(rng.integers(1, 6) if number % 2 else 0):
            y, x = rng.uniform(0, side, 2)
            squared = (rows - y) ** 2 + (columns - x) ** 2
            radius = rng.uniform(side / 100 + 1, side / 12)
            mask |= squared < radius**2
            values += rng.uniform(0.5, 4) * np.exp(-squared / (2 * radius**2)).astype(np.float32)
        np.save(folder / f"map_{number:05d}.npy", 1 / (1 + np.exp(-values)))
        np.save(folder / f"mask_{number:05d}.npy", mask)


def with_gonogo() -> Callable[[Maps, Maps], dict[str, float]]:
    """All three in one call."""
    from gonogo.evaluation.accuracy.pixel_metrics import pixel_metrics

    def measure(maps: Maps, masks: Maps) -> dict[str, float]:
        start = time.perf_counter()
        found = pixel_metrics(maps, masks)
        return {
            "seconds": time.perf_counter() - start,
            "pixel_auroc": found.pixel_auroc,
            "pixel_ap": found.pixel_ap,
            "aupro_30": found.aupro_30,
        }

    return measure


def with_sklearn() -> Callable[[Maps, Maps], dict[str, float]]:
    """Pixel AUROC and pixel AP."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    def measure(maps: Maps, masks: Maps) -> dict[str, float]:
        start = time.perf_counter()
        scores = np.concatenate([some.ravel() for some in maps])
        labels = np.concatenate([some.ravel() for some in masks])
        auroc = float(roc_auc_score(labels, scores))
        half = time.perf_counter()
        ap = float(average_precision_score(labels, scores))
        end = time.perf_counter()
        return {
            "seconds": end - start,
            "seconds_auroc": half - start,
            "seconds_ap": end - half,
            "pixel_auroc": auroc,
            "pixel_ap": ap,
        }

    return measure


def with_anomalib() -> Callable[[Maps, Maps], dict[str, float]]:
    """Pixel AUROC and AUPRO, by the classes that its evaluator uses."""
    from gonogo.detectors.backbones.torchvision_schema import import_torchvision

    import_torchvision()
    import torch
    from anomalib.metrics.aupro import _AUPRO
    from anomalib.metrics.auroc import _AUROC

    def of(metric: object, maps: Maps, masks: Maps) -> float:
        for values, mask in zip(maps, masks, strict=True):
            metric.update(torch.from_numpy(values)[None], torch.from_numpy(mask)[None].int())  # type: ignore[attr-defined]
        return float(metric.compute())  # type: ignore[attr-defined]

    def measure(maps: Maps, masks: Maps) -> dict[str, float]:
        start = time.perf_counter()
        auroc = of(_AUROC(), maps, masks)
        half = time.perf_counter()
        aupro = of(_AUPRO(fpr_limit=0.3), maps, masks)
        end = time.perf_counter()
        return {
            "seconds": end - start,
            "seconds_auroc": half - start,
            "seconds_aupro": end - half,
            "pixel_auroc": auroc,
            "aupro_30": aupro,
        }

    return measure


LIBRARIES: Mapping[str, Callable[[], Callable[[Maps, Maps], dict[str, float]]]] = {
    "gonogo": with_gonogo,
    "scikit-learn": with_sklearn,
    "anomalib": with_anomalib,
}
PACKAGES = {
    "gonogo": ("numpy", "scipy"),
    "scikit-learn": ("scikit-learn", "numpy"),
    "anomalib": ("anomalib", "torchmetrics", "torch"),
}


def measured(library: str, folder: Path) -> dict[str, object]:
    """One library in this process."""
    from importlib import metadata

    measure = LIBRARIES[library]()
    before = resident_bytes()
    maps, masks = (Saved(sorted(folder.glob(f"{kind}_*.npy"))) for kind in ("map", "mask"))
    figures = measure(maps, masks)
    peak = {"before_mb": before / 1e6, "peak_mb": peak_bytes() / 1e6}
    return {**figures, **peak, "versions": {name: metadata.version(name) for name in PACKAGES[library]}}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all in turn, write the results, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--side", type=int, default=1024, help="pixels of an image's side")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the median of each library's counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES), metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--saved", type=Path, help="measure the one library given on these, and print it")
    arguments = parser.parse_args(argv)
    if arguments.saved is not None:
        print(json.dumps(measured(arguments.libraries[0], arguments.saved)))
        return 0
    if "anomalib" in arguments.libraries and not ANOMALIB.exists():
        print("no .venv-anomalib: `make anomalib` makes it, or leave anomalib out with --libraries", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), arguments.images, arguments.side)
        measurements: dict[str, list[Row]] = {library: [] for library in arguments.libraries}
        for _ in range(arguments.repeats):
            for library, rows in measurements.items():
                rows.append(_in_its_own_process(library, Path(folder), arguments.threads))
                print(f"{library}: {rows[-1]['seconds']:.1f} s, {rows[-1]['peak_mb']:,.0f} MB at the peak", flush=True)
    for library, rows in measurements.items():
        medians = {name: median_of(rows, name) for name in rows[0] if name != "versions"}
        row = {
            "library": library,
            "n_images": arguments.images,
            "side": arguments.side,
            "repeats": arguments.repeats,
        } | medians
        add_row(arguments.out, row | origin(arguments.threads, rows[0]["versions"]), key=KEY)
    return 0


def median_of(rows: Sequence[Row], name: str) -> float:
    """The median of a figure over the rows."""
    return float(statistics.median(row[name] for row in rows))


def _in_its_own_process(library: str, folder: Path, threads: int) -> Row:
    python = str(ANOMALIB) if library == "anomalib" else sys.executable
    count = str(threads)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    command = [python, "-B", __file__, "--libraries", library, "--saved", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


if __name__ == "__main__":
    sys.exit(main())
