"""What changed between two revisions: values of metrics and parameters, and which direction of each is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from gonogo.evaluation.metric_table import metric_of
from gonogo.evaluation.tables import difference, readable

BETTER, WORSE, CHANGED, NEW, GONE, UNCHANGED = "better", "worse", "changed", "new", "gone", "unchanged"
MARKS = {BETTER: "better", WORSE: "**worse**"}

Diff = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class MetricChange:
    """One value of a metric or a parameter, before and after. `file` is the metrics or params file that holds it."""

    file: str
    name: str
    old: Any
    new: Any

    @property
    def stage(self) -> str:
        """`bench` of metrics/bench/brick.json; `summary` of metrics/summary.json."""
        parts = PurePosixPath(self.file).with_suffix("").parts
        return parts[1] if len(parts) > 1 else parts[0]

    @property
    def category(self) -> str:
        """`brick` of metrics/bench/brick.json."""
        return PurePosixPath(self.file).stem

    @property
    def verdict(self) -> str:
        """better, worse, changed (a fact without a direction), new, gone or unchanged."""
        if self.old == self.new:
            return UNCHANGED
        if self.old is None or self.new is None:
            return NEW if self.old is None else GONE
        metric = metric_of(self.name)
        if metric is None or metric.better is None or isinstance(self.old, str) or isinstance(self.new, str):
            return CHANGED
        return BETTER if (self.new > self.old) is (metric.better == "more") else WORSE

    @property
    def cells(self) -> list[str]:
        """Before, after, difference and verdict as a table shows them."""
        mark = MARKS.get(self.verdict, self.verdict)
        return [readable(self.old), readable(self.new), difference(self.old, self.new), mark]


def changes_in(diff: Diff) -> list[MetricChange]:
    """Every value of a diff, sorted by file and name, unless it has no value on either side.

    Args:
        diff: by file and name, the values `old` and `new`, as `dvc params diff --json` prints them.
    """
    return sorted(
        (
            MetricChange(file, name, value.get("old"), value.get("new"))
            for file, values in diff.items()
            for name, value in values.items()
            if value.get("old") is not None or value.get("new") is not None
        ),
        key=lambda change: (change.file, change.name),
    )
