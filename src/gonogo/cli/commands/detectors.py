"""gonogo detectors: the values of fit.detector, and the options of each."""

import argparse
from dataclasses import asdict

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.errors import UsageError
from gonogo.project.catalogue import Entry, detectors, fields_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a detector; default: list them all")


def run(arguments: argparse.Namespace) -> Answer:
    """List the detectors, or describe one."""
    known = {entry.name: entry for entry in detectors()}
    if arguments.name is None:
        report = [{"name": entry.name, "summary": entry.summary} for entry in known.values()]
        text = in_columns([(entry.name, entry.summary) for entry in known.values()])
        return Answer({"ok": True, "detectors": report}, text)
    if arguments.name not in known:
        raise UsageError(
            f"no detector {arguments.name!r}; choose one of {', '.join(known)}", command="gonogo detectors"
        )
    entry, shared = known[arguments.name], fields_of("gonogo.model.fit", "FitParams")
    return Answer({"ok": True, **asdict(entry), "shared_options": shared}, _described(entry, shared))


def _described(entry: Entry, shared: list[str]) -> str:
    rows = [
        (
            f"  {option.name}",
            "required" if option.required else "null" if option.default is None else str(option.default),
            option.allowed,
            option.description,
        )
        for option in entry.options
    ]
    about = [entry.about, ""] if entry.about else []
    head = ("  option", "default", "allowed", "")
    return "\n".join(
        [
            f"{entry.name}: {entry.summary}",
            "",
            *about,
            entry.score,
            "",
            in_columns([head, *rows], head=True),
            "",
            f"with every detector: {', '.join(shared)}; params.yaml says what they are",
        ]
    )
