"""Write the Markdown that a reviewer of a pull request reads: what changed in parameters and metrics since a revision.

    python tools/pull_request_report.py --base origin/main > report.md

`dvc metrics diff` alone exits 0 on a regression, prints 1.2e-07 as 0.0 and changes its row order between calls. Here
the order is fixed, small numbers stay visible and each metric knows which direction is better.
Exit status 2: no report.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from gonogo.summary import HEADLINES

SUMMARY = "metrics/summary.json"

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
    "times_floor": False,
}

BETTER, WORSE, CHANGED, NEW, GONE, UNCHANGED = "better", "worse", "changed", "new", "gone", "unchanged"
MARKS = {BETTER: "better", WORSE: "**worse**"}

Diff = Mapping[str, Mapping[str, Mapping[str, Any]]]


class DvcError(RuntimeError):
    """A dvc command did not do what was asked."""


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
        """Before, after, difference and verdict as the table shows them."""
        mark = MARKS.get(self.verdict, self.verdict)
        return [readable(self.old), readable(self.new), difference(self.old, self.new), mark]


def readable(value: Any) -> str:
    """The value in at most six significant digits, so that a small one stays visible; nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value).replace("|", "\\|")
    return text if len(text) <= 40 else f"{text[:39]}…"


def difference(old: Any, new: Any) -> str:
    """How far a number moved, with its sign; nothing for equal ones and for what is no number."""
    if old == new or any(isinstance(value, bool) or not isinstance(value, int | float) for value in (old, new)):
        return ""
    return f"{new - old:+d}" if isinstance(new - old, int) else f"{new - old:+.3g}"


def changes_in(diff: Diff) -> list[Change]:
    """Every value of a dvc diff, sorted by file and name, unless it has no value on either side."""
    return sorted(
        (
            Change(file, name, value.get("old"), value.get("new"))
            for file, values in diff.items()
            for name, value in values.items()
            if value.get("old") is not None or value.get("new") is not None
        ),
        key=lambda change: (change.file, change.name),
    )


def render(metrics_diff: Diff, params_diff: Diff, *, base: str) -> str:
    """The report as Markdown.

    Args:
        metrics_diff: what `dvc metrics diff REV --json --all` printed.
        params_diff: what `dvc params diff REV --json` printed.
        base: the revision that the workspace is compared with.
    """
    metrics, params = changes_in(metrics_diff), changes_in(params_diff)
    bench = [change for change in metrics if change.stage == "bench" and change.verdict not in (NEW, GONE)]
    summary = [change for change in metrics if change.file == SUMMARY]
    quality = [change for change in metrics if change.stage != "bench" and change.file != SUMMARY]
    lines = ["# Experiment report", "", verdict_line(quality, base), "", "## Params", ""]
    lines += table("Parameter", params, columns=["before", "after"]) or ["No parameter changed."]
    lines += ["", "## Metrics", ""]
    lines += table("Headline", summary, all_rows=True) or [f"No {SUMMARY} on either side."]
    if any(change.name == "n_categories" and change.verdict != UNCHANGED for change in summary):
        lines += ["", "The headlines of the two sides are over different categories: compare category by category."]
    lines += list(_per_category(quality, base))
    lines += [
        "",
        "## Bench",
        "",
        "Speed depends on the machine: compare two runs only if the same machine made both.",
        "",
    ]
    lines += table("Metric", bench, prefix_category=True) or ["No figure changed."]
    return "\n".join(lines) + "\n"


def verdict_line(quality: Sequence[Change], base: str) -> str:
    """One sentence that counts the metrics of all categories by verdict; headlines and bench are not counted."""
    count = Counter(change.verdict for change in quality)
    if not quality:
        return f"**No metrics to compare with `{base}`.**"
    if count[UNCHANGED] == len(quality):
        return f"**Against `{base}`: nothing changed**, {len(quality)} metrics over all categories are the same."
    others = [f"{count[verdict]} {verdict}" for verdict in (CHANGED, NEW, GONE) if count[verdict]]
    counted = [f"{count[WORSE]} worse", f"{count[BETTER]} better", f"{count[UNCHANGED]} unchanged"]
    return f"**Against `{base}`: {', '.join(counted)}**" + (f" ({', '.join(others)})" if others else "") + "."


def _per_category(quality: Sequence[Change], base: str) -> Iterator[str]:
    for category in sorted({change.category for change in quality}):
        own = [change for change in quality if change.category == category]
        verdicts = {change.verdict for change in own if change.stage == "evaluate"}
        if verdicts == {NEW}:
            yield from ["", f"### {category}: new", "", f"`{base}` does not have this category."]
        elif verdicts == {GONE}:
            yield from [
                "",
                f"### {category}: gone",
                "",
                f"Only `{base}` has this category.",
            ]
        elif rows := table("Metric", sorted(own, key=lambda change: change.verdict not in MARKS)):
            yield from ["", f"### {category}", "", *rows]


def table(
    first: str,
    changes: Sequence[Change],
    *,
    columns: Sequence[str] = ("before", "after", "difference", ""),
    all_rows: bool = False,
    prefix_category: bool = False,
) -> list[str]:
    """The lines of a Markdown table, or none if there is no row.

    Args:
        first: the heading of the column with the names.
        changes: the rows.
        columns: the headings after it; as many of a change's cells are shown.
        all_rows: show unchanged values as well.
        prefix_category: put the category before each name.
    """
    rows = [
        [f"{change.category}: {change.name}" if prefix_category else change.name, *change.cells[: len(columns)]]
        for change in changes
        if all_rows or change.verdict != UNCHANGED
    ]
    heads = [[first, *columns], ["---", *("---:" if name else "---" for name in columns)]]
    return [f"| {' | '.join(row)} |" for row in heads + rows] if rows else []


def dvc_diff(what: str, base: str) -> Diff:
    """The parsed answer of `dvc {what} diff`.

    Raises:
        DvcError: `base` is not a revision of this repository, or dvc does not run.
    """
    options = ["--json", "--all"] if what == "metrics" else ["--json"]
    command = [sys.executable, "-m", "dvc", what, "diff", base, *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise DvcError(
            f"dvc {what} diff {base}: {result.stderr.strip()}\n"
            "In a shallow clone the revision may be missing: fetch the whole history (fetch-depth: 0)."
        )
    answer: Diff = json.loads(result.stdout or "{}")
    return answer


def main() -> int:
    """Read the command line and print the report."""
    parser = argparse.ArgumentParser(description="Write a pull request's report as Markdown.")
    parser.add_argument("--base", required=True, help="the Git revision to compare the workspace with")
    base = parser.parse_args().base
    try:
        print(render(dvc_diff("metrics", base), dvc_diff("params", base), base=base), end="")
    except DvcError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
