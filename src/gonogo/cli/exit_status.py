"""How a command ends: its exit status, and what a failure is called for programs. Imports nothing heavy.

The code of a failure is the name of its class in `gonogo.errors`, or one of three more: OSError whatever kind of it,
InternalError for what nobody foresaw, and Interrupted. Codes and statuses are a promise to programs.
"""

import json
import sys
import traceback

from gonogo.errors import (
    GonogoError,
    IntegrityError,
    MissingExtraError,
    PipelineError,
    UsageError,
    WorkerError,
)

DONE, REJECTED, USAGE, DATA, ENVIRONMENT, INTERNAL = 0, 1, 2, 3, 4, 5
INTERRUPTED, NOBODY_READS = 130, 141  # 128 and the number of the signal, as shells say it

MEANINGS = {
    DONE: "done; every part passed",
    REJECTED: "a check said no: a part was rejected or is of no category, a metric moved too far",
    USAGE: "wrong usage",
    DATA: "images, parameters or results are not as they must be",
    ENVIRONMENT: "a package, a bundle, a file system or DVC does not do what is needed",
    INTERNAL: "the command itself failed; the traceback is on standard error",
    INTERRUPTED: "interrupted from the keyboard",
}

_ENVIRONMENT = (IntegrityError, MissingExtraError, PipelineError, WorkerError)

_HINTS = {
    "ConfigError": "`gonogo categories`, `detectors`, `backbones` and `recipes` list what there is",
    "IntegrityError": "do not use these files; copy the bundle anew, or make it again with `gonogo export`",
    "MissingExtraError": "`gonogo doctor` says what is installed, what is missing and how to get it",
    "PipelineError": "what git or DVC said stands on standard error",
    "WeightsError": "`gonogo backbones` says which weights are here",
    "OSError": "look at the path that the message names, its permissions, and the room on the disk",
    "InternalError": "this is a mistake in gonogo; report it with the traceback on standard error",
    "Interrupted": "start it again: what the pipeline had finished is kept",
}


def failure(error: BaseException) -> tuple[int, str, str | None]:
    """Exit status, code and, where there is one, a hint what to do."""
    if isinstance(error, UsageError):
        return USAGE, "UsageError", f"`{error.command} --help` says what it takes"
    if isinstance(error, KeyboardInterrupt):
        status, code = INTERRUPTED, "Interrupted"
    elif isinstance(error, GonogoError):
        status, code = (ENVIRONMENT if isinstance(error, _ENVIRONMENT) else DATA), type(error).__name__
    elif isinstance(error, OSError):
        status, code = ENVIRONMENT, "OSError"
    else:
        status, code = INTERNAL, "InternalError"
    return status, code, _HINTS.get(code)


def tell(error: BaseException, *, as_json: bool) -> int:
    """Say what failed, as one JSON object on standard output or as text on standard error; return the exit status."""
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
        who = error.command if isinstance(error, UsageError) else "gonogo"
        told = hint if status in (USAGE, INTERNAL) else None  # for people, the other messages say enough
        print(f"{who}: {message}" + (f"\n{told}" if told else ""), file=sys.stderr)
    return status
