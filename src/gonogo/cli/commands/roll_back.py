"""gonogo roll-back: put the gauge back into use that the one in use replaced."""

import argparse

from gonogo.cli.answer import Answer
from gonogo.cli.registry_change import add_change_arguments, changed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Put the gauge that was in use before into use again. It passed its gate then; its bundle is checked again. "
        "The roll-back is a further line of registry.jsonl."
    )
    parser.add_argument("category", metavar="CATEGORY")
    add_change_arguments(parser)


def run(arguments: argparse.Namespace) -> Answer:
    """Roll back; `gonogo.project.registry.roll_back` has the errors."""
    from gonogo.project.registry import roll_back

    return changed(arguments, lambda by: roll_back(arguments.category, arguments.alias, by=by, reason=arguments.reason))
