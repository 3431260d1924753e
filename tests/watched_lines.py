"""A line in tests that watches its certificate by the rows of a journal, without a gauge: its threshold alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gonogo.calibration.threshold import certify
from gonogo.images.statistics import STATISTICS
from gonogo.line.journal import Journal, Row
from gonogo.line.standing import LineStanding
from gonogo.monitoring.certificate_watch import WatchParams


def rows_of_parts(first: int, n: int) -> list[Row]:
    """Rows of parts, whose scores and statistics their numbers decide; from number 2,000 on, scores are higher."""
    rows = []
    for number in range(first, first + n):
        score, *values = np.random.default_rng(number).normal(size=1 + len(STATISTICS)).tolist()
        row: Row = {"file": f"{number}.png", "key": f"{number:08x}", "bundle": "f", "category": "brick"}
        row |= {"score": score + (number >= 2000), "uncertain": not number % 7}
        row["verdict"] = "reject" if row["score"] > 2 else "pass"
        if number % 5:  # images of a row that an earlier version wrote have none
            row["statistics"] = dict(zip(STATISTICS, values, strict=True))
        rows.append(row)
    return rows


class WatchedLine:
    """A journal and what was learnt from it; n_learnt counts the rows that the start read for it."""

    def __init__(self, path: Path, params: WatchParams | None = None) -> None:
        scores = np.random.default_rng(0).normal(size=60)
        record = certify(scores, [str(n) for n in range(60)], false_alarm_rate=0.1, confidence=0.95, margin=1e-3)
        scorer: Any = SimpleNamespace(record=record)
        self.n_learnt = 0
        self.standing = LineStanding({"brick": scorer}, params or WatchParams())
        self.kept, self.resume = self.standing.kept, self.standing.resume
        self.journal = Journal(path, fingerprint="f", learner=self)

    def learn(self, row: Row) -> None:
        """Learn from a row that the start reads."""
        self.n_learnt += 1
        self.standing.learn(row)

    def add(self, rows: list[Row], batch: int = 64) -> None:
        """Record rows as `gonogo score` does."""
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            self.standing.stamp(some, lambda row: not self.journal.has(row))
            self.journal.append(some)
            self.journal.keep()

    def told(self) -> tuple[Any, ...]:
        """All that a start knows."""
        journal = self.journal
        return self.standing.report(), journal.verdicts, journal.uncertain, journal.unmoved
