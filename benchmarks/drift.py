"""How often a valid certificate is withdrawn, and how many parts a change takes to withdraw it, by simulation.

    python benchmarks/drift.py [--runs N] [--parts N] [--processes N]

Each run draws calibrate scores, sets a threshold on them, and watches parts that pass by (`CertificateWatch`, withdrawn
0.05) until the certificate is withdrawn. Valid ones see good parts alone, or a share of defects whose scores lie four
standard deviations higher. The others see a change after so many good parts. A certificate whose true false-alarm rate
lies above the certified one is not valid, and is counted apart. Rows replace the old ones in benchmarks/drift.json;
`make readme` then writes the table of docs/drift.md.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats

from gonogo.calibration.threshold import certify
from gonogo.monitoring.certificate_watch import CertificateWatch, WatchParams
from results import ROOT, add_row, origin

RESULTS = ROOT / "benchmarks" / "drift.json"
DEFECT = 4.0  # standard deviations


@dataclass(frozen=True)
class Case:
    """What a watch sees.

    n: calibrate scores.
    defects: share of defective parts among all.
    shift, spread: of the good scores after the change, in standard deviations; none where they are 0 and 1.
    before: good parts before the change.
    missed_share: as in `WatchParams`.
    """

    n: int
    defects: float = 0.0
    shift: float = 0.0
    spread: float = 1.0
    before: int = 0
    missed_share: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether good parts change."""
        return (self.shift, self.spread) != (0.0, 1.0)


@dataclass(frozen=True)
class Run:
    """valid: whether the certified rate is above the true one. withdrawn: after so many parts; None: not at all."""

    valid: bool
    withdrawn: int | None
    seconds: float


VALID = [Case(n, defects) for n in (29, 100, 1000) for defects in (0.0, 0.03, 0.1)]
CHANGES = [
    Case(100, before=before, shift=shift, spread=spread)
    for before in (300, 5000)
    for shift, spread in ((0.25, 1.0), (0.5, 1.0), (1.0, 1.0), (-0.5, 1.0), (0.0, 1.5))
]
WITH_MISSED = [Case(100, missed_share=0.01), Case(100, before=300, shift=1.0, missed_share=0.01)]


def run(case: Case, parts: int, seed: int) -> Run:
    """One watch over at most `parts` parts after the change."""
    rng = np.random.default_rng((seed, case.n))
    rate = 0.1 if case.n < 300 else 0.02
    good = rng.normal(size=case.n)
    groups = [str(number) for number in range(case.n)]
    record = certify(good, groups, false_alarm_rate=rate, confidence=0.95, margin=1e-3)
    scores = rng.normal(size=case.before + parts)
    scores[case.before :] = case.shift + case.spread * scores[case.before :]
    scores[rng.random(len(scores)) < case.defects] += DEFECT
    allowed = None if case.missed_share else case.defects
    watch = CertificateWatch(record, WatchParams(missed_share=case.missed_share, defect_rate=allowed))
    began, number = time.process_time(), 0
    for number, score in enumerate(scores.tolist(), start=1):
        watch.add(f"{seed}.{number}", score)
        if watch.withdrawn_at is not None:
            break
    seconds = (time.process_time() - began) / number
    certified = record.certified_false_alarm_rate
    valid = certified is not None and float(stats.norm.sf(record.threshold)) <= certified
    return Run(valid, number if watch.withdrawn_at is not None else None, seconds)


def figures(case: Case, runs: Sequence[Run]) -> dict[str, float | int | None]:
    """The row of a case: the share of withdrawals before any change with its 95 % interval, and the delay after one."""
    valid = [one for one in runs if one.valid]
    early = [one for one in valid if one.withdrawn is not None and (not case.changes or one.withdrawn <= case.before)]
    interval = stats.binomtest(len(early), len(valid)).proportion_ci(method="exact")
    found: dict[str, float | int | None] = {
        "valid": len(valid),
        "withdrawn_in_vain": len(early),
        "share": len(early) / len(valid),
        "share_low": float(interval.low),
        "share_high": float(interval.high),
        "part_us": 1e6 * statistics.median(one.seconds for one in runs),
    }
    if case.changes:
        delays = [one.withdrawn - case.before for one in valid if one not in early and one.withdrawn is not None]
        found |= {
            "found": len(delays) / (len(valid) - len(early)),
            "delay": statistics.median(delays) if delays else None,
        }
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate every case, print its row, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="of each case")
    parser.add_argument(
        "--parts", type=int, default=10_000, metavar="N", help="of a run, at most; after a change 1,500"
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    about = origin(1, {name: version(name) for name in ("numpy", "scipy")})
    with ProcessPoolExecutor(arguments.processes) as pool:
        for case in (*VALID, *CHANGES, *WITH_MISSED):
            parts = min(arguments.parts, 1500) if case.changes else arguments.parts
            runs = list(pool.map(partial(run, case, parts), range(arguments.runs), chunksize=8))
            row = {**asdict(case), "parts": parts, **figures(case, runs), **about}
            add_row(arguments.out, row, key=tuple(asdict(case)))
            print({key: value for key, value in row.items() if key not in about}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
