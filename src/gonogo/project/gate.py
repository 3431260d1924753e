"""The gate between two revisions: how far each metric may change for the worse, and which metrics changed further."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.errors import ConfigError
from gonogo.evaluation.metric_table import is_known
from gonogo.evaluation.tables import readable
from gonogo.params import read_yaml
from gonogo.project.changes import MetricChange
from gonogo.text import meant

DIGITS = 1e-6  # metrics files have six significant digits: less than one of the last is no movement
PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")


@dataclass(frozen=True)
class Tolerance:
    """How far one metric of one stage may move in one direction, in its own unit or relative to the base."""

    stage: str
    metric: str
    direction: str
    amount: float
    relative: bool

    @property
    def sentence(self) -> str:
        """The rule as a phrase, such as `may fall by 0.01`."""
        return f"may {self.direction} by {f'{self.amount:.4g} of itself' if self.relative else f'{self.amount:.4g}'}"

    def breaks(self, old: float, new: float) -> bool:
        """Whether the change from `old` to `new` is larger than the rule allows."""
        moved = old - new if self.direction == "fall" else new - old
        allowed = self.amount * abs(old) if self.relative else self.amount
        return moved - allowed > DIGITS * max(abs(old), abs(new))


@dataclass(frozen=True)
class Tolerances:
    """The rules of a tolerances file, and the categories that may be removed."""

    rules: tuple[Tolerance, ...]
    may_go: frozenset[str]


@dataclass(frozen=True)
class Breach:
    """One rule that is broken. `new` is None where the metric no longer exists, alone or with its category."""

    stage: str
    category: str
    metric: str
    old: Any
    new: Any
    rule: str

    @property
    def sentence(self) -> str:
        """The change, and what the rule allows."""
        name = f"{self.category}: {self.stage}.{self.metric}"
        if self.new is None:
            return f"{name} no longer exists; it was {readable(self.old)}"
        return f"{name} went from {readable(self.old)} to {readable(self.new)}; it {self.rule}"


@dataclass(frozen=True)
class GateVerdict:
    """The rules that are broken, and how many metrics were checked against a rule (`n_checked`).

    Rules about `unmeasured` metrics could not be: neither side has a value, as where no test image is defective.
    """

    breaches: tuple[Breach, ...]
    n_checked: int
    unmeasured: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.breaches

    @property
    def sentence(self) -> str:
        """The verdict in a line."""
        if self.passed:
            without = f"; without a value on either side: {', '.join(self.unmeasured)}" if self.unmeasured else ""
            return f"the gate passes: {self.n_checked} metrics within their tolerances{without}"
        return f"the gate FAILS: {len(self.breaches)} of {self.n_checked} metrics beyond their tolerances"


def read_tolerances(path: Path) -> Tolerances:
    """Read a tolerances file: by stage and metric {fall: AMOUNT} or {rise: AMOUNT}, a number or a share as `10%`.

    Raises:
        ConfigError: the file is missing or has no rule, or a rule cannot be read; the message names it.
    """
    content = read_yaml(path)
    may_go = content.pop("may_go", [])
    if not isinstance(may_go, list) or not all(isinstance(name, str) for name in may_go):
        raise ConfigError(f"{path}: may_go is {may_go!r}; expected a list of categories")
    rules = [
        _tolerance(path, stage, metric, direction, amount)
        for stage, metrics in content.items()
        for metric, directions in _mapping(path, stage, metrics).items()
        for direction, amount in _mapping(path, f"{stage}.{metric}", directions).items()
    ]
    if not rules:
        raise ConfigError(f"{path} has no rule; name a metric, as `evaluate: {{image_auroc: {{fall: 0.01}}}}`")
    return Tolerances(tuple(rules), frozenset(may_go))


def judge(changes: Sequence[MetricChange], tolerances: Tolerances, *, category: str | None = None) -> GateVerdict:
    """Check every metric, or those of a category, against its rules.

    A new metric passes; one that no longer exists breaks its rules.

    Raises:
        ConfigError: the stage of a rule has no such metric, or no rule's metric has a value: that could never fail.
    """
    known = {(change.stage, change.name) for change in changes}
    unmeasured = [rule for rule in tolerances.rules if (rule.stage, rule.metric) not in known]
    for rule in unmeasured:
        _require_measurable(rule, known)
    if len(unmeasured) == len(tolerances.rules):
        raise ConfigError("tolerances: no metric of a rule has a value on either side, so that nothing could fail")
    checked = [
        (rule, change)
        for change in changes
        for rule in tolerances.rules
        if (rule.stage, rule.metric) == (change.stage, change.name) and change.old is not None
        if not (change.new is None and change.category in tolerances.may_go)
        if category in (None, change.category)
    ]
    breaches = tuple(
        Breach(change.stage, change.category, change.name, change.old, change.new, rule.sentence)
        for rule, change in checked
        if change.new is None or rule.breaks(_number(change, change.old), _number(change, change.new))
    )
    names = dict.fromkeys(f"{rule.stage}.{rule.metric}" for rule in unmeasured)
    return GateVerdict(breaches, len(checked), tuple(names))


def _require_measurable(rule: Tolerance, known: Collection[tuple[str, str]]) -> None:
    """Refuse a rule about what is no metric of its stage, of one that neither side has."""
    own = sorted(name for stage, name in known if stage == rule.stage)
    of_others = any(name == rule.metric for _, name in known)
    if own and not of_others and is_known(rule.metric):
        return
    has = f"{meant(rule.metric, own)} it has {', '.join(own)}" if own else "there is no such stage among the metrics"
    raise ConfigError(f"tolerances: {rule.stage}.{rule.metric} is a metric of no category; {has.lstrip()}")


def _number(change: MetricChange, value: Any) -> float:
    if not isinstance(value, bool | int | float):
        raise ConfigError(
            f"tolerances: {change.stage}.{change.name} is {value!r}, not a number that could rise or fall"
        )
    return float(value)


def _mapping(path: Path, where: str, content: Any) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: {where} is {content!r}; expected STAGE: {{METRIC: {{fall: AMOUNT}}}}")
    return content


def _tolerance(path: Path, stage: str, metric: str, direction: str, amount: Any) -> Tolerance:
    where = f"{path}: {stage}.{metric}"
    if direction not in ("fall", "rise"):
        raise ConfigError(f"{where} has the key {direction!r}; a metric may `fall` or `rise` by an amount")
    share = PERCENT.fullmatch(amount) if isinstance(amount, str) else None
    if share is not None:
        return Tolerance(stage, metric, direction, float(share[1]) / 100, relative=True)
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < float("inf"):
        raise ConfigError(f"{where}.{direction} is {amount!r}; expected a number from 0 up, or a share such as 10%")
    return Tolerance(stage, metric, direction, float(amount), relative=False)
