"""How often a valid certificate is withdrawn, and how many parts a change takes to withdraw it, by simulation.

    python benchmarks/drift.py [--runs N] [--parts N] [--cases FIRST LAST]

Each run draws calibrate scores, sets a threshold on them, and watches parts that pass by, as `CertificateWatch` does
with withdrawn 0.05. Valid ones see good parts alone, or a share of defects. The others see a change after so many good
parts. A certificate whose true false-alarm rate lies above the certified one is not valid, and is counted apart. Scores
are normal, with defects four standard deviations higher, or drawn from those of parts, benchmarks/real_scores.json.

The runs of a case are computed together, by the bettors of `gonogo.monitoring.bets`, which take many series at once;
tests/benchmarks holds this to what `CertificateWatch` says of each run. Rows replace the old ones in
benchmarks/drift.json; `make readme` then writes the table of docs/drift.md.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.threshold import certify
from gonogo.files import read_json
from gonogo.monitoring.bets import Bet, Histogram, Jumper, Power, Rate
from gonogo.monitoring.certificate_watch import WatchParams
from gonogo.monitoring.evidence import SHARE_FOR_MISSED, MissedDefects
from results import ROOT, add_row, origin

RESULTS, REAL = ROOT / "benchmarks" / "drift.json", ROOT / "benchmarks" / "real_scores.json"
DEFECT = 4.0  # standard deviations
TOGETHER = 500  # runs whose numbers are in memory at once
BLOCK = 256  # scores whose ranks are taken together


@dataclass(frozen=True)
class Case:
    """What a watch sees.

    n: calibrate scores.
    defects: share of defective parts among all.
    shift, spread: of the good scores after the change, in standard deviations; none where they are 0 and 1.
    before: good parts before the change.
    missed_share: as in `WatchParams`.
    scores: `normal`, or the name of a data set whose parts have them.
    """

    n: int
    defects: float = 0.0
    shift: float = 0.0
    spread: float = 1.0
    before: int = 0
    missed_share: float = 0.0
    scores: str = "normal"

    @property
    def changes(self) -> bool:
        """Whether good parts change."""
        return (self.shift, self.spread) != (0.0, 1.0)

    @property
    def params(self) -> WatchParams:
        """How the certificate is watched."""
        return WatchParams(missed_share=self.missed_share, defect_rate=None if self.missed_share else self.defects)


@dataclass(frozen=True)
class Run:
    """What one watch sees.

    record: the threshold on the run's own calibrate scores.
    scores: (parts,) of the parts that come.
    uniforms: (parts,) numbers in (0, 1] that break ties.
    valid: whether the certified rate is above the true one.
    """

    record: ThresholdRecord
    scores: np.ndarray
    uniforms: np.ndarray
    valid: bool


NORMAL, REAL_SETS = "normal", ("hazelnut", "cookie")
BUILT_IN = ("brick", "grass", "gravel", "washer", "connector", "label")  # surfaces, and parts that are rendered
SIZES = (29, 100, 1000)
KINDS = ((0.25, 1.0), (0.5, 1.0), (1.0, 1.0), (-0.5, 1.0), (0.0, 1.5))  # shift and spread
CASES = [
    *(
        Case(n, defects, scores=scores)
        for scores in (NORMAL, *REAL_SETS, *BUILT_IN)
        for n in SIZES
        for defects in (0, 0.03, 0.1)
    ),
    *(Case(n, before=300, shift=shift, spread=spread) for n in SIZES for shift, spread in KINDS),
    *(Case(100, before=5000, shift=shift, spread=spread) for shift, spread in KINDS),
    *(Case(100, before=300, shift=x, spread=spread, scores=name) for name in REAL_SETS for x, spread in KINDS),
    *(Case(1000, 0.1, missed_share=0.1, scores=name) for name in ("grass", "gravel")),  # whose gauges pass most defects
    Case(100, missed_share=0.01),
    Case(100, before=300, shift=1.0, missed_share=0.01),
]


@dataclass(frozen=True)
class Source:
    """Where scores are drawn from: those of parts, or a normal distribution where there are none.

    good, defective: scores.
    """

    good: np.ndarray | None = None
    defective: np.ndarray | None = None

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """(n,) scores of good parts."""
        return rng.normal(size=n) if self.good is None else rng.choice(self.good, n)

    def changed(self, scores: np.ndarray, case: Case) -> np.ndarray:
        """Scores of good parts after the change."""
        middle, sd = (0.0, 1.0) if self.good is None else (float(self.good.mean()), float(self.good.std()))
        return middle + case.shift * sd + case.spread * (scores - middle)

    def defects(self, rng: np.random.Generator, scores: np.ndarray) -> np.ndarray:
        """Scores of defective parts in place of good ones."""
        return scores + DEFECT if self.defective is None else rng.choice(self.defective, len(scores))

    def exceeding(self, threshold: float) -> float:
        """The share of good parts whose score is no less."""
        return float(stats.norm.sf(threshold) if self.good is None else (self.good >= threshold).mean())


def source_of(name: str) -> Source:
    """The scores of a data set, or normal ones."""
    if name == NORMAL:
        return Source()
    (row,) = [row for row in read_json(REAL)["rows"] if row["part"] == name]
    return Source(np.array(row["good"]), np.array(row["defective"]))


def drawn(case: Case, source: Source, parts: int, seed: int) -> Run:
    """One run, which its seed decides."""
    rng = np.random.default_rng((seed, case.n))
    good = source.draw(rng, case.n)
    groups = [str(number) for number in range(case.n)]
    record = certify(good, groups, false_alarm_rate=0.1 if case.n < 300 else 0.02, confidence=0.95, margin=1e-3)
    scores = source.draw(rng, case.before + parts)
    scores[case.before :] = source.changed(scores[case.before :], case)
    defective = rng.random(len(scores)) < case.defects
    scores[defective] = source.defects(rng, scores[defective])
    certified = record.certified_false_alarm_rate
    valid = certified is not None and source.exceeding(record.threshold) <= certified
    return Run(record, scores, 1 - rng.random(len(scores)), valid)


def p_values(before: np.ndarray, scores: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """(n,): the p-value of each score by its rank among all before it, as `OnlineRanks` has it."""
    seen, found = np.sort(before), []
    for start in range(0, len(scores), BLOCK):
        block = scores[start : start + BLOCK]
        earlier = np.tri(len(block), k=-1, dtype=bool)
        left = seen.searchsorted(block, "left") + ((block < block[:, None]) & earlier).sum(axis=1)
        right = seen.searchsorted(block, "right") + ((block <= block[:, None]) & earlier).sum(axis=1)
        number = len(seen) + np.arange(len(block))
        found.append((number - right + uniforms[start : start + BLOCK] * (right - left + 1)) / (number + 1))
        seen = np.sort(np.concatenate([seen, block]), kind="stable")
    return np.concatenate([np.empty(0), *found])


def evidence_of_scores(runs: Sequence[Run], missed_share: float) -> list[np.ndarray]:
    """For each run the logarithm of the evidence of its scores, after none of its passing parts, after one, and on."""
    passing = [run.scores < run.record.gap_low for run in runs]
    before = [np.array([score for score in run.record.good_scores if score < run.record.gap_low]) for run in runs]
    rows = [
        p_values(start, run.scores[those], run.uniforms[those])
        for run, those, start in zip(runs, passing, before, strict=True)
    ]
    order = sorted(range(len(runs)), key=lambda place: -len(rows[place]))
    lengths = np.array([len(rows[place]) for place in order])
    table = np.zeros((len(runs), lengths.max()))
    for row, place in enumerate(order):
        table[row, : lengths[row]] = rows[place]
    jumper = Jumper(len(runs), missed=missed_share)
    others: list[Bet] = [Histogram(len(runs)), Power(len(runs))]
    missed = None
    if missed_share:
        others, missed = [], MissedDefects(missed_share, SHARE_FOR_MISSED * WatchParams().withdrawn)
    n_before = np.array([len(before[place]) for place in order])
    logs = np.zeros((len(runs), 1 + len(others)))
    found = np.zeros((len(runs), lengths.max() + 1))
    for number in range(table.shape[1]):
        n = int((lengths > number).sum())
        values = table[:n, number]
        error = 0.0 if missed is None else missed.at_most(number) / (n_before[:n] + number + 1)
        logs[:n, 0] += jumper.log_factors(values, error)
        for place, bet in enumerate(others, start=1):
            logs[:n, place] += bet.log_factors(values)
        found[:n, number + 1] = np.logaddexp.reduce(logs[:n], axis=1) - math.log(logs.shape[1])
    return [found[order.index(place), : len(rows[place]) + 1] for place in range(len(runs))]


def evidence_of_rejects(runs: Sequence[Run], expected: float | None) -> list[np.ndarray | None]:
    """For each run the logarithm of the evidence of its reject rate after each part; None: it is not tested."""
    found: list[np.ndarray | None] = [None] * len(runs)
    limits: dict[float, list[int]] = {}
    for place, run in enumerate(runs):
        rate = run.record.certified_false_alarm_rate
        if rate is not None and expected is not None and rate + expected < 1:
            limits.setdefault(rate + expected, []).append(place)
    for limit, places in limits.items():
        bet = Rate(limit, len(places))
        rejected = np.array([runs[place].scores >= runs[place].record.threshold for place in places])
        logs = np.cumsum([bet.log_factors(column) for column in rejected.T], axis=0).T
        for place, log in zip(places, logs, strict=True):
            found[place] = log
    return found


def withdrawn(runs: Sequence[Run], params: WatchParams) -> list[int | None]:
    """After how many parts each certificate is withdrawn; None: not at all."""
    level = params.withdrawn - (SHARE_FOR_MISSED * params.withdrawn if params.missed_share else 0.0)
    found: list[int | None] = []
    scores, rejects = evidence_of_scores(runs, params.missed_share), evidence_of_rejects(runs, params.defect_rate)
    for run, of_scores, of_rejects in zip(runs, scores, rejects, strict=True):
        claims = [of_scores[np.cumsum(run.scores < run.record.gap_low)]]
        if of_rejects is not None:
            claims.append(of_rejects)
        if run.record.certified_false_alarm_rate is not None:
            claims.append(np.zeros(len(run.scores)))  # of audits, which there are none of
        mean = np.logaddexp.reduce(claims, axis=0) - math.log(len(claims))
        reached = np.flatnonzero(mean >= -math.log(level))
        found.append(int(reached[0]) + 1 if len(reached) else None)
    return found


def figures(case: Case, runs: Sequence[tuple[bool, int | None]]) -> dict[str, float | int | None]:
    """The row of a case: the share of withdrawals before any change with its 95 % interval, and the delay after one.

    Args:
        runs: of each whether it is valid, and after how many parts it was withdrawn.
    """
    valid = [at for is_valid, at in runs if is_valid]
    early = [at for at in valid if at is not None and (not case.changes or at <= case.before)]
    interval = stats.binomtest(len(early), len(valid)).proportion_ci(method="exact")
    found: dict[str, float | int | None] = {
        "runs": len(runs),
        "valid": len(valid),
        "withdrawn_in_vain": len(early),
        "share": len(early) / len(valid),
        "share_low": float(interval.low),
        "share_high": float(interval.high),
    }
    if case.changes:
        delays = [at - case.before for at in valid if at is not None and at > case.before]
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
    parser.add_argument(
        "--cases", type=int, nargs=2, default=(0, len(CASES)), metavar=("FIRST", "LAST"), help=f"of {len(CASES)}"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    about = origin(1, {name: version(name) for name in ("numpy", "scipy")})
    for case in CASES[slice(*arguments.cases)]:
        parts, source = min(arguments.parts, 1500) if case.changes else arguments.parts, source_of(case.scores)
        told: list[tuple[bool, int | None]] = []
        for start in range(0, arguments.runs, TOGETHER):
            seeds = range(start, min(start + TOGETHER, arguments.runs))
            runs = [drawn(case, source, parts, seed) for seed in seeds]
            told += zip([run.valid for run in runs], withdrawn(runs, case.params), strict=True)
        row = {**asdict(case), "parts": parts, **figures(case, told), **about}
        add_row(arguments.out, row, key=tuple(asdict(case)))
        print({key: value for key, value in row.items() if key not in about}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
