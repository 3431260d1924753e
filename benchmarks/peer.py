"""One side of a comparison: a process that answers questions, so that two libraries are asked in turn.

A question is a JSON object whose "ask" names the function that answers it; arrays go through files.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.detectors.anomalib.worker import Worker, receive, send
from gonogo.errors import GonogoError

HOUR = 3600.0


class Peer:
    """The asking side."""

    def __init__(self, python: str, script: Path, *, threads: int) -> None:
        self._worker = Worker(python, script, [], threads=threads, timeout=HOUR)

    def ask(self, what: str, **values: Any) -> dict[str, Any]:
        """The answer of the function `what`.

        Raises:
            GonogoError: it failed there; the message says how.
        """
        answer = self._worker.ask(GonogoError, json=np.array(json.dumps({"ask": what} | values)))
        found: dict[str, Any] = json.loads(str(answer["json"]))
        return found

    def close(self) -> None:
        """End the process."""
        self._worker.close()


def answer(functions: Mapping[str, Callable[..., Mapping[str, Any]]]) -> None:
    """The answering side: answer until the questions end."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    while True:
        try:
            asked = json.loads(str(receive(sys.stdin.buffer)["json"]))
        except EOFError:
            return
        try:
            found = functions[asked.pop("ask")](**asked)
        except Exception as error:  # the other side hears of it, whatever it is
            traceback.print_exc()
            send(answers, error=np.array(f"{type(error).__name__}: {error}"))
        else:
            send(answers, json=np.array(json.dumps(found)))
