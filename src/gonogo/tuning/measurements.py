"""What a search measures, from its journal where it was measured before."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gonogo.detectors.options import PatchCoreOptions
from gonogo.errors import ConfigError
from gonogo.tuning.criterion import FoldScores
from gonogo.tuning.good_parts import GoodParts
from gonogo.tuning.journal import Journal, Row
from gonogo.tuning.space import key_of

Latency = Callable[[PatchCoreOptions], float]  # of a gauge: milliseconds of a verdict


@dataclass
class Measurements:
    """Measures what is asked for and not known yet, and writes it down with the seconds that it took.

    A row of the journal counts with its seconds once it is asked for. So a search that was killed goes on as if it had
    never stopped, and one with other minutes uses what is known: the choices follow from the rows and the questions.
    """

    journal: Journal
    parts: GoodParts
    latency: Latency
    clock: Callable[[], float] = time.perf_counter
    _used: dict[int, float] = field(default_factory=dict)  # seconds of the rows asked for, by their place

    @property
    def spent(self) -> float:
        """Seconds that what was asked for so far took, those before a kill included."""
        return sum(self._used.values())

    def verdict_ms(self, options: PatchCoreOptions) -> float | str:
        """Milliseconds of a verdict, or why there is no gauge with these options."""
        key = key_of(options)
        row = self._known(kind="latency", options=key)
        if row is None:
            started = self.clock()
            found: Row = {}
            try:
                found = {"ms": self.latency(options)}
            except ConfigError as error:
                found = {"refused": str(error)}
            self.journal.append({"kind": "latency", "options": key, **found, "seconds": self.clock() - started})
            row = self._known(kind="latency", options=key)
            assert row is not None
        return row["refused"] if "refused" in row else float(row["ms"])

    def scores(self, fold: int, candidates: Sequence[PatchCoreOptions]) -> list[FoldScores]:
        """What the gauges of candidates that share their features give the images of a fold."""
        missing = [one for one in candidates if self._known(kind="fold", fold=fold, options=key_of(one)) is None]
        if missing:
            started = self.clock()
            found = self.parts.scores(fold, missing)
            share = (self.clock() - started) / len(missing)
            for options, scores in zip(missing, found, strict=True):
                row = {"kind": "fold", "fold": fold, "options": key_of(options), "seconds": share}
                self.journal.append(row | scores.to_dict())
        rows = [self._known(kind="fold", fold=fold, options=key_of(one)) for one in candidates]
        return [FoldScores.from_dict(row) for row in rows if row is not None]

    def localisation(self, fold: int, candidates: Sequence[PatchCoreOptions]) -> list[list[float]]:
        """As `GoodParts.localisation`."""
        keys = [key_of(one) for one in candidates]
        row = self._known(kind="maps", fold=fold, options=keys)
        if row is None:
            started = self.clock()
            ap = self.parts.localisation(fold, candidates)
            seconds = self.clock() - started
            self.journal.append({"kind": "maps", "fold": fold, "options": keys, "ap": ap, "seconds": seconds})
            row = self._known(kind="maps", fold=fold, options=keys)
            assert row is not None
        return [list(values) for values in row["ap"]]

    def _known(self, **wanted: object) -> Row | None:
        for place, row in enumerate(self.journal.rows):
            if all(row.get(key) == value for key, value in wanted.items()):
                self._used[place] = row["seconds"]
                return row
        return None
