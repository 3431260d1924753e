"""`gonogo serve` under load from another process, and what it adds to the bare scorer.

    python benchmarks/service.py --bundle bundles/brick --images /path/of/photographs
    python benchmarks/service.py --bundle bundles/brick --images /path/of/photographs --workers 2 --threads 1

wrk (a package of Debian, and of others) posts a JPEG of 256 pixels over 1, 8 and 64 connections, a minute each, every
time as another file, so that each is synchronised to the disk as a line's images are. The service is one process,
started by its own command; its resident memory is looked at every second, and compared from the end of the first
quarter of a point, which is warm-up, to its end.

Then wrk over one connection, in turn with the scorer in this process, which has as many threads: the time from sending
a JPEG to its verdict, against the time to decode the same JPEG, score it and find its regions. What the service does
beside is its overhead, the median of the turns' differences; to commit the row stands apart, and beside it what this
disk takes to synchronise a file and its folder, which the service does while the network computes. Writes
benchmarks/service.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median

from gonogo.detectors.training.image_folder import ImageFolder
from gonogo.files import sync_folder
from gonogo.images.reading import decode
from gonogo.inference.scorer import Scorer
from results import Row, add_row, origin, resident_mb
from score import write_jpegs
from served import Served

RESULTS = Path(__file__).with_suffix(".json")
SCRIPT = Path(__file__).with_suffix(".lua")
KEY = ("what", "category", "concurrency", "workers", "seed")
PACKAGES = ("fastapi", "uvicorn", "sqlalchemy", "pydantic", "onnxruntime", "numpy", "pillow")
CONCURRENCY = (1, 8, 64)
LIMITS = ("--rate", "1e9", "--deadline", "60")  # so high that what is measured is the service
TURN_IMAGES, TURN_SECONDS = 100, 2  # of the scorer and of the service, before it is the other's turn
STAGE = re.compile(r'^gonogo_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


def load(served: Served, jpeg: Path, concurrency: int, seconds: int, *, nonce: int) -> Row:
    """Rate, latencies, errors and memory while wrk keeps so many requests on the way.

    `nonce`: another one sends other files.

    Raises:
        RuntimeError: wrk failed.
    """
    memory: list[float] = []
    command = ["wrk", "--threads", "1", "--connections", str(concurrency), "--duration", f"{seconds}s"]
    command += ["--timeout", "60s", "--script", str(SCRIPT), f"http://127.0.0.1:{served.port}/v1/inspect"]
    process = subprocess.Popen(
        [*command, "--", str(jpeg), str(nonce)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"GONOGO_KEY": served.key},
    )
    while process.poll() is None:
        memory.append(resident_mb(served.process.pid))
        time.sleep(1)
    told = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"wrk: status {process.returncode}\n{told}")
    found: Row = json.loads(told.splitlines()[-1])
    warm = memory[len(memory) // 4 :]
    return found | {
        "per_s": found["n_requests"] / found["seconds"],
        "memory_start_mb": median(warm[:5]),
        "memory_end_mb": median(warm[-5:]),
        "memory_most_mb": max(memory),
    }


def overhead(served: Served, scorer: Scorer, jpeg: Path, turns: int) -> Row:
    """Medians of the service over one connection and of the scorer in milliseconds, of `turns` turns after one."""
    data = jpeg.read_bytes()
    alone: list[float] = []
    asked: list[float] = []
    before: dict[str, tuple[float, float]] = {}
    for turn in range(turns + 1):
        if turn == 1:
            alone, asked, before = [], [], stages_of(served)
        times = [
            _timed(lambda: scorer.score_pixels(decode(data, Path("the image"))[0][None])[0].regions)
            for _ in range(TURN_IMAGES)
        ]
        alone.append(median(times))
        asked.append(load(served, jpeg, 1, TURN_SECONDS, nonce=turn)["p50_ms"])
    stages = {
        name: 1e3 * (seconds - before[name][0]) / (count - before[name][1])
        for name, (seconds, count) in stages_of(served).items()
    }
    added = median(service - bare for service, bare in zip(asked, alone, strict=True))
    return {
        "n_turns": turns,
        "service_ms": median(asked),
        "scorer_ms": median(alone),
        "overhead_ms": added,
        "overhead_without_disk_ms": added - stages["keep"],
        "stages_ms": stages,
    }


def stages_of(served: Served) -> dict[str, tuple[float, float]]:
    """Of each stage the seconds until now, and of how many images."""
    connection = served.connection()
    _, text = served.ask(connection, "GET", "/metrics")
    connection.close()
    found = {(stage, what): float(value) for what, stage, value in STAGE.findall(text.decode())}
    return {stage: (found[stage, "sum"], found[stage, "count"]) for stage, _ in found}


def disk_ms(folder: Path, data: bytes, count: int = 50) -> float:
    """Median milliseconds to write a file, synchronise it, and synchronise its folder."""

    def write(number: int) -> None:
        with (folder / f"{number}.probe").open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(folder)

    return median(_timed(partial(write, number)) for number in range(count))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs; the first one is sent")
    parser.add_argument("--seconds", type=int, default=60, help="of load, for each number of connections")
    parser.add_argument("--turns", type=int, default=10, help="of the service and of the scorer")
    parser.add_argument("--workers", type=int, default=1, help="that judge at once")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each")
    parser.add_argument("--work", type=Path, help="where images are kept meanwhile; the system's temporary folder")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    scorer = Scorer(asked.bundle, threads=asked.threads)
    at = origin(asked.threads, {name: metadata.version(name) for name in PACKAGES})
    with tempfile.TemporaryDirectory(dir=asked.work) as work:
        write_jpegs(ImageFolder(asked.images, option="--images"), Path(work, "jpegs"), 1)
        (jpeg,) = Path(work, "jpegs").iterdir()
        for number, concurrency in enumerate((0, *CONCURRENCY)):
            data = Path(work, f"data_{number}")
            words = [*LIMITS, "--workers", str(asked.workers), "--threads", str(asked.threads)]
            with Served(asked.bundle, data, *words) as served:
                if concurrency == 0:
                    row = {"what": "overhead", "concurrency": 1} | overhead(served, scorer, jpeg, asked.turns)
                    row["disk_ms"] = disk_ms(data, jpeg.read_bytes())
                else:
                    row = {"what": "load", "concurrency": concurrency} | load(
                        served, jpeg, concurrency, asked.seconds, nonce=number
                    )
            print(json.dumps(row), flush=True)
            add_row(asked.out, row | {"category": scorer.category, "workers": asked.workers} | at, key=KEY)
    return 0


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
