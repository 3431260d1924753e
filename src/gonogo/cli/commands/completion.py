"""gonogo completion: the script with which a shell completes commands, options and files."""

import argparse
from pathlib import Path

from gonogo.cli.answer import Answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=["bash", "zsh"], help='for bash: eval "$(gonogo completion bash)"')


def run(arguments: argparse.Namespace) -> Answer:
    """The script for one shell, made from the parser of all commands."""
    import shtab

    from gonogo.cli.main import command_parser

    parser = command_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        for action in command._actions:
            if action.type is Path or action.metavar in ("FILE", "FOLDER"):
                action.complete = shtab.FILE
    script = shtab.complete(parser, shell=arguments.shell)  # nosec B604 - the name of a shell, which runs nothing
    return Answer({"ok": True, "shell": arguments.shell, "script": script}, script.rstrip())
