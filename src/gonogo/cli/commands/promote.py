"""gonogo promote: put a gauge into staging or production, if it holds the tolerances against the one in use."""

import argparse
from dataclasses import asdict

from gonogo.cli.answer import Answer
from gonogo.cli.exit_status import REJECTED
from gonogo.cli.names import known_categories
from gonogo.cli.registry_change import add_change_arguments, changed

HEAD = "HEAD"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Compare the gauge of a commit with the one in use, on the same test images, and write it into registry.jsonl "
        "if tolerances.yaml allows each change. Exit status 1: it does not, and nothing is written."
    )
    parser.add_argument("category", metavar="CATEGORY")
    parser.add_argument(
        "--rev", default=HEAD, metavar="REV", help="the commit of the gauge, or a DVC experiment; default: HEAD"
    )
    add_change_arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="only say whether it would be promoted; exit status 1: it would not"
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Promote the gauge, or say whether it would be; `gonogo.project.registry.promote` has the errors."""
    from gonogo.project.registry import passing, promote

    if arguments.rev == HEAD:  # another commit may have other categories
        known_categories([arguments.category], command="gonogo promote")
    if arguments.dry_run:
        gauge = passing(arguments.category, arguments.alias, arguments.rev)
        if gauge is None:
            reason = f"{arguments.category}: this gauge is in {arguments.alias} already"
            return Answer({"ok": False, "gauge": None, "reason": reason}, reason, REJECTED)
        text = f"{gauge.category}: gauge {gauge.bundle[:12]} would be promoted to {arguments.alias}; nothing is written"
        return Answer({"ok": True, "gauge": asdict(gauge), "reason": None}, text)
    return changed(
        arguments,
        lambda by: promote(arguments.category, arguments.alias, arguments.rev, by=by, reason=arguments.reason),
    )
