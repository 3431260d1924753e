"""gonogo registry: list the gauges in use and their history, or check that each passed its gate."""

import argparse
from dataclasses import asdict

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.cli.exit_status import DONE, REJECTED
from gonogo.text import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "List the lines of registry.jsonl. With --check, take each bundle from the commit that its line names, and "
        "compute its gate again; exit status 1: a line is not what gonogo promote would have written."
    )
    parser.add_argument("--check", action="store_true", help="check every line")


def run(arguments: argparse.Namespace) -> Answer:
    """List the lines, or check them.

    Raises:
        DataError: the registry is damaged.
    """
    from gonogo.project.registry import check, in_use, read_registry

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
