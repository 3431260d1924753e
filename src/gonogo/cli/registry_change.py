"""What the commands promote and roll-back have in common."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer

if TYPE_CHECKING:
    from gonogo.project.registry import Entry


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that a promotion and a roll-back share."""
    parser.add_argument("--alias", choices=["staging", "production"], default="production", help="default: production")
    parser.add_argument("--by", metavar="NAME", help="who decides; default: git's user.name")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; it is kept")
    parser.add_argument(
        "--no-tag", action="store_true", help="write no tag of GTO, by which `dvc artifacts get` finds the gauge"
    )


def changed(arguments: argparse.Namespace, change: "Callable[[str], Entry]") -> Answer:
    """Make a change of the registry in the name of a person, and tag it."""
    from gonogo.project.accept import git_user
    from gonogo.project.registry import REGISTRY, mirror

    entry = change(arguments.by or git_user())
    tags = [] if arguments.no_tag else mirror(entry)
    text = f"{entry.category}: gauge {entry.bundle[:12]} of commit {entry.commit[:12]} is in {entry.alias}"
    text += f"; commit {REGISTRY}" + (f" and push {', '.join(tags)}" if tags else "")
    return Answer({"ok": True, "entry": asdict(entry), "tags": tags}, text)
