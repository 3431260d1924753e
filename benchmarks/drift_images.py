"""After how many parts a change of real images withdraws a certificate, by kind, severity and share of the parts.

    python benchmarks/drift_images.py --bundle bundles/washer --prepared data/prepared/washer [--kinds KIND ...]

The parts are good ones of the prepared data set that the bundle was not fitted on, evenly spaced where there are more.
Each is scored as it is, and N of them under each kind and severity of `gonogo.monitoring.simulation`. A run shuffles
the parts: some set a threshold of their own by their scores, others are the parts before the change, and of those after
it a share is changed, each at most once. Those that set the threshold and those before the change are never shown
changed. A change that is not found before there are no more parts counts as missed; so the rows say less than a line
would see. Rows replace those in benchmarks/drift_images.json; `make readme` then writes the table of docs/drift.md.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from gonogo.calibration.threshold import certify
from gonogo.images.dataset import evenly_spaced, read_dataset
from gonogo.images.statistics import STATISTICS, image_statistics
from gonogo.inference.scorer import Scorer
from gonogo.monitoring.certificate_watch import CertificateWatch, WatchParams
from gonogo.monitoring.simulation import KINDS, Simulation
from results import ROOT, add_row, origin

RESULTS = ROOT / "benchmarks" / "drift_images.json"
SEVERITIES, SHARES = range(1, 6), (1.0, 0.3, 0.1)
KEY = ("category", "kind", "severity", "share", "defect_rate")
Numbers = tuple[float, ...]  # the score and the statistics of an image


def measured(scorer: Scorer, pixels: np.ndarray) -> Numbers:
    """The score and the statistics of an image."""
    return scorer.score_pixels(pixels[None])[0].score, *image_statistics(pixels)


def delay(
    clean: list[Numbers],
    changed: dict[int, Numbers],
    counts: tuple[int, int],
    share: float,
    seed: int,
    params: WatchParams,
) -> tuple[bool, int | None]:
    """One run: whether it was withdrawn in vain, and after how many parts since the change; None: not at all.

    Args:
        clean: of all parts as they are.
        changed: of some of them, by their number in `clean`.
        counts: how many parts set the threshold, and how many come before the change.
        share: of the parts after it that are changed.
        seed: of the run.
        params: of the watch.
    """
    rng = np.random.default_rng(seed)
    after = rng.permutation(list(changed))
    after = after[: len(after) - max(0, sum(counts) + len(after) - len(clean))]
    rest = rng.permutation([number for number in range(len(clean)) if number not in set(after.tolist())])
    calibrate, before = rest[: counts[0]], rest[counts[0] : sum(counts)]
    scores = np.array([clean[number][0] for number in calibrate])
    groups = [str(number) for number in calibrate]
    record = certify(scores, groups, false_alarm_rate=0.1, confidence=0.95, margin=1e-3)
    watch = CertificateWatch(record, params, STATISTICS)
    for number in before.tolist():
        score, *others = clean[number]
        watch.add(f"{seed} {number}", score, others)
    if watch.withdrawn_at is not None:
        return True, None
    of_them = rng.random(len(after)) < share
    for place, (number, is_changed) in enumerate(zip(after.tolist(), of_them.tolist(), strict=True), start=1):
        score, *others = (changed if is_changed else clean)[number]
        watch.add(f"{seed} after {number}", score, others)
        if watch.withdrawn_at is not None:
            return False, place
    return False, None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every kind at every severity, print its row, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--raw", type=Path, default=ROOT / "data" / "raw", help="where images lie that it only names")
    parser.add_argument("--parts", type=int, default=300, metavar="N", help="good parts, at most")
    parser.add_argument("--changed", type=int, default=100, metavar="N", help="parts that are shown changed")
    parser.add_argument("--severities", nargs="+", type=int, choices=SEVERITIES, default=list(SEVERITIES))
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES), help="of the parts that are changed")
    parser.add_argument("--defect-rate", type=float, metavar="R", help="that the watch expects; as in gonogo drift")
    parser.add_argument("--calibrate", type=int, default=100, metavar="N", help="parts that set the threshold")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="of each row")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    params = WatchParams() if arguments.defect_rate is None else WatchParams(defect_rate=arguments.defect_rate)
    scorer = Scorer(arguments.bundle, threads=1)
    dataset = read_dataset(arguments.prepared, arguments.raw)
    good = [record for record in dataset.with_role("calibrate", "test") if record.label == 0]
    images = list(dataset.images_of(evenly_spaced(good, arguments.parts)))
    clean = [measured(scorer, pixels) for pixels in images]
    chosen = np.random.default_rng(0).permutation(len(images))[: arguments.changed].tolist()
    counts = (arguments.calibrate, len(images) - arguments.calibrate - len(chosen))
    about = origin(1, {"numpy": version("numpy")})
    for kind in arguments.kinds:
        for severity in arguments.severities:
            simulation = Simulation(kind, severity)
            changed = {number: measured(scorer, simulation.image(images[number], number)) for number in chosen}
            moved = np.mean([changed[number][0] - clean[number][0] for number in chosen])
            for share in arguments.shares:
                runs = [delay(clean, changed, counts, share, seed, params) for seed in range(arguments.runs)]
                fair = [found for in_vain, found in runs if not in_vain]
                delays = [found for found in fair if found is not None]
                row = {
                    "category": scorer.category,
                    "kind": kind,
                    "severity": severity,
                    "share": share,
                    "defect_rate": arguments.defect_rate,
                    "n": counts[0],
                    "before": counts[1],
                    "after": len(chosen),
                    "runs": len(runs),
                    "withdrawn_in_vain": len(runs) - len(fair),
                    "found": len(delays) / len(fair),
                    "delay": statistics.median(delays) if delays else None,
                    "score_shift": float(moved / np.std([one[0] for one in clean])),
                    **about,
                }
                add_row(arguments.out, row, key=KEY)
                print({name: value for name, value in row.items() if name not in about}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
