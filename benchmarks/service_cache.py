"""What `gonogo serve --cache` saves: the same image again and again, with and without remembered verdicts, in turns.

    python benchmarks/service_cache.py --bundle bundles/brick

Two services of one process each, one with `--cache`, are asked in turns over one connection each. Writes a row of
benchmarks/service.json with the medians in milliseconds, also of images that are new to the cache.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from gonogo.inference.scorer import Scorer
from results import add_row, origin
from served import Served, as_another
from service import KEY, PACKAGES, RESULTS

SIDE = 256  # pixels


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the row, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=100, help="of one image for each service, after ten to warm up")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(17).integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(file, "JPEG")
    times: dict[str, list[float]] = {"scored": [], "repeated": [], "new": []}
    with ExitStack() as stack:
        services = [
            stack.enter_context(
                Served(
                    asked.bundle, Path(stack.enter_context(tempfile.TemporaryDirectory())), "--rate", "1e9", *options
                )
            )
            for options in ((), ("--cache", "1000"))
        ]
        connections = [service.connection() for service in services]
        for turn in range(asked.turns + 10):
            for name, which, image in (
                ("scored", 0, file.getvalue()),
                ("repeated", 1, file.getvalue()),
                ("new", 1, as_another(file.getvalue(), turn)),
            ):
                began = time.perf_counter()
                status, body = services[which].ask(connections[which], "POST", "/v1/inspect", image)
                took = 1e3 * (time.perf_counter() - began)
                if status != 200:
                    raise RuntimeError(f"{name}: status {status}\n{body[:1000]!r}")
                if turn >= 10:
                    times[name].append(took)
    category = Scorer(asked.bundle, threads=1).category
    row = {"what": "cache", "category": category, "concurrency": 1, "workers": 1, "n_turns": asked.turns}
    row |= {f"{name}_p50_ms": float(np.median(taken)) for name, taken in times.items()}
    print(row)
    add_row(asked.out, row | origin(1, {name: metadata.version(name) for name in PACKAGES}), key=KEY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
