"""gonogo accept: add images that a person found good to fit or calibrate, take them back, or list the history."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.cli.names import PARAMS, known_categories
from gonogo.errors import ConfigError, UsageError
from gonogo.text import printable

if TYPE_CHECKING:
    from gonogo.project.gauge_summary import Figures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Copy images of good parts into the raw folder, add them to fit or calibrate, make the category's gauge again, "
        "and show it before and after. data/accepted.jsonl has the history. Run it in the project's root."
    )
    parser.add_argument("images", type=Path, metavar="IMAGE", nargs="*", help="of parts that a person found good")
    parser.add_argument(
        "--reviewed",
        type=Path,
        metavar="FILE.zip",
        help="accept the good parts of an archive that gonogo reviews wrote, but for those that were accepted before",
    )
    parser.add_argument("--category", metavar="NAME", help="a category of params.yaml")
    parser.add_argument(
        "--role", choices=["fit", "calibrate"], help="what the images are for; test images are never chosen"
    )
    parser.add_argument("--group", metavar="ID", help="all images show the one part ID; default: each its own part")
    parser.add_argument("--by", metavar="NAME", help="the person who accepts them; default: git's user.name")
    parser.add_argument("--reason", metavar="TEXT", help="why")
    parser.add_argument("--no-run", action="store_true", help="write the acceptance, and do not run dvc repro")
    parser.add_argument(
        "--dry-run", action="store_true", help="check the images and every value of params.yaml, and write nothing"
    )
    parser.add_argument("--roll-back", metavar="ID", help="take an acceptance back")
    parser.add_argument("--history", action="store_true", help="list all acceptances, or those of --category")


def run(arguments: argparse.Namespace) -> Answer:
    """Accept the images, take an acceptance back, or list the history.

    Raises:
        UsageError: arguments exclude each other, or one is missing.
    """
    if message := _contradiction(arguments):
        raise UsageError(message, command="gonogo accept")
    if arguments.category is not None and not arguments.history:  # which may be that of a category of the past
        known_categories([arguments.category], command="gonogo accept")
    return _history(arguments) if arguments.history else _change(arguments)


def _contradiction(arguments: argparse.Namespace) -> str | None:
    from_archive, rolls_back = arguments.reviewed is not None, arguments.roll_back is not None
    if bool(arguments.images) + from_archive + rolls_back + arguments.history != 1:
        return "expected IMAGE ..., or --reviewed FILE.zip, or --roll-back ID, or --history"
    accepts = arguments.images or from_archive
    if accepts and not (arguments.category and arguments.role):
        return "images need --category and --role fit or calibrate"
    if not accepts and (arguments.role or arguments.group):
        return "--role and --group need images"
    if arguments.history and (arguments.by or arguments.reason or arguments.no_run or arguments.dry_run):
        return "--history takes --category only"
    return None


def _history(arguments: argparse.Namespace) -> Answer:
    """All acceptances, or those of `--category`."""
    from gonogo.data.prepare.accepted import read_history
    from gonogo.params import project_path

    events = [event for event in read_history(project_path("accepted")) if arguments.category in (None, event.category)]
    text = "\n".join(printable(event.sentence) for event in events) or "nothing was accepted"
    return Answer({"ok": True, "acceptances": [asdict(event) for event in events]}, text)


def _change(arguments: argparse.Namespace) -> Answer:
    """Accept the images, or take an acceptance back: the gauge before and after."""
    from gonogo.data.prepare.accepted import active_acceptance
    from gonogo.params import project_path
    from gonogo.project.accept import Project, accept, accept_reviewed, git_user, roll_back
    from gonogo.project.dvc import run_dvc
    from gonogo.project.preflight import check_values

    by, dvc = arguments.by or git_user(), None if arguments.no_run else run_dvc
    dry_run = arguments.dry_run
    if dvc is not None:
        check_values(PARAMS, wanted=[arguments.category] if arguments.category else [])
    if arguments.roll_back is None:
        project = Project.here(arguments.category)
        how = {"role": arguments.role, "by": by, "reason": arguments.reason, "group": arguments.group, "dvc": dvc}
        how["dry_run"] = dry_run
        if arguments.reviewed is not None:
            made = accept_reviewed(project, arguments.reviewed, **how)
        else:
            made = accept(project, arguments.images, **how)
    else:
        acceptance = active_acceptance(project_path("accepted"), arguments.roll_back)
        if arguments.category not in (None, acceptance.category):
            raise ConfigError(f"{acceptance.id} is of {acceptance.category}, not of {arguments.category}")
        project = Project.here(acceptance.category)
        if dry_run:
            report = {"ok": True, "dry_run": True, "acceptance": asdict(acceptance)}
            return Answer(report, f"{printable(acceptance.sentence)}\nnothing was taken back: --dry-run")
        made = roll_back(project, acceptance, by=by, reason=arguments.reason, dvc=dvc)
    lines = [printable(line) for line in (made.acceptance.sentence, *made.remarks)]
    if dry_run:
        return Answer(
            {"ok": True, "dry_run": True, **asdict(made)}, "\n".join([*lines, "nothing was written: --dry-run"])
        )
    if dvc is not None:
        lines.insert(1, table(made.before, made.after))
    else:
        lines.append("written; `dvc repro` makes the gauge again")
    if arguments.roll_back is None:
        lines.append(f"to take it back: gonogo accept --roll-back {made.acceptance.id}")
    return Answer({"ok": True, **asdict(made)}, "\n".join(lines))


def table(before: "Figures | None", after: "Figures | None") -> str:
    """The figures of a gauge before and after, one in a row; a dash if there is no gauge."""
    columns = [{} if figures is None else figures.shown for figures in (before, after)]
    names = list(columns[0] or columns[1])
    rows = [("", "before", "after"), *((name, *(column.get(name, "-") for column in columns)) for name in names)]
    return in_columns(rows, head=True)
