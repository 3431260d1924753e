"""How fast a bundle is, from an encoded file to a verdict, in a fresh process that holds nothing but the scorer.

`measure` starts `python -m gonogo.bench` and times it from outside; the child measures the rest and prints JSON.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.errors import ConfigError, DataError, GonogoError
from gonogo.process import peak_bytes

SOURCE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class BenchParams:
    """The `bench` section."""

    runs: int
    warmup: int
    threads: int

    def __post_init__(self) -> None:
        if min(self.runs, self.threads) < 1 or self.warmup < 0:
            raise ConfigError(f"bench: runs and threads must be at least 1 and warmup at least 0, got {self}")


def measure(bundle: Path, images: Sequence[Path], params: BenchParams) -> dict[str, float | int | str]:
    """Latency of decode to verdict at batch 1, with what it was measured on, and the size of the bundle (1e6 bytes).

    Args:
        images: encoded files, taken in turn.

    Raises:
        DataError: there is no image.
        GonogoError: the measuring process failed; the message ends with its last words.
    """
    if not images:
        raise DataError("bench needs at least one image file to time, got none")
    request = {
        "bundle": str(bundle),
        "images": [str(path) for path in images],
        "runs": params.runs,
        "warmup": params.warmup,
        "threads": params.threads,
    }
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SOURCE_ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-B", "-m", "gonogo.bench"]
    # Files rather than pipes for the request and the complaints: neither process can then block or break on the other.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as asked,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
    ):
        asked.write(json.dumps(request) + "\n")
        asked.seek(0)
        started = time.perf_counter()
        with subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment
        ) as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            cold_start = time.perf_counter() - started
            rest = child.stdout.read()
        if child.returncode != 0 or first.strip() != "first verdict":
            complaints.seek(0)
            last_words = complaints.read().strip()[-500:]
            raise GonogoError(f"the bench process failed with exit code {child.returncode}: {last_words}")
    figures: dict[str, float | int | str] = json.loads(rest)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    return {"cold_start_ms": cold_start * 1e3, "bundle_mb": size / 1e6} | figures


def main() -> None:
    """The child: read a request from standard input, score, print the figures."""
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    import numpy as np
    import onnxruntime
    import PIL

    from gonogo.images import read_image
    from gonogo.scorer import Scorer

    scorer = Scorer(Path(request["bundle"]), threads=request["threads"])
    paths = [Path(path) for path in request["images"]]
    scorer.score_image(paths[0])
    print("first verdict", flush=True)

    for number in range(request["warmup"]):
        scorer.score_image(paths[number % len(paths)])
    seconds = []  # (decode, model, rest, regions) of each run
    for number in range(request["runs"]):
        path = paths[number % len(paths)]
        start = time.perf_counter()
        pixels = read_image(path)[None]
        decoded = time.perf_counter()
        scores, maps = scorer.run(pixels)
        ran = time.perf_counter()
        (verdict,) = scorer.judge(scores, maps)
        judged = time.perf_counter()
        _ = verdict.regions  # timed apart: the verdict does not wait for them
        seconds.append((decoded - start, ran - decoded, judged - ran, time.perf_counter() - judged))
    decode, model, rest, regions = (np.array(column) * 1e3 for column in zip(*seconds, strict=True))
    total = decode + model + rest
    print(
        json.dumps(
            {
                "p50_ms": float(np.percentile(total, 50)),
                "p95_ms": float(np.percentile(total, 95)),
                "mean_ms": float(total.mean()),
                "images_per_second": float(1e3 / total.mean()),
                "decode_p50_ms": float(np.percentile(decode, 50)),
                "model_p50_ms": float(np.percentile(model, 50)),
                "rest_p50_ms": float(np.percentile(rest, 50)),
                "regions_p50_ms": float(np.percentile(regions, 50)),
                "peak_memory_mb": peak_bytes() / 2**20,
                "runs": request["runs"],
                "threads": request["threads"],
                "image_width": int(pixels.shape[2]),
                "image_height": int(pixels.shape[1]),
                "cpu": cpu_name(),
                "cores": os.cpu_count() or 0,
                "os": platform.system(),
                "python": platform.python_version(),
                "onnxruntime": onnxruntime.__version__,
                "pillow": PIL.__version__,
            }
        )
    )


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
