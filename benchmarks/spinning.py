"""What threads that wait for each other cost: one forward of the default backbone, and one image through its gauge.

    python benchmarks/spinning.py [BUNDLE] [--turns N] [--size PIXELS]

Each turn starts a process for each way, alone and then beside one process that keeps a core busy. A process computes
one image again and again with all cores; a line has the medians over all turns of the wall and of the processor's
milliseconds, and the ratio of the wall: alone, to that of threads that spin; beside one, to the same way alone. The
ways are torch and onnxruntime, whose threads spin by default, and both as gonogo sets them (`gonogo/__init__.py`,
`gonogo.inference.scorer.open_session`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

WARMUP, RUNS = 3, 12
WAYS = {
    "torch, spins": {"GOMP_SPINCOUNT": "300000"},  # what GNU's OpenMP does by itself
    "torch, gonogo": {},
    "onnxruntime, spins": {},
    "onnxruntime, gonogo": {},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, help="without one, torch alone is measured")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.way is not None:
        print(json.dumps(_computed(arguments.way, arguments.bundle, arguments.size)))
        return
    ways = [way for way in WAYS if arguments.bundle or way.startswith("torch")]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for turn in range(arguments.turns):
        for beside in ("alone", "beside one"):
            busy = None if beside == "alone" else subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                for way in ways:
                    found.setdefault((way, beside), []).append(_measured(way, arguments))
            finally:
                if busy is not None:
                    busy.kill()
                    busy.wait()
        print(f"turn {turn + 1} of {arguments.turns}", file=sys.stderr)
    for (way, beside), times in sorted(found.items()):
        compared = found[way.partition(",")[0] + ", spins" if beside == "alone" else way, "alone"]
        walls, processors = zip(*times, strict=True)
        wall, processor = statistics.median(walls), statistics.median(processors)
        ratio = statistics.median(mine / other for mine, (other, _) in zip(walls, compared, strict=True))
        print(f"{way:<20} {beside:<11} wall {wall:7.1f} ms, {ratio:5.2f} times; processor {processor:7.1f} ms")


def _measured(way: str, arguments: argparse.Namespace) -> tuple[float, float]:
    bundle = [] if arguments.bundle is None else [str(arguments.bundle)]
    command = [sys.executable, __file__, *bundle, "--way", way, "--size", str(arguments.size)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))} | WAYS[way]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    wall, processor = json.loads(ran.stdout)
    return wall, processor


def _computed(way: str, bundle: Path | None, size: int) -> tuple[float, float]:
    """Median milliseconds of wall and of processor of one image, in this process."""
    compute = _backbone(size) if way.startswith("torch") else _gauge(bundle, size, spins=way.endswith("spins"))
    walls, processors = [], []
    for _ in range(WARMUP + RUNS):
        wall, processor = time.perf_counter(), time.process_time()
        compute()
        walls.append(time.perf_counter() - wall)
        time.sleep(0.02)  # threads that spin go on for a while, which their work has caused
        processors.append(time.process_time() - processor)
    return 1e3 * statistics.median(walls[WARMUP:]), 1e3 * statistics.median(processors[WARMUP:])


def _backbone(size: int) -> Callable[[], object]:
    import gonogo  # sets how torch's threads wait, unless the environment says it

    assert gonogo
    import torch

    from gonogo.detectors.backbones.backbone import Backbone
    from gonogo.detectors.backbones.weights import LITE0

    backbone = Backbone(LITE0, [2, 3], size)
    backbone.load("random")
    pixels = torch.rand(1, 3, size, size) * 255

    def forward() -> object:
        with torch.inference_mode():
            return backbone(pixels)

    return forward


def _gauge(bundle: Path | None, size: int, *, spins: bool) -> Callable[[], object]:
    import onnxruntime

    from gonogo.inference.bundle import read_bundle
    from gonogo.inference.scorer import open_session, run_session

    assert bundle is not None
    network = read_bundle(bundle).gauge
    session = onnxruntime.InferenceSession(network) if spins else open_session(network)
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    return lambda: run_session(session, pixels)


if __name__ == "__main__":
    main()
