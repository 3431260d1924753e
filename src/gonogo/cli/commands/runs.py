"""gonogo runs: the queue of fits, each an experiment of DVC: list them, start one, stop one, or read its log."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import add_json
from gonogo.cli.columns import in_columns
from gonogo.cli.names import PARAMS, known_categories, known_recipe
from gonogo.errors import UsageError
from gonogo.text import printable

if TYPE_CHECKING:
    from gonogo.project.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an argument for the action, and the arguments of each."""
    parser.description = (
        "Without ACTION, list the runs of the project. Each fit is an experiment of the last commit, in a clone of it: "
        "the workspace stays as it is, and `dvc exp show` lists the experiment once it is whole."
    )
    parser.set_defaults(action="list")
    actions = parser.add_subparsers(metavar="ACTION")
    start = actions.add_parser("start", help="put a run into the queue")
    start.add_argument("category", metavar="CATEGORY")
    start.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="as fit.coreset_ratio=0.02; repeatable"
    )
    start.add_argument("--recipe", metavar="NAME", help="set the values of a recipe in this category")
    start.add_argument("--prepare", action="store_true", help="prepare the category's images, and fit nothing")
    start.add_argument("--by", metavar="NAME", help="who starts it; default: git's user.name")
    foresee = actions.add_parser("forecast", help="say what memory a fit would take")
    foresee.add_argument("category", metavar="CATEGORY")
    foresee.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="as for start")
    foresee.add_argument("--recipe", metavar="NAME", help="as for start")
    stop = actions.add_parser("stop", help="stop a run")
    stop.add_argument("id", metavar="ID")
    log = actions.add_parser("log", help="print the end of what a run has printed")
    log.add_argument("id", metavar="ID")
    work = actions.add_parser("work", help="take one run after another until none waits; start does it by itself")
    for name, action in {"start": start, "forecast": foresee, "stop": stop, "log": log, "work": work}.items():
        action.set_defaults(action=name)
        add_json(action, of_action=True)


def run(arguments: argparse.Namespace) -> Answer:
    """List, start, stop, print or carry out; `gonogo.project.runs` has the errors.

    Raises:
        UsageError: a preparation is given settings.
    """
    from gonogo.project.accept import git_user
    from gonogo.project.runs import Runs

    runs = Runs(Path())
    if arguments.action in ("start", "forecast"):
        known_categories([arguments.category], command=f"gonogo runs {arguments.action}")
    if arguments.action == "start":
        if arguments.prepare and (arguments.set or arguments.recipe):
            raise UsageError("--prepare takes neither -S nor --recipe", command="gonogo runs start")
        settings = [*_of_recipe(arguments.recipe, arguments.category), *arguments.set]
        by = arguments.by or git_user()
        made = runs.add("prepare" if arguments.prepare else "fit", arguments.category, settings, by=by)
        runs.start_worker()
        return Answer({"ok": True, "run": asdict(made)}, f"{made.id} is queued; `gonogo runs log {made.id}` shows it")
    if arguments.action == "forecast":
        from gonogo.params import read_yaml
        from gonogo.project.fit_forecast import forecast
        from gonogo.project.settings import experiment_option

        content = read_yaml(PARAMS)
        settings = [*_of_recipe(arguments.recipe, arguments.category), *arguments.set]
        sentence = forecast(PARAMS, arguments.category, [experiment_option(each, content) for each in settings])
        return Answer({"ok": True, "forecast": sentence}, f"{arguments.category}: {sentence}")
    if arguments.action == "stop":
        stopped = runs.stop(arguments.id)
        return Answer({"ok": True, "run": asdict(stopped)}, f"{stopped.id} is told to stop")
    if arguments.action == "log":
        text = runs.log(arguments.id)
        return Answer({"ok": True, "id": arguments.id, "log": text}, "\n".join(map(printable, text.splitlines())))
    if arguments.action == "work":
        n_done = runs.work()
        return Answer({"ok": True, "runs": n_done}, f"{n_done} runs carried out")
    listed = runs.all()
    return Answer({"ok": True, "runs": [asdict(one) for one in listed]}, _table(listed))


def _of_recipe(name: str | None, category: str) -> list[str]:
    if name is None:
        return []
    from gonogo.project.recipes import changes

    return [step.option for step in changes(PARAMS, known_recipe(name, command="gonogo runs start"), category)]


def _table(runs: "list[Run]") -> str:
    rows = [("run", "state", "by", "settings", "")]
    rows += [
        (run.id, run.state, printable(run.by), printable(" ".join(run.settings)), printable(run.reason)) for run in runs
    ]
    return in_columns(rows, head=True) if runs else "no run yet; `gonogo runs start CATEGORY` queues one"
