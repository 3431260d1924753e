"""A bar says how long a loop still takes, from the pace of that loop alone; off a terminal there is a line for each."""

import atexit
import io
import sys

import pytest

from gonogo.compute.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch, clock):
    """A line whose standard error is a terminal of 100 columns; `clock` has the time `now`."""
    for name, value in (("COLUMNS", "100"), ("LINES", "20"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    line = ProgressLine(lambda: clock["now"])
    monkeypatch.setattr(atexit, "register", lambda stop: clock.setdefault("stop", stop))
    return line


@pytest.fixture
def clock():
    """A clock that a test sets; bars that are left over are stopped at the end."""
    clock = {"now": 0.0}
    yield clock
    clock.get("stop", lambda: None)()


def told(line, clock, *reports):
    """The bars after all reports, each with the time at which it came: (description, done, seconds left)."""
    for now, what, n_done, n_total in reports:
        clock["now"] = now
        line(what, n_done, n_total, {})
    return [(task.description, task.completed, task.time_remaining) for task in line._bars.tasks]


def test_the_time_left_is_at_the_pace_since_the_first_report(monkeypatch, clock):
    line = on_a_terminal(monkeypatch, clock)
    reports = [(100.0, "coreset", 9000, 10_000), (101.0, "coreset", 9010, 10_000), (103.0, "coreset", 9030, 10_000)]
    assert told(line, clock, *reports) == [("coreset", 9030, 97.0)]


def test_a_loop_begun_again_and_one_beside_it_keep_their_own_pace(monkeypatch, clock):
    line = on_a_terminal(monkeypatch, clock)
    reports = [(0.0, "images", 1, 9), (1.0, "images", 2, 9), (2.0, "images", 3, 9), (100.0, "images", 1, 9)]
    assert told(line, clock, *reports) == [("images", 1, None)]
    reports = [(101.0, "parts", 1, 2), (110.0, "images", 2, 9), (120.0, "images", 3, 9)]
    assert told(line, clock, *reports) == [("images", 3, 60.0), ("parts", 1, None)]


def test_a_bar_is_drawn_with_its_figures_and_stays_when_the_loop_is_done(monkeypatch, clock):
    line = on_a_terminal(monkeypatch, clock)
    for done in (1, 2, 3):
        line("coreset", done, 3, {"radius": 0.5})
    last = sys.stderr.getvalue().splitlines()[-2]
    assert "coreset" in last
    assert "3/3" in last
    assert "radius 0.5" in last
    assert "\033[?25h" in sys.stderr.getvalue()  # the cursor is back
    assert line._bars is None


def test_off_a_terminal_only_the_last_report_is_printed(capsys):
    line = ProgressLine()
    for done in (1, 2, 3):
        line("parts", done, 3, {"radius": 0.5})
    assert capsys.readouterr().err == "  parts 3/3  radius 0.5\n"
