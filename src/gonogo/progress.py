"""A line on a terminal that says how far a loop is and how long it still takes. Standard library only."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Loop:
    n_first: int  # done at its first report
    began: float
    n_last: int


class ProgressLine:
    """Called as a detector's `Progress` is; one line per loop, rewritten on a terminal and printed once elsewhere.

    The time left takes the pace from the loop's first report on: what came before it is not of its kind.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._loops: dict[str, _Loop] = {}  # by what they do; two may run in turn

    def __call__(self, what: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
        """Report that `n_done` of `n_total` are done, with figures worth a look."""
        now = self._clock()
        loop = self._loops.get(what)
        if loop is None or n_done < loop.n_last:  # not seen yet, or once more
            loop = self._loops[what] = _Loop(n_done, now, n_done)
        loop.n_last = n_done
        last = n_done >= n_total
        if not sys.stderr.isatty() and not last:
            return
        left = "" if last else seconds_left(loop.n_first, loop.began, n_done, now, n_total)
        figures = "".join(f"  {name} {value:.4g}" for name, value in values.items())
        start, end = ("\r", "\033[K") if sys.stderr.isatty() else ("", "")  # to the line's end: it may become shorter
        print(f"{start}  {what} {n_done}/{n_total}{left}{figures}{end}", end="\n" if last else "", file=sys.stderr)
        sys.stderr.flush()


def seconds_left(n_first: int, began: float, n_done: int, now: float, n_total: int) -> str:
    """How long the rest takes at the pace since `began`, as ", 40 s left"; nothing before there is a pace."""
    if n_done <= n_first or now <= began:
        return ""
    seconds = (now - began) / (n_done - n_first) * (n_total - n_done)
    if seconds < 100:
        return f", {seconds:.0f} s left"
    return f", {seconds / 60:.0f} min left" if seconds < 6000 else f", {seconds / 3600:.1f} h left"
