"""gonogo registry: list the gauges in use and their history, check that each passed its gate, or fetch one."""

import argparse
from dataclasses import asdict
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.cli.exit_status import DONE, REJECTED
from gonogo.errors import UsageError
from gonogo.text import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "List the lines of registry.jsonl. With --check, take each bundle from the commit that its line names, and "
        "compute its gate again; exit status 1: a line is not what gonogo promote would have written. With --get, "
        "check the line of the gauge that a category has in use, and write its bundle."
    )
    parser.add_argument("--check", action="store_true", help="check every line")
    parser.add_argument("--get", metavar="CATEGORY", help="write the bundle of the gauge in use; needs --out")
    parser.add_argument("--alias", choices=["staging", "production"], default="production", help="default: production")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the bundle's folder, which is made")


def run(arguments: argparse.Namespace) -> Answer:
    """List the lines, check them, or write the bundle of a gauge in use.

    Raises:
        UsageError: --get without --out, or the other way round.
        DataError: the registry is damaged; `gonogo.project.registry.fetch` has the errors of --get.
    """
    from gonogo.project.registry import check, fetch, in_use, read_registry

    if (arguments.get is None) != (arguments.out is None) or (arguments.get is not None and arguments.check):
        raise UsageError("--get CATEGORY and --out FOLDER go together, without --check", command="gonogo registry")
    if arguments.get is not None:
        entry = fetch(arguments.get, arguments.alias, arguments.out)
        text = f"{arguments.out} has the gauge {entry.bundle[:12]} that {entry.category} has in {entry.alias}"
        return Answer({"ok": True, "entry": asdict(entry), "bundle": str(arguments.out)}, text)
    entries = read_registry()
    if arguments.check:
        wrong = list(check(entries))
        text = "\n".join(map(printable, wrong)) or f"{len(entries)} lines; each gauge passed its gate"
        return Answer({"ok": True, "checked": len(entries), "wrong": wrong}, text, REJECTED if wrong else DONE)
    rows = [("line", "at", "category", "alias", "action", "gauge", "commit", "by", "reason", "")]
    for entry in entries:
        used = in_use(entries, entry.category, entry.alias) == entry
        rows.append(
            (
                str(entry.id), entry.at, entry.category, entry.alias, entry.action, entry.bundle[:12],
                entry.commit[:12], printable(entry.by), printable(entry.reason), "in use" if used else "",
            )
        )  # fmt: skip
    text = in_columns(rows, head=True) if entries else "no gauge was promoted yet; `gonogo promote` does it"
    return Answer({"ok": True, "entries": [asdict(entry) for entry in entries]}, text)
