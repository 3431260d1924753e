"""How far a loop is and how long it still takes: a bar by rich on a terminal, one line for each loop elsewhere."""

import atexit
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

# Called as (what, n_done, n_total, values): `values` are the figures worth a live curve, often none.
Progress = Callable[[str, int, int, dict[str, float]], None]


def no_progress(what: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
    """Report to nobody."""


class ProgressLine:
    """Called as a detector's `Progress` is. Loops that run in turn have a bar each, until all of them are done.

    The time left takes the pace from the loop's first report on: what came before it is not of its kind.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._bars: Any = None  # rich's, while a loop runs

    def __call__(self, what: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
        """Report that `n_done` of `n_total` are done, with figures worth a look."""
        figures = "".join(f"  {name} {value:.4g}" for name, value in values.items())
        if not sys.stderr.isatty():
            if n_done >= n_total:
                print(f"  {what} {n_done}/{n_total}{figures}", file=sys.stderr, flush=True)
            return
        if self._bars is None:
            self._bars = _bars(self._clock)
            self._bars.start()
            atexit.register(self._bars.stop)  # a loop that breaks off leaves no terminal without a cursor
        known = next((task for task in self._bars.tasks if task.description == what), None)
        if known is None:
            self._bars.add_task(what, total=n_total, completed=n_done, figures=figures)
        elif n_done < known.completed:  # the loop runs once more
            self._bars.reset(known.id, total=n_total, completed=n_done, figures=figures)
        else:
            self._bars.update(known.id, completed=n_done, figures=figures)
        if self._bars.finished:
            self._bars.stop()
            atexit.unregister(self._bars.stop)
            self._bars = None


def _bars(clock: Callable[[], float]) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[figures]}"),
        console=Console(file=sys.stderr),
        get_time=clock,
    )
