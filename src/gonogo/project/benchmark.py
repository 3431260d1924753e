"""Detectors and recipes on the categories of a folder, each as an experiment: one row for each, failures included."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gonogo.errors import GonogoError, IntegrityError
from gonogo.evaluation.metric_table import METRICS
from gonogo.project.experiments import PipelineClone
from gonogo.project.git import git
from gonogo.project.recipes import Recipe, changes

COMPARED = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "recall", "false_alarm_rate")
CERTIFIED = "certified_false_alarm_rate"
FIGURES = (*COMPARED, CERTIFIED, "fit_s", "p50_ms")
STAGES = ("prepare", "fit", "evaluate", "parity", "bench")
MEAN = "mean"
WORK = Path("tmp", "benchmark")  # below .dvc, which git does not see


@dataclass(frozen=True)
class BenchmarkRow:
    """What one variant reached on one category.

    Attributes:
        variant: name of the recipe or of the detector.
        category: or `mean`, of all categories that have a value.
        metrics: those of `COMPARED` that have a value, with their intervals as NAME_low and NAME_high; the certified
            bound; seconds of the fit, and the median milliseconds from file to verdict. Empty where it failed.
        reason: why it failed; empty where it did not.
        commit: of the experiment, which has its code, parameters and metrics; empty where it failed, and of a mean.
    """

    variant: str
    category: str
    metrics: Mapping[str, float]
    reason: str = ""
    commit: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values."""
        return asdict(self)


def benchmark_rows(
    project: Path, variants: Sequence[Recipe], categories: Sequence[str], *, started: Callable[[str, str], None]
) -> Iterator[BenchmarkRow]:
    """Run each variant on each category in a clone of the project, and give the rows as they come.

    Each run is an experiment that `dvc exp show` of the project lists. One that the project has already, of its last
    commit, is not run again, so that a benchmark that was interrupted goes on; `dvc exp remove` lets it run again.

    Args:
        project: a project with a commit.
        variants: what each changes in the project's params.yaml; without sections: nothing.
        categories: of the project.
        started: called with the names of a variant and a category before they run.

    Raises:
        PipelineError: git could not clone the project.
    """
    clone = PipelineClone(project, project / ".dvc" / WORK / "clone")
    # Before the first run, which leaves its own parameters in the clone until the next one.
    settings = [_settings(clone, variant) for variant in variants]
    for variant, changed in zip(variants, settings, strict=True):
        for category in categories:
            started(variant.name, category)
            if isinstance(changed, GonogoError):
                yield BenchmarkRow(variant.name, category, {}, str(changed))
            else:
                yield _row(clone, project, variant.name, category, changed)


def _settings(clone: PipelineClone, variant: Recipe) -> list[str] | GonogoError:
    """What the variant changes, as `dvc exp run -S` takes it; or why it is none for these categories."""
    try:
        return [change.option for change in changes(clone.folder / "params.yaml", variant)]
    except GonogoError as error:
        return error


def _row(clone: PipelineClone, project: Path, variant: str, category: str, settings: Sequence[str]) -> BenchmarkRow:
    name = f"{variant}-{category}"
    try:
        reference = _reference(project, name)
        if not git(project, "for-each-ref", reference).strip():
            reason = clone.run(
                name,
                [f"categories=[{category}]", *settings],
                categories=[category],
                stages=STAGES,
                targets=[f"bench@{category}"],
            )
            if reason:
                return BenchmarkRow(variant, category, {}, reason)
            clone.publish(name)
        commit = git(project, "rev-parse", reference).strip()
        return BenchmarkRow(variant, category, _metrics(project, commit, category), commit=commit)
    except GonogoError as error:
        return BenchmarkRow(variant, category, {}, str(error))


def _reference(project: Path, name: str) -> str:
    """Where git has an experiment of this name of the project's last commit."""
    commit = git(project, "rev-parse", "HEAD").strip()
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def _metrics(project: Path, commit: str, category: str) -> dict[str, float]:
    """What the row of an experiment has, from the metrics in its commit."""

    def of(stage: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(git(project, "show", f"{commit}:./metrics/{stage}/{category}.json"))
        return found

    if not of("parity")["passed"]:
        raise IntegrityError(f"{category}: the exported gauge is not the fitted one")
    evaluated = of("evaluate")
    names = [f"{metric}{end}" for metric in COMPARED for end in ("", "_low", "_high")]
    found = {metric: float(evaluated[metric]) for metric in [*names, CERTIFIED] if evaluated.get(metric) is not None}
    return found | {"fit_s": float(of("fit")["fit_s"]), "p50_ms": float(of("bench")["p50_ms"])}


def with_means(rows: Sequence[BenchmarkRow]) -> list[BenchmarkRow]:
    """The rows with, after those of each variant on several categories, their mean over the ones that did not fail."""
    result: list[BenchmarkRow] = []
    for variant, own in pd.Series(rows, dtype=object).groupby([row.variant for row in rows], sort=False):
        done = pd.DataFrame([row.metrics for row in own if not row.reason]).reindex(columns=FIGURES)
        mean = [BenchmarkRow(variant, MEAN, done.mean().dropna().to_dict())] if len(done) > 1 else []
        result += [*own, *mean]
    return result


def as_cells(rows: Sequence[BenchmarkRow]) -> list[list[str]]:
    """The rows as a table, with titles first and intervals in brackets; a column without any value is left out."""
    names = [name for name in FIGURES if any(name in row.metrics for row in rows)]
    failed = any(row.reason for row in rows)
    titles = [f"{METRICS[name].title}{_unit(name)}" for name in names]
    table = [["", "category", *titles, *(["failed, since"] if failed else [])]]
    for row in rows:
        cells = [_cell(row.metrics, name) for name in names]
        table.append([row.variant, row.category, *cells, *([row.reason] if failed else [])])
    return table


def _unit(name: str) -> str:
    unit = METRICS[name].unit
    return f", {unit}" if unit in ("s", "ms") else ""


def _cell(metrics: Mapping[str, float], name: str) -> str:
    if name not in metrics:
        return ""
    digits = METRICS[name].digits
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    interval = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{metrics[name]:.{digits}f}{interval}"
