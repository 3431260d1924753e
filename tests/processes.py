"""Processes in tests: one that dies by `kill -9` at a step of its own, and waiting until something holds.

A step is a call or a return of a Python or C function in the main thread, counted from where a function that the test
names has first returned: what that has done, such as a file that it wrote, is there when the process dies. What dies at
a step dies there on a fast machine and on a slow one; a test that slept for a while before it killed would find its
victim elsewhere each time, or finished.
"""

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has neither SIGKILL nor SIGTERM")

# Stands before the program. argv[1] is the qualified name of the function whose first return starts the count,
# argv[2] the step at which the process dies; both are gone from argv then.
BEFORE = """
import os, signal, sys
first, last = sys.argv.pop(1), int(sys.argv.pop(1))
taken = 0
def count(frame, event, argument):
    global taken
    if taken or (event == "return" and frame.f_code.co_qualname == first):
        taken += 1
        if taken == last:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(count)
"""
COMMAND_LINE = "from gonogo.cli.main import main\nsys.exit(main())\n"


def command_killed(program: str, *words: str, first: str, at: int) -> list[str]:
    """The command of a Python program, given as text, that dies at step `at`; its arguments are `words`."""
    return [sys.executable, "-B", "-c", BEFORE + program, first, str(at), *words]


def steps_of(action: Callable[[], T], *, first: str) -> tuple[T, int]:
    """What `action` returns, run in this process, and how many steps it took after `first` had first returned."""
    taken = 0

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal taken
        if taken or (event == "return" and frame.f_code.co_qualname == first):
            taken += 1

    sys.setprofile(count)
    try:
        returned = action()
    finally:
        sys.setprofile(None)
    return returned, taken


def until(holds: Callable[[], object], seconds: float = 300) -> None:
    """Return as soon as `holds` does. The end of `seconds` is for what hangs, and not for what is slow."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"it did not come so far in {seconds:g} s"
        time.sleep(0.005)
