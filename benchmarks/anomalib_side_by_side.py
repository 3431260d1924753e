"""A detector in anomalib beside the same one in gonogo, on the same files, with the same backbone weights.

    make peers DATA=FOLDER                                          sets anomalib up first, then runs this
    python benchmarks/anomalib_side_by_side.py --data FOLDER        the parts of benchmarks/detectors.yaml, and brick
    python benchmarks/anomalib_side_by_side.py --parts brick --fit-images 40 --repeats 1        needs no FOLDER
    python benchmarks/anomalib_side_by_side.py --folder PATH        a folder of good and defective images of your own

Roles are dealt as the pipeline deals them; every image is resized once, to a PNG file that both read, and its mask with
it. Before anything is timed, the patch features of both must agree. Each library works in processes of its own, in
turn: ours, theirs, ours, theirs. Medians count, and of the accuracy the mean over the fits, each of which has a seed of
its own. What is measured and how: docs/benchmarks.md.

This script compares PatchCore at one size; benchmarks/frontier.py compares several detectors and sizes with it.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from covering import covering_radius
from gonogo.compute.progress import ProgressLine
from gonogo.detectors.backbones.backbone import lite0_state_dict
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.evaluation.accuracy.pixel_metrics import pixel_metrics
from gonogo.images.dataset import Dataset, Record
from gonogo.params import read_yaml
from parts import prepare_part
from peer import Peer
from results import ROOT, Row, add_row, origin

HERE = Path(__file__).resolve().parent
RESULTS = Path(__file__).with_suffix(".json")
ANOMALIB = ROOT / ".venv-anomalib" / "bin" / "python"
KEY = ("part", "library", "image_size", "n_fit")
TOLERANCE = 1e-4  # of the largest feature, by which those of the two may differ
N_CHECKED = 3  # images whose features are compared
SURFACES = {"brick": {"source": "surfaces", "window": 42}}  # real photographs that come with a package
WAYS = {"gonogo": ("onnx",), "anomalib": ("engine", "network", "onnx")}  # from file to score and map
ACCURACY = ("image_auroc", "pixel_auroc", "aupro_30")
SEED = 17  # of the first fit; each further one has the next
FIT_FIGURES = ("fit_s", "feature_s", "coreset_s", "before_mb", "peak_mb")  # the middle ones are of a bank alone


@dataclass(frozen=True)
class Part:
    """Files (s, s) of one part, and the truth about those of test.

    masks: (n, s, s) bool; None where a defect has none.
    """

    name: str
    fit: list[str]
    test: list[str]
    labels: np.ndarray
    masks: np.ndarray | None


@dataclass(frozen=True)
class Gauge:
    """What both libraries fit.

    Attributes:
        detector: its name, as gonogo has it.
        options: of the detector but for the image size, by gonogo's names.
        libraries: which of them.
        bank: whether the patches of both are compared first, and the covering radius of their banks is told.
    """

    detector: str
    options: Mapping[str, Any]
    libraries: tuple[str, ...] = tuple(WAYS)
    bank: bool = False


PATCHCORE = Gauge("patchcore", {"coreset_ratio": 0.01}, bank=True)


def prepared(name: str, source: Mapping[str, Any], data: Path, folder: Path, *, side: int, limit: int | None) -> Part:
    """The images of one part as PNG files of side x side pixels, those of fit and of test apart."""
    line = ProgressLine()
    found = prepare_part(
        name,
        source,
        data,
        folder / "prepared",
        progress=lambda n_done, n_total: line("images", n_done, n_total, {}),
    )
    found.require_no_error()
    dataset = found.dataset
    fit, test = dataset.with_role("fit")[:limit], dataset.with_role("test")
    masks = [_mask(dataset, record, side) for record in test]
    return Part(
        name,
        _resized(dataset, fit, folder / "good", side),
        _resized(dataset, test, folder / "test", side),
        np.array([record.label for record in test], dtype=bool),
        None if any(mask is None for mask in masks) else np.stack([mask for mask in masks if mask is not None]),
    )


def _resized(dataset: Dataset, records: Sequence[Record], folder: Path, side: int) -> list[str]:
    folder.mkdir()
    paths = [folder / f"{number:05d}.png" for number in range(len(records))]
    for record, path in zip(records, paths, strict=True):
        Image.fromarray(dataset.pixels_of(record)).resize((side, side), Image.Resampling.BILINEAR).save(path)
    return [str(path) for path in paths]


def _mask(dataset: Dataset, record: Record, side: int) -> np.ndarray | None:
    """(side, side) bool: pixels at least half of which the mask covers."""
    mask = dataset.mask_of(record)
    if mask is None:
        return None
    covered = Image.fromarray(mask.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BOX)
    return np.asarray(np.asarray(covered) >= 128)


class Comparison:
    """One part, in both libraries."""

    def __init__(self, part: Part, work: Path, gauge: Gauge, *, side: int, threads: int) -> None:
        self.part, self.work, self.gauge, self.side, self.threads = part, work, gauge, side, threads
        self.weights = str(work / "weights.safetensors")
        save_file({name: tensor.contiguous() for name, tensor in lite0_state_dict().items()}, self.weights)

    def start(self, library: str) -> Peer:
        """A fresh process."""
        python = str(ANOMALIB) if library == "anomalib" else sys.executable
        return Peer(python, HERE / f"{library}_peer.py", threads=self.threads)

    def features(self, library: str, images: Sequence[str]) -> np.ndarray:
        """The patches (n * p, d) of the images."""
        peer, out = self.start(library), self.work / f"{library}_features.npy"
        peer.ask("features", images=images, image_size=self.side, weights=self.weights, out=str(out))
        peer.close()
        return np.asarray(np.load(out))

    def check_features(self) -> float:
        """The largest difference between the features of the two, relative to the largest feature.

        Exits with a message where it is above TOLERANCE.
        """
        ours, theirs = (self.features(library, self.part.fit[:N_CHECKED]) for library in WAYS)
        if ours.shape != theirs.shape:
            raise SystemExit(f"features: gonogo's are {ours.shape}, anomalib's {theirs.shape}; nothing can be compared")
        difference = relative_difference(ours, theirs)
        if not difference <= TOLERANCE:
            raise SystemExit(f"features differ by {difference:.2g} of the largest, more than {TOLERANCE}; not timed")
        return difference

    def fits(self, repeats: int) -> tuple[dict[str, list[Row]], dict[str, Peer]]:
        """The figures of each library's fits, each with a seed of its own, and the processes of the last ones."""
        rows: dict[str, list[Row]] = {library: [] for library in self.gauge.libraries}
        peers: dict[str, Peer] = {}
        for number in range(repeats):
            for library, taken in rows.items():
                if library in peers:
                    peers[library].close()
                peer = peers[library] = self.start(library)
                bank = self.work / f"{library}_bank_{number}.npy"
                folder = self.work / f"{library}_{number}"
                folder.mkdir()
                row = peer.ask(
                    "fit",
                    images=self.part.fit,
                    image_size=self.side,
                    weights=self.weights,
                    out=str(bank),
                    folder=str(folder),
                    seed=SEED + number,
                    detector=self.gauge.detector,
                    options=self.gauge.options,
                )
                said = ", ".join(f"{name} {row[name]:,.2f}" for name in FIT_FIGURES if name in row)
                print(f"{self.part.name}, {library}: {said}", flush=True)
                if number == repeats - 1:
                    row |= peer.ask("export", folder=str(folder), image_size=self.side, threads=self.threads)
                taken.append(row | self.accuracy(library, peer) | {"bank": bank})
        return rows, peers

    def verdicts(self, peers: Mapping[str, Peer], fitted: Mapping[str, Sequence[Row]], rounds: int) -> dict[str, Row]:
        """Milliseconds from file to score and map by each way: the median over rounds of an image's mean."""
        ways = [
            (library, way)
            for library in self.gauge.libraries
            for way in WAYS[library]
            if way != "onnx" or "onnx_mb" in fitted[library][-1]
        ]
        taken: dict[tuple[str, str], list[float]] = {place: [] for place in ways}
        for number in range(rounds + 1):
            for (library, way), means in taken.items():
                mean = statistics.fmean(peers[library].ask("verdicts", how=way, images=self.part.test)["ms"])
                if number > 0:  # the first round warms up
                    means.append(mean)
        figures: dict[str, Row] = {library: {} for library in self.gauge.libraries}
        for (library, way), means in taken.items():
            figures[library][f"verdict_{way}_ms"] = statistics.median(means)
            print(f"{self.part.name}, {library}: {way} {statistics.median(means):.1f} ms", flush=True)
        return figures

    def accuracy(self, library: str, peer: Peer) -> Row:
        """gonogo's metrics of the library's raw scores and maps."""
        out = self.work / f"{library}_scores.npz"
        peer.ask("score", images=self.part.test, out=str(out))
        with np.load(out) as found:
            scores, maps = found["scores"], found["maps"]
        figures: Row = {"image_auroc": auroc(scores, self.part.labels)}
        if self.part.masks is not None:
            pixels = pixel_metrics(list(maps), list(self.part.masks))
            figures |= {"pixel_auroc": pixels.pixel_auroc, "aupro_30": pixels.aupro_30}
        return figures


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference between two arrays, over the largest value of the first; not a number where one is not."""
    largest = float(np.abs(a).max())
    return float(np.abs(a - b).max()) / largest if largest > 0 else math.nan


def compared(part: Part, work: Path, gauge: Gauge, *, side: int, threads: int, repeats: int, rounds: int) -> list[Row]:
    """The rows of the gauge's libraries; without any rounds they have no times, and the machine may be a busy one."""
    comparison = Comparison(part, work, gauge, side=side, threads=threads)
    difference = comparison.check_features() if gauge.bank else None
    if difference is not None:
        print(f"{part.name}: features agree within {difference:.1e} of the largest", flush=True)
    fitted, peers = comparison.fits(repeats)
    judged = comparison.verdicts(peers, fitted, rounds) if rounds else {library: {} for library in fitted}
    for peer in peers.values():
        peer.close()
    features = torch.from_numpy(comparison.features("gonogo", part.fit)) if gauge.bank else None
    about = {
        "part": part.name,
        "image_size": side,
        "n_fit": len(part.fit),
        "n_good": int((~part.labels).sum()),
        "n_defective": int(part.labels.sum()),
        "repeats": repeats,
        "rounds": rounds,
    }
    if features is not None:
        about |= {"n_patches": len(features), "dims": features.shape[1]}
    if difference is not None:
        about["feature_difference"] = difference
    rows = []
    for library, taken in fitted.items():
        for row in taken:
            bank = row.pop("bank")
            if features is not None:
                row["covering_radius"] = covering_radius([features], torch.from_numpy(np.load(bank)))
        last = {name: value for name, value in taken[-1].items() if name != "versions"}
        figures = last | over_repeats(taken) | judged[library]
        if not rounds:
            figures = {name: value for name, value in figures.items() if not name.endswith("_s")}
        rows.append(about | {"library": library} | figures | origin(threads, taken[-1]["versions"]))
    return rows


def over_repeats(taken: Sequence[Row]) -> Row:
    """Medians of what the fits took; of their accuracy the mean, and the least and the largest."""
    names = [name for name in (*FIT_FIGURES, "covering_radius") if name in taken[0]]
    medians = {name: statistics.median(row[name] for row in taken) for name in names}
    found: Row = dict(medians)
    for name in ACCURACY:
        values = [row[name] for row in taken if name in row]
        if values:
            found |= {name: statistics.fmean(values), f"{name}_least": min(values), f"{name}_largest": max(values)}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, write the results, and return the exit status."""
    known = {**read_yaml(HERE / "detectors.yaml")["parts"], **SURFACES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument(
        "--folder", type=Path, default=None, metavar="PATH", help="a part of your own; see docs/data.md"
    )
    parser.add_argument("--parts", nargs="+", choices=list(known), default=None, metavar="NAME")
    parser.add_argument("--fit-images", type=int, default=None, metavar="N", help="the first N alone; all by default")
    parser.add_argument("--image-size", type=int, default=256, help="pixels of the side of every image")
    parser.add_argument("--repeats", type=int, default=3, help="fits of each library")
    parser.add_argument("--rounds", type=int, default=5, help="verdicts of all test images, each way")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    if not ANOMALIB.exists():
        print("no .venv-anomalib: `make anomalib` makes it", file=sys.stderr)
        return 2
    torch.set_num_threads(asked.threads)
    parts: dict[str, Mapping[str, Any]]
    if asked.folder is not None:
        parts = {asked.folder.resolve().name: {"source": "folder", "folder": asked.folder.resolve().name}}
        data = asked.folder.resolve().parent
    else:
        parts = {name: known[name] for name in asked.parts or (known if asked.data else SURFACES)}
        data = (asked.data or ROOT / "data" / "raw").resolve()
    for name, source in parts.items():
        if "folder" in source and not (data / source["folder"]).is_dir():
            print(f"{data / source['folder']}: no such folder; it should hold {name} (--data)", file=sys.stderr)
            return 2
    for name, source in parts.items():
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            part = prepared(name, source, data, work, side=asked.image_size, limit=asked.fit_images)
            rows = compared(
                part,
                work,
                PATCHCORE,
                side=asked.image_size,
                threads=asked.threads,
                repeats=asked.repeats,
                rounds=asked.rounds,
            )
            for row in rows:
                add_row(asked.out, row, key=KEY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
