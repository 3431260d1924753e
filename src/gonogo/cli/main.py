"""The command `gonogo`: parses the arguments, runs one command and prints its answer; returns the exit status.

Of `gonogo.cli.commands` only the module of the command that was called is imported, and that imports what is heavy
inside of its `run`: `--help` needs neither numpy nor torch.
"""

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from typing import Any, NoReturn, Protocol, cast

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import add_json
from gonogo.cli.exit_status import CLOSED_PIPE, MEANINGS, report_failure
from gonogo.errors import MissingExtraError, UsageError
from gonogo.text import meant


@dataclass(frozen=True)
class Command:
    """A command of `gonogo`; the module of its name in `gonogo.cli.commands` has the rest.

    Attributes:
        help: the line in `gonogo --help`.
        extra: of gonogo, with the packages that the command imports; None: those of `pip install gonogo` do.
        streams: whether the command prints rows on standard output while it runs. During the others, standard output
            goes to standard error, so that a message of a library is not mixed with the answer.
    """

    help: str
    extra: str | None = None
    streams: bool = False


COMMANDS = {
    "init": Command("write a project for a folder of images", extra="pipeline"),
    "tune": Command("choose a gauge's options by good parts alone, within a verdict's milliseconds", extra="pipeline"),
    "train": Command("fit a gauge on good images and certify its threshold", extra="pipeline"),
    "eval": Command("measure a gauge on the test images, beside a trivial baseline", extra="pipeline"),
    "export": Command("export a gauge as ONNX, and write its bundle if both agree", extra="pipeline"),
    "bench": Command("time a bundle on this machine", extra="pipeline"),
    "benchmark": Command("fit and measure detectors and recipes on all categories of a data set", extra="pipeline"),
    "compare": Command("compare the metrics and verdicts of two revisions", extra="pipeline"),
    "thresholds": Command("show how a gauge would do at other thresholds", extra="pipeline"),
    "accept": Command("accept reviewed images as good, or take that back", extra="pipeline"),
    "promote": Command("put a gauge into staging or production, through the gate", extra="pipeline"),
    "retrain": Command("make a gauge anew whose certificate lapsed, and propose it", extra="pipeline,serve"),
    "roll-back": Command("put the gauge before it into use again", extra="pipeline"),
    "runs": Command("queue fits as experiments, look at them, or stop them", extra="pipeline"),
    "registry": Command("list the gauges in use, or check that each passed its gate", extra="pipeline"),
    "gpu-train": Command("plan a fit on a rented GPU, or launch it", extra="pipeline"),
    "track": Command("write a commit or an experiment as a run of MLflow", extra="mlflow"),
    "distill": Command("train a teacher for the detector efficientad", extra="pipeline"),
    "score": Command("judge images with a bundle", streams=True),
    "verify": Command("check a bundle, and that it scores here as where it was proven"),
    "drift": Command("say whether a gauge's certificate still holds"),
    "explain": Command("explain the verdict on an image"),
    "bundle": Command("pack a bundle into one file, unpack it, or sign it"),
    "webhook": Command("list the deliveries of a webhook that have not arrived, or send them again"),
    "serve": Command("judge images over HTTP, and keep every inspection", extra="serve"),
    "workbench": Command("show a project's steps as pages: data, fit, evaluation, deploy", extra="pipeline,serve"),
    "reviews": Command("write what people reviewed in the service as an archive", extra="serve"),
    "cases": Command(
        "bring an archive of past defects into the service's store, list cases, search them", extra="serve"
    ),
    "knowledge": Command("bring what people know of failures into the service's store, or export it", extra="serve"),
    "categories": Command("list the categories of the project, or describe one", extra="pipeline"),
    "detectors": Command("list the detectors, or describe one with its options", extra="pipeline"),
    "backbones": Command("list the backbones, or describe one", extra="pipeline"),
    "recipes": Command("list the recipes, describe one, or apply it", extra="pipeline"),
    "doctor": Command("list what is installed and what is missing"),
    "version": Command("print the version"),
    "completion": Command("print the script with which a shell completes commands", extra="completion"),
}


ALIASES = {"fit": "train", "infer": "score", "predict": "score", "--version": "version"}  # names that other tools use

ENDING = re.compile(r"\.[A-Za-z]\w{2,3}$")  # of a file


class CommandModule(Protocol):
    """What a module of `gonogo.cli.commands` has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments; `--json` is added for all commands."""

    def run(self, arguments: argparse.Namespace) -> Answer:
        """Run the command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Raises:
        SystemExit: wrong usage, or `--help`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: a file's name need not be UTF-8
    try:
        try:
            return _run(words, as_json="--json" in takewhile(lambda word: word != "--", words))
        finally:
            sys.stdout.flush()  # while a closed pipe can still be caught
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again when it exits
        return CLOSED_PIPE


def _run(words: Sequence[str], *, as_json: bool) -> int:
    """Run the command and print its answer or its failure."""
    try:
        arguments = parse_arguments(words, as_json=as_json)
        answer = _answer(arguments)
        if arguments.json:
            print(json.dumps(answer.report))
        elif answer.text:
            print(answer.text)
        return answer.status
    except BrokenPipeError:  # of standard output; code that writes to other pipes catches theirs itself
        raise
    except (Exception, KeyboardInterrupt) as error:  # all: Python's status of an exception is 1, that of a reject
        status = report_failure(error, as_json=as_json)
        if isinstance(error, UsageError):
            raise SystemExit(status) from None
        return status


def _answer(arguments: argparse.Namespace) -> Answer:
    """Run the command that was parsed.

    Raises:
        MissingExtraError: it imports a package that is not installed.
    """
    name: str = arguments.command
    command = COMMANDS[name]
    try:
        with nullcontext() if command.streams else redirect_stdout(sys.stderr):
            return _module(name).run(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "gonogo":  # a bug, and no package that is missing
            raise
        install = "gonogo" if command.extra is None else f"'gonogo[{command.extra}]'"
        raise MissingExtraError(
            f"gonogo {name} needs a package that is not installed ({error}); pip install {install}"
        ) from error


def _module(name: str) -> CommandModule:
    return cast(CommandModule, import_module(f"gonogo.cli.commands.{name.replace('-', '_')}"))


def parse_arguments(words: Sequence[str], *, as_json: bool = False) -> argparse.Namespace:
    """The parsed arguments; `command` is the name of the command.

    Raises:
        UsageError: they are wrong.
        SystemExit: `--help`, which was printed, with `as_json` as a JSON object.
    """
    words = [*(ALIASES.get(word, word) for word in words[:1]), *words[1:]]
    called = next((word for word in words if not word.startswith("-")), None)
    if called is not None and called not in COMMANDS:
        raise UsageError(f"there is no command {called!r}{_question(called, [*COMMANDS, *ALIASES])}")
    parser = command_parser([called] if called is not None else [])
    printed = io.StringIO()
    try:
        with redirect_stdout(printed) if as_json else nullcontext():
            return parser.parse_args(words)
    except SystemExit:
        if as_json:
            print(json.dumps({"ok": True, "help": printed.getvalue()}))
        raise
    except UsageError as error:
        if name := _like_an_option(words):
            message = (
                f"{error}; a name that begins with a dash is written as ./{name}, or stands with the others behind --"
            )
            raise UsageError(message, command=error.command) from None
        by_itself = error.command == "gonogo" and called is not None  # what no parser took is said by the outermost
        command = f"gonogo {called}" if by_itself else error.command
        message = str(error)
        if called is not None and message.startswith("the following arguments are required"):
            message = _of_unknown_option(words, parser) or message
        raise UsageError(f"{message}{_nearest(message, parser)}", command=command) from None


def _of_unknown_option(words: Sequence[str], parser: argparse.ArgumentParser) -> str | None:
    """argparse's message about the first option that no parser has: it says first that another one is missing."""
    named = (word.partition("=")[0] for word in takewhile(lambda word: word != "--", words) if word.startswith("--"))
    unknown = next((name for name in named if name not in _options_of(parser)), None)
    return None if unknown is None else f"unrecognized arguments: {unknown}"


def _nearest(message: str, parser: argparse.ArgumentParser) -> str:
    """What was meant by the option or the choice that argparse does not know; empty where nothing is like it."""
    if option := re.match(r"unrecognized arguments: (--[\w-]+)", message):
        return _question(option[1], _options_of(parser))
    if choice := re.search(r"invalid choice: '?([^\s']+)'? \(choose from (.*)\)$", message):
        return _question(choice[1], re.findall(r"[\w-]+", choice[2]))
    return ""


def _options_of(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of the actions below it."""
    options: set[str] = set()
    for action in parser._actions:
        options |= {name for name in action.option_strings if name.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            options |= {name for inner in action.choices.values() for name in _options_of(inner)}
    return options


def _question(word: str, known: Iterable[str]) -> str:
    """Whether known words were meant that are like one that is not known; empty where none is like it."""
    question = meant(word, known, 1)
    return question and f"; {question}"


def _like_an_option(words: Sequence[str]) -> str | None:
    """The first word that begins with a dash and is the name of a file rather than an option."""
    options = takewhile(lambda word: word != "--", words)
    dashed = (word for word in options if word.startswith("-") and "=" not in word)
    return next((word for word in dashed if os.path.lexists(word) or ENDING.search(word)), None)


def command_parser(complete: Collection[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of all commands.

    Args:
        complete: the commands whose modules are imported to add their arguments; of the others it has the name only.
    """
    statuses = "\n".join(f"  {status:<4} {meaning}" for status, meaning in MEANINGS.items())
    parser = _Parser(
        prog="gonogo",
        description="A go/no-go gauge for images. `gonogo COMMAND --help` lists the arguments of a command.\n"
        "With --json each command prints one JSON object on standard output, even if it fails.",
        epilog=f"`fit` is another name of train, `infer` and `predict` of score, `--version` of version.\n\n"
        f"exit status:\n{statuses}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parsers = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = f"{command.help[0].upper()}{command.help[1:]}."
        one = parsers.add_parser(name, help=command.help, description=description)
        one.set_defaults(command=name)
        if name in complete:
            _module(name).add_arguments(one)
            add_json(one)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError`, takes no abbreviated options, and takes options between names too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"allow_abbrev": False})
        self._mixes = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's; names that it leaves over because an option stands before them are taken as well."""
        found, rest = super().parse_known_args(args, namespace)
        is_over = "--" in rest or any(not word.startswith("-") for word in rest)
        if self._mixes or self._subparsers is not None or not is_over:
            return found, rest
        self._mixes = True  # argparse's own way, which parses twice by this method
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixes = False

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, command=self.prog)


if __name__ == "__main__":
    sys.exit(main())
