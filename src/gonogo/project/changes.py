"""What changed between two revisions: values of metrics and parameters, and which direction of each is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from gonogo.evaluation.accuracy.summary import HEADLINES
from gonogo.evaluation.tables import difference, readable

# Metrics beside the headlines of the summary, and whether more is better; any other one is a fact without a direction.
MORE_IS_BETTER = {
    **HEADLINES,
    "certified": True,
    "more_groups_needed": False,
    "n_beyond_tolerance": False,
    "n_false_alarms": False,
    "n_flips": False,
    "n_misses": False,
    "passed": True,
    "rank_agreement": True,
    "worst_false_alarm_rate": False,
    "worst_recall": True,
    "best_images_per_second": True,
    "cold_start_ms": False,
    "decode_p50_ms": False,
    "images_per_second": True,
    "mean_ms": False,
    "model_p50_ms": False,
    "p50_ms": False,
    "p95_ms": False,
    "peak_memory_mb": False,
    "regions_p50_ms": False,
    "rest_p50_ms": False,
    "times_roofline": False,
}

BETTER, WORSE, CHANGED, NEW, GONE, UNCHANGED = "better", "worse", "changed", "new", "gone", "unchanged"
MARKS = {BETTER: "better", WORSE: "**worse**"}

Diff = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Change:
    """One value before and after. `file` is the metrics or params file that holds it."""

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
        more_is_better = MORE_IS_BETTER.get(self.name.removesuffix(".mean").removesuffix(".worst"))
        if more_is_better is None or isinstance(self.old, str) or isinstance(self.new, str):
            return CHANGED
        return BETTER if (self.new > self.old) is more_is_better else WORSE

    @property
    def cells(self) -> list[str]:
        """Before, after, difference and verdict as a table shows them."""
        mark = MARKS.get(self.verdict, self.verdict)
        return [readable(self.old), readable(self.new), difference(self.old, self.new), mark]


def changes_in(diff: Diff) -> list[Change]:
    """Every value of a diff as DVC prints it, sorted by file and name, unless it has no value on either side."""
    return sorted(
        (
            Change(file, name, value.get("old"), value.get("new"))
            for file, values in diff.items()
            for name, value in values.items()
            if value.get("old") is not None or value.get("new") is not None
        ),
        key=lambda change: (change.file, change.name),
    )
