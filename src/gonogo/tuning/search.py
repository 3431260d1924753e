"""Successive halving over options of `PatchCore`, under the measured latency of a verdict.

All candidates are judged on one fold of good parts, the better third of them on a second one, and so on: what is far
behind costs little. First come candidates that differ in what they see, which is image size and layers, and then those
that differ from the best of them in whitening, bank and aggregation; at last the smoothing of the map.

Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (AISTATS),
with folds as the resource. The options in force are judged on every fold, and all others are compared with them on the
folds that both have seen, which takes out what is easy or hard about a fold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gonogo.compute.progress import Progress, no_progress
from gonogo.detectors.options import PatchCoreOptions
from gonogo.errors import ConfigError, DataError
from gonogo.tuning.criterion import Estimate, FoldScores, criterion, difference
from gonogo.tuning.good_parts import FOLDS
from gonogo.tuning.measurements import Measurements
from gonogo.tuning.space import (
    Shape,
    by_sight,
    key_of,
    ladders,
    n_changed,
    sight_of,
    smoothed,
    timed_as,
    variants,
    whitened,
)

RUNGS = (1, 2, FOLDS)  # folds on which candidates are judged
KEPT = 3  # one in so many goes on to the next rung
LEAST_KEPT = 3
SIGHTS_SHARE, ALL_SHARE = 0.55, 0.9  # of the minutes, at which the first halving ends and the second does
OVER, UNREACHED = "over the budget", "not reached in these minutes"
USUAL_MS, ROOM_MS = 20.0, 10.0  # of a budget that nobody stated
FURTHER_MS = 10.0  # over the budget: looked at to say what it would buy, and never chosen
PLAIN = Shape()
N_SIGHTS = 2  # of which variants are tried


@dataclass(frozen=True)
class Budget:
    """What a search may take.

    Attributes:
        verdict_ms: of a verdict; None where nobody said: USUAL_MS, or ROOM_MS more than the options in force take.
        seconds: of measuring.
    """

    verdict_ms: float | None
    seconds: float

    def allowed_ms(self, in_force: float) -> float:
        """Milliseconds that a verdict may take where that of the options in force takes `in_force`.

        A budget that nobody stated never keeps the options in force from being chosen: a large image alone may take
        longer to decode than USUAL_MS.
        """
        return max(USUAL_MS, round(in_force + ROOM_MS, 1)) if self.verdict_ms is None else self.verdict_ms


@dataclass
class Tried:
    """A candidate: its options, and what is known of it.

    Attributes:
        ms: of a verdict; None where it was not timed.
        n_changed: how many options differ from those in force.
        folds: on which it was judged.
        gain: its criterion less that of the options in force, on these folds.
        fate: what became of it.
    """

    options: PatchCoreOptions
    ms: float | None
    n_changed: int = 0
    folds: int = 0
    gain: Estimate | None = None
    fate: str = ""


@dataclass(frozen=True)
class Found:
    """What a search tried, and what it chose.

    Attributes:
        allowed_ms: milliseconds that a verdict might take.
        options: those in force.
        base: judged and timed as any candidate.
        value: their criterion.
        chosen: the options of the best gauge within the budget.
        tried: all candidates, in the order in which they were met.
        smoothing: the precision of maps by smoothing; empty where the time was spent before.
        complete: whether everything was measured before the minutes were spent.
    """

    allowed_ms: float
    options: PatchCoreOptions
    base: Tried
    value: Estimate
    chosen: PatchCoreOptions
    tried: list[Tried]
    smoothing: list[tuple[float, float]]
    seconds: float
    complete: bool

    def front(self) -> list[Tried]:
        """The candidates than which none is both quicker and better, the quickest first."""
        front: list[Tried] = []
        for one in sorted(self.timed, key=lambda one: (one.ms or 0, -_gain(one))):
            if not front or _gain(one) > _gain(front[-1]):
                front.append(one)
        return front

    @property
    def timed(self) -> list[Tried]:
        """The candidates that were timed and judged."""
        return [one for one in self.tried if one.ms is not None and one.gain is not None]

    @property
    def best(self) -> Tried:
        """The chosen candidate, before its smoothing was chosen."""
        return next(one for one in self.tried if one.fate == "chosen")

    def further(self) -> Tried | None:
        """The best candidate that takes up to FURTHER_MS more than the budget, if it is better than the chosen one."""
        most = self.allowed_ms + FURTHER_MS
        near = [one for one in self.timed if one.fate == OVER and (one.ms or 0) <= most]
        return max((one for one in near if _gain(one) > _gain(self.best)), key=_gain, default=None)


class Search:
    """One search; `run` does it. It is the same each time for the same measurements."""

    def __init__(
        self,
        base: PatchCoreOptions,
        budget: Budget,
        measured: Measurements,
        *,
        seed: int,
        shape: Shape = PLAIN,
        brief: bool = False,
        progress: Progress = no_progress,
    ) -> None:
        """Start from the options in force, `base`.

        Args:
            base: the options in force.
            budget: of a verdict and of the search.
            measured: measures, or knows from before.
            seed: of the bootstrap.
            shape: of the parts' images.
            brief: try the layers in force alone, fewer sizes and no other bank or aggregation.
            progress: called after each measurement.
        """
        self._base, self._budget, self._measured = base, budget, measured
        self._seed, self._shape, self._brief, self._progress = seed, shape, brief, progress
        self._tried: dict[str, Tried] = {}
        self._scores: dict[str, list[FoldScores]] = {}
        self._complete = True
        self._allowed_ms = self._budget.allowed_ms(0)

    def run(self) -> Found:
        """Search, and choose.

        Raises:
            ConfigError: the options in force make no gauge, or none within the budget was found.
            DataError: no defect can be planted.
        """
        base = self._base_met()
        sights = self._halved(self._sights(), until=SIGHTS_SHARE)
        last = self._halved([*sights, *self._variants(sights)], until=ALL_SHARE)
        best = self._best(base, last)
        best.fate = "chosen"
        options, smoothing = self._smoothed(best.options)
        for one in self._tried.values():
            one.fate = one.fate or (f"behind after {one.folds} of {FOLDS} folds" if one.folds else UNREACHED)
        value = criterion(self._scores[key_of(self._base)], seed=self._seed)
        tried = list(self._tried.values())
        return Found(
            self._allowed_ms, self._base, base, value, options, tried, smoothing, self._measured.spent, self._complete
        )

    def _base_met(self) -> Tried:
        """The options in force, timed and judged on the first fold."""
        ms = self._measured.verdict_ms(timed_as(self._base))
        self._allowed_ms = self._budget.allowed_ms(0 if isinstance(ms, str) else ms)
        base = self._met(self._base)
        if base is None:
            raise ConfigError(f"the options in force make no gauge: {self._tried[key_of(self._base)].fate}")
        self._judge([base], 0)
        if math.isnan(criterion(self._scores[key_of(self._base)], seed=self._seed).value):
            raise DataError(
                "no defect that the gauge would look at can be planted on these good parts, as where they are of one "
                "colour or the inspected region is tiny; options cannot be chosen by them"
            )
        return base

    def _sights(self) -> list[Tried]:
        """What differs in image size and layers, within the budget and FURTHER_MS beyond it."""
        found = []
        for ladder in ladders(self._base, self._shape, brief=self._brief):
            for options in ladder:
                if not self._has_time(SIGHTS_SHARE / 2) and any(map(self._is_within, self._tried.values())):
                    break
                met = [one for power in whitened(options) if (one := self._met(power)) is not None]
                found += [one for one in met if self._is_near(one)]
                if any(one.ms is not None and not self._is_near(one) for one in met):
                    break  # a larger image takes longer still
        return found

    def _variants(self, sights: Sequence[Tried]) -> list[Tried]:
        """What differs from the best sight, and from that in force, in whitening, bank and aggregation."""
        firsts: dict[str, Tried] = {}
        for sight in [*sights[:1], self._tried[key_of(self._base)], *sights[1:]]:
            if self._is_within(sight):
                firsts.setdefault(sight_of(sight.options), sight)
        found = []
        for first in list(firsts.values())[:N_SIGHTS]:
            for options in variants(first.options, brief=self._brief):
                if self._has_time(ALL_SHARE) and (one := self._met(options)) is not None and self._is_near(one):
                    found.append(one)
        return found

    def _met(self, options: PatchCoreOptions) -> Tried | None:
        """The candidate with its latency; None where there is no such gauge."""
        key = key_of(options)
        if key not in self._tried:
            ms = self._measured.verdict_ms(timed_as(options))
            n = n_changed(options, self._base)
            one = self._tried[key] = Tried(options, None if isinstance(ms, str) else ms, n)
            self._scores[key] = []
            if isinstance(ms, str):
                one.fate = f"refused: {ms}"
            elif not self._is_within(one):
                one.fate = OVER
            self._progress("timed", len(self._tried), len(self._tried), {"verdict_ms": one.ms or 0})
        one = self._tried[key]
        return None if one.ms is None else one

    def _is_within(self, one: Tried) -> bool:
        return one.ms is not None and one.ms <= self._allowed_ms

    def _is_near(self, one: Tried) -> bool:
        return one.ms is not None and one.ms <= self._allowed_ms + FURTHER_MS

    @property
    def _has_choice(self) -> bool:
        """Whether a candidate within the budget was judged. Until then a search goes on, whatever time is left."""
        return any(one.folds for one in self._tried.values() if self._is_within(one))

    def _has_time(self, share: float) -> bool:
        """Whether this share of the minutes is not spent yet."""
        has = self._measured.spent < share * self._budget.seconds
        self._complete &= has
        return has

    def _halved(self, candidates: Sequence[Tried], *, until: float) -> list[Tried]:
        """Those that are left after the last rung, or as far as the time went, the best first."""
        left = list({key_of(one.options): one for one in candidates}.values())
        for n_folds in RUNGS:
            for fold in range(n_folds):
                for group in by_sight([one.options for one in left]):
                    some = [self._tried[key_of(options)] for options in group]
                    if all(one.folds > fold for one in some):
                        continue
                    first_within = any(map(self._is_within, some)) and not self._has_choice
                    if self._has_time(until) or first_within:
                        self._judge([one for one in some if one.folds == fold], fold)
            reached = [one for one in left if one.folds >= n_folds]
            if not reached:
                break
            left = self._kept(reached)
        return sorted((one for one in left if one.folds), key=_rank)

    def _judge(self, some: Sequence[Tried], fold: int) -> None:
        """Judge candidates that share their features on a fold, after the options in force, which all compare with."""
        base, theirs = self._tried[key_of(self._base)], self._scores[key_of(self._base)]
        if base.folds <= fold and base not in some:
            self._judge([base], fold)
        found = self._measured.scores(fold, [one.options for one in some])
        for one, scores in zip(some, found, strict=True):
            own = self._scores[key_of(one.options)]
            own.append(scores)
            one.folds = len(own)
            one.gain = difference(own, theirs[: len(own)], seed=self._seed) if own is not theirs else Estimate(0, 0)
        n_judged = sum(one.folds for one in self._tried.values())
        self._progress("judged", n_judged, n_judged, {"spent_s": self._measured.spent})

    def _kept(self, some: Sequence[Tried]) -> list[Tried]:
        """The better third of those within the budget, and the best of those beyond it."""
        within = sorted((one for one in some if self._is_within(one)), key=_rank)
        beyond = sorted((one for one in some if not self._is_within(one)), key=_rank)
        return [*within[: max(LEAST_KEPT, math.ceil(len(within) / KEPT))], *beyond[:1]]

    def _best(self, base: Tried, last: Sequence[Tried]) -> Tried:
        """Of those within the budget that the best one exceeds by no more than a standard error, the nearest to `base`.

        The nearest changes the fewest options; of several the quickest. So luck among many candidates changes little.

        Source: the 1-SE rule of Breiman, Friedman, Olshen and Stone 1984, "Classification and Regression Trees",
        section 3.4.3, with the standard error of the difference.
        """
        within = {key_of(one.options): one for one in [base, *last] if self._is_within(one)}
        most = max((one.folds for one in within.values()), default=0)
        compared = sorted((one for one in within.values() if one.folds == most), key=_rank)
        if not compared:
            quickest = min((one.ms for one in self._tried.values() if one.ms is not None), default=0)
            raise ConfigError(
                f"no gauge gives a verdict in {self._allowed_ms:g} ms on this machine; the quickest that was "
                f"tried takes {quickest:.1f} ms. Allow more milliseconds, or choose a smaller fit.backbone"
            )
        best = self._scores[key_of(compared[0].options)]

        def is_as_good(one: Tried) -> bool:
            behind = difference(best, self._scores[key_of(one.options)], seed=self._seed)
            return behind.value <= behind.error

        return min(filter(is_as_good, compared), key=lambda one: (one.n_changed, one.ms or 0.0))

    def _smoothed(self, options: PatchCoreOptions) -> tuple[PatchCoreOptions, list[tuple[float, float]]]:
        """The options with the smoothing of their maps, and the precision by smoothing; as they are without time left.

        Of those that the best exceeds by no more than a standard error over images, the nearest to theirs.
        """
        if not self._has_time(1.0):
            return options, []
        candidates = smoothed(options)
        found = np.array(self._measured.localisation(0, candidates))  # (candidates, images)
        behind = found[found.mean(axis=1).argmax()] - found
        error = behind.std(axis=1) / math.sqrt(found.shape[1])
        as_good = [one for one, is_good in zip(candidates, behind.mean(axis=1) <= error, strict=True) if is_good]
        nearest = min(as_good, key=lambda one: abs(one.smoothing - options.smoothing))
        return nearest, [(one.smoothing, float(ap)) for one, ap in zip(candidates, found.mean(axis=1), strict=True)]


def _rank(one: Tried) -> tuple[float, int, float, str]:
    """The better first; of equals the one with fewer changes, then the quicker."""
    return -_gain(one), one.n_changed, one.ms or 0.0, key_of(one.options)


def _gain(one: Tried) -> float:
    return one.gain.value if one.gain is not None else -math.inf
