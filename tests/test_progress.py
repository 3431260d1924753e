"""A progress line says how long a loop still takes, from the pace of that loop alone."""

import io
import sys

import pytest

from gonogo.progress import ProgressLine, seconds_left


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(monkeypatch, reports, times):
    """What is on the terminal after each report."""
    terminal = Terminal(newline="")
    monkeypatch.setattr(sys, "stderr", terminal)
    line = ProgressLine(iter(times).__next__)
    for report in reports:
        line(*report)
    return terminal.getvalue().replace("\033[K", "").split("\r")[1:]


def test_the_time_left_is_at_the_pace_since_the_first_report(monkeypatch):
    reports = [("coreset", done, 10_000, {}) for done in (1, 513, 3728)]
    shown = lines(monkeypatch, reports, [100.0, 103.2, 123.9])
    assert shown == ["  coreset 1/10000", "  coreset 513/10000, 59 s left", "  coreset 3728/10000, 40 s left"]


def test_a_new_loop_does_not_inherit_the_pace_of_the_last_one(monkeypatch):
    reports = [("features", 1, 3, {}), ("features", 3, 3, {}), ("coreset", 2, 4, {}), ("coreset", 3, 4, {})]
    shown = lines(monkeypatch, reports, [0.0, 100.0, 200.0, 201.0])
    assert shown == ["  features 1/3", "  features 3/3\n", "  coreset 2/4", "  coreset 3/4, 1 s left"]


def test_the_same_loop_begun_again_has_a_new_pace(monkeypatch):
    reports = [("images", 1, 5, {}), ("images", 4, 5, {}), ("images", 1, 5, {}), ("images", 2, 5, {})]
    assert lines(monkeypatch, reports, [0.0, 3.0, 100.0, 102.0])[2:] == ["  images 1/5", "  images 2/5, 6 s left"]


def test_loops_that_run_in_turn_keep_their_own_pace(monkeypatch):
    reports = [("features", 1, 5, {}), ("parts", 1, 2, {}), ("features", 3, 5, {})]
    assert lines(monkeypatch, reports, [0.0, 3.0, 4.0])[2] == "  features 3/5, 4 s left"


def test_off_a_terminal_only_the_last_report_is_printed(capsys):
    line = ProgressLine()
    for done in (1, 2, 3):
        line("parts", done, 3, {"radius": 0.5})
    assert capsys.readouterr().err == "  parts 3/3  radius 0.5\n"


@pytest.mark.parametrize(
    ("n_done", "now", "expected"),
    [(10, 10.0, ", 90 s left"), (10, 200.0, ", 30 min left"), (1, 100.0, ", 2.8 h left"), (0, 5.0, ""), (5, 0.0, "")],
)
def test_the_unit_fits_the_time_that_is_left(n_done, now, expected):
    assert seconds_left(0, 0.0, n_done, now, 100) == expected
