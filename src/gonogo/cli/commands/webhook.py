"""gonogo webhook: the deliveries of a webhook that have not arrived, and sending those again that were given up."""

import argparse
from dataclasses import asdict
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import add_json
from gonogo.cli.columns import in_columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Deliveries of `gonogo score --webhook` that have not arrived. They are in its queue, the folder FILE.webhook "
        "beside the FILE of --out. Those that were given up, the dead letters, stay there until they are queued again "
        "or removed."
    )
    actions = parser.add_subparsers(required=True, dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="list the deliveries that have not arrived")
    retry = actions.add_parser("retry", help="queue dead letters again; gonogo score posts them, now or when it starts")
    for action in (listing, retry):
        action.add_argument("queue", type=Path, metavar="QUEUE", help="the folder FILE.webhook")
        add_json(action, of_action=True)
    retry.add_argument("ids", nargs="*", metavar="ID", help="of a dead letter; default: all of them")


def run(arguments: argparse.Namespace) -> Answer:
    """List the deliveries, or queue dead letters again.

    Raises:
        DataError: the queue cannot be read or written, or has no dead letter of an id.
    """
    from gonogo.line.dead_letters import letters, revive

    if arguments.action == "retry":
        ids = revive(arguments.queue, arguments.ids)
        return Answer({"ok": True, "queued": ids}, f"{len(ids)} queued again; gonogo score --webhook posts them")
    found = letters(arguments.queue)
    rows = [("delivery", "state", "file")]
    for letter in found:
        state = f"given up at {letter.at}, {letter.reason}" if letter.dead else "waiting"
        rows.append((letter.id, state, str(letter.body.get("file"))))
    report = {"ok": True, "deliveries": [asdict(letter) for letter in found]}
    return Answer(report, in_columns(rows, head=True) if found else "every delivery has arrived")
