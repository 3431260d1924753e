"""How the cost of a gauge grows with the number of its fit images and with their size.

    python benchmarks/growth.py                            all points that fit the time; those measured stay as they are
    python benchmarks/growth.py --detectors pca padim --images 50 200 --sides 128 256 --limit-s 60
    python benchmarks/growth.py --again                    measure the points anew

Each point is a process of its own: forecast, fit, export, verdicts. `fit_mb` is what the fit adds to the process at its
peak, `peak_mb` the largest resident size, Python and torch included, `onnx_mb` the file that a bundle is made of, in
megabytes of 1e6 bytes; `verdict_ms` the median from an encoded file to score and map, in onnxruntime. A point whose
fit is forecast to take longer than --limit-s is skipped, and the results say so. Where the images grow, the detector's
image_size grows with them; otherwise it is the detector's default. The images are synthetic, made by seed.
"""

import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.files import read_json, write_json
from growth_plot import write_plot
from results import ROOT, Row, is_at, origin, read_rows

RESULTS = Path(__file__).with_suffix(".json")
PLOT = ROOT / "docs" / "images" / "growth.svg"
KEY = ("detector", "n_images", "side", "image_size")
FIGURES = ("fit_s", "fit_mb", "verdict_ms", "onnx_mb")
SIDE = 256  # pixels, where the number of images grows
N_IMAGES = 100  # where their size grows
LARGEST_SHARE = 0.8  # of the machine's memory that a fit may be forecast to take
N_VERDICTS, N_WARM = 30, 5


@dataclass(frozen=True)
class Measured:
    """A detector, its options, its image_size unless the images grow, and the memory that its fit may take."""

    kind: str
    options: dict[str, Any]
    image_size: int
    budget_mb: float | None


# By the name that rows have.
DETECTORS = {
    "pca": Measured("pca", {}, 32, None),
    "padim": Measured("padim", {}, 256, None),
    "patchcore": Measured("patchcore", {}, 256, None),
    "patchcore, 5,000 patches in 1,000 MB": Measured("patchcore", {"bank_patches": 5000}, 256, 1000),
}


def points(detectors: Sequence[str], n_images: Sequence[int], sides: Sequence[int]) -> list[Row]:
    """Which points there are, cheap ones first, each with the curves that it lies on."""
    found: dict[tuple[Any, ...], Row] = {}
    places = [("n_images", n, SIDE) for n in sorted(n_images)] + [("side", N_IMAGES, side) for side in sorted(sides)]
    for along, n, side in places:
        for name in detectors:
            usual = DETECTORS[name].image_size
            image_size = side if along == "side" else usual
            curves = ["n_images"] * (side == SIDE and image_size == usual) + ["side"] * (
                n == N_IMAGES and image_size == side
            )
            point = {"detector": name, "n_images": n, "side": side, "image_size": image_size, "curves": curves}
            found[tuple(point[key] for key in KEY)] = point
    return list(found.values())


def is_due(point: Row, rows: Sequence[Row], *, limit_s: float, again: bool) -> bool:
    """Whether a point is still to be measured: not yet done, or skipped under a shorter limit than now."""
    done = [row for row in rows if is_at(row, point, KEY)]
    if not done or again:
        return True
    return "skipped" in done[0] and float(done[0]["limit_s"]) < limit_s


def measured(point: Row, *, limit_s: float, threads: int) -> Row:
    """One point in this process."""
    import torch
    from PIL import Image

    from gonogo.compute.memory import machine_bytes, peak_bytes, resident_bytes
    from gonogo.compute.versions import versions
    from gonogo.detectors import detector_with
    from gonogo.detectors.contract import FitContext
    from gonogo.detectors.options import DETECTOR_OPTIONS
    from gonogo.detectors.training.forecast import MB
    from gonogo.errors import ConfigError
    from gonogo.export.graph import export_onnx
    from gonogo.images.reading import read_image
    from gonogo.inference.scorer import open_session, run_session
    from gonogo.model.fitting import forecast_fit, room_in
    from gonogo.model.inspector import Inspector
    from gonogo.params import build
    from textures import SEED, Textures
    from verdicts import milliseconds

    torch.set_num_threads(threads)
    asked = DETECTORS[point["detector"]]
    n, side, options = point["n_images"], point["side"], asked.options | {"image_size": point["image_size"]}
    detector = detector_with(asked.kind, build(DETECTOR_OPTIONS[asked.kind], options, where=asked.kind))
    inspector = Inspector(detector)
    images = Textures(inspector, n, side=side)
    row = point | {"options": options, "budget_mb": asked.budget_mb, "limit_s": limit_s}
    row |= origin(threads, versions("torch", "timm", "numpy", "onnxruntime"))
    try:
        expected = forecast_fit(detector, images, budget_mb=asked.budget_mb)
    except ConfigError as refusal:
        return row | {"skipped": str(refusal)}
    before = resident_bytes()
    row |= {"forecast_s": expected.seconds, "forecast_mb": expected.memory / MB}
    if expected.seconds > limit_s:
        return row | {"skipped": f"forecast {expected.seconds:,.0f} s, more than {limit_s:,.0f} s"}
    if before + expected.memory > LARGEST_SHARE * machine_bytes():
        return row | {"skipped": f"forecast {expected.memory / MB:,.0f} MB, too much for this machine"}
    start = time.perf_counter()
    detector.fit(images, seed=SEED, context=FitContext(room=room_in(asked.budget_mb)))
    row["fit_s"] = time.perf_counter() - start
    peak = peak_bytes()
    row |= {"before_mb": before / MB, "peak_mb": peak / MB, "fit_mb": (peak - before) / MB}
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "gauge.onnx"
        export_onnx(inspector, onnx, metadata={}, opset=18)
        row["onnx_mb"] = onnx.stat().st_size / MB
        unseen = Textures(inspector, 10, side=side, first=n)
        paths = [Path(folder) / f"{number}.png" for number in range(len(unseen))]
        for number, path in enumerate(paths):
            Image.fromarray(unseen.image(number)).save(path)
        session = open_session(onnx, threads=threads)
        in_turn = [paths[number % len(paths)] for number in range(N_WARM + N_VERDICTS)]
        taken = milliseconds(lambda path: run_session(session, read_image(path)[None]), in_turn)
    return row | {"verdict_ms": statistics.median(taken[N_WARM:])}


def exponents(rows: Sequence[Row]) -> list[Row]:
    """For each detector and each of the two directions, the exponent of each figure that has two points or more."""
    found = []
    for name in dict.fromkeys(row["detector"] for row in rows):
        for along in ("n_images", "side"):
            curve = [row for row in rows if row["detector"] == name and along in row["curves"] and "fit_s" in row]
            curve.sort(key=lambda row: float(row[along]))
            of: Row = {}
            for figure in FIGURES:
                fitted = exponent([row[along] for row in curve], [row[figure] for row in curve])
                if fitted is not None:
                    of[figure] = fitted
            if of:
                found.append({"detector": name, "along": along, "from": curve[0][along], "to": curve[-1][along]} | of)
    return found


def exponent(x: Sequence[float], y: Sequence[float]) -> dict[str, float] | None:
    """The slope of y against x, both in logarithms, by least squares; and the least and largest between neighbours.

    Args:
        x: ascending. Points whose y is not above 0 are left out.

    Returns None where fewer than two points are left.
    """
    places = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True) if b > 0]
    if len(places) < 2:
        return None
    slope = statistics.linear_regression(*zip(*places, strict=True)).slope
    between = [(d - b) / (c - a) for (a, b), (c, d) in itertools.pairwise(places)]
    return {"slope": slope, "least": min(between), "largest": max(between)}


def write(path: Path, rows: Sequence[Row]) -> None:
    """The rows, and what follows from them."""
    write_json(path, {"rows": rows, "exponents": exponents(rows)})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is due, write results and plot, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", choices=list(DETECTORS), default=list(DETECTORS), metavar="NAME")
    parser.add_argument("--images", nargs="*", type=int, default=[50, 200, 1000, 5000, 20_000], metavar="N")
    parser.add_argument("--sides", nargs="*", type=int, default=[128, 256, 512, 768], metavar="PIXELS")
    parser.add_argument("--limit-s", type=float, default=900, help="seconds that a fit may be forecast to take")
    parser.add_argument("--again", action="store_true", help="measure also what was measured before")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path, default=PLOT)
    parser.add_argument("--point", help="measure this one point, given as JSON, in this process, and print it")
    asked = parser.parse_args(argv)
    if asked.point is not None:
        print(json.dumps(measured(json.loads(asked.point), limit_s=asked.limit_s, threads=asked.threads)))
        return 0
    for point in points(asked.detectors, asked.images, asked.sides):
        rows = read_rows(asked.out)
        if not is_due(point, rows, limit_s=asked.limit_s, again=asked.again):
            continue
        command = [sys.executable, __file__, "--point", json.dumps(point)]
        command += ["--limit-s", str(asked.limit_s), "--threads", str(asked.threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row: Row = json.loads(done.stdout.splitlines()[-1])
        write(asked.out, [*(old for old in rows if not is_at(old, point, KEY)), row])
        print(f"{row['detector']}, {row['n_images']} images of {row['side']} pixels: {_said(row)}", flush=True)
    if asked.out.is_file():
        write_plot(asked.plot, read_json(asked.out)["rows"])
    return 0


def _said(row: Row) -> str:
    if "skipped" in row:
        return f"skipped: {row['skipped']}"
    costs = f"fit {row['fit_s']:.1f} s, {row['fit_mb']:,.0f} MB; verdict {row['verdict_ms']:.1f} ms"
    return f"{costs}; ONNX {row['onnx_mb']:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
