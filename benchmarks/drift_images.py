"""After how many parts a change of real images withdraws a certificate, by kind and severity.

    python benchmarks/drift_images.py --bundle bundles/washer --images DIR [--kinds KIND ...] [--runs N]

DIR has good parts that the bundle was not fitted on. Each is scored as it is, and N of them under each kind and
severity of `gonogo.monitoring.simulation`. A run shuffles the parts: some set a threshold of their own by their scores,
others are the parts before the change, and the changed ones come after it, each at most once. Those that set the
threshold and those before the change are never shown changed. A change that is not found before there are no more parts
counts as missed; so the rows say less than a line would see. Rows replace those in benchmarks/drift_images.json.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from gonogo.calibration.threshold import certify
from gonogo.images.reading import read_image
from gonogo.images.statistics import STATISTICS, image_statistics
from gonogo.inference.scorer import Scorer
from gonogo.line.inputs import items
from gonogo.monitoring.certificate_watch import CertificateWatch, WatchParams
from gonogo.monitoring.simulation import KINDS, Simulation
from results import ROOT, add_row, origin

RESULTS = ROOT / "benchmarks" / "drift_images.json"
SEVERITIES = range(1, 6)
Numbers = tuple[float, ...]  # the score and the statistics of an image


def measured(scorer: Scorer, pixels: np.ndarray) -> Numbers:
    """The score and the statistics of an image."""
    return scorer.score_pixels(pixels[None])[0].score, *image_statistics(pixels)


def delay(
    clean: list[Numbers], changed: dict[int, Numbers], shares: tuple[int, int], seed: int
) -> tuple[bool, int | None]:
    """One run: whether it was withdrawn in vain, and after how many changed parts; None: not at all.

    Args:
        clean: of all parts as they are.
        changed: of some of them, by their number in `clean`.
        shares: how many parts set the threshold, and how many come before the change.
        seed: of the run.
    """
    rng = np.random.default_rng(seed)
    after = rng.permutation(list(changed))
    after = after[: len(after) - max(0, sum(shares) + len(after) - len(clean))]
    rest = rng.permutation([number for number in range(len(clean)) if number not in set(after.tolist())])
    calibrate, before = rest[: shares[0]], rest[shares[0] : sum(shares)]
    scores = np.array([clean[number][0] for number in calibrate])
    groups = [str(number) for number in calibrate]
    record = certify(scores, groups, false_alarm_rate=0.1, confidence=0.95, margin=1e-3)
    watch = CertificateWatch(record, WatchParams(), STATISTICS)
    for number in before.tolist():
        score, *others = clean[number]
        watch.add(f"{seed} {number}", score, others)
    if watch.withdrawn_at is not None:
        return True, None
    for place, number in enumerate(after.tolist(), start=1):
        score, *others = changed[number]
        watch.add(f"{seed} changed {number}", score, others)
        if watch.withdrawn_at is not None:
            return False, place
    return False, None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every kind at every severity, print its row, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of good parts")
    parser.add_argument("--changed", type=int, default=100, metavar="N", help="parts that are shown changed")
    parser.add_argument("--severities", nargs="+", type=int, choices=SEVERITIES, default=list(SEVERITIES))
    parser.add_argument("--calibrate", type=int, default=100, metavar="N", help="parts that set the threshold")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="of each kind and severity")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    scorer = Scorer(arguments.bundle, threads=1)
    paths = [item.path for item in items([str(arguments.images)]) if item.path is not None]
    images = [read_image(path) for path in paths]
    clean = [measured(scorer, pixels) for pixels in images]
    chosen = np.random.default_rng(0).permutation(len(images))[: arguments.changed].tolist()
    shares = (arguments.calibrate, len(images) - arguments.calibrate - len(chosen))
    about = origin(1, {"numpy": version("numpy")})
    for kind in arguments.kinds:
        for severity in arguments.severities:
            simulation = Simulation(kind, severity)
            changed = {number: measured(scorer, simulation.image(images[number], number)) for number in chosen}
            runs = [delay(clean, changed, shares, seed) for seed in range(arguments.runs)]
            fair = [found for in_vain, found in runs if not in_vain]
            delays = [found for found in fair if found is not None]
            moved = np.mean([changed[number][0] - clean[number][0] for number in chosen])
            row = {
                "category": scorer.category,
                "kind": kind,
                "severity": severity,
                "n": shares[0],
                "before": shares[1],
                "after": len(chosen),
                "runs": len(runs),
                "withdrawn_in_vain": len(runs) - len(fair),
                "found": len(delays) / len(fair),
                "delay": statistics.median(delays) if delays else None,
                "score_shift": float(moved / np.std([one[0] for one in clean])),
                **about,
            }
            add_row(arguments.out, row, key=("category", "kind", "severity"))
            print({name: value for name, value in row.items() if name not in about}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
