"""What a part costs that is watched, after a million parts.

    python benchmarks/drift_cost.py [--seen N] [--parts N]

The CPU time of `CertificateWatch.add`, with the score alone and with the statistics of the image too. Rows replace
those in benchmarks/drift_cost.json.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from gonogo.calibration.threshold import certify
from gonogo.images.statistics import STATISTICS
from gonogo.monitoring.certificate_watch import CertificateWatch, WatchParams
from results import ROOT, add_row, origin

RESULTS = ROOT / "benchmarks" / "drift_cost.json"
LATE = 4096  # parts between two merges of what was seen lately; a whole number of these is measured


def part_us(names: Sequence[str], seen: int, parts: int) -> float:
    """Microseconds of a part after `seen` parts."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=100)
    record = certify(scores, [str(n) for n in range(100)], false_alarm_rate=0.1, confidence=0.95, margin=1e-3)
    watch = CertificateWatch(record, WatchParams(defect_rate=0.01), names)
    watch.resume(watch.kept(), rng.normal(size=(seen, 1 + len(names))))
    rows = rng.normal(size=(parts, 1 + len(names))).tolist()
    began = time.process_time()
    for number, (score, *others) in enumerate(rows):
        watch.add(str(number), score, others)
    return 1e6 * (time.process_time() - began) / parts


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both, print their rows, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seen", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--parts", type=int, default=2 * LATE, metavar="N")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    for names in ((), STATISTICS):
        row = {
            "statistics": len(names),
            "seen": arguments.seen,
            "parts": arguments.parts,
            "part_us": part_us(names, arguments.seen, arguments.parts),
            **origin(1, {"numpy": version("numpy")}),
        }
        add_row(arguments.out, row, key=("statistics", "seen"))
        print({name: row[name] for name in ("statistics", "seen", "part_us")}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
