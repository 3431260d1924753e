"""`gonogo score` over many JPEGs against the bare model: images per second, and memory while it runs.

    python benchmarks/score.py --bundle bundles/brick --images /path/of/photographs --count 10000

JPEGs of 256 pixels are made of the images, in turn, in a temporary folder. Then, turn by turn: one process has
onnxruntime judge pixels that it holds already, in as many threads at once as there are workers; another is
`gonogo score - --out FILE` from its start to its end, which also reads, decodes, finds regions and writes rows that
survive a kill. Beside the rate stand the milliseconds of CPU for an image, which other work on the machine changes
less; those of `gonogo score` have its start in them. Each takes a share of the images; at last `gonogo score` takes all
of them at once, and its resident memory is looked at ten times a second. Writes benchmarks/score.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from gonogo.detectors.training.image_folder import ImageFolder
from gonogo.images.reading import read_image
from gonogo.inference.scorer import Scorer
from results import ROOT, Row, add_row, origin, resident_mb

RESULTS = Path(__file__).with_suffix(".json")
SIDE, QUALITY, HELD = 256, 90, 64  # pixels, of JPEG, images whose pixels the bare model holds
KEY = ("category", "n_images", "workers")
PACKAGES = ("onnxruntime", "numpy", "pillow")


def write_jpegs(source: ImageFolder, folder: Path, count: int) -> None:
    """`count` JPEGs of SIDE pixels, of the source's images in turn; none is a link, so that each is read for itself."""
    folder.mkdir()
    data = []
    for path in source.paths[:HELD]:
        image = Image.fromarray(read_image(path)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        with tempfile.SpooledTemporaryFile(2**20) as file:
            image.save(file, format="JPEG", quality=QUALITY)
            file.seek(0)
            data.append(file.read())
    for number, content in enumerate(islice(cycle(data), count)):
        (folder / f"{number:06d}.jpg").write_bytes(content)


def bare(bundle: Path, folder: Path, count: int, workers: int) -> tuple[float, float]:
    """Images per second of the network alone, on pixels that are decoded already, and milliseconds of CPU for each."""
    scorer = Scorer(bundle, threads=1)
    held = [read_image(path)[None] for path in sorted(folder.iterdir())[:HELD]]

    def run(pixels: np.ndarray) -> None:
        scorer.run(pixels)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, held[: 2 * workers]))
        start, cpu = time.perf_counter(), time.process_time()
        for _ in pool.map(run, islice(cycle(held), count)):
            pass
        return count / (time.perf_counter() - start), (time.process_time() - cpu) / count * 1e3


def scored(bundle: Path, places: Sequence[str], workers: int, rows: Path) -> tuple[float, float, list[float]]:
    """Seconds of `gonogo score` from its start to its end, of the clock and of CPU, and its resident MB over time.

    Raises:
        RuntimeError: it failed, or a row is missing.
    """
    command = [sys.executable, "-m", "gonogo.cli.main", "score", str(bundle), "-", "--out", str(rows)]
    start, cpu = time.perf_counter(), children_seconds()
    with tempfile.TemporaryFile("w+") as names:
        names.write("\n".join(places))
        names.seek(0)
        process = subprocess.Popen([*command, "--workers", str(workers)], stdin=names, stderr=subprocess.DEVNULL)
        memory = []
        while process.poll() is None:
            memory.append(resident_mb(process.pid))
            time.sleep(0.1)
    seconds = time.perf_counter() - start
    n_rows = rows.read_bytes().count(b"\n") if rows.is_file() else 0
    if process.returncode not in (0, 1) or n_rows != len(places):
        raise RuntimeError(f"gonogo score: status {process.returncode}, {n_rows} rows of {len(places)} images")
    return seconds, children_seconds() - cpu, memory


def children_seconds() -> float:
    """Seconds of CPU of the processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5, help="turns of the bare model and gonogo score")
    parser.add_argument("--share", type=int, default=1000, help="images of a turn")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if asked.bare is not None:
        print(*bare(asked.bundle, asked.bare, asked.share, asked.workers))
        return 0
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "images")
        write_jpegs(ImageFolder(asked.images, option="--images"), folder, asked.count)
        places = [str(path) for path in sorted(folder.iterdir())]
        turns = []
        for turn in range(asked.rounds):
            alone, alone_ms = _bare_in_its_own_process(asked, folder)
            share = places[: asked.share]
            seconds, cpu, _ = scored(asked.bundle, share, asked.workers, Path(work, f"turn_{turn}.jsonl"))
            rate, ms = len(share) / seconds, cpu / len(share) * 1e3
            turns.append((alone, rate, alone_ms, ms))
            print(
                f"images per second: bare {alone:.1f}, gonogo score {rate:.1f}; CPU {alone_ms:.1f}, {ms:.1f} ms",
                flush=True,
            )
        seconds, _, memory = scored(asked.bundle, places, asked.workers, Path(work, "all.jsonl"))
    settled = memory[len(memory) // 10 : -1] or memory
    row: Row = {
        "category": Scorer(asked.bundle).category,
        "n_images": asked.count,
        "workers": asked.workers,
        "rounds": asked.rounds,
        "bare_images_per_s": median(turn[0] for turn in turns),
        "score_images_per_s": median(turn[1] for turn in turns),
        "share_of_bare": median(turn[1] / turn[0] for turn in turns),
        "bare_cpu_ms": median(turn[2] for turn in turns),
        "score_cpu_ms": median(turn[3] for turn in turns),
        "load_after": os.getloadavg()[0],
        "all_images_per_s": asked.count / seconds,
        "memory_early_mb": float(np.mean(settled[: max(1, len(settled) // 5)])),
        "memory_late_mb": float(np.mean(settled[-max(1, len(settled) // 5) :])),
        "memory_peak_mb": max(memory),
    }
    print(json.dumps(row, indent=2))
    versions = {name: metadata.version(name) for name in PACKAGES}
    add_row(asked.out, row | origin(asked.workers, versions), key=KEY)
    return 0


def _bare_in_its_own_process(asked: argparse.Namespace, folder: Path) -> tuple[float, float]:
    command = [sys.executable, __file__, "--bundle", str(asked.bundle), "--images", str(asked.images)]
    command += ["--bare", str(folder), "--share", str(asked.share), "--workers", str(asked.workers)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    rate, cpu_ms = map(float, done.stdout.splitlines()[-1].split())
    return rate, cpu_ms


if __name__ == "__main__":
    sys.exit(main())
