"""gonogo benchmark: detectors and recipes on all categories of a data set, in one table."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.cli.names import known_recipe
from gonogo.errors import ConfigError, UsageError
from gonogo.text import alternatives, printable

if TYPE_CHECKING:
    from gonogo.project.benchmark import BenchmarkRow
    from gonogo.project.recipes import Recipe

DEFAULT, ALL = "default", "all"
NAME = "gonogo benchmark"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Fit, certify, evaluate, export, prove and time gauges on the categories of a folder, and list them with "
        "intervals in one table. Without --detector and --recipe: the options that every project starts with. Called "
        "again, it goes on where it ended."
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="a data set in one of the layouts of docs/data.md"
    )
    parser.add_argument(
        "--category",
        nargs="+",
        default=[],
        metavar="NAME",
        help="some of its categories; default: all",
    )
    parser.add_argument(
        "--detector", nargs="+", default=[], metavar="NAME", help="detectors, with their default options"
    )
    parser.add_argument("--recipe", nargs="+", default=[], metavar="NAME", help="recipes; gonogo recipes lists them")
    parser.add_argument(
        "--into", type=Path, default=Path("benchmark"), metavar="DIR", help="folder of the project; default: benchmark"
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Run all variants on all categories; writes benchmark.json and benchmark.md into the project.

    Raises:
        UsageError: there is no such detector, recipe or category.
        ConfigError: the project is one of other images.
    """
    from gonogo.cli.exit_status import DONE, ENVIRONMENT
    from gonogo.evaluation.tables import markdown_table
    from gonogo.files import write_json, write_text
    from gonogo.project.benchmark import as_cells, benchmark_rows, with_means

    project, variants = arguments.into, _variants(arguments)
    categories = _categories(project, arguments.data, arguments.category)
    n_runs, done = len(variants) * len(categories), 0

    def started(variant: str, category: str) -> None:
        nonlocal done
        done += 1
        print(f"{done} of {n_runs}: {printable(variant)} on {printable(category)}", file=sys.stderr, flush=True)

    rows: list[BenchmarkRow] = []
    for row in benchmark_rows(project, variants, categories, started=started):
        rows.append(row)
        table = with_means(rows)
        write_json(project / "benchmark.json", {"data": str(arguments.data), "rows": [one.to_dict() for one in table]})
        head, *cells = as_cells(table)
        write_text(project / "benchmark.md", "\n".join(markdown_table(head, cells, n_names=2)) + "\n")
    failed = [row for row in rows if row.reason]
    report = {"ok": not failed, "project": str(project), "rows": [row.to_dict() for row in with_means(rows)]}
    text = f"{in_columns(as_cells(with_means(rows)), head=True)}\n{project}/benchmark.md and benchmark.json are written"
    return Answer(report, text, ENVIRONMENT if failed else DONE)


def _categories(project: Path, data: Path, wanted: Sequence[str]) -> list[str]:
    """The categories to run, all where none or `all` is wanted, after a project for the data was written if needed."""
    from gonogo.data.prepare.layouts import categories_in
    from gonogo.data.prepare.prepare import prepare_params, shares_of
    from gonogo.params import Params, read_yaml
    from gonogo.project.new_project import starting_files, write_project

    params = project / "params.yaml"
    if params.is_file():
        raw, found = project / Params(params).raw, None
        if raw.resolve() != data.resolve():
            raise ConfigError(f"{project} is a project of the images in {raw}; name another folder with --into")
        known = Params(params).categories
    else:
        start = read_yaml(starting_files() / "params.yaml")
        found = categories_in(data, shares_of(prepare_params(start["prepare"]), start["seed"]))
        known = [one.name for one in found]
    if list(wanted) == [ALL] and ALL not in known:
        wanted = known
    for name in wanted:
        if name not in known:
            raise UsageError(f"{data} has no category {name!r}; {alternatives(name, known)}", command=NAME)
    if found is not None:
        write_project(project, data, found)
    return list(wanted) or known


def _variants(arguments: argparse.Namespace) -> "list[Recipe]":
    from gonogo.detectors.names import detector_name
    from gonogo.project.new_project import starting_files
    from gonogo.project.recipes import Recipe

    recipes = starting_files() / "recipes"
    try:
        names = [detector_name(name) for name in arguments.detector]
    except ConfigError as error:
        raise UsageError(str(error), command=NAME) from error
    detectors = [Recipe(name, f"the detector {name}", {"fit": {"detector": name}}) for name in names]
    chosen = [*detectors, *(known_recipe(name, command=NAME, folder=recipes) for name in arguments.recipe)]
    return chosen or [Recipe(DEFAULT, "the options that every project starts with", {})]
