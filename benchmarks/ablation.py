"""One factor at a time: what a gauge loses and gains by the parameters of its fit, through `dvc exp run`.

    python benchmarks/ablation.py                              the factors of benchmarks/ablation.yaml, on its parts
    python benchmarks/ablation.py --parts grass --factors "coreset ratio" seed

Each point is an experiment of the last commit in a clone of it, up to evaluate and bench. Points that
benchmarks/ablation.json has of this commit are not run again, so that a run that was stopped goes on; those of other
commits go. `make readme` then writes the tables of docs/ablation.md; the plots are in docs/images/.
"""

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from ablation_plot import write_plot
from gonogo.errors import ConfigError, PipelineError
from gonogo.files import write_json
from gonogo.params import Section, read_yaml
from gonogo.project.experiments import PipelineClone
from gonogo.project.git import git
from gonogo.project.recipes import differences
from results import ROOT, Row, is_at, origin, read_rows

HERE = Path(__file__).resolve().parent
RESULTS, PLAN, PLOTS = HERE / "ablation.json", HERE / "ablation.yaml", ROOT / "docs" / "images"
STAGES = ("prepare", "fit", "evaluate", "export", "parity", "bench")
EVALUATED = ("image_auroc", "image_auroc_low", "image_auroc_high", "aupro_30", "synthetic_auroc", "covering_radius")
BENCHED = ("p50_ms", "bundle_mb")
KEY = ("part", "settings")
VERSIONS = ("torch", "timm", "onnxruntime", "dvc")

Measure = Callable[[str, str, Mapping[str, Any]], Row]  # of an experiment's name, a part and what is set: its figures


def points(plan: Mapping[str, Any], parts: Sequence[str]) -> list[Row]:
    """Each part and setting once, with its place and label in every factor that shows it.

    Raises:
        ConfigError: a factor has no point that changes nothing, so that it does not say what it is compared with.
    """
    found: dict[str, Row] = {}
    for part in parts:
        for factor, of in plan["factors"].items():
            if {} not in of.values():
                raise ConfigError(f"{PLAN}: {factor} has no point that changes nothing; add params.yaml as it is")
            for place, (label, settings) in enumerate(of.items()):
                key = json.dumps([part, settings], sort_keys=True)
                point = found.setdefault(key, {"part": part, "settings": settings, "factors": {}})
                point["factors"][factor] = {"place": place, "label": label}
    return list(found.values())


def measure_due(due: Sequence[Row], out: Path, measure: Measure, about: Mapping[str, Any]) -> list[str]:
    """Measure those of `due` that `out` does not have of this commit, and return what failed.

    Args:
        due: as `points` gives them.
        out: JSON of rows, and of each part the rank correlation of both AUROCs over its points. It is written after
            each point; those of other commits go.
        measure: runs one; an PipelineError says why it has no figures.
        about: the machine, the versions and the commit.
    """
    failed = []
    rows = [row for row in read_rows(out) if row["commit"] == about["commit"]]
    for number, point in enumerate(due, start=1):
        if any(is_at(row, point, KEY) for row in rows):
            continue
        said = f"{number}/{len(due)}  {point['part']}  {json.dumps(point['settings'])}"
        try:
            row = {**point, **measure(f"ablation-{number}", point["part"], point["settings"]), **about}
        except PipelineError as error:
            failed.append(f"{said}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
            continue
        print(f"{said}: image AUROC {row['image_auroc']:.4f}", flush=True)
        rows.append(row)
        write_json(out, {"rows": rows, "rank_correlation": rank_correlation(rows)})
    return failed


def rank_correlation(rows: Sequence[Row]) -> dict[str, float]:
    """Spearman's of the AUROC on damaged good images with that on the test's defects, over three points or more."""
    table = pd.DataFrame(rows).reindex(columns=["part", "synthetic_auroc", "image_auroc"]).dropna()
    return {
        part: float(of.synthetic_auroc.corr(of.image_auroc, method="spearman"))
        for part, of in table.groupby("part", sort=False)
        if len(of) >= 3 and of.synthetic_auroc.nunique() > 1 and of.image_auroc.nunique() > 1
    }


def settled(content: Section, part: str, settings: Mapping[str, Any]) -> Section:
    """`content` of a params.yaml with the part as its only category and these settings, by `section.key` or `key`.

    Raises:
        ConfigError: the part is no category, a key is unknown, or the category overrides it.
    """
    after = copy.deepcopy(content)
    if part not in content["categories"]:
        raise ConfigError(f"params.yaml has no category {part}; it has {', '.join(content['categories'])}")
    after["categories"] = [part]
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        override = (content["overrides"].get(part) or {}).get(section) or {}
        if override and (name in override or "detector" in override):
            raise ConfigError(f"{key}: {part} overrides {section}, so that the setting would change nothing")
        if (section or name) not in content:
            raise ConfigError(f"{key}: params.yaml has no such key")
        (after[section] if section else after)[name] = value
    return after


def experiments(clone: PipelineClone, cheap: Mapping[str, Any]) -> Measure:
    """Runs a point in the clone."""

    def measure(name: str, part: str, settings: Mapping[str, Any]) -> Row:
        changes = differences(clone.params, settled(clone.params, part, {**cheap, **settings}))
        reason = clone.run(
            name, [change.option for change in changes], categories=[part], stages=STAGES, targets=["evaluate", "bench"]
        )
        if reason:
            raise PipelineError(reason)
        evaluated, benched = clone.metrics("evaluate", part), clone.metrics("bench", part)
        return {key: evaluated[key] for key in EVALUATED if key in evaluated} | {key: benched[key] for key in BENCHED}

    return measure


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is due, draw, and return the exit status: 1 where a point failed, 2 where nothing was run."""
    plan = read_yaml(PLAN)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=plan["parts"], metavar="NAME", help="categories of params.yaml")
    parser.add_argument(
        "--factors", nargs="+", choices=list(plan["factors"]), default=list(plan["factors"]), metavar="NAME"
    )
    asked = parser.parse_args(argv)
    if git(
        ROOT, "status", "--porcelain", "--untracked-files=no", "--", ".", f":!{RESULTS.relative_to(ROOT)}", ":!docs"
    ):
        print("there are uncommitted changes; a published number belongs to a commit", file=sys.stderr)
        return 2
    content = read_yaml(ROOT / "params.yaml")
    try:
        due = [point for point in points(plan, asked.parts) if set(asked.factors) & set(point["factors"])]
        for point in due:
            settled(content, point["part"], {**plan["cheap"], **point["settings"]})
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    threads = content["bench"]["threads"]
    about = origin(threads, {name: metadata.version(name) for name in VERSIONS})
    with tempfile.TemporaryDirectory() as folder:
        clone = PipelineClone(ROOT, Path(folder) / "gonogo")
        failed = measure_due(due, RESULTS, experiments(clone, plan["cheap"]), about)
    for part in asked.parts:
        write_plot(PLOTS / f"ablation-{part}.svg", [row for row in read_rows(RESULTS) if row["part"] == part])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
