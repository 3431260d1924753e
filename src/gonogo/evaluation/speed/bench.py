"""How fast a bundle is, from an encoded file to a verdict, and how far that is from the machine's limits.

`measure` starts `python -m gonogo.evaluation.speed.timing`, a fresh process that holds nothing but the scorer, and
times it from outside; the child measures the rest and prints JSON. The count of the graph's work, which needs onnx, is
made here.
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
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gonogo.errors import ConfigError, DataError, GonogoError, MissingExtraError
from gonogo.evaluation.speed.roofline import Work, count_work
from gonogo.evaluation.speed.timing import LEAST_COPY, SIDE
from gonogo.images.reading import read_image
from gonogo.inference.bundle import read_bundle

# Where the libraries that numpy may multiply with look for how many threads to use; onnxruntime has its own option.
PRODUCT_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
SOURCE_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class BenchParams:
    """The `bench` section. `openvino`: time that runtime too, beside onnxruntime."""

    runs: int
    warmup: int
    threads: int
    openvino: bool = False

    def __post_init__(self) -> None:
        if min(self.runs, self.threads) < 1 or self.warmup < 0:
            raise ConfigError(f"bench: runs and threads must be at least 1 and warmup at least 0, got {self}")


def measure(bundle: Path, images: Sequence[Path], params: BenchParams) -> dict[str, float | int | str]:
    """Latency from file to verdict at batch 1 and its roofline, images per second, machine and versions, bundle size.

    Args:
        images: encoded files, taken in turn.

    Raises:
        DataError: there is no image.
        MissingExtraError: `params.openvino` is True and OpenVINO is not installed.
        IntegrityError: a file of the bundle is not the one that the parity stage wrote.
        GonogoError: the measuring process failed; the message ends with its last lines on stderr.
    """
    if not images:
        raise DataError("bench needs at least one image file to time, got none")
    if params.openvino and find_spec("openvino") is None:
        raise MissingExtraError("bench.openvino is true and openvino is missing; pip install 'gonogo[openvino]'")
    work = count_work(read_bundle(bundle).gauge, *read_image(images[0]).shape[:2])
    request = {
        "bundle": str(bundle),
        "images": [str(path) for path in images],
        "runs": params.runs,
        "warmup": params.warmup,
        "threads": params.threads,
        "copy_bytes": copied_bytes(work),
        "openvino": params.openvino,
    }
    environment = (
        os.environ
        | {"PYTHONPATH": os.pathsep.join([str(SOURCE_ROOT), os.environ.get("PYTHONPATH", "")])}
        | dict.fromkeys(PRODUCT_THREADS, str(params.threads))
    )
    command = [sys.executable, "-m", "gonogo.evaluation.speed.timing"]
    # Files rather than pipes for the request and for stderr, so that neither process can block on the other.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as request_file,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as error_file,
    ):
        request_file.write(json.dumps(request) + "\n")
        request_file.seek(0)
        started = time.perf_counter()
        with subprocess.Popen(
            command, stdin=request_file, stdout=subprocess.PIPE, stderr=error_file, text=True, env=environment
        ) as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            cold_start = time.perf_counter() - started
            rest = child.stdout.read()
        if child.returncode != 0 or first.strip() != "first verdict":
            error_file.seek(0)
            last_lines = error_file.read().strip()[-500:]
            raise GonogoError(f"the bench process failed with exit code {child.returncode}: {last_lines}")
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    figures: dict[str, float | int | str] = {
        "cold_start_ms": cold_start * 1e3,
        "bundle_mb": size / 1e6,
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 0,
        "os": platform.system(),
        "python": platform.python_version(),
    }
    measured = json.loads(rest)
    figures |= measured["figures"]
    figures |= roofline_figures(work, measured["rounds"], float(figures["p50_ms"]))
    return figures | sweep_figures(measured["speeds"])


def roofline_figures(work: Work, rounds: Sequence[Sequence[float]], p50_ms: float) -> dict[str, float]:
    """The least time that a verdict takes on this machine, in milliseconds, and how many times that it takes.

    Rates and decoding are the best of the rounds, since only other load makes them worse; the verdict is the median
    of its runs just before. On a busy machine the distance is therefore overstated.

    Args:
        work: of one image.
        rounds: seconds of a product of `timing.SIDE`, of a copy of `copied_bytes(work)` and of decoding.
        p50_ms: of a verdict.
    """
    product, copy, decode = np.array(rounds).T
    gflops = 2 * SIDE**3 / float(product.min()) / 1e9
    gb_per_s = copied_bytes(work) / float(copy.min()) / 1e9
    model_ms, decode_ms = work.milliseconds(gflops, gb_per_s), float(decode.min()) * 1e3
    return {
        "gflop_per_image": work.operations / 1e9,
        "mb_per_image": work.bytes / 1e6,
        "matmul_gflops": gflops,
        "copy_gb_per_s": gb_per_s,
        "roofline_model_ms": model_ms,
        "roofline_decode_ms": decode_ms,
        "roofline_ms": model_ms + decode_ms,
        "times_roofline": p50_ms / (model_ms + decode_ms),
    }


def copied_bytes(work: Work) -> int:
    """Bytes that the timed copy reads and writes: as many as a verdict does, but at least LEAST_COPY."""
    return max(work.bytes, LEAST_COPY)


def sweep_figures(speeds: Sequence[tuple[int, int, int, float]]) -> dict[str, float | int]:
    """Images per second of each (workers, threads of each, batch size), and which of them was the fastest."""
    figures: dict[str, float | int] = {
        f"images_per_second_w{workers}_t{threads}_b{size}": speed for workers, threads, size, speed in speeds
    }
    workers, threads, size, speed = max(speeds, key=lambda setting: setting[3])
    return figures | {
        "best_images_per_second": speed,
        "best_workers": workers,
        "best_worker_threads": threads,
        "best_batch_size": size,
    }


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
