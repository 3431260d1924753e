"""The comparison of two revisions: metrics with intervals, changed verdicts of images, and the verdict of the gate."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gonogo.errors import DataError, GonogoError
from gonogo.evaluation.accuracy.paired import PairedImage, changed_verdicts, difference_intervals, paired
from gonogo.evaluation.tables import markdown_table
from gonogo.files import write_text
from gonogo.images.dataset import Dataset
from gonogo.project.changes import BETTER, CHANGED, GONE, MARKS, NEW, UNCHANGED, WORSE, MetricChange
from gonogo.project.gate import GateVerdict, judge, read_tolerances
from gonogo.project.revision import Revisions
from gonogo.reports.changed_images import write_picture

SUMMARY = "metrics/summary.json"
FINGERPRINT = "data_fingerprint"
N_RESAMPLES, CONFIDENCE, SEED = 2000, 0.95, 17
VALUES = ("before", "after", "difference")
DERIVED = ("_low", "_high", "_baseline", "_lift", "_random")  # endings of what the table of a category leaves out
IMAGES_SHOWN = 12  # changed images of a category that the report lists

Interval = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Everything that differs between two revisions.

    Attributes:
        names: of the two sides, for people.
        metrics: every metric, unchanged ones too.
        params: the parameters that differ.
        images: by category, the test images that both sides scored.
        intervals: by category and metric, of the later value minus the earlier one.
        other_data: the categories whose data differ.
        gate: None where there is no tolerances file.
    """

    names: tuple[str, str]
    metrics: Sequence[MetricChange]
    params: Sequence[MetricChange]
    images: Mapping[str, Sequence[PairedImage]]
    intervals: Mapping[str, Mapping[str, Interval]]
    other_data: Sequence[str]
    gate: GateVerdict | None

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values; of the images only those whose verdict changed."""
        return {
            "old": self.names[0],
            "new": self.names[1],
            "passed": None if self.gate is None else self.gate.passed,
            "n_checked": 0 if self.gate is None else self.gate.n_checked,
            "breaches": [] if self.gate is None else [asdict(breach) for breach in self.gate.breaches],
            "other_data": list(self.other_data),
            "params": [asdict(change) for change in self.params],
            "metrics": [asdict(change) | {"verdict": change.verdict} for change in self.metrics],
            "intervals": {category: dict(intervals) for category, intervals in self.intervals.items()},
            "changed_images": {
                category: [asdict(image) | {"newly_wrong": image.newly_wrong} for image in changed_verdicts(images)]
                for category, images in self.images.items()
            },
        }


def compare(
    revisions: Revisions, *, records: str, tolerances: Path | None, other_data: bool, category: str | None = None
) -> Comparison:
    """Compare the metrics and parameters of the two sides, and their per-image records image by image.

    Args:
        revisions: the two sides.
        records: the project's folder of per-image records, one CSV file for each category.
        tolerances: the file with the gate's rules; None: there is no gate.
        category: compare this one alone; None: all.
        other_data: compare a category even where its data differ, so that its numbers may not be comparable.

    Raises:
        DataError: neither side has metrics, the records of a side have an image twice, or the data of a category differ
            and `other_data` is False.
        ConfigError: a tolerance cannot be read, or neither side has its metric.
    """
    everything = revisions.metric_changes()
    metrics = [change for change in everything if category in (None, change.category)]
    differing = [
        change
        for change in metrics
        if change.stage == "evaluate" and change.name == FINGERPRINT and change.verdict == CHANGED
    ]
    if differing and not other_data:
        listed = "; ".join(f"{one.category} from {one.old[:12]} to {one.new[:12]}" for one in differing)
        raise DataError(
            f"{' and '.join(revisions.names)} are of different data: {listed}. Metrics of different images are not "
            "comparable; --other-data compares them all the same"
        )
    images = {}
    for name in sorted({change.category for change in metrics if change.stage == "evaluate"}):
        images[name] = paired(*revisions.rows(f"{records}/{name}.csv"))
    return Comparison(
        names=revisions.names,
        metrics=metrics,
        params=revisions.param_changes(),
        images=images,
        intervals={
            name: difference_intervals(own, n_resamples=N_RESAMPLES, confidence=CONFIDENCE, seed=SEED)
            for name, own in images.items()
        },
        other_data=[one.category for one in differing],
        gate=None if tolerances is None else judge(everything, read_tolerances(tolerances), category=category),
    )


def render(comparison: Comparison, pictures: Mapping[str, str]) -> str:
    """The comparison as Markdown, for a terminal and for a pull request alike.

    Unlike that of `dvc metrics diff`, the order of the rows is fixed, small numbers stay visible, and each change of a
    metric with a direction is marked better or worse.

    Args:
        comparison: of the two sides.
        pictures: by category, the path or address of the picture of its scores and changed images, if there is one.
    """
    metrics = comparison.metrics
    bench = [change for change in metrics if change.stage in ("bench", "fit") and change.verdict not in (NEW, GONE)]
    summary = [change for change in metrics if change.file == SUMMARY]
    quality = [change for change in metrics if change.stage not in ("bench", "fit") and change.file != SUMMARY]
    old, new = comparison.names
    lines = [f"# {new} against {old}", "", _verdict_line(quality), *_gate_lines(comparison.gate)]
    if comparison.other_data:
        lines += ["", f"**The data of {', '.join(comparison.other_data)} differ**: compare their numbers with care."]
    lines += ["", "## Params", ""]
    params = [[change.name, *change.cells[:2]] for change in comparison.params]
    lines += markdown_table(["Parameter", "before", "after"], params) or ["No parameter changed."]
    lines += ["", "## Metrics", ""]
    lines += markdown_table(["Headline", *VALUES, ""], [[change.name, *change.cells] for change in summary]) or [
        f"No {SUMMARY} on either side."
    ]
    if any(change.name == "n_categories" and change.verdict != UNCHANGED for change in summary):
        lines += ["", "The headlines of the two sides are over different categories: compare category by category."]
    for category in sorted({change.category for change in quality}):
        own = [change for change in quality if change.category == category]
        lines += _category(comparison, category, own, pictures.get(category))
    lines += [
        "",
        "## Costs",
        "",
        "They depend on the machine: compare two runs only if the same machine made both.",
        "",
    ]
    changed = [[f"{one.category}: {one.name}", *one.cells] for one in bench if one.verdict != UNCHANGED]
    lines += markdown_table(["Metric", *VALUES, ""], changed) or ["No figure changed."]
    return "\n".join(lines) + "\n"


def _gate_lines(gate: GateVerdict | None) -> list[str]:
    if gate is None:
        return []
    lines = ["", f"**{gate.sentence[0].upper()}{gate.sentence[1:]}.**"]
    return lines if gate.passed else [*lines, "", *(f"- {breach.sentence}" for breach in gate.breaches)]


def _verdict_line(quality: Sequence[MetricChange]) -> str:
    """One sentence that counts the metrics of all categories by verdict; headlines and costs are not counted."""
    count = Counter(change.verdict for change in quality)
    if count[UNCHANGED] == len(quality):
        return f"**Nothing changed**: {len(quality)} metrics over all categories are the same."
    others = [f"{count[verdict]} {verdict}" for verdict in (CHANGED, NEW, GONE) if count[verdict]]
    counted = [f"{count[WORSE]} worse", f"{count[BETTER]} better", f"{count[UNCHANGED]} unchanged"]
    return f"**{', '.join(counted)}**" + (f" ({', '.join(others)})" if others else "") + "."


def _category(comparison: Comparison, category: str, own: Sequence[MetricChange], picture: str | None) -> Iterator[str]:
    verdicts = {change.verdict for change in own if change.stage == "evaluate"}
    old, new = comparison.names
    if verdicts in ({NEW}, {GONE}):
        word, holder = ("new", new) if verdicts == {NEW} else ("gone", old)
        yield from ["", f"### {category}: {word}", "", f"Only {holder} has this category."]
        return
    intervals = comparison.intervals.get(category, {})
    moved = [one for one in own if one.verdict != UNCHANGED and not one.name.endswith(DERIVED)]
    shown = sorted(moved, key=lambda one: one.verdict not in MARKS)
    rows = [
        [
            one.name,
            *one.cells[:3],
            _interval(intervals.get(one.name) if one.stage == "evaluate" else None),
            one.cells[3],
        ]
        for one in shown
    ]
    if not rows:
        return
    yield from ["", f"### {category}", ""]
    yield from markdown_table(["Metric", *VALUES, f"{CONFIDENCE:.0%} interval", ""], rows)
    changed = changed_verdicts(comparison.images.get(category, ()))
    if changed:
        n_wrong = sum(one.newly_wrong for one in changed)
        n_images = len(comparison.images[category])
        yield from ["", f"Of {n_images} test images {n_wrong} have a wrong verdict now and had the right one before;"]
        yield from [f"{len(changed) - n_wrong} have the right verdict now and had a wrong one before.", ""]
        yield from markdown_table(
            ["Image", "defect", "before", "after", ""], [_image(one) for one in changed[:IMAGES_SHOWN]]
        )
        if len(changed) > IMAGES_SHOWN:
            yield from ["", f"And {len(changed) - IMAGES_SHOWN} more."]
    if picture is not None:
        yield from ["", f"![Scores before and after, and changed images, of {category}]({picture})"]


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:+.3g} to {interval[1]:+.3g}"


def _image(one: PairedImage) -> list[str]:
    before = f"{'reject' if one.was_rejected else 'pass'} {one.old_relative:.3f}"
    after = f"{'reject' if one.is_rejected else 'pass'} {one.new_relative:.3f}"
    return [f"`{one.image}`", one.defect_type, before, after, "**wrong**" if one.newly_wrong else "right"]


def write_comparison(folder: Path, comparison: Comparison, datasets: Callable[[str], Dataset], url: str) -> Path:
    """Write report.md and a picture for each category whose scores changed to `folder`; the path of the report.

    Args:
        folder: created where it is missing.
        comparison: of the two sides.
        datasets: reads the dataset of a category; where it fails, the category's images are drawn blank.
        url: prefix of the pictures' names in the report; empty where they lie beside it.
    """
    pictures = {}
    old, new = comparison.names
    for category, images in comparison.images.items():
        if comparison.intervals[category] or changed_verdicts(images):
            try:
                dataset = datasets(category)
            except GonogoError:
                dataset = None
            write_picture(folder / f"{category}.png", images, dataset, title=f"{category}: {new} against {old}")
            pictures[category] = f"{url}{category}.png"
    report = folder / "report.md"
    write_text(report, render(comparison, pictures))
    return report
