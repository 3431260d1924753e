"""Text in columns: plain in a pipe, drawn by rich on a terminal."""

import os
import pty
import subprocess
import sys

from gonogo.cli.columns import in_columns

ROWS = [("name", "what"), ("a", "one [bold]"), ("long", "two")]


def test_columns_are_as_wide_as_their_widest_cell_and_no_space_ends_a_line():
    assert in_columns(ROWS) == "name  what\na     one [bold]\nlong  two"


def test_on_a_terminal_heads_are_marked_and_cells_are_folded_as_they_are_written():
    code = f"from gonogo.cli.columns import in_columns; print(in_columns({[*ROWS, ('x', 'y' * 30)]}, head=True))"
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "24", "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    text = os.read(ours, 10_000).decode()
    assert "\x1b[1m" in text
    assert "one [bold]" in text
    assert "y" * 30 not in text
    assert text.count("y") == 30
