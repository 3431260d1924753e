"""One worker against two on this machine: images per second of scoring into Parquet and of fitting in parts.

    python benchmarks/cluster.py --bundle bundles/brick --images /path/of/images --copies 8

Runs are made in turn, twice. The rate is that after each worker's first part, so that starting Ray and loading the
model are apart; what all takes together is the run's wall time. Beside it stand the milliseconds of CPU that the
workers took for an image, which other work on the machine changes less. Writes benchmarks/cluster.json.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from gonogo.detectors.training.image_folder import ImageFolder
from gonogo.evaluation.speed.bench import cpu_name
from gonogo.files import write_json

OUT = Path(__file__).with_suffix(".json")
ROUNDS = 2

Seen = list[tuple[float, float, int]]  # of each part: when it was done, seconds of CPU so far, images so far


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder; its images are copied")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "WORKERS", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, n_workers, folder = arguments.one
        print(json.dumps({"score": scored, "features": looked}[what](int(n_workers), Path(folder), arguments.bundle)))
        return
    with tempfile.TemporaryDirectory() as work:
        source = ImageFolder(arguments.images, option="--images")
        folder = Path(work, "images")
        folder.mkdir()
        for copy in range(arguments.copies):
            for path in source.paths:
                shutil.copy(path, folder / f"{copy}_{path.name}")
        n_bytes = sum(path.stat().st_size for path in folder.iterdir())
        facts = {
            "n_images": len(source) * arguments.copies,
            "image_kb": n_bytes / len(source) / arguments.copies / 1e3,
            "machine": {"cpu": cpu_name(), "python": platform.python_version()},
            "versions": {name: metadata.version(name) for name in ("ray", "pyarrow", "onnxruntime", "torch", "numpy")},
        }
        runs = []
        for what in ("score", "features"):
            for n_workers in (1, 2) * ROUNDS:
                command = [sys.executable, __file__, "--bundle", str(arguments.bundle), "--images", str(folder)]
                command += ["--one", what, str(n_workers), str(folder)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                about = {"what": what, "workers": n_workers, "load_before": os.getloadavg()[0]}
                runs.append(about | json.loads(done.stdout.splitlines()[-1]))
                print(runs[-1], flush=True)
        write_json(OUT, facts | {"runs": runs})


def scored(n_workers: int, folder: Path, bundle: Path) -> dict[str, Any]:
    """What `gonogo score --cluster` takes of the folder's images."""
    from gonogo.compute.cluster import Cluster
    from gonogo.line.many import score_many

    start = time.perf_counter()
    cluster = Cluster(n_workers=n_workers)
    connected = time.perf_counter()
    seen: Seen = []
    with tempfile.TemporaryDirectory() as out:
        score_many(
            bundle,
            [str(folder)],
            out,
            cluster=cluster,
            progress=lambda n_done, _: seen.append((time.perf_counter(), worker_seconds(), n_done)),
        )
        row_bytes = sum(path.stat().st_size for path in Path(out).iterdir()) / seen[-1][2]
    return rates(start, connected, seen, n_workers) | {"row_bytes": row_bytes}


def looked(n_workers: int, folder: Path, _: Path) -> dict[str, Any]:
    """What PatchCore's features and the choice of each part take, at the detector's defaults."""
    from PIL import Image

    from gonogo.compute.cluster import Cluster
    from gonogo.detectors.contract import FitContext
    from gonogo.detectors.options import PatchCoreOptions
    from gonogo.detectors.patchcore import PatchCore
    from gonogo.images.dataset import Dataset, Record
    from gonogo.model.fit_images import FitImages
    from gonogo.model.inspector import Inspector

    def record(path: Path) -> Record:
        with Image.open(path) as image:
            width, height = image.size
        known = {"category": "any", "label": 0, "defect_type": "good", "mask": None, "mask_sha256": None}
        return Record(
            path=path.name,
            sha256="",
            role="fit",
            group_id=path.name,
            width=width,
            height=height,
            **known,  # type: ignore[arg-type]
        )

    start = time.perf_counter()
    cluster = Cluster(n_workers=n_workers)
    connected = time.perf_counter()
    records = [record(path) for path in sorted(folder.iterdir())]
    detector = PatchCore(PatchCoreOptions(coreset_ratio=None, bank_patches=1000))
    images = FitImages(Inspector(detector), Dataset(folder, folder, tuple(records), cluster), records)
    seen: Seen = []
    size = images._parts()[0].stop

    def progress(what: str, n_done: int, *_: object) -> None:
        if what == "parts":
            seen.append((time.perf_counter(), worker_seconds(), min(n_done * size, len(records))))

    detector.fit(images, seed=17, context=FitContext(progress=progress))
    return rates(start, connected, seen, n_workers) | {"fit_s": time.perf_counter() - connected}


def worker_seconds() -> float:
    """Seconds of CPU that the workers of this process's cluster have taken."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if any("ray::_do" in word for word in process.cmdline()):
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.Error:
            continue
    return total


def rates(start: float, connected: float, seen: Seen, n_workers: int) -> dict[str, Any]:
    """Images per second after each worker's first part, and what came before that."""
    (first, first_cpu, n_first), (last, _, n_last) = seen[0], seen[-1]
    last_cpu, n_cpu = max((cpu, n) for _, cpu, n in seen)
    return {
        "cpu_ms_per_image": 1e3 * (last_cpu - first_cpu) / (n_cpu - n_first),
        "images_per_s": (n_last - n_workers * n_first) / (last - first),
        "start_ray_s": connected - start,
        "first_part_s": first - connected,
        "wall_s": last - start,
    }


if __name__ == "__main__":
    main()
