"""Exit statuses of the commands, and the codes by which programs recognise a failure. Imports nothing heavy.

The code of a failure is the name of its class in `gonogo.errors`, or one of three others: `OSError` for all kinds of
it, `InternalError` for an exception that gonogo does not expect, and `Interrupted`. Programs rely on codes and
statuses: neither may change.
"""

import json
import sys
import traceback

from gonogo.errors import (
    GateError,
    GonogoError,
    IntegrityError,
    MissingExtraError,
    PipelineError,
    UsageError,
    WorkerError,
)
from gonogo.text import printable

DONE, REJECTED, USAGE, DATA, ENVIRONMENT, INTERNAL, ABSTAINED = range(7)
INTERRUPTED, CLOSED_PIPE = 130, 141  # 128 and the number of the signal, as in a shell

MEANINGS = {
    DONE: "done, and every part passed",
    REJECTED: "a part was rejected or is of no category, a metric changed too much, a certificate lapsed",
    USAGE: "wrong usage: an unknown command, option or name",
    DATA: "an image, a parameter or a result is missing, damaged or wrong",
    ENVIRONMENT: "a package, a bundle, a file system, git, DVC or a webhook is missing or fails",
    INTERNAL: "gonogo itself failed; the traceback is on standard error",
    ABSTAINED: "with --abstain, no part was rejected and one is uncertain",
    INTERRUPTED: "interrupted from the keyboard, or told to end while an image was still in work",
}

_ENVIRONMENT = (IntegrityError, MissingExtraError, PipelineError, WorkerError)

_HINTS = {
    "GateError": "improve the gauge, or change tolerances.yaml in a commit of its own, where others see it",
    "ConfigError": "`gonogo categories`, `detectors`, `backbones` and `recipes` list the names that exist",
    "IntegrityError": "do not use these files; copy the bundle again, or write it again with `gonogo export`",
    "MissingExtraError": "`gonogo doctor` lists what is installed and what is missing, and how to install it",
    "PipelineError": "the messages of git or DVC are on standard error",
    "WeightsError": "`gonogo backbones` lists the weights on this machine",
    "OSError": "check the path in the message, its permissions, and the free space on the disk",
    "InternalError": "this is a bug in gonogo; report it with the traceback on standard error",
    "Interrupted": "start the command again: results that were finished are kept",
}


def failure(error: BaseException) -> tuple[int, str, str | None]:
    """Exit status, code and, if there is one, a hint what to do."""
    if isinstance(error, UsageError):
        return USAGE, "UsageError", f"`{error.command} --help` lists its arguments"
    if isinstance(error, GateError):
        status, code = REJECTED, "GateError"
    elif isinstance(error, KeyboardInterrupt):
        status, code = INTERRUPTED, "Interrupted"
    elif isinstance(error, GonogoError):
        status, code = (ENVIRONMENT if isinstance(error, _ENVIRONMENT) else DATA), type(error).__name__
    elif isinstance(error, OSError):
        status, code = ENVIRONMENT, "OSError"
    else:
        status, code = INTERNAL, "InternalError"
    return status, code, _HINTS.get(code)


def report_failure(error: BaseException, *, as_json: bool) -> int:
    """Print a failure, as one JSON object on standard output or as text on standard error; return the exit status."""
    status, code, hint = failure(error)
    message = str(error)
    if status == INTERNAL:
        traceback.print_exception(error)
        message = f"{type(error).__name__}: {message}"
    if status == INTERRUPTED:
        message = "interrupted"
    if as_json:
        print(json.dumps({"ok": False, "error": {"code": code, "message": message, "hint": hint}}))
    else:
        command = error.command if isinstance(error, UsageError) else "gonogo"
        shown_hint = f"\n{hint}" if status in (USAGE, INTERNAL) else ""  # the other messages say enough by themselves
        print(f"{command}: {_on_lines(message)}{shown_hint}", file=sys.stderr)
    return status


def _on_lines(message: str) -> str:
    """The message with its further lines indented, so that a name with a line end in it forges no line."""
    first, *further = map(printable, message.split("\n"))
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in further)])
