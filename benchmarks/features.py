"""What the features of a bundle's network cost beside its verdict, in one run, in turn.

    python benchmarks/features.py BUNDLE [--size PIXELS] [--runs N]

Three ways to judge the same images, one after the other in each turn: the graph without the output `features`, the
bundle's own graph where nobody asks for them, and the same where they are read and made into vectors. All find the
regions. A line has the median of the milliseconds per image and the median of the ratios to the first way in the same
turn.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from gonogo.inference.bundle import read_bundle
from gonogo.inference.scorer import Scorer, open_session, run_session


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args(argv)
    scorer, bare = Scorer(arguments.bundle, threads=1), open_session(_without_features(arguments.bundle), threads=1)
    scorer.require_space()
    images = np.random.default_rng(0).integers(0, 256, (16, arguments.size, arguments.size, 3), dtype=np.uint8)
    ways: dict[str, Callable[[np.ndarray], object]] = {
        "without the output": lambda pixels: scorer.judge(*run_session(bare, pixels))[0].regions,
        "not asked for": lambda pixels: scorer.score_pixels(pixels)[0].regions,
        "read": lambda pixels: scorer.score_pixels(pixels, features=True)[0].vectors,
    }
    for way in ways.values():
        for pixels in images:
            way(pixels[None])
    turns = [
        {name: _milliseconds(way, images[turn % len(images)][None]) for name, way in ways.items()}
        for turn in range(arguments.runs)
    ]
    for name in ways:
        each = statistics.median(turn[name] for turn in turns)
        ratio = statistics.median(turn[name] / turn["without the output"] for turn in turns)
        print(f"{name:20} {each:8.3f} ms  {ratio:6.4f}")


def _without_features(bundle: Path) -> bytes:
    proto = onnx.load_from_string(read_bundle(bundle).gauge)
    (output,) = (one for one in proto.graph.output if one.name == "features")
    proto.graph.output.remove(output)
    return bytes(proto.SerializeToString())


def _milliseconds(way: Callable[[np.ndarray], object], pixels: np.ndarray) -> float:
    began = time.perf_counter()
    way(pixels)
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
