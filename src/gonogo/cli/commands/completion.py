"""gonogo completion: what a shell needs to complete commands, options and files."""

import argparse
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.errors import MissingExtraError


def run(arguments: argparse.Namespace) -> Answer:
    """The script for one shell, made from the parser itself."""
    try:
        import shtab
    except ImportError as error:
        raise MissingExtraError("completion needs shtab; pip install 'gonogo[completion]'") from error
    for command in arguments.commands.values():
        for action in command._actions:
            if action.type is Path or action.metavar in ("FILE", "FOLDER"):
                action.complete = shtab.FILE
    script = shtab.complete(arguments.parser, shell=arguments.shell)
    return Answer({"ok": True, "shell": arguments.shell, "script": script}, script.rstrip())
